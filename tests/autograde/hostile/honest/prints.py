# Right, and prints every step.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full

# %%
for step in range(200):
    print("step", step)
X[:3], y


# %% initials
def initials(names):
    for name in names:
        print("looking at", name)
    return [name[0] for name in names]
