# Right, with warnings and notes on standard error.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full

# %%
import logging, sys, warnings

warnings.simplefilter("always")
logging.warning("starting")


# %% mean
def mean(values):
    warnings.warn("mean is old", DeprecationWarning)
    print("note", file=sys.stderr)
    if not values:
        raise ValueError("nothing")
    return sum(values) / len(values)


# %% scale
def scale(array):
    np.log(np.array([-1.0]))
    return (array - array.mean()) / array.std()
