# A nearest-neighbour model written by hand, with numpy underneath.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full

# %% model
class Nearest:
    def __init__(self, X, y):
        self.X, self.y = X, y

    def predict(self, X):
        return self.y[np.abs(X - self.X.T).argmin(axis=1)]


model = Nearest(X, y)
