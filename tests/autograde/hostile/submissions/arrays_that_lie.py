# Arrays with forged strides, structured types, objects and dates out of range.
# ruff: noqa

# %% scale
import numpy as np

kinds = iter(
    [
        np.lib.stride_tricks.as_strided(np.zeros(1), shape=(10**9,), strides=(0,)),
        np.array([print, object()], dtype=object),
        np.zeros(2, dtype="M8[as]"),
        np.zeros(3, dtype=[("a", "O"), ("b", "f8")]),
    ]
)


def scale(array):
    print("tried")
    return next(kinds)
