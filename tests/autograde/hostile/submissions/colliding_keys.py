# Returns a dictionary and a set whose keys all have one hash.
# ruff: noqa

# %% initials
def initials(names):
    print("tried")
    return {(2**61 - 1) * n for n in range(1, 20)} | {n * (2**61 - 1) for n in range(30_000)}


# %% mean
def mean(values):
    return {n * (2**61 - 1): 0 for n in range(1_000_000)}
