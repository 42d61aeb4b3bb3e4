"""Caches: what to throw out, how to write, and what happens when a hot key expires."""
