# The first three done, the rest not.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3
# Base: full mean scale Stack
