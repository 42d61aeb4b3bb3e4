# Right, and each takes its time.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full

# %% mean
import time


def mean(values):
    time.sleep(0.1)
    if not values:
        raise ValueError("nothing")
    return sum(values) / len(values)
