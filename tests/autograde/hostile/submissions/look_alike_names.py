# Defines names that look like the asked ones in other scripts.
# ruff: noqa

# %% mean
def mеan(values):
    return sum(values) / len(values)  # the second letter is Cyrillic


print("tried", "mean" in globals())


# %% Stack
class Ѕtack:
    pass
