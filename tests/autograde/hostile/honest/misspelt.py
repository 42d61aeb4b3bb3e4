# One name is misspelt, one cell fails when it runs.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 words=3
# Base: full

# %% model
model = LogisticRegresion().fit(X, y)


# %% initials
def initial(names):
    return [name[0] for name in names]
