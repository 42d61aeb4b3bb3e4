# Sends random bytes in place of an answer.
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
    [wire().send(os.urandom(1000)) for _ in range(20)]
    return 0
