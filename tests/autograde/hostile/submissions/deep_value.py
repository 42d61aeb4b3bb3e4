# Returns a list nested a hundred thousand levels deep.
# ruff: noqa

# %% initials
def initials(names):
    print("tried")
    found = []
    for _ in range(100_000):
        found = [found]
    return found
