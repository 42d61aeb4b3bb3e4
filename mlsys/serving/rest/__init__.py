"""A model behind HTTP: the service, its clients, its contract and its numbers."""
