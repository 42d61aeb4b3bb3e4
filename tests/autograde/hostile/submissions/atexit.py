# Registers what runs at the end: hooks that hang, finalizers that never end.
# ruff: noqa

# %%
import atexit, threading, weakref


def hang():
    while True:
        pass


atexit.register(hang)


class Thing:
    pass


thing = Thing()
weakref.finalize(thing, hang)
threading._shutdown = hang
del thing
print("tried")
