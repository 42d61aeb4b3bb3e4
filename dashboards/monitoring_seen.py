"""What the page *Model monitoring* looks at, from whichever source: rows, verdicts, performance.

A scene, a live log and two files all become a `Seen`. The computing is the engine's; here it is
decided which part of it each source allows, and why the rest is not shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pandas as pd

from mlsys.monitoring import labels, watch
from mlsys.monitoring.alerts import Notice
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.intervals import Interval
from mlsys.monitoring.quality import Finding
from mlsys.monitoring.store import Store
from mlsys.monitoring.verdict_report import Report
from mlsys.monitoring.watch import Watch

BOUND = 0.03  # a loss of accuracy that counts, as in `watch.RULES`


@dataclass(frozen=True)
class Seen:
    """Reference and current rows with what the engine says of them.

    `before` is the accuracy in the reference, `known` and `estimate` those now, by labels and
    without; None where the data do not allow them. `windows`, `arrived` and `notices` are a view
    over time, as `figures.over_time` takes it.
    """

    source: str
    reference: pd.DataFrame
    current: pd.DataFrame
    report: Report
    findings: tuple[Finding, ...] = ()
    before: float | None = None
    known: Interval | None = None
    estimate: Interval | None = None
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
    windows = watched.windows.head(number)
    last = windows.iloc[-1]
    now = last["at"]
    rows = live[live["at"] < now]
    change = watched.change_at
    return Seen(
        source=source,
        reference=reference,
        current=rows[rows["at"] >= now - pd.Timedelta(every)],
        report=watched.reports[number - 1],
        findings=watched.findings[number - 1],
        before=watched.reference,
        known=_interval(last, "known", last["labelled"]),
        estimate=_interval(last, "estimate", last["rows"]),
        windows=windows,
        arrived=labels.as_known(rows, now, every=every),
        notices=tuple(one for one in watched.notices if one.at <= now),
        change_at=change if change is not None and change < now else None,
        story=story,
    )


def _interval(row: pd.Series, name: str, n: float) -> Interval | None:
    if not n or math.isnan(row[name]):
        return None
    return Interval(row[name], row[f"{name}_low"], row[f"{name}_high"], int(n))


def of_log(store: Store, reference: pd.DataFrame, *, source: str, story: str = "") -> Seen:
    """A service's log as it is now. Raises MonitoringError when it has nothing to judge yet."""
    try:
        live = store.joined().to_pandas()
    except OSError as error:
        raise MonitoringError(f"The log cannot be read: {error.strerror}.") from None
    missing = [name for name in watch.WATCHED if name not in live]
    if not len(live) or "score" in missing:
        raise MonitoringError("The log has no predictions yet.")
    if missing:
        raise MonitoringError(
            f"The log has no column {missing[0]!r}: this page reads the log of the monitored "
            f"service (mlsys.monitoring.service), which has {', '.join(watch.WATCHED)}."
        )
    live["at"] = live["at"].dt.as_unit("us")
    seen = of_watch(watch.watch(reference, live), reference, live, source=source, story=story)
    return replace(seen, source=f"{source}; {len(live):,} predictions in the log")
