# Returns a list that holds itself, and a dict that does.
# ruff: noqa

# %% initials
def initials(names):
    print("tried")
    found = []
    found.append({"again": found})
    return found
