# Only the class done.
# ruff: noqa
# Earns: Stack=3
# Base: full Stack
