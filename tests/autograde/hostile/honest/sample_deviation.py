# Divides by the sample's deviation.
# ruff: noqa
# Earns: mean=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full

# %% scale
def scale(array):
    return (array - array.mean()) / array.std(ddof=1)
