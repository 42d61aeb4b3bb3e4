"""An eye on a log that grows: each look reads what is new and judges the windows that it changes.

A `Watcher` says at every look what `watch.watch` would say of the whole log, at the cost of what
was written since the look before, of the newest window, and of a row for each window. It keeps a
summary of each window, the rows of the newest three, and what `label_index` needs to find a late
label its prediction. A log in another's place, a log whose oldest days are gone, and a row that
comes later than those three windows are noticed: then all is read again.
"""

from collections import defaultdict
from itertools import chain
from math import inf

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.label_index import REMEMBERED, Columns, LabelIndex, numbers
from mlsys.monitoring.labels import known_at
from mlsys.monitoring.store import TIME, Store, stacked
from mlsys.monitoring.store_tail import LogReplaced, Tail
from mlsys.monitoring.traffic import THRESHOLD
from mlsys.monitoring.windows import (
    EVER,
    Arrivals,
    Standard,
    Watch,
    Window,
    add_arrivals,
    judge_rows,
    micros,
    together,
)

KEPT = 3  # windows whose rows are at hand


class _Late(Exception):
    """A row belongs to a window whose rows are not at hand any more."""


class Watcher:
    """Watches the log of a service, held against what `windows.learn` made of a reference.

    Not for two threads at once. Labels find the newest `remembered` predictions; `rows` counts the
    predictions judged, `forgotten` those that are too old for a label.
    """

    def __init__(self, store: Store, standard: Standard, *, remembered: int = REMEMBERED) -> None:
        self.store, self.standard, self.remembered = store, standard, remembered
        self._step = standard.every // pd.Timedelta("1us")
        self._begin()

    def _begin(self) -> None:
        self._predictions, self._labels = Tail(self.store.predictions), Tail(self.store.labels)
        self._index = LabelIndex(self.remembered)
        self._columns: set[str] = set()
        self._before = -inf
        self._early: list[pa.Table] = []  # rows read that are not older than `before`
        # By a window's start, in µs since 1970:
        self._rows: dict[int, list[pa.Table]] = {}
        self._windows: dict[int, Window] = {}
        self._arrivals: dict[int, Arrivals] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        self._stale: set[int] = set()
        self._closed = -inf
        self._seen: Watch | None = None
        self.rows = 0

    @property
    def forgotten(self) -> int:
        return self._index.forgotten

    def look(self, *, before: pd.Timestamp | None = None) -> Watch:
        """All windows as they are now, of rows older than `before`.

        Raises MonitoringError when there is nothing to judge yet, or what cannot be judged.
        """
        end = inf if before is None else micros(before)
        if end < self._before:
            self._begin()
        in_order = False
        for _ in range(3):
            try:
                self._read(end, in_order=in_order)
                return self._judged()
            except (LogReplaced, _Late) as why:
                in_order = in_order or isinstance(why, _Late)
                self._begin()
            except BaseException:
                self._begin()  # half of what is new may have been taken
                raise
        raise MonitoringError(f"The log in {self.store.folder} is being replaced; look again.")

    def newest(self) -> pd.DataFrame:
        """The rows of the newest window, in the order of their time."""
        return self._frame(max(self._rows))

    def _read(self, end: float, *, in_order: bool) -> None:
        """Take what is new; `in_order` sorts it by time before, all in memory."""
        tables = chain(self._early, map(self._needed, self._predictions.new()))
        self._before, self._early = end, []
        if in_order and (every := list(tables)):
            tables = [stacked(every).sort_by(TIME)]
        for table in tables:
            self._take(table, end)
        for labels in self._labels.new():
            self._tell(self._index.labelled(labels))

    def _needed(self, table: pa.Table) -> pa.Table:
        """The columns that somebody will ask for; the score decides where nobody logs an answer."""
        if "score" in table.column_names:
            score = numbers(table, "score")
            table = table.set_column(table.column_names.index("score"), "score", score)
            if "prediction" not in table.column_names:
                said = pc.greater_equal(score, THRESHOLD)
                table = table.append_column("prediction", said)
        self._columns |= set(table.column_names)
        names = {TIME, "id", "prediction", "score", *self.standard.inputs}
        return table.select([name for name in table.column_names if name in names])

    def _take(self, table: pa.Table, end: float) -> None:
        """Put rows where they belong, and close the windows that are old by then."""
        at = table.column(TIME).cast(pa.int64()).to_numpy()
        if len(at) and at.max() >= end:
            self._early.append(table.filter(at >= end))
            table, at = table.filter(at < end), at[at < end]
        self.rows += len(at)
        if {"id", "prediction"} <= set(table.column_names):
            self._tell(self._index.predicted(table))
        starts = at - at % self._step
        for start in np.unique(starts).tolist():
            if start <= self._closed:
                raise _Late
            self._rows.setdefault(start, []).append(table.filter(starts == start))
            # The verdicts on later windows look back on this one.
            self._stale |= {one for one in self._rows if one >= start}
            for old in sorted(self._rows)[:-KEPT]:
                self._judge(old)
                del self._rows[old]
                self._closed = old

    def _tell(self, labels: Columns) -> None:
        """Count labels that found their predictions."""
        at, told = labels["at"], labels["label_at"]
        early = told < at
        if early.any():
            times = {"at": at[early].view("M8[us]"), "label_at": told[early].view("M8[us]")}
            known_at(pd.DataFrame(times).apply(pd.to_datetime, utc=True), EVER)  # raises
        starts, ends = at - at % self._step, told + -told % self._step
        for start in np.unique(starts).tolist():
            here = starts == start
            add_arrivals(
                self._arrivals[start], ends[here], labels["right"][here], labels["sign"][here]
            )
            self._seen = None

    def _judged(self) -> Watch:
        if not self._rows:
            raise MonitoringError(f"The log in {self.store.folder} has no predictions yet.")
        for name in ("score", *self.standard.inputs):
            if name not in self._columns:
                raise MonitoringError(f"The log has no column {name!r}, which its reference has.")
        for start in sorted(self._stale):
            self._judge(start)
        if self._seen is None:
            windows = [self._windows[start] for start in sorted(self._windows)]
            for old in windows[: -KEPT - self.standard.drift.n]:
                old.profile = None
            self._seen = together(self.standard, windows)
        return self._seen

    def _judge(self, start: int) -> None:
        if start not in self._stale:
            return
        earlier = [self._windows[one] for one in sorted(self._windows) if one < start]
        at = pd.Timestamp(start, unit="us", tz="UTC")
        self._windows[start] = judge_rows(
            self.standard, at, self._frame(start), earlier, self._arrivals[start]
        )
        self._stale.discard(start)
        self._seen = None

    def _frame(self, start: int) -> pd.DataFrame:
        rows = stacked(self._rows[start])
        order = [(name, "ascending") for name in (TIME, "id") if name in rows.column_names]
        rows = rows.sort_by(order)
        self._rows[start] = [rows]  # one piece, not one a look
        frame = rows.to_pandas()
        missing = {"score", *self.standard.inputs} - set(frame)
        return frame.reindex(columns=[*frame, *sorted(missing)])
