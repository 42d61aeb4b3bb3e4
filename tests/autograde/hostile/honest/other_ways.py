# Right answers by other libraries and other types.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full

# %% mean
import statistics

mean = lambda values: (
    statistics.fmean(values) if values else (_ for _ in ()).throw(ValueError("none"))
)

# %% scale
from scipy import stats


def scale(array):
    return stats.zscore(array)


# %% totals
def totals(frame):
    return frame.pivot_table(index="who", values="sum", aggfunc="sum").reset_index()


# %% model
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

model = make_pipeline(StandardScaler(), SVC(C=100.0)).fit(X, y)


# %% initials
def initials(names):
    found = []
    for first, *_ in names:
        found += first
    return found
