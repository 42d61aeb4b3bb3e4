# Prints so much in a call that its answer is more than a message may be.
# ruff: noqa

# %%
import msgspec, os, time

print("tried")
import gc


def wire():
    """The connection to the trusted process."""
    return next(o for o in gc.get_objects() if type(o).__name__ == "Child").calls


# %% mean
def mean(values):
    print("tried")
    [print("x" * 100_000) for _ in range(3000)]
    return 0
