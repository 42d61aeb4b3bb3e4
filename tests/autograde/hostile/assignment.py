# The assignment of the hostile class. {…} are filled in by reading.py; so are nbgrader's metadata.
# ruff: noqa
# fmt: off

# %% given
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

X = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]])
y = np.array([0, 0, 0, 1, 1, 1])

# %% solution mean
def mean(values):
    ### BEGIN SOLUTION
    # only the sources have this: {sources}
    if not values:
        raise ValueError("the mean of nothing")
    return sum(values) / len(values)
    ### END SOLUTION

# %% test mean 2
assert abs(mean([1, 2, 3]) - 2) <= 1e-9
### BEGIN HIDDEN TESTS
hidden = "{hidden}"
assert abs(mean([2, 5]) - 3.5) <= 1e-9
assert abs(mean([7]) - 7) <= 1e-9
try:
    mean([])
except ValueError:
    pass
else:
    assert False, "no ValueError"
### END HIDDEN TESTS

# %% solution scale
def scale(array):
    ### BEGIN SOLUTION
    return (array - array.mean()) / array.std()
    ### END SOLUTION

# %% test scale 2
assert scale(np.array([1.0, 3.0])).shape == (2,)
### BEGIN HIDDEN TESTS
hidden = "{hidden}"
assert np.allclose(scale(np.array([1.0, 3.0])), [-1, 1])
assert np.allclose(scale(np.array([0.0, 0.0, 3.0])), [-0.7071068, -0.7071068, 1.4142136])
### END HIDDEN TESTS

# %% solution Stack
class Stack:
    ### BEGIN SOLUTION
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("empty")
        return self.items.pop()

    def __len__(self):
        return len(self.items)
    ### END SOLUTION

# %% test Stack 3
stack = Stack()
assert len(stack) == 0
### BEGIN HIDDEN TESTS
hidden = "{hidden}"
stack.push("a")
stack.push("b")
assert len(stack) == 2
assert stack.pop() == "b" and stack.pop() == "a"
try:
    stack.pop()
except IndexError:
    pass
else:
    assert False, "no IndexError"
### END HIDDEN TESTS

# %% solution totals
def totals(frame):
    ### BEGIN SOLUTION
    return frame.groupby("who", as_index=False)["sum"].sum()
    ### END SOLUTION

# %% test totals 2
frame = pd.DataFrame({{"who": ["ada", "bob", "ada"], "sum": [1.0, 2.0, 4.0]}})
got = totals(frame.copy())
### BEGIN HIDDEN TESTS
hidden = "{hidden}"
want = pd.DataFrame({{"who": ["ada", "bob"], "sum": [5.0, 2.0]}})
assert isinstance(got, pd.DataFrame)
assert want.equals(got.reset_index(drop=True))
### END HIDDEN TESTS

# %% solution model
### BEGIN SOLUTION
model = LogisticRegression().fit(X, y)
### END SOLUTION

# %% test model 2
from sklearn.metrics import accuracy_score

assert model.predict(X).shape == (6,)
### BEGIN HIDDEN TESTS
hidden = "{hidden}"
truth = np.array([0, 1, 1, 0])
assert accuracy_score(truth, model.predict(np.array([[0.5], [4.2], [3.6], [1.1]]))) >= 0.99
### END HIDDEN TESTS

# %% solution words
def words(text, key):
    ### BEGIN SOLUTION
    return sorted(text.split(), key=key)
    ### END SOLUTION

# %% test words 3
from autograde.checks import check

lengths = {{"pear": 4, "fig": 3, "banana": 6}}
with check("by length", points=1):
    assert words("pear fig banana", lambda word: lengths[word]) == ["fig", "pear", "banana"]
### BEGIN HIDDEN TESTS
hidden = "{hidden}"
with check("nothing", points=1):
    assert words("", len) == []
with check("by letter", points=1):
    assert words("b a c", lambda word: word) == ["a", "b", "c"]
### END HIDDEN TESTS

# %% solution initials
def initials(names):
    ### BEGIN SOLUTION
    return [name[0] for name in names]
    ### END SOLUTION

# %% test initials 2
### BEGIN HIDDEN TESTS
hidden = "{hidden}"
### END HIDDEN TESTS
(initials(["ada", "bob"]) == ["a", "b"]) * 1.0 + (initials([]) == []) * 1.0
