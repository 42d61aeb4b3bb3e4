"""The to-do service: its store, its HTTP interface and its OpenAPI document."""
