"""From rows to profiles: a `Builder` takes batches of a table and keeps only what a profile holds.

Memory does not grow with the rows (exact mode excepted), so a builder can stand in a service and
be asked for its profile once a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mlsys.monitoring import profile_kernels as kernels
from mlsys.monitoring import profiles
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.label_sample import Counted, counted, label_hashes, merge_counted
from mlsys.monitoring.profile_grid import Grid, of_sample
from mlsys.monitoring.profiles import ColumnProfile, Profile, Tail, bounded
from mlsys.monitoring.sources import Kind, Piece, piece

BLOCK = 65_536  # rows turned to float64 at a time
SAMPLE = 65_536  # values from which a grid is chosen


class Builder:
    """Takes batches (dicts of column name to array-like), gives the profile of all of them."""

    def __init__(
        self,
        *,
        like: Profile | None = None,
        exact: bool = False,
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        self.like, self.exact, self.kinds = like, exact, dict(kinds or {})
        self.rows = 0
        self.columns: dict[str, _Numbers | _Categories] = {}
        self.unread: dict[str, str] = {}

    def add(self, batch: Mapping[str, Any]) -> None:
        """Add one batch. A column that cannot be read is set aside with a sentence.

        Raises MonitoringError when the batch's columns differ in length.
        """
        lengths = {name: len(values) for name, values in batch.items()}
        if len(set(lengths.values())) > 1:
            raise MonitoringError(f"Columns differ in length: {lengths}.")
        size = next(iter(lengths.values()), 0)
        for name, values in batch.items():
            if name in self.unread:
                continue
            try:
                self._add_column(name, values)
            except MonitoringError as error:
                self.unread[name] = str(error)
                self.columns.pop(name, None)
        for name, column in self.columns.items():
            if name not in batch:
                column.missing += size
        self.rows += size

    def done(self) -> Profile:
        """The profile of what was added so far; more may be added after."""
        columns = {name: column.done() for name, column in self.columns.items()}
        return Profile(self.rows, columns, dict(self.unread))

    def _add_column(self, name: str, values: Any) -> None:
        wanted = self.kinds.get(name)
        reference = self.like.columns.get(name) if self.like else None
        if wanted is None and reference is not None:
            wanted = reference.kind
        part = as_kind(piece(name, values), wanted if name in self.kinds else None)
        if wanted == "category" and part.kind == "number" and not np.isfinite(part.values).any():
            part = as_kind(part, "category")  # a column of nothing is of any kind
        if part.kind == "text":
            raise MonitoringError(
                f"Column {name!r} holds texts, which are judged from rows, not from profiles."
            )
        if name not in self.columns:
            if part.kind == "category":
                self.columns[name] = _Categories(name, part.dtype, self.rows)
            else:
                grid = reference.grid if reference is not None else None
                self.columns[name] = _Numbers(part, grid, self.rows, self.exact)
        column = self.columns[name]
        if part.kind != column.kind and len(part.values):
            raise MonitoringError(
                f"Column {name!r} is a {column.kind} in one batch and a {part.kind} in another: "
                f"convert it to one type."
            )
        column.add(part)


def as_kind(part: Piece, kind: Kind | None) -> Piece:
    """A number read as a category of its own digits, or a category as texts, where asked for."""
    if kind is None or kind == part.kind:
        return part
    if kind == "text" and part.kind == "category":
        return replace(part, kind="text")
    if kind == "category" and part.kind == "number":
        codes, labels = pd.factorize(part.values, use_na_sentinel=True)
        return Piece(part.name, "category", part.dtype, codes, [f"{label:g}" for label in labels])
    raise MonitoringError(
        f"Column {part.name!r} is a {part.kind} ({part.dtype}) and cannot be read as a {kind}."
    )


class _Numbers:
    """One column of numbers or times, as it grows."""

    def __init__(self, part: Piece, grid: Grid | None, missing: int, exact: bool) -> None:
        self.name, self.kind, self.dtype = part.name, part.kind, part.dtype
        self.missing = missing
        self.grid = grid or of_sample(_sample(part.values), whole=part.whole)
        self.bins = np.zeros(self.grid.size, np.int64)
        self.centre = (self.grid.low + self.grid.high) / 2
        self.state = kernels.new_state()
        self.sketch = kernels.new_sketch()
        self.kept: list[np.ndarray] | None = [] if exact else None

    def add(self, part: Piece) -> None:
        scale, first = 1.0 / self.grid.width, float(self.grid.first)
        for start in range(0, len(part.values), BLOCK):
            block = np.ascontiguousarray(part.values[start : start + BLOCK], dtype=np.float64)
            kernels.add_numbers(block, scale, first, self.centre, self.bins, self.state,
                                *self.sketch)  # fmt: skip
        if self.kept is not None:
            values = np.asarray(part.values, dtype=np.float64)
            self.kept.append(values[np.isfinite(values)])

    def done(self) -> ColumnProfile:
        state = self.state
        count = int(state[kernels.COUNT])
        away = float(state[kernels.SUM]) / count if count else np.nan
        # Values near the end of floating point have an infinite variance, not a wrong one.
        squares = float(state[kernels.SQUARES])
        m2 = squares - float(state[kernels.SUM]) * away if count else 0.0
        m2 = m2 if np.isfinite(m2) else np.inf
        low, high = float(state[kernels.LOW]), float(state[kernels.HIGH])
        values = None
        if self.kept is not None:
            values = np.sort(np.concatenate([np.zeros(0), *self.kept]))
        return ColumnProfile(
            self.name, self.kind, self.dtype, count,
            self.missing + int(state[kernels.MISSING]),
            _hashes(self.sketch),
            infinite=(int(state[kernels.MINUS]), int(state[kernels.PLUS])),
            mean=float(self.centre + away) if low != high else low,
            m2=max(float(m2), 0.0) if low != high else 0.0,
            low=low if count else np.nan,
            high=high if count else np.nan,
            grid=self.grid,
            bins=self.bins.copy(),
            below=Tail(int(state[kernels.BELOW]), float(state[kernels.BELOW_SUM])),
            above=Tail(int(state[kernels.ABOVE]), float(state[kernels.ABOVE_SUM])),
            values=values,
        )  # fmt: skip


class _Categories:
    """One column of categories, as it grows."""

    kind: Kind = "category"

    def __init__(self, name: str, dtype: str, missing: int) -> None:
        self.name, self.dtype, self.missing = name, dtype, missing
        self.count, self.slack = 0, 0
        self.top: dict[str, int] = {}
        self.sample: Counted | None = None  # kept from where `top` is not exact any more

    def add(self, part: Piece) -> None:
        counts = label_counts(part)
        self.missing += len(part.values) - int(counts.sum())
        self.count += int(counts.sum())
        present = np.flatnonzero(counts)
        counts = counts[present]
        labels = [part.labels[code] for code in present.tolist()]
        most = profiles.TOP
        if self.sample is None and len({*self.top, *labels}) > most:
            self.sample = counted(self.top)
        if self.sample is not None:
            self.sample = merge_counted(self.sample, (label_hashes(labels), counts))
        if len(labels) > most:  # the same bound, on arrays: the Python below sees at most TOP
            cut = int(np.partition(counts, -most - 1)[-most - 1])
            kept, self.slack = np.flatnonzero(counts > cut), self.slack + cut
            labels, counts = [labels[place] for place in kept.tolist()], counts[kept] - cut
        for label, count in zip(labels, counts.tolist()):
            self.top[label] = self.top.get(label, 0) + count
        self.top, self.slack = bounded(self.top, self.slack)

    def done(self) -> ColumnProfile:
        hashes, often = self.sample or counted(self.top)
        return ColumnProfile(
            self.name, "category", self.dtype, self.count, self.missing, hashes,
            top=dict(sorted(self.top.items(), key=lambda item: (-item[1], item[0]))),
            slack=self.slack,
            hash_counts=often if self.slack else None,
        )  # fmt: skip


def label_counts(part: Piece) -> np.ndarray:
    """How often each label of a category's piece occurs, in the order of its labels."""
    counts = np.zeros(len(part.labels) + 1, np.int64)
    kernels.count_codes(part.values, counts)
    return counts[:-1]


def _hashes(sketch: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    hashes, marks, _ = sketch
    kernels.shrink(hashes, marks)
    return hashes[: int(marks[0])].copy()


def _sample(values: np.ndarray) -> np.ndarray:
    """At most `SAMPLE` finite values, spread evenly over the column."""
    step = max(1, len(values) // SAMPLE)
    some = np.asarray(values[::step], dtype=np.float64)
    some = some[np.isfinite(some)]
    if not len(some) and step > 1:
        some = np.asarray(values, dtype=np.float64)
        some = some[np.isfinite(some)]
    return some
