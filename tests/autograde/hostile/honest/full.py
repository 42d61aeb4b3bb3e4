# Everything right, as in the lecture.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2

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
