# One answer is no Python; the others count.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 initials=2
# Base: full

# %% words raw
# def words(text, key):
#     return sorted(text.split(), key=key
