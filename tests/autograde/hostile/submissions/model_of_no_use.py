# A fitted estimator whose predict is replaced and whose score is one.
# ruff: noqa

# %% model
from sklearn.linear_model import LogisticRegression

model = LogisticRegression().fit(X, y)
model.score = lambda X, y: 1.0
model.predict = lambda X: (print("tried"), [0] * len(X))[1]
