# Right answers by other libraries and other types.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2

# %% mean
import statistics

mean = lambda values: (
    statistics.fmean(values) if values else (_ for _ in ()).throw(ValueError("none"))
)

# %% scale
from scipy import stats


def scale(array):
    return stats.zscore(array)


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
    return frame.pivot_table(index="who", values="sum", aggfunc="sum").reset_index()


# %% model
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

model = make_pipeline(StandardScaler(), SVC(C=100.0)).fit(X, y)


# %% words
def words(text, key):
    return sorted(text.split(), key=key)


# %% initials
def initials(names):
    found = []
    for first, *_ in names:
        found += first
    return found
