# Announces a message of four gigabytes and sends none of it.
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
    wire().sock.sendall(b"\xff\xff\xff\xff")
    return 0
