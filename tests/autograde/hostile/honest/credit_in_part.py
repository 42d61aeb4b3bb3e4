# Right but for the empty list: one of two points.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=1
# Base: full

# %% initials
def initials(names):
    return [name[0] for name in names] or None
