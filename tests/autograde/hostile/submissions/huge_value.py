# Returns a hundred million numbers, an integer of a megabyte and a huge text.
# ruff: noqa

# %% initials
def initials(names):
    print("tried")
    return [0] * 100_000_000


# %% mean
def mean(values):
    return 1 << 8_000_000


# %% words
def words(text, key):
    return ["x" * 200_000_000]
