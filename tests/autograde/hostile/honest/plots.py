# Right, with figures between the answers.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full

# %%
import matplotlib.pyplot as plt

plt.plot(X[:, 0], y)
plt.show()

# %%
fig, ax = plt.subplots()
ax.scatter(X, y)
