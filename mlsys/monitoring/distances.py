"""The statistics of drift on plain arrays, each with its definition, unit and source.

Shares and counts: where a function takes two arrays `p` and `q` they are counts or shares over the
same bins or categories, in the same order, of any positive sum. What they say of a column is in
`drift`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from mlsys.monitoring.drift_kernels import walk
from mlsys.monitoring.errors import MonitoringError

# --- on shares ------------------------------------------------------------------------------------


def shares(counts: np.ndarray) -> np.ndarray:
    """Counts divided by their sum. Raises MonitoringError for negative ones or an empty sum."""
    counts = np.asarray(counts, dtype=float)
    total = counts.sum()
    if not (total > 0 and math.isfinite(total) and counts.min() >= 0):
        raise MonitoringError("Shares need counts that are not negative and not all zero.")
    return counts / total


def psi(p: np.ndarray, q: np.ndarray, *, least: float = 1e-4) -> float:
    """Population stability index: sum of (p - q) ln(p / q), in nats; 0 when equal, no upper bound.

    Jeffreys' divergence (Proc. R. Soc. A 186, 1946) as credit scoring uses it (Siddiqi, Credit
    Risk Scorecards, 2006). An empty bin counts as the share `least`: without that it is infinite,
    with it the value depends on it. Its expectation on equal data is about (B - 1)(1/n + 1/m) for
    B bins (Yurdakul and Naranjo, J. Risk Model Valid. 2020): a fixed threshold of 0.1 or 0.25
    therefore means something else at each n.
    """
    p, q = np.maximum(shares(p), least), np.maximum(shares(q), least)
    return float(np.sum((p - q) * np.log(p / q)))


def jensen_shannon(p: np.ndarray, q: np.ndarray, *, base: float = 2.0) -> float:
    """Jensen–Shannon distance: the root of the mean divergence of p and q from their mixture.

    A metric (Endres and Schindelin, IEEE Trans. Inf. Theory 2003); 0 to 1 in base 2, to
    sqrt(ln 2) in base e.
    """
    p, q = shares(p), shares(q)
    middle = (p + q) / 2
    divergence = (special.rel_entr(p, middle).sum() + special.rel_entr(q, middle).sum()) / 2
    return math.sqrt(max(float(divergence), 0.0) / math.log(base))


def hellinger(p: np.ndarray, q: np.ndarray) -> float:
    """Hellinger distance: the Euclidean distance of the roots of p and q over sqrt 2; 0 to 1.

    A metric (Hellinger, J. reine angew. Math. 136, 1909).
    """
    difference = np.sqrt(shares(p)) - np.sqrt(shares(q))
    return float(np.sqrt(np.sum(difference**2) / 2))


def l_infinity(p: np.ndarray, q: np.ndarray) -> float:
    """The largest change in the share of any one category; 0 to 1, in shares of the rows.

    A metric (Chebyshev's).
    """
    return float(np.abs(shares(p) - shares(q)).max())


@dataclass(frozen=True, slots=True)
class Chi2:
    """A chi-squared test: its statistic, degrees of freedom and p-value."""

    statistic: float
    dof: int
    p_value: float


def chi2_two_sample(a: np.ndarray, b: np.ndarray, *, least: float = 5.0) -> Chi2:
    """Pearson's test that two samples' counts come from the same shares (a 2 × B table).

    Both samples are random here. Testing the new counts against the old shares as if those were
    exact (a goodness of fit) doubles the statistic at n = m and alarms on clean data.
    Categories expected fewer than `least` times in the smaller sample are pooled (Cochran,
    Biometrics 10, 1954); which ones depends on both samples' sum only, so the level holds.
    Source: Pearson, Biometrika 8, 1911. With one category left, p is 1.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    n, m = a.sum(), b.sum()
    if not (n > 0 and m > 0):
        raise MonitoringError("A chi-squared test needs at least one row on each side.")
    both = a + b
    rare = both * (min(n, m) / (n + m)) < least
    if rare.any():
        pooled = both[rare].sum() * (min(n, m) / (n + m))
        rest = [a[rare].sum(), b[rare].sum()]
        a, b, both = a[~rare], b[~rare], both[~rare]
        if pooled >= least or not len(a):
            a, b = np.append(a, rest[0]), np.append(b, rest[1])
        else:
            smallest = int(both.argmin())
            a[smallest] += rest[0]
            b[smallest] += rest[1]
        both = a + b
    if len(both) < 2:
        return Chi2(0.0, 0, 1.0)
    statistic = float(np.sum((a * math.sqrt(m / n) - b * math.sqrt(n / m)) ** 2 / both))
    return Chi2(statistic, len(both) - 1, float(stats.chi2.sf(statistic, len(both) - 1)))


# --- on values ------------------------------------------------------------------------------------


def ks(x: np.ndarray, y: np.ndarray) -> float:
    """Kolmogorov–Smirnov distance: the largest difference of the two distribution functions.

    0 to 1: the share of rows that moved across the worst value. Smirnov, Ann. Math. Stat. 19, 1948.
    """
    return walk(*_both_sorted(x, y))[0]


def wasserstein(x: np.ndarray, y: np.ndarray) -> float:
    """Wasserstein-1 (earth mover's) distance: the area between the two distribution functions.

    In the column's own unit: how far, on average, a row must move. A metric (Vallender, Theory
    Probab. Appl. 18, 1974, for the formula in one dimension).
    """
    return walk(*_both_sorted(x, y))[2]


def ks_p_value(distance: float, n: int, m: int) -> float:
    """The chance of a KS distance at least this large on equal data.

    From 50 values a side on the exact one-sample law (Simard and L'Ecuyer, J. Stat. Softw. 39,
    2011) at nm / (n + m) rows; below, where that is too small, the bound e exp(-2 nm / (n + m)
    D^2) (Wei and Dudley, Stat. Probab. Lett. 82, 2012). Too large, so safe, for columns with ties.
    """
    rows = n * m / (n + m)
    if min(n, m) < 50:
        return min(1.0, math.exp(1 - 2 * rows * distance**2))
    if distance >= 1:
        return 0.0
    return float(np.clip(stats.kstwo.sf(distance, round(rows)), 0.0, 1.0))


def ks_by_chance(n: int, m: int) -> float:
    """The KS distance that equal data give on average: the mean of Kolmogorov's law,
    sqrt(pi / 2) ln 2 sqrt(1/n + 1/m)."""
    return math.sqrt(math.pi / 2) * math.log(2) * math.sqrt(1 / n + 1 / m)


def _both_sorted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    made = tuple(np.sort(np.asarray(values, dtype=float)) for values in (x, y))
    if not all(len(one) and np.isfinite(one[[0, -1]]).all() for one in made):
        raise MonitoringError("A distance needs at least one value on each side, all finite.")
    return made
