# Raises an exception whose text and representation never end.
# ruff: noqa

# %% mean
class Endless(ValueError):
    def __str__(self):
        while True:
            pass

    __repr__ = __str__


def mean(values):
    print("tried")
    raise Endless
