"""How far a column moved: the statistics, each with its definition, unit and source.

The functions at the top take plain arrays. `measure` takes two columns, rows or profiles, and gives
a `Move` with all of them; `measure_tables` does so for a table. Whether a move is one to act on is
for `verdicts`; how other libraries define theirs is in `styles`.

Shares and counts: where a function takes two arrays `p` and `q` they are counts or shares over the
same bins or categories, in the same order, of any positive sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from mlsys.monitoring.drift_kernels import bin_walk, mean_and_std, walk
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.profile_build import as_kind, label_counts
from mlsys.monitoring.profiles import ColumnProfile, Profile, aligned, profile, same_kind
from mlsys.monitoring.sources import Kind, Piece, batches, column

DECILES = 10


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


def _both_sorted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    made = tuple(np.sort(np.asarray(values, dtype=float)) for values in (x, y))
    if not all(len(one) and np.isfinite(one[[0, -1]]).all() for one in made):
        raise MonitoringError("A distance needs at least one value on each side, all finite.")
    return made


# --- of a column ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Move:
    """How far one column moved from reference (n values) to current (m values).

    `distance`: KS for numbers and times, L-infinity for categories: in both the share of rows in
    the worst place, which is `where` (a value, a category). `wasserstein` in the column's unit and
    `spread`, the reference's standard deviation, for numbers only. `psi`, `jensen_shannon` (base
    2), `hellinger` over the reference's deciles or the categories. `p_value`: KS or chi-squared.
    `missing`: shares without a finite value, before and now, and `missing_p` their test.
    `exact` is False where histograms stood for rows, which makes `distance` at most too small.
    """

    name: str
    kind: Kind
    n: int
    m: int
    distance: float
    where: float | str
    psi: float
    jensen_shannon: float
    hellinger: float
    p_value: float
    missing: tuple[float, float]
    missing_p: float
    wasserstein: float = math.nan
    spread: float = math.nan
    exact: bool = True


def measure(reference: Piece | ColumnProfile, current: Piece | ColumnProfile) -> Move:
    """All statistics of one column. Raises MonitoringError when there is nothing to compare."""
    same_kind(reference, current)
    one, other = _Side(reference), _Side(current)
    for side, word in ((one, "reference"), (other, "current data")):
        if not side.rows:
            raise MonitoringError(f"Column {reference.name!r} has no rows in the {word}.")
    if not one.count:
        raise MonitoringError(
            f"Column {reference.name!r} has no value in the reference: nothing to compare with."
        )
    missing = (1 - one.count / one.rows, 1 - other.count / other.rows)
    missing_p = chi2_two_sample(
        np.array([one.count, one.rows - one.count]),
        np.array([other.count, other.rows - other.count]),
    ).p_value
    head = (reference.name, reference.kind, one.count, other.count)
    if not other.count:
        nothing = (math.nan,) * 5
        return Move(*head, nothing[0], "", *nothing[:3], 1.0, missing, missing_p)
    if reference.kind == "category":
        body = _categories(one, other)
    elif one.sorted is not None and other.sorted is not None:
        body = _exactly(one, other)
    else:
        body = _by_bins(one, other)
    return Move(*head, missing=missing, missing_p=missing_p, **body)


def measure_tables(
    reference: Any, current: Any, *, kinds: Mapping[str, Kind] | None = None
) -> tuple[list[Move], dict[str, str]]:
    """All columns of `reference`: their moves, and a sentence for each that cannot be judged.

    Either side is rows (see `sources.batches`) or a `Profile`; rows against rows are compared
    exactly, column by column, with memory for one column; else by histogram.
    """
    if isinstance(reference, Profile) or isinstance(current, Profile):
        if not isinstance(reference, Profile):
            reference = profile(reference, like=current, kinds=kinds)
        if not isinstance(current, Profile):
            current = profile(current, like=reference, kinds=kinds)
        sides = (reference, current)
        names = [*reference.columns, *reference.unread]
        others = {*current.columns, *current.unread}
    else:
        sides = tuple(_Table(source, kinds or {}) for source in (reference, current))
        names, others = (side.names for side in sides)
    moves, unread = [], {}
    for name in names:
        try:
            if name not in others:
                raise MonitoringError(f"Column {name!r} is not in the current data.")
            moves.append(measure(sides[0][name], sides[1][name]))
        except MonitoringError as error:
            unread[name] = str(error)
    return moves, unread


class _Table:
    """Rows, read one column at a time."""

    def __init__(self, source: Any, kinds: Mapping[str, Kind]) -> None:
        self.kinds = kinds
        parts = list(batches(source))
        self.source = parts[0] if len(parts) == 1 else None
        if self.source is None:
            import pyarrow as pa

            names = parts[0] if parts else ()
            self.source = {name: pa.chunked_array([part[name] for part in parts]) for name in names}
        self.names = list(self.source)

    def __getitem__(self, name: str) -> Piece:
        return as_kind(column(self.source, name), self.kinds.get(name))


class _Side:
    """One column as what the statistics need, whichever way it came."""

    def __init__(self, given: Piece | ColumnProfile) -> None:
        self.given = given
        self.sorted = self.profile = None
        if isinstance(given, ColumnProfile):
            self.profile, self.sorted = given, given.values
            self.rows, self.count, self.spread = given.rows, given.count, given.std
            self.labels, self.slack = dict(given.top), given.slack
            return
        self.rows, self.slack = len(given.values), 0
        if given.kind == "category":
            counts = label_counts(given)
            present = np.flatnonzero(counts)
            self.labels = {given.labels[i]: int(counts[i]) for i in present.tolist()}
            self.count = int(counts.sum())
            return
        self.sorted = np.array(given.values, dtype=np.float64)
        self.sorted.sort()  # NaN comes last, infinities at the ends
        first, last = np.searchsorted(self.sorted, [-np.inf, np.inf], side="right")
        last = np.searchsorted(self.sorted, np.inf, side="left")
        self.sorted = self.sorted[first:last]
        self.count = len(self.sorted)


def _categories(a: _Side, b: _Side) -> dict[str, Any]:
    labels = {**a.labels, **b.labels}
    p = np.array([a.labels.get(label, 0) for label in labels], dtype=float)
    q = np.array([b.labels.get(label, 0) for label in labels], dtype=float)
    labels = list(labels)
    if a.slack or b.slack:
        # Where labels were dropped, only those far above the error are told apart.
        sure = (p > 10 * a.slack) & (q > 10 * b.slack)
        labels = [label for label, keep in zip(labels, sure) if keep] + ["(all others)"]
        p = np.append(p[sure], a.count - p[sure].sum())
        q = np.append(q[sure], b.count - q[sure].sum())
    worst = int(np.abs(p / a.count - q / b.count).argmax())
    return {
        "distance": l_infinity(p, q),
        "where": labels[worst],
        "psi": psi(p, q),
        "jensen_shannon": jensen_shannon(p, q),
        "hellinger": hellinger(p, q),
        "p_value": chi2_two_sample(p, q).p_value,
        "exact": not (a.slack or b.slack),
    }


def _exactly(a: _Side, b: _Side) -> dict[str, Any]:
    x, y = a.sorted, b.sorted
    distance, where, area = walk(x, y)
    edges = np.unique(x[(np.arange(1, DECILES) * len(x)) // DECILES])
    p, q = (_between(np.searchsorted(one, edges, side="right"), len(one)) for one in (x, y))
    return _numbers(distance, where, area, p, q, a, b, mean_and_std(x)[1])


def _by_bins(a: _Side, b: _Side) -> dict[str, Any]:
    one, other = (
        side.profile or profile({side.given.name: side.given},
                                like=_only(twin.profile))[side.given.name]
        for side, twin in ((a, b), (b, a))
    )  # fmt: skip
    one, other = aligned(one, other)
    up, down = (
        np.concatenate([[side.below.count], side.below.count + np.cumsum(side.bins)])
        for side in (one, other)
    )
    distance, where, area = bin_walk(up / one.count, down / other.count, one.grid.width)
    # Beyond an end only the mean excess is known: the least area that it allows.
    low, high = one.grid.low, one.grid.high
    area += abs(_excess(one.below, low, one.count) - _excess(other.below, low, other.count))
    area += abs(_excess(one.above, high, one.count) - _excess(other.above, high, other.count))
    wanted = np.arange(1, DECILES) * one.count / DECILES
    places = np.unique(np.searchsorted(up, wanted, side="left").clip(0, len(up) - 1))
    p, q = (_between(ends[places], side.count) for ends, side in ((up, one), (down, other)))
    made = _numbers(distance, float(one.grid.edges[where]), area, p, q, a, b, one.std)
    return {**made, "exact": False}


def _only(column: ColumnProfile) -> Profile:
    return Profile(column.rows, {column.name: column})


def _numbers(distance, where, area, p, q, a, b, spread) -> dict[str, Any]:
    return {
        "distance": float(distance),
        "where": float(where),
        "psi": psi(p, q),
        "jensen_shannon": jensen_shannon(p, q),
        "hellinger": hellinger(p, q),
        "p_value": ks_p_value(distance, a.count, b.count),
        "wasserstein": float(area),
        "spread": float(spread),
    }


def _between(ends: np.ndarray, count: int) -> np.ndarray:
    """Counts between cut points from how many lie at or below each."""
    return np.diff(np.concatenate([[0], ends, [count]]))


def _excess(tail: Any, end: float, count: int) -> float:
    """How far beyond `end` a value lies on average over all values."""
    return abs(tail.sum - end * tail.count) / count if tail.count else 0.0
