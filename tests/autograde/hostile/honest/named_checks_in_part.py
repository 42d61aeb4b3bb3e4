# Sorts by letter whatever it is asked: one of three named checks fails.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=2 initials=2
# Base: full

# %% words
def words(text, key):
    return sorted(text.split())
