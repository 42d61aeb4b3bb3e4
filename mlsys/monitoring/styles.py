"""What other monitors would say: their definitions, written anew, number for number.

So that a lesson can show why three monitors disagree on the same rows, and so that a team can move
from one to another without its dashboards jumping. `judge_like(style, reference, current)` gives a
frame with a row for each column and method: column, method, value, threshold, drifted.

Definitions as of evidently 0.7.23, NannyML 0.13.1 and whylogs 1.6.4. whylogs compares numbers by
sketches with random parts: its numbers here are what an error-free sketch would give.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from mlsys.monitoring.distances import hellinger, jensen_shannon, l_infinity, wasserstein
from mlsys.monitoring.errors import MonitoringError

Style = Literal["evidently", "nannyml", "whylogs"]


def judge_like(
    style: Style,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    methods: Sequence[str] | None = None,
    chunks: int = 10,
) -> pd.DataFrame:
    """The verdicts of another monitor on every column of `reference`.

    `methods` defaults to what that monitor picks by itself (all of NannyML's). `chunks`, for
    NannyML only: both frames are cut into so many, its thresholds come from the reference's, and
    the value is the first chunk's; `drifted` says whether it alerts.
    """
    if style not in _STYLES:
        raise MonitoringError(f"There is no style {style!r}; choose one of {', '.join(_STYLES)}.")
    rows = []
    for name in reference.columns:
        a, b = reference[name].dropna(), current[name].dropna()
        if not len(a) or not len(b):
            raise MonitoringError(f"Column {name!r} has no values on one side.")
        rows += [(name, *row) for row in _STYLES[style](a, b, methods, chunks)]
    return pd.DataFrame(rows, columns=["column", "method", "value", "threshold", "drifted"])


def is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def counts_of(a: pd.Series, b: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Counts over the categories that either has, in one order."""
    one, other = (values.astype(object).value_counts() for values in (a, b))
    both = one.index.union(other.index, sort=False)
    return tuple(c.reindex(both, fill_value=0).to_numpy(float) for c in (one, other))


# --- evidently ------------------------------------------------------------------------------------


def evidently_shares(a: pd.Series, b: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Equal-width bins by Sturges' rule over both samples, or the values when at most 20 differ."""
    if is_number(a) and a.nunique() > 20:
        x, y = a.to_numpy(float), b.to_numpy(float)
        edges = np.histogram_bin_edges(np.concatenate([x, y]), bins="sturges")
        return np.histogram(x, edges)[0] / len(x), np.histogram(y, edges)[0] / len(y)
    p, q = counts_of(a, b)
    return p / len(a), q / len(b)


def evidently_psi(a: pd.Series, b: pd.Series) -> float:
    """An empty bin is 1e-4, or a millionth of the smallest share where that is at most 1e-4."""

    def filled(p: np.ndarray) -> np.ndarray:
        least = p[p > 0].min()
        return np.where(p == 0, least / 1e6 if least <= 1e-4 else 1e-4, p)

    p, q = (filled(one) for one in evidently_shares(a, b))
    return float(np.sum((p - q) * np.log(p / q)))


def evidently_chi2(a: pd.Series, b: pd.Series) -> float:
    """p-value of a goodness of fit that takes the reference's shares as exact."""
    p, q = counts_of(a, b)
    expected = p * (len(b) / len(a))
    with np.errstate(divide="ignore"):
        statistic = float(np.sum((q - expected) ** 2 / expected))
    return float(stats.chi2.sf(statistic, len(p) - 1))


def evidently_wasserstein(a: pd.Series, b: pd.Series) -> float:
    """Wasserstein-1 over the reference's standard deviation (n in the denominator)."""
    x = a.to_numpy(float)
    return wasserstein(x, b.to_numpy(float)) / max(float(np.std(x)), 0.001)


def evidently_jensen_shannon(a: pd.Series, b: pd.Series) -> float:
    return jensen_shannon(*evidently_shares(a, b), base=np.e)


def ks_p(a: pd.Series, b: pd.Series) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # exact turns to asymptotic: as theirs
        return float(stats.ks_2samp(a.to_numpy(float), b.to_numpy(float)).pvalue)


def two_proportions_p(a: pd.Series, b: pd.Series) -> float:
    """The pooled z-test that evidently takes for a column of two values in a small reference."""
    p, q = counts_of(a, b)
    pooled = (p[0] + q[0]) / (len(a) + len(b))
    error = np.sqrt(pooled * (1 - pooled) * (1 / len(a) + 1 / len(b)))
    z = (p[0] / len(a) - q[0] / len(b)) / error if error else 0.0
    return float(2 * stats.norm.sf(abs(z)))


# Method: (function, threshold, drifted when the value is at most the threshold)
EVIDENTLY: dict[str, tuple[Callable[[pd.Series, pd.Series], float], float, bool]] = {
    "psi": (evidently_psi, 0.1, False),
    "jensenshannon": (evidently_jensen_shannon, 0.1, False),
    "wasserstein": (evidently_wasserstein, 0.1, False),
    "ks": (ks_p, 0.05, True),
    "chisquare": (evidently_chi2, 0.05, True),
    "z": (two_proportions_p, 0.05, True),
}


def evidently_default(a: pd.Series) -> str:
    """The method it picks: distances above 1,000 reference rows, tests up to there."""
    many, different = len(a) > 1000, a.nunique()
    if is_number(a) and different > 5:
        return "wasserstein" if many else "ks"
    if many:
        return "jensenshannon"
    return "chisquare" if different > 2 else "z"


def _evidently(a: pd.Series, b: pd.Series, methods: Sequence[str] | None, _: int):
    for method in methods or [evidently_default(a)]:
        if (method in {"ks", "wasserstein"} and not is_number(a)) or (
            method in {"chisquare", "z"} and is_number(a)
        ):
            continue
        function, threshold, below = EVIDENTLY[method]
        value = function(a, b)
        yield method, value, threshold, value <= threshold if below else value >= threshold


# --- NannyML --------------------------------------------------------------------------------------

LARGE = 10_000  # from so many reference rows on it works by bins
FINE = 10_000  # so many


def nannyml_shares(a: pd.Series, b: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The reference's bins by Doane's rule (categories: its values), and one for what is new."""
    if is_number(a):
        x, y = a.to_numpy(float), b.to_numpy(float)
        edges = np.histogram_bin_edges(x, bins="doane")
        p, q = np.histogram(x, edges)[0] / len(x), np.histogram(y, edges)[0] / len(y)
    else:
        p, q = counts_of(a, b)
        p, q = p / len(a), q / len(b)
    rest = 1 - q.sum()
    return (np.append(p, 0.0), np.append(q, rest)) if rest > 0 else (p, q)


def nannyml_ks(a: pd.Series, b: pd.Series) -> float:
    """At the ends of 10,000 equal bins of the reference's range, when it has 10,000 rows."""
    x, y = a.to_numpy(float), b.to_numpy(float)
    if len(x) < LARGE:
        return float(stats.ks_2samp(x, y).statistic)
    p, edges = np.histogram(x, FINE)
    below = (y < edges[0]).sum() / len(y)
    now = below + np.cumsum(np.histogram(y, edges)[0] / len(y))
    return float(np.abs(np.cumsum(p / len(x)) - now).max())


def nannyml_wasserstein(a: pd.Series, b: pd.Series) -> float:
    """On the same bins, plus the way of what lies outside.

    Where rows lie below the bins it counts one row more than there are; kept, to agree.
    """
    x, y = a.to_numpy(float), b.to_numpy(float)
    if len(x) < LARGE:
        return wasserstein(x, y)
    p, edges = np.histogram(x, FINE)
    smaller, bigger = y[y < edges[0]], y[y > edges[-1]]
    now = np.cumsum(np.histogram(y, edges)[0] / len(y))
    if len(smaller):
        now = now + (len(smaller) + 1) / len(y)
    within = np.sum(np.abs(np.cumsum(p / len(x)) - now) * (edges[1] - edges[0]))
    outside = (edges[0] - smaller).sum() + (bigger - edges[-1]).sum()
    return float(within + outside / len(y))


def nannyml_jensen_shannon(a: pd.Series, b: pd.Series) -> float:
    return jensen_shannon(*nannyml_shares(a, b))


def nannyml_hellinger(a: pd.Series, b: pd.Series) -> float:
    if is_number(a):
        return hellinger(*nannyml_shares(a, b))
    return nannyml_category_hellinger(a, b)


def nannyml_category_hellinger(a: pd.Series, b: pd.Series) -> float:
    return hellinger(*counts_of(a, b))


def nannyml_l_infinity(a: pd.Series, b: pd.Series) -> float:
    return l_infinity(*counts_of(a, b))


def nannyml_chi2(a: pd.Series, b: pd.Series) -> tuple[float, float]:
    """(statistic, p-value) of the 2 × B table, with Yates's correction on 2 × 2."""
    table = np.array(counts_of(a, b))
    if table.shape[1] < 2:
        return 0.0, 1.0
    found = stats.chi2_contingency(table)
    return float(found.statistic), float(found.pvalue)


NANNYML_NUMBERS = {
    "kolmogorov_smirnov": nannyml_ks,
    "jensen_shannon": nannyml_jensen_shannon,
    "wasserstein": nannyml_wasserstein,
    "hellinger": nannyml_hellinger,
}
NANNYML_CATEGORIES = {
    "jensen_shannon": nannyml_jensen_shannon,
    "l_infinity": nannyml_l_infinity,
    "hellinger": nannyml_hellinger,
}


def _nannyml(a: pd.Series, b: pd.Series, methods: Sequence[str] | None, chunks: int):
    known = NANNYML_NUMBERS if is_number(a) else {"chi2": None, **NANNYML_CATEGORIES}
    first = b.iloc[: len(b) // chunks]
    parts = [a.iloc[i * len(a) // chunks : (i + 1) * len(a) // chunks] for i in range(chunks)]
    for method, function in known.items():
        if methods is not None and method not in methods:
            continue
        if method == "chi2":
            statistic, p_value = nannyml_chi2(a, first)
            yield method, statistic, None, p_value < 0.05
            continue
        own = [function(a, part) for part in parts]
        upper = float(np.mean(own) + 3 * np.std(own))
        lower = float(np.mean(own) - 3 * np.std(own))
        value = function(a, first)
        yield method, value, upper, value > upper or (lower > 0 and value < lower)


# --- whylogs --------------------------------------------------------------------------------------


def whylogs_ks(a: pd.Series, b: pd.Series) -> float:
    """KS p-value, the distance taken at the 1 % to 100 % quantiles of each side."""
    x, y = np.sort(a.to_numpy(float)), np.sort(b.to_numpy(float))
    at = np.linspace(0, 1, 101)[1:]
    places = np.concatenate([np.quantile(x, at), np.quantile(y, at)])
    f, g = (np.searchsorted(one, places, side="right") / len(one) for one in (x, y))
    distance = float(np.abs(f - g).max())
    return float(stats.kstwo.sf(distance, max(1, round(len(x) * len(y) / (len(x) + len(y))))))


def _whylogs(a: pd.Series, b: pd.Series, methods: Sequence[str] | None, _: int):
    """p below 0.05 is drift, below 0.15 "possible drift", which a report shows as not clean."""
    method = "ks" if is_number(a) else "chi-square"
    if methods is None or method in methods:
        p_value = whylogs_ks(a, b) if is_number(a) else evidently_chi2(a, b)
        yield method, p_value, 0.05, p_value < 0.05


_STYLES = {"evidently": _evidently, "nannyml": _nannyml, "whylogs": _whylogs}
