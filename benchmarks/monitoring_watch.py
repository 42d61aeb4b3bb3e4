"""What one look at a growing log costs, after 100,000 rows and after 1,000,000.

The log is written as the service writes it, 10,000 predictions a day, labels when they are due.
Between two looks 300 predictions and 300 labels come, as at a look every three seconds with 100 of
each a second. CPU seconds of one process, all threads: the median of ten looks.

A look reads what is new, judges the newest window again, and adds up all windows: 0.2 ms for each.
So it grows with the rows of that one window, `look_us_a_row_of_the_window`, and with the number of
windows, but not with the rows of the log.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import process_time

import pandas as pd
import pyarrow as pa
from report import Figure

A_DAY = 10_000
NEW = 300
LOOKS = 10
START = pd.Timestamp("2026-03-02", tz="UTC")


def days(mail: pd.DataFrame, count: int) -> Iterator[pd.DataFrame]:
    """The same day's rows again and again, a day later each time, under new ids."""
    for number in range(count):
        later = pd.Timedelta(days=number)
        yield mail.assign(
            id=f"{number}-" + mail["id"].astype(str),
            at=mail["at"] + later,
            label_at=mail["label_at"] + later,
        )


def looks(mail: pd.DataFrame, count: int, folder: Path) -> tuple[float, list[float]]:
    """CPU seconds of the first look at `count` days, and of the looks after it."""
    from mlsys.monitoring import traffic
    from mlsys.monitoring.store import Store, Writer
    from mlsys.monitoring.watcher import Watcher
    from mlsys.monitoring.windows import learn

    live = pd.concat(days(mail, count), ignore_index=True)
    told = live.dropna(subset="label_at").sort_values("label_at")
    told = told[told["label_at"] <= live["at"].iloc[-1]]
    told = told[["label_at", "id", "label"]].rename(columns={"label_at": "at"})
    tables = {
        "predictions": pa.Table.from_pandas(live.drop(columns=["label", "label_at"]), None, False),
        "labels": pa.Table.from_pandas(told, None, False),
    }
    standard = learn(traffic.traffic("healthy", days=1).reference)
    taken = []
    with (
        Writer(folder / "predictions", durable=False) as predictions,
        Writer(folder / "labels", durable=False) as labels,
    ):
        logs = {"predictions": predictions, "labels": labels}
        watcher = Watcher(Store(folder), standard)
        for look in range(-1, LOOKS):
            for name, table in tables.items():
                first = max(0, table.num_rows - LOOKS * NEW)
                start, stop = (0, first) if look < 0 else (first + look * NEW,) * 2
                stop += NEW * (look >= 0)
                for begin in range(start, stop, 500):
                    logs[name].append(table.slice(begin, min(500, stop - begin)))
            begin = process_time()
            watcher.look()
            taken.append(process_time() - begin)
    return taken[0], taken[1:]


def growth(a_day: int = A_DAY) -> list[Figure]:
    """The figures of a short log, of one ten times as long, and of one long day."""
    from mlsys.monitoring import traffic

    mail, large = (
        traffic.traffic("healthy", per_day=rows, days=1).live for rows in (a_day, 10 * a_day)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        looks(mail, 4, folder / "warm")
        _, short = looks(mail, 10, folder / "short")
        first, long = looks(mail, 100, folder / "long")
        _, wide = looks(large, 1, folder / "wide")
    less, more = median(short), median(long)
    row = (median(wide) - less) / (len(large) - a_day)
    return [
        # In small windows the number of windows weighs more: no goal then.
        Figure("look_at_ten_times_the_log", more / less, 1.6 if a_day == A_DAY else None,
               at_most=True,
               note=f"{1e3 * more:.0f} ms of CPU after {100 * a_day:,} rows in 100 windows, "
               f"{1e3 * less:.0f} ms after {10 * a_day:,} in 10"),
        Figure("look_us_a_row_of_the_window", 1e6 * row,
               note="of the newest window, which is judged again"),
        Figure("look_first_seconds", first, note=f"the first look, at {100 * a_day:,} rows"),
    ]  # fmt: skip


if __name__ == "__main__":
    for figure in growth():
        print(figure)
