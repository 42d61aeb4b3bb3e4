# One loop never ends; the rest is right.
# ruff: noqa
# Earns: mean=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full
# Seconds: 5

# %% scale
def scale(array):
    while array.std() < 100:
        pass
