"""Is the data what it should be: columns, ranges, gaps, doubles, new categories, age, volume.

`suggest(reference)` writes checks that the reference itself passes, with some room; a person edits
them as a small TOML file; `check(frame, checks)` says which fail, worst first. Whether the data
*moved* within its bounds is for `verdicts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mlsys.monitoring import rulefile
from mlsys.monitoring.errors import MonitoringError

KINDS = ("number", "category", "text", "time", "bool")
MOST_CATEGORIES = 50
MOST_LISTED = 5_000  # values that a check lists
MOST_NEW = 0.2  # the share of rows with a new value up to which a list means something


@dataclass(frozen=True)
class ColumnCheck:
    """What one column must be.

    Shares (0 to 1) are of rows: at most `missing` without a value, at most `outside` beyond `low`
    and `high` (inclusive), at most `unseen` with a value that is not in `allowed`. None: no check.
    """

    kind: str
    required: bool = True
    missing: float = 1.0
    low: float | None = None
    high: float | None = None
    outside: float = 0.0
    allowed: tuple[str, ...] | None = None
    unseen: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise MonitoringError(f"a kind is one of {', '.join(KINDS)}, not {self.kind!r}.")
        for name in ("missing", "outside", "unseen"):
            if not 0 <= getattr(self, name) <= 1:
                raise MonitoringError(
                    f"{name} is a share from 0 to 1, not {getattr(self, name):g}."
                )
        if self.low is not None and self.high is not None and self.low > self.high:
            raise MonitoringError(f"low ({self.low:g}) is above high ({self.high:g}).")


@dataclass(frozen=True)
class TableCheck:
    """What the table must be: rows a window, doubled rows or keys (a share), age of the newest row.

    `key` names the columns whose values must not come twice (all columns if empty); `time` the
    column that says how old a row is, `stale_hours` how old the newest may be.
    """

    rows_low: int | None = None
    rows_high: int | None = None
    duplicates: float = 1.0
    key: tuple[str, ...] = ()
    time: str | None = None
    stale_hours: float | None = None
    extra_columns: bool = False


@dataclass(frozen=True)
class Checks:
    table: TableCheck = TableCheck()
    columns: Mapping[str, ColumnCheck] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """A check that failed. `share` is of rows, 1 when the whole table is concerned."""

    check: str
    column: str
    share: float
    sentence: str


def kind_of(column: pd.Series) -> str:
    """One of `KINDS`; text has more distinct values than `MOST_CATEGORIES`, a category fewer."""
    if pd.api.types.is_bool_dtype(column):
        return "bool"
    if pd.api.types.is_numeric_dtype(column):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "time"
    few = column.nunique() <= MOST_CATEGORIES
    return "category" if few else "text"


def suggest(
    reference: pd.DataFrame,
    *,
    key: tuple[str, ...] = (),
    time: str | None = None,
    every: str = "1D",
    room: float = 0.1,
) -> Checks:
    """Checks that fit the reference, with room: a beginning for a person to edit.

    Ranges are those seen, `room` of their width wider (a bound of 0 stays), and one value in a
    hundred may leave them: the next window of a long tail has a new extreme. Missing values may be
    twice as many as seen, and one in a hundred more. Of a column with 51 to 5,000 different texts,
    new ones may come in twice as many rows as chance gives, and five in a hundred more. With
    `time`, volume may go from half the least to twice the most of a full window of `every`, and the
    newest row may be two windows old.
    """
    if not len(reference):
        raise MonitoringError("An empty reference suggests nothing; give it some rows.")
    columns = {str(name): _suggest_column(reference[name], room) for name in reference}
    for name in (*key, *([time] if time else [])):
        if name not in columns:
            raise MonitoringError(f"There is no column {name!r}; there are {', '.join(columns)}.")
    table = TableCheck(key=key, duplicates=0.0 if key else 1.0)
    if time:
        counts = reference.groupby(reference[time].dt.floor(every)).size()
        full = counts.iloc[1:-1] if len(counts) > 2 else counts  # the ends may be cut
        hours = 2 * pd.Timedelta(every) / pd.Timedelta("1h")
        table = TableCheck(
            int(full.min() // 2), int(2 * full.max()), table.duplicates, key, time, float(hours)
        )
    return Checks(table, columns)


def _suggest_column(column: pd.Series, room: float) -> ColumnCheck:
    kind = kind_of(column)
    gaps = float(column.isna().mean())
    missing = round(min(1.0, 2 * gaps + 0.01), 4)
    if kind == "number":
        values = column.dropna().to_numpy(dtype=float)
        values = values[np.isfinite(values)]
        if not len(values):
            return ColumnCheck(kind, missing=1.0)
        low, high = float(values.min()), float(values.max())
        wide = room * (high - low)
        low_end = 0.0 if 0 <= low <= wide else low - wide
        return ColumnCheck(
            kind,
            missing=missing,
            low=_short(low_end),
            high=_short(high + wide, up=True),
            outside=0.01,
        )
    if kind == "category":
        return ColumnCheck(
            kind, missing=missing, allowed=tuple(sorted(map(str, column.dropna().unique())))
        )
    if kind == "text":
        return _suggest_words(column.dropna().astype(str), missing)
    return ColumnCheck(kind, missing=missing)


def _suggest_words(values: pd.Series, missing: float) -> ColumnCheck:
    """Of many values a list too, with room for the new ones that the next window brings anyway: the
    share of values that came once says how many rows those are (Good, Biometrika 40, 1953). Where
    that is many, as with keys and free text, a list means nothing."""
    counts = values.value_counts()
    new = float((counts == 1).sum() / len(values))
    if len(counts) > MOST_LISTED or new > MOST_NEW:
        return ColumnCheck("text", missing=missing)
    room = round(2 * new + 0.05, 4)
    return ColumnCheck(
        "category", missing=missing, allowed=tuple(sorted(counts.index)), unseen=room
    )


def _short(value: float, *, up: bool = False) -> float:
    """Three digits that a person can read, rounded away from the data."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 2)
    return float(f"{(np.ceil if up else np.floor)(value / unit) * unit:.6g}")


def check(frame: pd.DataFrame, checks: Checks, *, now: pd.Timestamp | None = None) -> list[Finding]:
    """The checks that fail, worst first; an empty list when all hold.

    `now` is what the newest row's age is measured against (this moment by default).
    """
    found = _check_table(frame, checks, now)
    for name, wanted in checks.columns.items():
        if name not in frame:
            if wanted.required:
                found.append(Finding("column", name, 1.0, f"Column {name!r} is gone."))
            continue
        found += _check_column(name, frame[name], wanted)
    return sorted(found, key=lambda one: -one.share)


def _check_table(frame: pd.DataFrame, checks: Checks, now: pd.Timestamp | None) -> list[Finding]:
    table, rows, found = checks.table, len(frame), []
    if table.rows_low is not None and rows < table.rows_low:
        found.append(
            Finding("volume", "", 1.0, f"{rows} rows came; at least {table.rows_low} should.")
        )
    if table.rows_high is not None and rows > table.rows_high:
        found.append(
            Finding("volume", "", 1.0, f"{rows} rows came; at most {table.rows_high} should.")
        )
    if not table.extra_columns and checks.columns:
        for name in [str(name) for name in frame if str(name) not in checks.columns]:
            found.append(Finding("column", name, 1.0, f"Column {name!r} is new."))
    if table.duplicates < 1 and rows and set(table.key) <= set(frame):
        double = float(frame.duplicated(list(table.key) or None).mean())
        if double > table.duplicates:
            what = f"repeat an earlier {' and '.join(table.key)}" if table.key else "are repeated"
            found.append(Finding("duplicates", "", double, f"{double:.1%} of rows {what}."))
    if table.time and table.stale_hours is not None and rows and table.time in frame:
        found += _check_age(frame[table.time], table, now)
    return found


def _check_age(times: pd.Series, table: TableCheck, now: pd.Timestamp | None) -> list[Finding]:
    if not pd.api.types.is_datetime64_any_dtype(times):
        return []  # the column's own check says so
    newest = times.max()
    moment = now if now is not None else pd.Timestamp.now("UTC")
    if newest.tzinfo is None:
        moment = moment.tz_convert("UTC").tz_localize(None) if moment.tzinfo else moment
    age = (moment - newest) / pd.Timedelta("1h")
    if age <= table.stale_hours:
        return []
    return [
        Finding(
            "freshness",
            table.time or "",
            1.0,
            f"The newest row is {age:.1f} hours old; {table.stale_hours:g} are allowed.",
        )
    ]


def _check_column(name: str, column: pd.Series, wanted: ColumnCheck) -> list[Finding]:
    if not len(column):
        return []
    found = []
    gaps = float(column.isna().mean())
    if gaps > wanted.missing:
        text = f"{gaps:.1%} of {name!r} is missing; {wanted.missing:.1%} is allowed."
        found.append(Finding("missing", name, gaps, text))
    values = column.dropna()
    if not len(values):
        return found
    kind = kind_of(values)
    words = {"category", "text"}
    if kind != wanted.kind and not {kind, wanted.kind} <= words:
        text = f"{name!r} holds {kind} values ({values.dtype}); it should hold {wanted.kind}."
        return [*found, Finding("type", name, 1.0, text)]
    if kind == "number":
        found += _check_range(name, values.to_numpy(dtype=float), wanted, len(column))
    if wanted.allowed is not None:
        found += _check_categories(name, values, wanted, len(column))
    return found


def _check_range(name: str, values: np.ndarray, wanted: ColumnCheck, rows: int) -> list[Finding]:
    low = -np.inf if wanted.low is None else wanted.low
    high = np.inf if wanted.high is None else wanted.high
    beyond = (values < low) | (values > high) | ~np.isfinite(values)
    share = float(beyond.sum() / rows)
    if share <= wanted.outside:
        return []
    worst = values[beyond][np.argmax(np.abs(values[beyond]))]
    text = f"{share:.1%} of {name!r} lies outside {low:g} to {high:g}, such as {worst:g}."
    return [Finding("range", name, share, text)]


def _check_categories(
    name: str, values: pd.Series, wanted: ColumnCheck, rows: int
) -> list[Finding]:
    counts = values.astype(str).value_counts()
    new = counts[~counts.index.isin(wanted.allowed or ())]
    share = float(new.sum() / rows)
    if share <= wanted.unseen:
        return []
    some = ", ".join(repr(one[:40]) for one in new.index[:3])
    text = f"{share:.1%} of {name!r} has values never seen before ({len(new)}): {some}."
    return [Finding("unseen", name, share, text)]


_NUMBER = (int, float)
_TABLE_TYPES: dict[str, Any] = {
    "rows_low": int,
    "rows_high": int,
    "duplicates": _NUMBER,
    "key": list,
    "time": str,
    "stale_hours": _NUMBER,
    "extra_columns": bool,
}
_COLUMN_TYPES: dict[str, Any] = {
    "kind": str,
    "required": bool,
    "missing": _NUMBER,
    "low": _NUMBER,
    "high": _NUMBER,
    "outside": _NUMBER,
    "allowed": list,
    "unseen": _NUMBER,
}


def to_toml(checks: Checks) -> str:
    """The checks as a file that a person edits: [table], then [columns.<name>] for each."""
    default = TableCheck()
    table = {
        name: value for name, value in vars(checks.table).items() if value != getattr(default, name)
    }
    plain = ColumnCheck("number")
    tables = [("[table]", table)]
    for name, column in checks.columns.items():
        values = {
            key: value
            for key, value in vars(column).items()
            if key == "kind" or value != getattr(plain, key)
        }
        tables.append((rulefile.header("columns", name), values))
    return rulefile.write(tables)


def from_toml(text: str) -> Checks:
    """The checks of a file. Raises MonitoringError: one sentence with the line."""
    document = rulefile.read(text, "checks")
    for name, value in document.items():
        if name not in ("table", "columns") or not isinstance(value, dict):
            raise MonitoringError(
                f"Line {rulefile.line_of(text, name)}: checks hold [table] and [columns.<name>]; "
                f"{name!r} is neither."
            )
    table = rulefile.build(
        TableCheck,
        document.get("table", {}),
        _TABLE_TYPES,
        lambda key: rulefile.line_of(text, "table", key),
    )
    columns = {}
    for name, given in document.get("columns", {}).items():

        def where(key: str | None, name: str = name) -> int:
            return rulefile.line_of(text, f"columns.{rulefile.bare(name)}", key)

        if not isinstance(given, dict):
            line = rulefile.line_of(text, "columns", name)
            raise MonitoringError(f"Line {line}: write [columns.{name}] and its settings below it.")
        columns[name] = rulefile.build(ColumnCheck, given, _COLUMN_TYPES, where)
    return Checks(table, columns)
