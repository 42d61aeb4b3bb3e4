# Returns generators and objects without an end or a length that is true.
# ruff: noqa

# %% initials
import itertools


def initials(names):
    print("tried")
    return itertools.count()


# %% words
class Endless:
    def __iter__(self):
        return self

    def __next__(self):
        return "a"

    def __len__(self):
        return 2**62


def words(text, key):
    return Endless()
