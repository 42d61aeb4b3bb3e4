"""Putting models to work: where an answer is computed, how long it takes, how old it is."""
