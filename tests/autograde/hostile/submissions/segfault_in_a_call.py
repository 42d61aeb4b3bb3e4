# Damages its own interpreter in the middle of a test's call.
# ruff: noqa

# %% mean
import ctypes


def mean(values):
    print("tried", flush=True)
    ctypes.memset(id(values), 255, 64)
    return values[0]
