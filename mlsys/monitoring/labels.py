"""Labels that come late: what could be known at which moment.

Every prediction has the time it was made (`at`) and the time its label arrives (`label_at`, missing
when it never does). The number that a dashboard showed on Tuesday used Tuesday's labels only; these
functions compute that number, not the one that hindsight gives.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.intervals import Interval, wilson

DAY = pd.Timedelta("1D")


def _checked(log: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    for name in columns:
        if name not in log:
            raise MonitoringError(
                f"The log has no column {name!r}; it has {', '.join(map(str, log.columns))}."
            )
    early = log["label_at"] < log["at"]
    if early.any():
        row = log[early].iloc[0]
        raise MonitoringError(
            f"A label of {row['label_at']} is older than its prediction of {row['at']}; "
            "check the clocks or the join."
        )
    return log


def known_at(log: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """The rows predicted and labelled by `now` (inclusive): all that an honest number may use."""
    log = _checked(log, ("at", "label_at"))
    return log[(log["at"] <= now) & (log["label_at"] <= now)]


def _accuracy(rows: pd.DataFrame) -> Interval:
    return wilson(int((rows["label"] == rows["prediction"]).sum()), len(rows))


def as_known(
    log: pd.DataFrame,
    now: pd.Timestamp,
    *,
    every: pd.Timedelta | str = DAY,
    measure: Callable[[pd.DataFrame], Interval] = _accuracy,
) -> pd.DataFrame:
    """Performance by window of prediction time, with the labels that have arrived by `now`.

    Columns: window (its start), value, low, high, labelled, predictions, known (their ratio, 0 to
    1). A window without labels has a nan value. `measure` gets labelled rows and returns an
    `Interval`; the default is accuracy.
    """
    log = _checked(log, ("at", "label_at", "label", "prediction"))
    seen = log[log["at"] <= now]
    arrived = (seen["label_at"] <= now).to_numpy()
    window = seen["at"].dt.floor(every)
    rows = []
    for start in sorted(window.unique()):
        inside = (window == start).to_numpy()
        labelled = seen[inside & arrived]
        one = measure(labelled)
        made = int(inside.sum())
        rows.append(
            (start, one.value, one.low, one.high, len(labelled), made, len(labelled) / made)
        )
    columns = ["window", "value", "low", "high", "labelled", "predictions", "known"]
    return pd.DataFrame(rows, columns=columns)


def knowable(
    log: pd.DataFrame,
    *,
    every: pd.Timedelta | str = DAY,
    measure: Callable[[pd.DataFrame], Interval] = _accuracy,
) -> pd.DataFrame:
    """For each window: what its own end knew of it, when half of its labels were in, and the truth.

    Columns: window, at_once (value from the labels that had come by the window's end), known
    (their share), half_known_at (missing if fewer than half ever come), value, low, high (with all
    labels that ever came), labelled, predictions.
    """
    log = _checked(log, ("at", "label_at", "label", "prediction"))
    window = log["at"].dt.floor(every)
    rows = []
    for start in sorted(window.unique()):
        inside = log[(window == start).to_numpy()]
        end = start + pd.Timedelta(every)
        early = inside[inside["label_at"] <= end]
        ever = inside[inside["label_at"].notna()]
        final, first = measure(ever), measure(early)
        times = np.sort(ever["label_at"].to_numpy())
        middle = (len(inside) + 1) // 2
        half = times[middle - 1] if len(times) >= middle else pd.NaT
        rows.append(
            (start, first.value, len(early) / len(inside), pd.Timestamp(half),
             final.value, final.low, final.high, len(ever), len(inside))
        )  # fmt: skip
    columns = ["window", "at_once", "known", "half_known_at"]
    columns += ["value", "low", "high", "labelled", "predictions"]
    return pd.DataFrame(rows, columns=columns)


def early_label_bias(log: pd.DataFrame, now: pd.Timestamp) -> Interval:
    """Share of positives among early labels minus that among all that ever came.

    Far from zero when one class is told sooner (spam is reported in minutes, the absence of a
    report takes a week): then a number from early labels is wrong in a known direction. Needs a log
    whose labels are all in: a past month, for instance.
    """
    known, ever = known_at(log, now), log[log["label_at"].notna()]
    early = wilson(int(known["label"].sum()), len(known))
    share = float(ever["label"].mean()) if len(ever) else float("nan")
    return Interval(early.value - share, early.low - share, early.high - share, early.n)
