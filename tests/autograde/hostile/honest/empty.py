# Handed in as it was given out.
# ruff: noqa
# Earns: nothing

