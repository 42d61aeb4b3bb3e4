"""How far a column moved: all that can be said of two columns, or of a table.

`measure` takes two columns, rows or profiles, and gives a `Move` with all of them;
`measure_tables` does so for a table. The statistics are in `distances`, `unseen` and `cells`.
Whether a move is one to act on is for `verdicts`; how other libraries define theirs is in `styles`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlsys.monitoring import cells
from mlsys.monitoring.distances import (
    chi2_two_sample,
    hellinger,
    jensen_shannon,
    ks_p_value,
    psi,
)
from mlsys.monitoring.drift_kernels import bin_walk, mean_and_std, walk
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.profile_build import as_kind, label_counts
from mlsys.monitoring.profiles import ColumnProfile, Profile, aligned, profile, same_kind
from mlsys.monitoring.sources import Kind, Piece, batches, column
from mlsys.monitoring.text_measures import are_texts, compared
from mlsys.monitoring.unseen import beyond_p_value, moved_share, rows_beyond

DECILES = 10
OF_UNSEEN = 0.1  # the part of a column's level that belongs to the tests of unseen values
ALL_DIFFER, FEW = 0.9, 40  # different values a row, from so many rows on: the column is a key


@dataclass(frozen=True, slots=True)
class Move:
    """How far one column moved from reference (n values) to current (m values).

    `distance`: KS for numbers and times, L-infinity for categories: in both the share of rows in
    the worst place, which is `where` (a value, a category). `wasserstein` in the column's unit and
    `spread`, the reference's standard deviation, for numbers only. `psi`, `jensen_shannon` (base
    2), `hellinger` over the reference's deciles or the categories.

    `unseen`: the share of current rows with a category that the reference has not, or beyond its
    whole range; `example` is one such value. `moved`, for categories: the total variation, the
    share of rows that would have to change their category. What chance gives of the two is
    `unseen_by_chance` and `moved_by_chance`. `p_value`: of KS or chi-squared together with exact
    tests of what is unseen, each at its part of the level.

    Texts are measured by `measured` (length, words, unknown words: see `text_measures`), whichever
    moved most surely; all else is of that, `means` before and now too, and n and m are the texts
    compared. `missing`: shares without a finite value, before and now, and
    `missing_p` their test. A `distance` of nan says that values cannot be judged. `exact` is False
    where histograms or bounds stood for rows, which makes `distance` at most too small.
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
    moved: float = math.nan
    moved_by_chance: float = 0.0
    unseen: float = 0.0
    unseen_by_chance: float = 0.0
    example: float | str = ""
    measured: str = ""
    means: tuple[float, float] = (math.nan, math.nan)


def measure(reference: Piece | ColumnProfile, current: Piece | ColumnProfile) -> Move:
    """All statistics of one column. Raises MonitoringError when there is nothing to compare."""
    if reference.kind == "text":
        current = as_kind(current, "text")
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
    unfit = reference.kind == "category" and _not_judged(one, other)
    if unfit and not any(missing):
        raise MonitoringError(f"Column {reference.name!r} {unfit}.")
    if unfit or not other.count:
        nothing = (math.nan,) * 5
        return Move(*head, nothing[0], "", *nothing[:3], 1.0, missing, missing_p)
    if reference.kind == "text":
        return _texts(one, other, missing, missing_p)
    if reference.kind == "category":
        body = _categories(one, other)
    elif one.sorted is not None and other.sorted is not None:
        body = _exactly(one.sorted, other.sorted)
    else:
        body = _by_bins(one, other)
    return Move(*head, missing=missing, missing_p=missing_p, **body)


def measure_tables(
    reference: Any, current: Any, *, kinds: Mapping[str, Kind] | None = None
) -> tuple[list[Move], dict[str, str]]:
    """All columns of `reference`: their moves, and a sentence for each that cannot be judged.

    Either side is rows (see `sources.batches`) or a `Profile`; rows against rows are compared
    exactly, column by column, with memory for one column; else by histogram. `kinds` overrides what
    a column looks like: {"store": "category", "note": "text"}. Texts need rows on both sides.
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
            one = sides[0][name]
            if isinstance(one, Piece) and name not in (kinds or {}):
                one = as_texts(one)
            moves.append(measure(one, sides[1][name]))
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
            self.rows, self.count, self.distinct = given.rows, given.count, given.distinct
            if given.kind == "category":
                self.labels = cells.Labels(given.count, given.top, given.slack, given)
            return
        self.rows = len(given.values)
        if given.kind == "text":
            self.texts = np.array(given.labels, dtype=object)[given.values[given.values >= 0]]
            self.count = len(self.texts)
            return
        if given.kind == "category":
            counts = label_counts(given)
            present = np.flatnonzero(counts)
            self.count, self.distinct = int(counts.sum()), len(present)
            made = dict(zip([given.labels[i] for i in present.tolist()], counts[present].tolist()))
            self.labels = cells.Labels(self.count, made)
            return
        self.sorted = np.array(given.values, dtype=np.float64)
        self.sorted.sort()  # NaN comes last, infinities at the ends
        first = np.searchsorted(self.sorted, -np.inf, side="right")
        last = np.searchsorted(self.sorted, np.inf, side="left")
        self.sorted = self.sorted[first:last]
        self.count = len(self.sorted)


def as_texts(part: Piece) -> Piece:
    """The column as one of texts, where it looks like one (see `text_measures.are_texts`)."""
    if part.kind != "category" or 2 * len(part.labels) <= len(part.values):
        return part
    counts = label_counts(part)
    labels = [part.labels[i] for i in np.flatnonzero(counts).tolist()]
    return replace(part, kind="text") if are_texts(labels, int(counts.sum())) else part


def _not_judged(a: _Side, b: _Side) -> str:
    """Why a column of categories cannot be judged, as a part of a sentence."""
    if a.profile and are_texts(list(a.labels.counts), a.count) and 2 * a.distinct > a.count:
        return "holds texts, which are judged from rows, not from profiles"
    if min(a.count, b.count) >= FEW and all(s.distinct > ALL_DIFFER * s.count for s in (a, b)):
        texts = ", and texts are judged from rows, not from profiles" if a.profile else ""
        return f"has a value of its own in nearly every row: keys say nothing of drift{texts}"
    return ""


def _texts(a: _Side, b: _Side, missing: tuple[float, float], missing_p: float) -> Move:
    """Of the measures of texts the one that moved most surely; its p-value counts all of them."""
    before, now = compared(a.texts, b.texts)
    moves = []
    for name in before:
        x, y = (np.sort(side[name].to_numpy(float)) for side in (before, now))
        moves.append(
            Move(a.given.name, "text", len(x), len(y), missing=missing, missing_p=missing_p,
                 measured=name, means=(float(x.mean()), float(y.mean())), **_exactly(x, y))
        )  # fmt: skip
    worst = min(moves, key=lambda one: (max(one.p_value, 1e-9), -one.distance))
    return replace(worst, p_value=min(1.0, len(moves) * worst.p_value))


def _categories(a: _Side, b: _Side) -> dict[str, Any]:
    labels, p, q = cells.table(a.labels, b.labels)
    n, m = a.count, b.count
    spread = {"psi": psi(p, q), "jensen_shannon": jensen_shannon(p, q),
              "hellinger": hellinger(p, q)}  # fmt: skip
    exact = not (a.labels.slack or b.labels.slack)
    if not exact:
        p, q = p[:-1], q[:-1]
    alone = None if exact and not cells.thin(p, q) else cells.absent(a.labels, b.labels, p, q)
    if exact:
        test = chi2_two_sample(p, q)
        p_value, dof = test.p_value, test.dof
    else:
        p_value, dof = cells.bounded_p_value(p, q, n, m), 1
    # Where no label is frequent enough for shares, the whole level belongs to the other two.
    part = (OF_UNSEEN if dof else 1.0) if alone else 0.0
    tests = [(p_value, 1 - part)]
    if alone:
        tests += [(alone.new, part / 2), (alone.gone, part / 2)]
    apart = np.abs(p / n - q / m)
    worst = int(apart.argmax()) if len(apart) else 0
    new = np.where(p == 0, q, 0) if exact else np.zeros(1)
    return {
        "distance": float(apart.max(initial=0.0)),
        "where": labels[worst],
        "p_value": _together(*tests),
        "exact": exact,
        "moved": float(apart.sum()) / 2,
        "moved_by_chance": moved_share(p + q, n, m),
        "unseen": alone.share if alone else float(new.sum()) / m,
        "unseen_by_chance": alone.by_chance if alone else 0.0,
        "example": labels[int(new.argmax())] if new.any() else "",
        **spread,
    }


def _together(*tests: tuple[float, float]) -> float:
    """One p-value of several tests, each with its part of the level (Bonferroni's, weighted)."""
    return min(1.0, *(p / part for p, part in tests if part))


def _exactly(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    distance, where, area = walk(x, y)
    edges = np.unique(x[(np.arange(1, DECILES) * len(x)) // DECILES])
    p, q = (_between(np.searchsorted(one, edges, side="right"), len(one)) for one in (x, y))
    over = (int(np.searchsorted(y, x[0])), len(y) - int(np.searchsorted(y, x[-1], side="right")))
    return _numbers(distance, where, area, p, q, (len(x), len(y)), mean_and_std(x)[1], over,
                    (y[0], y[-1]))  # fmt: skip


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
    made = _numbers(distance, float(one.grid.edges[where]), area, p, q, (one.count, other.count),
                    one.std, rows_beyond(one, other), (other.low, other.high))  # fmt: skip
    return {**made, "exact": False}


def _only(column: ColumnProfile) -> Profile:
    return Profile(column.rows, {column.name: column})


def _numbers(distance, where, area, p, q, rows, spread, over, ends) -> dict[str, Any]:
    """`over`: how many current rows lie below and above all of the reference; `ends`: the least and
    the largest current value."""
    n, m = rows
    beyond = min(beyond_p_value(k, n, m) for k in over)
    tests = ((ks_p_value(distance, n, m), 1 - OF_UNSEEN), (2 * beyond, OF_UNSEEN))
    return {
        "distance": float(distance),
        "where": float(where),
        "psi": psi(p, q),
        "jensen_shannon": jensen_shannon(p, q),
        "hellinger": hellinger(p, q),
        "p_value": _together(*tests),
        "wasserstein": float(area),
        "spread": float(spread),
        "unseen": sum(over) / m,
        "unseen_by_chance": min(1.0, 2 / (n + 1)),
        "example": float(ends[over[1] >= over[0]]),
    }


def _between(ends: np.ndarray, count: int) -> np.ndarray:
    """Counts between cut points from how many lie at or below each."""
    return np.diff(np.concatenate([[0], ends, [count]]))


def _excess(tail: Any, end: float, count: int) -> float:
    """How far beyond `end` a value lies on average over all values."""
    return abs(tail.sum - end * tail.count) / count if tail.count else 0.0
