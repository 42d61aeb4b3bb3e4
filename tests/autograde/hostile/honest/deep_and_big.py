# Right, with recursion and a large but honest array on the way.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full

# %%
def depth(n):
    return 0 if n == 0 else 1 + depth(n - 1)


big = np.zeros(5_000_000)
assert depth(800) == 800
