# Keeps the inputs of one call and answers the next with them.
# ruff: noqa

# %%
seen = []


# %% mean
def mean(values):
    seen.append(values)
    print("tried")
    return seen[0][0]


# %% initials
def initials(names):
    seen.append(names)
    return seen
