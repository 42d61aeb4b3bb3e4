# Right, with cells, helpers, magics and files of its own between.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2

# %% raw
# %matplotlib inline
# %time sum(range(1000))
# !echo hello
# %%
from dataclasses import dataclass


@dataclass
class Row:
    who: str
    sum: float


with open("mine.csv", "w") as file:
    file.write("who,sum\nada,1\n")
# %%
assert len(pd.read_csv("mine.csv")) == 1
helper = lambda value: value * 2


# %% mean
def mean(values):
    if not values:
        raise ValueError("nothing")
    return sum(values) / len(values)


# %% scale
def scale(array):
    return (array - np.mean(array)) / np.std(array)


# %% Stack
class Stack:
    def __init__(self):
        self._kept = []

    def push(self, item):
        self._kept.append(item)

    def pop(self):
        return self._kept.pop()

    def __len__(self):
        return len(self._kept)


# %% totals
def totals(frame):
    return frame.groupby("who")["sum"].sum().reset_index()


# %% model
model = LogisticRegression(C=10.0).fit(X, y)


# %% words
def words(text, key):
    return sorted(text.split(), key=key)


# %% initials
def initials(names):
    return [name[0] for name in names]
