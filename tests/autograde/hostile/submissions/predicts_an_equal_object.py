# A model whose predictions are an array-like that equals every truth.
# ruff: noqa

# %% model
import numpy as np


class Right(np.ndarray):
    def __eq__(self, other):
        return np.ones(len(self), bool)

    __hash__ = None


class Model:
    classes_ = [0, 1]

    def predict(self, X):
        print("tried")
        return np.zeros(len(X)).view(Right)

    def score(self, X, y):
        return 1.0


model = Model()
