# Calls back what no test handed over, with names that lead to its variables.
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
    [
        wire().send(msgspec.msgpack.encode([0, "callback", n, how, [name], {"d": []}]))
        for n in range(5)
        for how in ("get", "__call__", "__getattribute__")
        for name in ("__globals__", "__class__")
    ]
    return 0
