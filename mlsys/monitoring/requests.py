"""What a service was asked, by window of time: how often, how fast, which classes, which version.

`Requests` takes rows in one pass and keeps counts: of each window the rows by class and by version,
and a histogram of latencies. It holds at most `WINDOWS` windows of `BUCKETS` counts (0.6 MB),
however many rows: when the windows become too many, neighbours are added up, which is exact since
each length of `LENGTHS` is a multiple of the one before. `LogRequests` feeds it from a log that
grows. Drawing is left to `requests_figures`.

A row is a prediction, so a request that asks for many counts as many, each as slow as the request.
"""

import math
import threading
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.store import Log
from mlsys.monitoring.store_tail import LogReplaced, Tail

LENGTHS = ("1s", "10s", "1min", "10min", "1h", "6h", "1D", "7D", "28D", "336D", "67200D")
WINDOWS = 60  # at most: those of the last length hold all times from the year 1 to 9999
CLASSES, VERSIONS = 8, 100  # that are counted by name; what comes later is one of the OTHERS
OTHERS = "others"
PERCENTS = (50, 95, 99)
COLUMNS = ("at", "prediction", "version", "took_ms")

# The buckets of DDSketch (Masson, Rim and Lee, VLDB 2019, section 2.1): bucket i holds latencies
# from FASTEST * GROWTH**(i - 1) to FASTEST * GROWTH**i, and the value given for it is off by at
# most the share ERROR of the true one.
ERROR = 0.01
GROWTH = (1 + ERROR) / (1 - ERROR)
FASTEST, SLOWEST = 1e-3, 1e8  # ms: a microsecond and a day; what lies beyond counts as these
BUCKETS = math.ceil(math.log(SLOWEST / FASTEST, GROWTH)) + 1


@dataclass
class _Window:
    rows: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    since: dict[str, pd.Timestamp] = field(default_factory=dict)  # each version's first row
    took: np.ndarray = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))

    def take(self, other: "_Window") -> None:
        """Add another window's rows."""
        self.rows += other.rows
        self.classes += other.classes
        self.versions += other.versions
        for version, at in other.since.items():
            self.since[version] = min(at, self.since.get(version, at))
        self.took += other.took


class Requests:
    """The rows of a log counted by window; `every` (of `LENGTHS`) is the windows' length now.

    It begins with the length that is given and grows with the stretch that the rows take.
    """

    def __init__(self, every: str = LENGTHS[0]) -> None:
        if every not in LENGTHS:
            raise MonitoringError(
                f"Windows of {every!r} cannot be counted; take one of {', '.join(LENGTHS)}."
            )
        self.every = every
        self.newest: pd.Timestamp | None = None  # time of the newest row
        self.classes: list[str] = []
        self.versions: list[str] = []
        self._windows: dict[pd.Timestamp, _Window] = {}

    def __len__(self) -> int:
        """Rows so far."""
        return sum(window.rows for window in self._windows.values())

    def add(self, rows: pd.DataFrame) -> None:
        """Count rows in any order: `at`, and `prediction`, `version` and `took_ms` (ms) if known.

        Where a value is missing the row counts for the rest.
        """
        if not len(rows):
            return
        self._grow(rows["at"].min(), rows["at"].max())
        start = rows["at"].dt.floor(self.every)
        for at, count in rows.groupby(start).size().items():
            self._window(at).rows += count
        if "prediction" in rows:
            names = _named(rows["prediction"], self.classes, CLASSES)
            for (at, name), count in rows.groupby([start, names]).size().items():
                self._window(at).classes[name] += count
        if "version" in rows:
            names = _named(rows["version"], self.versions, VERSIONS)
            seen = rows.groupby([start, names])["at"].agg(["size", "min"])
            for (at, name), count, first in seen.itertuples(name=None):
                window = self._window(at)
                window.versions[name] += count
                window.since[name] = min(first, window.since.get(name, first))
        if "took_ms" in rows:
            times = pd.to_numeric(rows["took_ms"], errors="coerce").astype(float)
            for at, took in times.groupby(start):
                self._window(at).took += _histogram(took.to_numpy())

    def windows(self, *, until: pd.Timestamp | None = None) -> pd.DataFrame:
        """A row for each window from the first to the newest, also where nothing was asked.

        at (its start), rows, rate (rows/s), measured (rows with a latency), p50, p95 and p99 (ms,
        by nearest rank, off by at most `ERROR`; nan without a latency). A window that is not over
        `until` then (the newest row) has no rate yet: nan.
        """
        step, until = pd.Timedelta(self.every), until or self.newest or pd.NaT
        starts, seen = self._filled()
        table = pd.DataFrame({"at": starts, "rows": [window.rows for window in seen]})
        table["rate"] = table["rows"] / step.total_seconds()
        table["rate"] = table["rate"].where(table["at"] + step <= until)
        table["measured"] = [int(window.took.sum()) for window in seen]
        for percent in PERCENTS:
            table[f"p{percent}"] = [_percentile(window.took, percent) for window in seen]
        return table

    def shares(self) -> pd.DataFrame:
        """The share (0 to 1) of each class in each window; nan where nothing was predicted."""
        starts, seen = self._filled()
        names = sorted(self.classes, key=lambda name: (name == OTHERS, name))
        counts = {name: [window.classes[name] for window in seen] for name in names}
        table = pd.DataFrame(counts, index=starts)
        return table.div(table.sum(axis=1).replace(0, np.nan), axis=0)

    def by_version(self) -> pd.Series:
        """Rows by version."""
        total = sum((window.versions for window in self._windows.values()), Counter())
        return pd.Series(total, dtype=int)

    def changes(self) -> list[tuple[pd.Timestamp, str]]:
        """From when on which version gave most of the answers, oldest first.

        The time is that of its first row around the change: exact for a switch at one moment, else
        right to within a window.
        """
        found, leader, before = [], None, {}
        for _, window in sorted(self._windows.items()):
            if not window.versions:
                continue
            # Of two with as many answers the one that led before stays, else the newer one leads.
            _, _, _, name = max(
                (count, name == leader, window.since[name], name)
                for name, count in window.versions.items()
            )
            if name != leader:
                found.append((before.get(name, window.since[name]), name))
            leader, before = name, window.since
        return found

    def _window(self, at: pd.Timestamp) -> _Window:
        return self._windows.setdefault(at, _Window())

    def _filled(self) -> tuple[pd.DatetimeIndex, list[_Window]]:
        """The start and the counts of each window, empty ones between included."""
        if not self._windows:
            return pd.DatetimeIndex([], tz="UTC"), []
        starts = pd.date_range(min(self._windows), max(self._windows), freq=self.every)
        return starts, [self._windows.get(at, _Window()) for at in starts]

    def _grow(self, first: pd.Timestamp, last: pd.Timestamp) -> None:
        """Make room for rows between two times: the shortest windows that are not too many."""
        first, last = min([first, *self._windows]), max([last, *filter(None, [self.newest])])
        self.newest = last
        for every in LENGTHS[LENGTHS.index(self.every) :]:
            if last.floor(every) - first.floor(every) < WINDOWS * pd.Timedelta(every):
                break
        if every == self.every:
            return
        before, self._windows, self.every = self._windows, {}, every
        for at, window in before.items():
            self._window(at.floor(every)).take(window)


class LogRequests:
    """The requests of a log that grows: each look costs what was written since the one before."""

    def __init__(self, log: Log) -> None:
        self._log, self._lock = log, threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._tail, self._asked = Tail(self._log), Requests()

    def look(self) -> Requests:
        """All requests so far, late ones too; counted anew when another log is in its place.

        May be called from any thread.
        """
        with self._lock:
            for _ in range(3):
                try:
                    for table in self._tail.new():
                        names = [name for name in COLUMNS if name in table.column_names]
                        self._asked.add(table.select(names).to_pandas())
                    return deepcopy(self._asked)
                except LogReplaced:
                    self._begin()
                except BaseException:
                    self._begin()  # some of what is new may have been counted
                    raise
            raise MonitoringError(f"The log in {self._log.folder} is being replaced; look again.")


def _named(values: pd.Series, known: list[str], most: int) -> pd.Series:
    """Each value's name; the names beyond `most` in `known`, which grows, are one."""
    names = {}
    for value in values.value_counts().index:
        name = f"{value:g}" if isinstance(value, float) else str(value)[:100]
        if name not in known:
            name = name if len(known) < most else OTHERS
            known.extend({name}.difference(known))
        names[value] = name
    return values.map(names)


def _histogram(took: np.ndarray) -> np.ndarray:
    """How many latencies (ms) lie in each bucket; what is no time is left out."""
    took = took[np.isfinite(took) & (took >= 0)].clip(FASTEST, SLOWEST)
    places = np.ceil(np.log(took / FASTEST) / math.log(GROWTH)).astype(int)
    return np.bincount(places, minlength=BUCKETS)


def _percentile(took: np.ndarray, percent: int) -> float:
    """The latency (ms) that `percent` % of the rows do not exceed, nan without any."""
    total = int(took.sum())
    if not total:
        return math.nan
    rank = -(-percent * total // 100)
    place = int(np.searchsorted(took.cumsum(), rank))
    return FASTEST * 2 * GROWTH**place / (GROWTH + 1)
