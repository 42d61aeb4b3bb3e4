"""Which logged prediction a late label belongs to, found without keeping the predictions.

Of a prediction it keeps 29 bytes: a hash of its id, its time, its answer, and the label known so
far. Both sides may come in any order; of two labels for one id the earlier one counts, as in
`Store.joined`. Ids are unique. Two that share a hash of 64 bits take each other's label: among ten
million ids that happens in one log of 400,000.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.store import TIME

REMEMBERED = 10_000_000  # predictions, and as many labels that wait for one
_NEVER = np.iinfo(np.int64).max
Columns = dict[str, np.ndarray]
_NOTHING: Columns = {
    "at": np.zeros(0, int),
    "label_at": np.zeros(0, int),
    "right": np.zeros(0, bool),
    "sign": np.zeros(0, int),
}


class LabelIndex:
    """Predictions and labels find each other here; the oldest beyond `remembered` are forgotten.

    `forgotten` counts those predictions: a label that comes for one of them now finds nothing.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self.remembered = remembered
        self.forgotten = 0
        # Both in runs that are sorted by key, each at least twice as long as the next.
        self._predictions: list[Columns] = []
        self._waiting: list[Columns] = []  # labels without a prediction

    def predicted(self, table: pa.Table) -> Columns:
        """Take predictions (id, at, prediction); gives the labels that had waited for them.

        An entry a change, here and in `labelled`: at, label_at (µs since 1970), right (is the
        answer the label?), sign (1 for a label that counts from now on, −1 for one that did).
        """
        table = table.filter(table.column("id").is_valid())
        run = _sorted(
            key=_keys(table),
            at=_micros(table),
            prediction=_floats(table, "prediction"),
            label_at=np.full(table.num_rows, _NEVER),
            right=np.zeros(table.num_rows, bool),
        )
        told = []
        for waiting in self._waiting:
            labels, rows = _matches(waiting["key"], run["key"])
            told += _tell(run, rows, _at(waiting, labels))
            waiting["label_at"][labels] = _NEVER  # it waits no more
        self._predictions = _merged([*self._predictions, run], _sorted)
        rows = _rows(self._predictions)
        self._predictions = _newest(self._predictions, "at", self.remembered)
        self.forgotten += rows - _rows(self._predictions)
        return _changes(told)

    def labelled(self, table: pa.Table) -> Columns:
        """Take labels (id, label, at); gives what they change, as `predicted` does."""
        for name in ("id", "label"):
            if name not in table.column_names:
                raise MonitoringError(f"The log of labels has no column {name!r}.")
            table = table.filter(table.column(name).is_valid())
        new = _first(key=_keys(table), label_at=_micros(table), label=_floats(table, "label"))
        told, lost = [], np.ones(len(new["key"]), bool)
        for run in self._predictions:
            rows, labels = _matches(run["key"], new["key"])
            told += _tell(run, rows, _at(new, labels))
            lost[labels] = False
        if lost.any():
            waiting = _merged([*self._waiting, _at(new, lost)], _first)
            self._waiting = _newest(waiting, "label_at", self.remembered)
        return _changes(told)


def _tell(run: Columns, rows: np.ndarray, labels: Columns) -> list[Columns]:
    """Write labels into a run where they are earlier than what is there; what that changes."""
    earlier = labels["label_at"] < run["label_at"][rows]
    rows, labels = rows[earlier], _at(labels, earlier)
    over = _at(run, rows[run["label_at"][rows] < _NEVER])
    run["label_at"][rows] = labels["label_at"]
    run["right"][rows] = labels["label"] == run["prediction"][rows]
    return [{**over, "sign": np.full(len(over["key"]), -1)},
            {**_at(run, rows), "sign": np.ones(len(rows), int)}]  # fmt: skip


def _changes(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in [_NOTHING, *parts]]) for name in _NOTHING}


def _matches(sorted_keys: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of equal keys in both."""
    first, last = (np.searchsorted(sorted_keys, keys, side) for side in ("left", "right"))
    counts = last - first
    there = np.repeat(np.arange(len(keys)), counts)
    begin = np.repeat(np.cumsum(counts) - counts, counts)
    return first[there] + np.arange(len(there)) - begin, there


def _sorted(**columns: np.ndarray) -> Columns:
    return _at(columns, np.argsort(columns["key"], kind="stable"))


def _first(**columns: np.ndarray) -> Columns:
    """The earliest label of each key, sorted by key; those that wait no more are left out."""
    made = _at(columns, columns["label_at"] < _NEVER)
    made = _sorted(**_at(made, np.argsort(made["label_at"], kind="stable")))
    return _at(made, np.diff(made["key"], prepend=~made["key"][:1]) != 0)


def _merged(runs: list[Columns], merge: Callable[..., Columns]) -> list[Columns]:
    """Few runs of many: a row is merged about as often as the number of rows doubles."""
    while len(runs) > 1 and len(runs[-2]["key"]) < 2 * len(runs[-1]["key"]):
        runs = [*runs[:-2], merge(**_chained(runs[-2:]))]
    return runs


def _newest(runs: list[Columns], time: str, most: int) -> list[Columns]:
    """The `most` newest rows, once there are a quarter more."""
    if _rows(runs) <= 1.25 * most:
        return runs
    every = _chained(runs)
    return [_sorted(**_at(every, np.argpartition(every[time], -most)[-most:]))]


def _chained(runs: list[Columns]) -> Columns:
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def _rows(runs: list[Columns]) -> int:
    return sum(len(run["key"]) for run in runs)


def _at(columns: Columns, places: np.ndarray) -> Columns:
    return {name: values[places] for name, values in columns.items()}


def _keys(table: pa.Table) -> np.ndarray:
    words = table.column("id").cast(pa.string()).to_numpy()
    return pd.util.hash_array(words, categorize=False)


def _micros(table: pa.Table) -> np.ndarray:
    return table.column(TIME).cast(pa.int64()).to_numpy()


def numbers(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column as numbers. Raises MonitoringError when it holds something else."""
    try:
        return table.column(name).cast(pa.float64())
    except pa.ArrowException:
        kind = table.column(name).type
        raise MonitoringError(f"The log's {name} must be a number; it is {kind}.") from None


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return numbers(table, name).to_numpy().astype(np.float32)
