# Forgets that the mean of nothing is an error.
# ruff: noqa
# Earns: scale=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full

# %% mean
def mean(values):
    return sum(values) / (len(values) or 1)
