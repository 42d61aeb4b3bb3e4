"""Profiles: a column's rows, once read, become a few kilobytes that say what drift asks of them.

A profile counts, so two of them add up: `merge(a, b)` is the profile of both columns together, a
day's profiles merge into a week's, and machines that each saw a part of the traffic merge theirs.
Counts, ranges, bins, categories within their bound and the sketch of distinct values are equal to
the last bit; moments to rounding. How rows become a profile is in `profile_build`; how two differ
is in `drift`.

A profile is kept as JSON (`Profile.to_json`), never as a pickle.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.label_sample import Counted, counted, merge_counted
from mlsys.monitoring.profile_grid import Grid, coarsen, common
from mlsys.monitoring.profile_kernels import KEPT
from mlsys.monitoring.sources import Kind

FORMAT = 1
TOP = 4096  # categories that are counted one by one


@dataclass(frozen=True, slots=True)
class Tail:
    """What lies beyond one end of a grid: how many values, and their sum."""

    count: int = 0
    sum: float = 0.0

    def __add__(self, other: Tail) -> Tail:
        return Tail(self.count + other.count, self.sum + other.sum)


@dataclass(frozen=True, eq=False)
class ColumnProfile:
    """What is kept of one column.

    Of every kind: `count` (values that are there and finite), `missing`, `smallest_hashes` (the
    1,024 smallest hashes of its values, ascending, which estimate how many differ). Of numbers and
    times: `infinite` (minus, plus), `mean`, `m2` (sum of squares about the mean), `low`, `high`,
    and on `grid` the counts `bins` with the tails `below` and `above`. Of categories: `top`, counts
    by label. When more than 4,096 labels came, a label's count in `top` is too small by at most
    `slack` (Misra and Gries, Sci. Comput. Program. 1982; mergeable: Agarwal et al., PODS 2012);
    else `slack` is 0 and `top` is exact. Where it is not, `hash_counts` says how often each label
    of `smallest_hashes` came. `values`, in exact mode only: every finite number, sorted.
    """

    name: str
    kind: Kind
    dtype: str
    count: int
    missing: int
    smallest_hashes: np.ndarray
    infinite: tuple[int, int] = (0, 0)
    mean: float = math.nan
    m2: float = 0.0
    low: float = math.nan
    high: float = math.nan
    grid: Grid | None = None
    bins: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    below: Tail = Tail()
    above: Tail = Tail()
    top: Mapping[str, int] = field(default_factory=dict)
    slack: int = 0
    hash_counts: np.ndarray | None = None
    values: np.ndarray | None = None

    @property
    def rows(self) -> int:
        return self.count + self.missing + sum(self.infinite)

    @property
    def std(self) -> float:
        """Standard deviation with n in the denominator; NaN without values."""
        return math.sqrt(max(self.m2, 0.0) / self.count) if self.count else math.nan

    @property
    def distinct(self) -> float:
        """How many different values: exact below 1,024, else to about 3 % (one sigma).

        (k - 1) / the k-th smallest of k uniform hashes: Bar-Yossef et al., RANDOM 2002.
        """
        kept = len(self.smallest_hashes)
        if kept < KEPT:
            return float(kept)
        return (kept - 1) * 2.0**64 / float(self.smallest_hashes[-1])

    @property
    def sample(self) -> Counted | None:
        """A category's `label_sample`; None for a profile that was stored without the counts."""
        if not self.slack:
            return counted(self.top)
        return None if self.hash_counts is None else (self.smallest_hashes, self.hash_counts)

    @property
    def rest(self) -> int:
        """How many values `top` does not count."""
        return self.count - sum(self.top.values()) if self.kind == "category" else 0

    def on(self, grid: Grid) -> ColumnProfile:
        """The same on a coarser grid. Counts stay exact; the sums of tails that grow are taken at
        the middles of bins, so they are right to half a bin a value."""
        if self.grid is None or grid == self.grid:
            return self
        bins, low, high = coarsen(self.bins, self.grid, grid)
        middles = self.grid.middles
        below, above = (
            tail + Tail(int(self.bins[part].sum()), float(self.bins[part] @ middles[part]))
            for tail, part in ((self.below, low), (self.above, high))
        )
        return replace(self, grid=grid, bins=bins, below=below, above=above)


@dataclass(frozen=True)
class Profile:
    """A table's columns by name, and `unread`: a sentence for each column that has no profile."""

    rows: int
    columns: Mapping[str, ColumnProfile]
    unread: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> ColumnProfile:
        try:
            return self.columns[name]
        except KeyError:
            why = self.unread.get(name, f"There is no column {name!r} in this profile.")
            raise MonitoringError(why) from None

    def to_json(self) -> bytes:
        """A versioned JSON document, arrays as base64. Sorted values of exact mode are included."""
        columns = [_pack(column) for column in self.columns.values()]
        return msgspec.json.encode(_Document(FORMAT, self.rows, columns, dict(self.unread)))

    @staticmethod
    def from_json(text: bytes | str) -> Profile:
        """The profile that `to_json` wrote. Raises MonitoringError for anything else."""
        try:
            made = msgspec.json.decode(text, type=_Document)
            if made.format != FORMAT:
                raise MonitoringError(
                    f"This profile has format {made.format}; this version reads {FORMAT}."
                )
            columns = {column.name: _unpack(column) for column in made.columns}
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            if isinstance(error, MonitoringError):
                raise
            raise MonitoringError(f"This is not a stored profile: {error}.") from None
        return Profile(made.rows, columns, made.unread)


def profile(
    source: Any,
    *,
    like: Profile | None = None,
    exact: bool = False,
    kinds: Mapping[str, Kind] | None = None,
) -> Profile:
    """The profile of a table, in one pass over its rows.

    `source` is anything `sources.batches` reads. `like`, a reference's profile, lends its grids:
    give it always when the two will be compared or merged. Without it a column's grid comes from
    the quantiles of its first batch. `exact` keeps the sorted numbers too. `kinds` overrides what
    a column's type says: {"store": "category"} for a number that is a name.
    """
    from mlsys.monitoring.profile_build import Builder

    builder = Builder(like=like, exact=exact, kinds=kinds)
    from mlsys.monitoring.sources import batches

    for batch in batches(source):
        builder.add(batch)
    return builder.done()


def merge(a: Profile, b: Profile) -> Profile:
    """The profile of both tables' rows together.

    A column that only one of them has counts as missing in the other's rows.
    Raises MonitoringError when a column's kinds differ, or its grids lie too far apart.
    """
    columns = {}
    for name in [*a.columns, *(name for name in b.columns if name not in a.columns)]:
        one, other = a.columns.get(name), b.columns.get(name)
        if one is None or other is None:
            there, absent = (other, a) if one is None else (one, b)
            columns[name] = replace(there, missing=there.missing + absent.rows)
        else:
            columns[name] = merge_columns(one, other)
    unread = {**a.unread, **b.unread}
    columns = {name: column for name, column in columns.items() if name not in unread}
    return Profile(a.rows + b.rows, columns, unread)


def merge_columns(a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    """The profile of both columns' values together."""
    same_kind(a, b)
    count = a.count + b.count
    hashes = np.union1d(a.smallest_hashes, b.smallest_hashes)[:KEPT]
    made = replace(
        a, count=count, missing=a.missing + b.missing, smallest_hashes=hashes,
        dtype=a.dtype if a.dtype == b.dtype else f"{a.dtype} or {b.dtype}",
    )  # fmt: skip
    if a.kind == "category":
        both = {label: a.top.get(label, 0) + b.top.get(label, 0) for label in {**a.top, **b.top}}
        top, slack = bounded(both, a.slack + b.slack)
        samples = [one.sample for one in (a, b) if slack]
        often = merge_counted(*samples)[1] if samples and all(samples) else None
        return replace(made, top=top, slack=slack, hash_counts=often)
    a, b = aligned(a, b)
    mean, m2 = _moments(a, b)
    exact = a.values is not None and b.values is not None
    return replace(
        made,
        infinite=(a.infinite[0] + b.infinite[0], a.infinite[1] + b.infinite[1]),
        mean=mean,
        m2=m2,
        low=_either(min, a.low, b.low),
        high=_either(max, a.high, b.high),
        grid=a.grid,
        bins=a.bins + b.bins,
        below=a.below + b.below,
        above=a.above + b.above,
        values=np.sort(np.concatenate([a.values, b.values]), kind="stable") if exact else None,
    )


def aligned(a: ColumnProfile, b: ColumnProfile) -> tuple[ColumnProfile, ColumnProfile]:
    """Both on one grid (see `profile_grid.common`)."""
    same_kind(a, b)
    if a.grid is None or b.grid is None or a.grid == b.grid:
        return a, b
    if not (a.count and b.count):  # an empty column has no say
        grid = a.grid if a.count else b.grid
        return tuple(
            one if one.count else replace(one, grid=grid, bins=np.zeros(grid.size, np.int64))
            for one in (a, b)
        )
    try:
        grid = common(
            a.grid, b.grid,
            below=(a.below.count > 0, b.below.count > 0),
            above=(a.above.count > 0, b.above.count > 0),
        )  # fmt: skip
    except MonitoringError as error:
        raise MonitoringError(f"Column {a.name!r}: {error}") from None
    return a.on(grid), b.on(grid)


def same_kind(a: ColumnProfile, b: ColumnProfile) -> None:
    """Raises MonitoringError unless the two can be compared."""
    if a.kind != b.kind:
        raise MonitoringError(
            f"Column {a.name!r} is a {a.kind} ({a.dtype}) on one side and a {b.kind} ({b.dtype}) "
            f"on the other: convert one of them."
        )
    if a.kind == "time" and ("," in a.dtype or "tz=" in a.dtype) != (
        "," in b.dtype or "tz=" in b.dtype
    ):
        raise MonitoringError(
            f"Column {a.name!r} has a time zone on one side only ({a.dtype}, {b.dtype}): say "
            f"which zone the other is in."
        )


def bounded(counts: dict[str, int], slack: int) -> tuple[dict[str, int], int]:
    """At most `TOP` of the counts, each lowered by the count of the first that must go."""
    if len(counts) > TOP:
        cut = heapq.nlargest(TOP + 1, counts.values())[-1]
        counts = {label: n - cut for label, n in counts.items() if n > cut}
        slack += cut
    return counts, slack


def _moments(a: ColumnProfile, b: ColumnProfile) -> tuple[float, float]:
    """Mean and m2 of both: T. Chan, G. Golub, R. LeVeque, COMPSTAT 1982."""
    if not (a.count and b.count):
        one = a if a.count else b
        return one.mean, one.m2
    share = b.count / (a.count + b.count)
    apart = b.mean - a.mean
    return a.mean + apart * share, a.m2 + b.m2 + apart * apart * a.count * share


def _either(choose, a: float, b: float) -> float:
    return b if math.isnan(a) else a if math.isnan(b) else choose(a, b)


# --- as a document --------------------------------------------------------------------------------


class _Column(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    kind: Kind
    dtype: str
    count: int
    missing: int
    smallest_hashes: bytes
    infinite: tuple[int, int]
    mean: float | None
    m2: float | None
    low: float | None
    high: float | None
    grid: tuple[int, int, int] | None
    bins: list[int]  # in runs: an empty stretch is one negative number, its length
    below: tuple[int, float | None]
    above: tuple[int, float | None]
    top: dict[str, int]
    slack: int
    values: bytes | None = None
    hash_counts: list[int] | None = None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    rows: int
    columns: list[_Column]
    unread: dict[str, str]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _pack(column: ColumnProfile) -> _Column:
    grid = column.grid
    return _Column(
        column.name, column.kind, column.dtype, column.count, column.missing,
        column.smallest_hashes.astype("<u8").tobytes(), column.infinite,
        *map(_finite, (column.mean, column.m2, column.low, column.high)),
        None if grid is None else (grid.exponent, grid.first, grid.size),
        _runs(column.bins),
        (column.below.count, _finite(column.below.sum)),
        (column.above.count, _finite(column.above.sum)),
        dict(column.top), column.slack,
        None if column.values is None else column.values.astype("<f8").tobytes(),
        None if column.hash_counts is None else column.hash_counts.tolist(),
    )  # fmt: skip


def _unpack(made: _Column) -> ColumnProfile:
    grid = None if made.grid is None else Grid(*made.grid)
    bins = _unrun(made.bins, 0 if grid is None else grid.size)
    number = [math.nan if value is None else value for value in (made.mean, made.low, made.high)]
    below, above = (Tail(n, math.nan if s is None else s) for n, s in (made.below, made.above))
    seen = bins.sum() + below.count + above.count if grid else sum(made.top.values())
    if min(made.count, made.missing, *made.infinite) < 0 or (
        seen > made.count if grid is None else seen != made.count
    ):
        raise MonitoringError(f"The stored profile of {made.name!r} does not add up.")
    hashes = np.frombuffer(made.smallest_hashes, "<u8")
    often = None if made.hash_counts is None else np.array(made.hash_counts, np.int64)
    if often is not None and (len(often) != len(hashes) or often.min(initial=1) < 1):
        raise MonitoringError(f"The stored profile of {made.name!r} has counts without hashes.")
    return ColumnProfile(
        made.name, made.kind, made.dtype, made.count, made.missing,
        hashes, made.infinite, number[0],
        math.inf if made.m2 is None else made.m2, number[1], number[2], grid, bins, below, above,
        made.top, made.slack, often,
        None if made.values is None else np.frombuffer(made.values, "<f8"),
    )  # fmt: skip


def _runs(bins: np.ndarray) -> list[int]:
    made: list[int] = []
    empty = 0
    for n in bins.tolist():
        if n == 0:
            empty += 1
            continue
        if empty:
            made.append(-empty)
            empty = 0
        made.append(n)
    return made


def _unrun(made: list[int], size: int) -> np.ndarray:
    bins = np.zeros(size, np.int64)
    place = 0
    for n in made:
        if n < 0:
            place -= n
            continue
        if place >= size:
            raise MonitoringError("The stored profile has more bins than its grid.")
        bins[place] = n
        place += 1
    return bins
