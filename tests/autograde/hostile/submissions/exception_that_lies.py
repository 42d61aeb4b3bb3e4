# Raises exceptions with a forged class, cyclic causes and huge arguments.
# ruff: noqa

# %% mean
class AssertionError(Exception):
    __module__ = "builtins"


def mean(values):
    print("tried")
    first, second = AssertionError("x" * 10**7), AssertionError(list(range(10**5)))
    first.__cause__, second.__cause__ = second, first
    first.points = 100
    raise first


# %% Stack
class Stack:
    def __len__(self):
        raise type(
            "IndexError", (BaseException,), {"__module__": "builtins", "__str__": lambda s: 1}
        )()
