"""All views of a stretch of traffic on one time axis: what a dashboard or a person on call reads.

`watch` cuts live rows into windows and says for each what quality, drift, the estimate without
labels, the labels known by then and the rules had to say, each with what was knowable at that
window's end and nothing later. `replay` hands it a scene, `of_store` a running service's log;
`follow` looks at such a log again and again and tells what is new. Their settings are those of
`windows.learn`; a log that grows is kept an eye on by a `watcher.Watcher`.
"""

from collections.abc import Callable, Iterable

import pandas as pd

from mlsys.monitoring.alerts import Notice
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.scenes import Scene
from mlsys.monitoring.store import Store
from mlsys.monitoring.traffic import Traffic, traffic
from mlsys.monitoring.watcher import Watcher
from mlsys.monitoring.windows import WATCHED, Watch, arrivals, judge_rows, learn, together

__all__ = ("WATCHED", "Watch", "follow", "of_store", "replay", "watch")


def watch(reference: pd.DataFrame, live: pd.DataFrame, **settings) -> Watch:
    """Watch live rows (columns of `Traffic.live`; label and label_at may be missing) by window.

    Raises MonitoringError for an empty side.
    """
    standard = learn(reference, **settings)
    if not len(live):
        raise MonitoringError("There is nothing to watch: the live side has no rows.")
    windows = []
    for start, rows in live.groupby(live["at"].dt.floor(standard.every)):
        labels = arrivals(rows, standard.every)
        windows.append(judge_rows(standard, start, rows, windows, labels))
    return together(standard, windows)


def replay(scene: str | Scene | Traffic, *, per_day: int = 500, seed: int = 0, **settings) -> Watch:
    """Watch a scene from its first day to its last."""
    made = scene if isinstance(scene, Traffic) else traffic(scene, per_day=per_day, seed=seed)
    return watch(made.reference, made.live, change_at=made.change_at, **settings)


def of_store(
    store: Store, reference: pd.DataFrame, *, before: pd.Timestamp | None = None, **settings
) -> Watch:
    """Watch the live log of a running service, or its rows older than `before`."""
    return Watcher(store, learn(reference, **settings)).look(before=before)


def follow(
    clock: Iterable[pd.Timestamp],
    store: Store,
    reference: pd.DataFrame,
    *,
    tell: Callable[[Notice], object],
    start: pd.Timestamp,
    every: str = "7D",
    **settings,
) -> Watch:
    """Look at a live log at `start` and then regularly, while `clock` (the log's own time) runs.

    Each look reads what is new and tells the notices that the looks before it had not. Returns the
    last look; raises MonitoringError when the clock stops before the first.
    """
    watcher = Watcher(store, learn(reference, **settings))
    told, due, seen = 0, start, None
    for now in clock:
        if now >= due:
            seen = watcher.look(before=due)
            for notice in seen.notices[told:]:
                tell(notice)
            told, due = len(seen.notices), due + pd.Timedelta(every)
    if seen is None:
        raise MonitoringError(f"The clock stopped before {start}: nobody has looked at the log.")
    return seen
