"""What the page *Model monitoring* looks at, from whichever source: rows, verdicts, performance.

A scene, a live log and two files all become a `Seen`. The computing is the engine's; here it is
decided which part of it each source allows, and why the rest is not shown.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from mlsys.monitoring import labels
from mlsys.monitoring.alerts import Notice
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.intervals import Interval
from mlsys.monitoring.quality import Finding
from mlsys.monitoring.store import Store
from mlsys.monitoring.verdict_report import Report
from mlsys.monitoring.watcher import Watcher
from mlsys.monitoring.windows import WATCHED, Watch, learn

if TYPE_CHECKING:  # who speaks of traffic knows what was seen
    from dashboards.monitoring_requests import Traffic

BOUND = 0.03  # a loss of accuracy that counts, as in `windows.RULES`


@dataclass(frozen=True)
class Seen:
    """Reference and current rows with what the engine says of them.

    `before` is the accuracy in the reference, `known` and `estimate` those now, by labels and
    without; None where the data do not allow them. `windows`, `arrived` and `notices` are a view
    over time, as `figures.over_time` takes it; `traffic` is what was asked by then.
    """

    source: str
    reference: pd.DataFrame
    current: pd.DataFrame
    report: Report
    findings: tuple[Finding, ...] = ()
    before: float | None = None
    known: Interval | None = None
    estimate: Interval | None = None
    traffic: Traffic | None = None
    windows: pd.DataFrame | None = None
    arrived: pd.DataFrame | None = None
    notices: tuple[Notice, ...] = ()
    change_at: pd.Timestamp | None = None
    story: str = ""
    not_shown: tuple[str, ...] = ()

    @property
    def broken(self) -> Finding | None:
        """The worst check of quality, when it fails for so many rows that it is told."""
        bad = [one for one in self.findings if one.share >= 0.2]
        return bad[0] if bad else None

    @property
    def fell(self) -> float:
        """By how much accuracy fell for sure, by labels; nan without labels."""
        if self.known is None or self.before is None or not self.known.n:
            return math.nan
        return self.before - self.known.high

    @property
    def estimated_fall(self) -> float:
        """By how much the estimate says that accuracy fell for sure; nan without one."""
        if self.estimate is None or self.before is None:
            return math.nan
        return self.before - self.estimate.high


def of_watch(
    watched: Watch,
    reference: pd.DataFrame,
    live: pd.DataFrame,
    *,
    source: str,
    story: str = "",
    day: int | None = None,
    every: str = "1D",
) -> Seen:
    """What a person saw at the end of window `day` (1 is the first; the last without it)."""
    number = min(day or len(watched.windows), len(watched.windows))
    now = watched.windows["at"].iloc[number - 1]
    rows = live[live["at"] < now]
    seen = _at_end(watched, number, source=source, story=story)
    current = rows[rows["at"] >= now - pd.Timedelta(every)]
    arrived = labels.as_known(rows, now, every=every)
    return replace(seen, reference=reference, current=current, arrived=arrived)


def _at_end(watched: Watch, number: int, *, source: str, story: str) -> Seen:
    """What the first `number` windows say; their rows are the caller's."""
    windows = watched.windows.head(number)
    last = windows.iloc[-1]
    change = watched.change_at
    return Seen(
        source=source,
        reference=pd.DataFrame(),
        current=pd.DataFrame(),
        report=watched.reports[number - 1],
        findings=watched.findings[number - 1],
        before=watched.reference,
        known=_interval(last, "known", last["labelled"]),
        estimate=_interval(last, "estimate", last["rows"]),
        windows=windows,
        arrived=watched.arrived,
        notices=tuple(one for one in watched.notices if one.at <= last["at"]),
        change_at=change if change is not None and change < last["at"] else None,
        story=story,
    )


def _interval(row: pd.Series, name: str, n: float) -> Interval | None:
    if not n or math.isnan(row[name]):
        return None
    return Interval(row[name], row[f"{name}_low"], row[f"{name}_high"], int(n))


class Followed:
    """A service's log, followed: the first look reads all of it, each later one what is new.

    One for all who look at a log, from any thread.
    """

    def __init__(
        self, store: Store, reference: pd.DataFrame, *, columns: Sequence[str] = WATCHED
    ) -> None:
        self.reference = reference
        self._watcher = Watcher(store, learn(reference, columns=columns))
        self._lock = threading.Lock()

    @property
    def is_new(self) -> bool:
        """Will the next look read the whole log?"""
        return not self._watcher.rows

    def look(self, *, source: str, story: str = "") -> Seen:
        """The log as it is now. Raises MonitoringError when it has nothing to judge yet."""
        with self._lock:
            try:
                watched = self._watcher.look()
            except OSError as error:
                raise MonitoringError(f"The log cannot be read: {error.strerror}.") from None
            current, rows = self._watcher.newest(), self._watcher.rows
            forgotten = self._watcher.forgotten
        source = f"{source}; {rows:,} predictions in the log"
        seen = _at_end(watched, len(watched.windows), source=source, story=story)
        late = f"Labels that came late for the oldest {forgotten:,} predictions are not counted."
        return replace(
            seen,
            reference=self.reference,
            current=current,
            not_shown=(late,) if forgotten else (),
        )
