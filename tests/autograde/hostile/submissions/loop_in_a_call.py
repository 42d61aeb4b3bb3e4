# Loops in C in the middle of a test's call.
# ruff: noqa

# %% mean
import itertools


def mean(values):
    print("tried", flush=True)
    any(itertools.repeat(0))
