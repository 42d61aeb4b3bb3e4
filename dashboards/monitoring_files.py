"""A viewer's own two files on the page *Model monitoring*: what they let one see, and what not.

Any two tables with columns in common can be compared. With labels and predictions the page measures
accuracy, with scores it estimates it, with times it draws both over time; for each view that is
missing there is a sentence that says which column would bring it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from dashboards.monitoring_requests import Traffic, of_rows
from dashboards.monitoring_seen import Seen, of_watch
from mlsys.monitoring import judge, quality, read_upload, watch
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.estimation import calibrate, estimate_accuracy
from mlsys.monitoring.intervals import wilson
from mlsys.monitoring.quality import Checks, TableCheck
from mlsys.monitoring.text_measures import are_texts

# The page's words for what a column means, and names by which such columns usually go.
ROLES = {
    "label": ("What turned out true", ("label", "target", "y_true", "truth", "y")),
    "score": ("Model's probability", ("score", "probability", "proba", "y_score")),
    "prediction": ("Model's answer", ("prediction", "predicted", "y_pred")),
    "time": ("Time of the row", ("at", "time", "timestamp", "datetime", "date")),
}
NONE = "none"
EVERY = ("1h", "6h", "1D", "7D", "28D")
WINDOWS = 60
LEAST = 100  # rows, for an estimate
NAMED = ("at", "score", "prediction", "label", "label_at")  # what the engine calls them


@dataclass(frozen=True)
class Upload:
    """A file that a viewer gave: its rows, or the sentence that says why there are none."""

    name: str
    rows: pd.DataFrame | None = None
    complaint: str = ""


def read(data: bytes, name: str) -> Upload:
    """The table in an uploaded file, or why it cannot be read."""
    try:
        return Upload(name, read_upload(data, name))
    except MonitoringError as error:
        return Upload(name, complaint=str(error))
    except MemoryError:
        return Upload(name, complaint=f"{name!r} does not fit this machine's memory.")


def guess(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, str]:
    """Which columns go by a usual name; `NONE` for a role that nobody plays."""
    there = {str(name).lower(): str(name) for name in [*current, *reference]}
    return {
        role: next((there[name] for name in names if name in there), NONE)
        for role, (_, names) in ROLES.items()
    }


def of_files(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    roles: Mapping[str, str],
    names: tuple[str, str] = ("reference", "current"),
) -> Seen:
    """Two tables compared; `roles` names a column, or `NONE`, for each of `ROLES`.

    Raises MonitoringError, a sentence, when no column can be judged.
    """
    source = f"Reference {names[0]} ({len(reference):,} rows), current {names[1]} "
    source += f"({len(current):,} rows)"
    columns, why = _judged(reference, current, roles)
    if not columns:
        raise MonitoringError(
            "The files have no column to compare: give two tables of one kind. " + " ".join(why)
        )
    report = judge(reference[columns], current[[one for one in columns if one in current]])
    shared = [name for name in columns if name in current]
    checks = Checks(TableCheck(extra_columns=True), quality.suggest(reference[columns]).columns)
    findings = tuple(quality.check(current[shared], checks))
    why += [f"Not judged: {sentence}" for sentence in report.unread.values()]
    seen = Seen(
        source, reference, current, report, findings,
        traffic=_traffic(current, roles), not_shown=tuple(why),
    )  # fmt: skip
    return _over_time(_performance(seen, roles), columns, roles)


def _judged(
    reference: pd.DataFrame, current: pd.DataFrame, roles: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """The columns that are compared, and sentences on those that are not."""
    apart = {roles["time"]: "a time always moves", roles["label"]: "a label is no input"}
    apart["label_at"] = "a time always moves"
    kept, why = [], []
    for name in reference:
        if name in apart:
            why.append(f"Column {name!r} is not judged: {apart[name]}.")
        elif name in current and _key(reference[name]) and _key(current[name]):
            why.append(f"Column {name!r} is not judged: it has a value of its own in every row.")
        else:
            kept.append(name)
    new = [repr(name) for name in current if name not in reference]
    if new:
        some = ", ".join(new[:3]) + (f" and {len(new) - 3} more" if len(new) > 3 else "")
        why.append(f"Not in the reference, so not judged: {some}.")
    return kept, why


def _key(column: pd.Series) -> bool:
    """Whether the column names its rows: whole numbers or words, none twice. Texts of several words
    are judged as such."""
    fits = pd.api.types.is_integer_dtype(column) or not pd.api.types.is_numeric_dtype(column)
    if not (fits and len(column) > 1 and column.is_unique):
        return False
    text = pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column)
    return not (text and are_texts(column.astype(str).tolist(), len(column)))


def _has(rows: pd.DataFrame, roles: Mapping[str, str], *wanted: str) -> bool:
    return all(roles[one] != NONE and roles[one] in rows for one in wanted)


def _answers(rows: pd.DataFrame, roles: Mapping[str, str]) -> pd.Series | None:
    """What the model said: its prediction, else whether its score reaches one half."""
    if _has(rows, roles, "prediction"):
        return rows[roles["prediction"]]
    if not _has(rows, roles, "score"):
        return None
    score = _scores(rows[roles["score"]])
    return (score >= 0.5).astype(float).where(score.notna())


def _traffic(rows: pd.DataFrame, roles: Mapping[str, str]) -> Traffic | None:
    """When the current rows were asked for, and what else of that the file knows."""
    if not _has(rows, roles, "time"):
        return None
    known = {name: rows[name] for name in ("version", "took_ms") if name in rows}
    said = _answers(rows, roles)
    if said is not None:
        known["prediction"] = said
    table = pd.DataFrame({"at": _times(rows[roles["time"]]), **known}).dropna(subset="at")
    return of_rows(table) if len(table) else None


def _scores(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce").astype(float)


def _accuracy(rows: pd.DataFrame, roles: Mapping[str, str]):
    """The share of right answers among the rows with both; None when there is none."""
    said = _answers(rows, roles)
    if said is None or not _has(rows, roles, "label"):
        return None
    truth, said = _alike(rows[roles["label"]], said)
    both = truth.notna() & said.notna()
    if not both.any():
        return None
    return wilson(int((truth[both] == said[both]).sum()), int(both.sum()))


def _alike(one: pd.Series, other: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Labels and answers as numbers when both are, else as text."""
    numbers = [pd.to_numeric(side, errors="coerce") for side in (one, other)]
    if all(
        number.notna().sum() == side.notna().sum() for number, side in zip(numbers, (one, other))
    ):
        return numbers[0].astype(float), numbers[1].astype(float)
    return tuple(side.astype(object).where(side.isna(), side.astype(str)) for side in (one, other))


def _binary(column: pd.Series) -> np.ndarray | None:
    """Labels as 0 and 1 with nan for missing, or None when they are of another kind."""
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    strange = numbers.isna() & column.notna() | numbers.notna() & ~numbers.isin((0.0, 1.0))
    return None if strange.any() else numbers.to_numpy()


def _performance(seen: Seen, roles: Mapping[str, str]) -> Seen:
    why = list(seen.not_shown)
    before, known = (_accuracy(rows, roles) for rows in (seen.reference, seen.current))
    if before is None or known is None:
        side = "reference" if before is None else "current file"
        why.append(
            f"Accuracy is not shown: it needs a column with what turned out true, and one with "
            f"the model's answers or probabilities, filled in the {side}."
        )
    estimate = None
    try:
        estimate = _estimate(seen, roles)
    except MonitoringError as error:
        why.append(f"Accuracy without labels is not estimated: {error}")
    return replace(
        seen,
        before=before.value if before else None,
        known=known if before else None,
        estimate=estimate if before else None,
        not_shown=tuple(why),
    )


def _estimate(seen: Seen, roles: Mapping[str, str]):
    rows = seen.reference
    if not (_has(rows, roles, "label", "score") and _has(seen.current, roles, "score")):
        raise MonitoringError(
            "it needs the model's probabilities in both files, and labels in the reference."
        )
    truth, score = _binary(rows[roles["label"]]), _scores(rows[roles["score"]]).to_numpy()
    if truth is None:
        raise MonitoringError("the labels are not 0 and 1.")
    there = np.isfinite(truth) & np.isfinite(score)
    now = _scores(seen.current[roles["score"]]).dropna()
    return estimate_accuracy(calibrate(score[there], truth[there]), now)


def _over_time(seen: Seen, columns: Sequence[str], roles: Mapping[str, str]) -> Seen:
    try:
        return _watched(seen, columns, roles)
    except MonitoringError as error:
        text = f"Performance over time, and alerts, are not shown: {error}"
        return replace(seen, not_shown=(*seen.not_shown, text))


def _watched(seen: Seen, columns: Sequence[str], roles: Mapping[str, str]) -> Seen:
    if seen.estimate is None or not _has(seen.current, roles, "time"):
        raise MonitoringError(
            "they need the estimate of accuracy, and a column with the time of each current row."
        )
    inputs = [name for name in columns if name not in NAMED and name in seen.current]
    inputs = [name for name in inputs if name not in roles.values()]
    before = _renamed(seen.reference, inputs, roles).dropna(subset=["score", "label"])
    live = _renamed(seen.current, inputs, roles).dropna(subset=["at", "score"])
    if len(live) < LEAST or len(before) < LEAST:
        raise MonitoringError(f"they need {LEAST} rows with a time and a probability.")
    every = _every(live["at"])
    live = live.sort_values("at", ignore_index=True)
    made = watch.watch(before, live, every=every, columns=[*inputs, "score"])
    view = of_watch(made, before, live, source=seen.source, every=every)
    return replace(seen, windows=view.windows, arrived=view.arrived, notices=view.notices)


def _renamed(rows: pd.DataFrame, inputs: Sequence[str], roles: Mapping[str, str]) -> pd.DataFrame:
    """The rows as the engine names them. A label without a time of its own was known at once."""
    made = rows[list(inputs)].copy()
    score = _scores(rows[roles["score"]])
    made["score"] = score.where(score.between(0, 1))
    said = _answers(rows, roles)
    made["prediction"] = pd.to_numeric(said, errors="coerce")
    made["at"] = _times(rows[roles["time"]]) if _has(rows, roles, "time") else pd.NaT
    has = _has(rows, roles, "label")
    truth = _binary(rows[roles["label"]]) if has else None
    made["label"] = np.nan if truth is None else truth
    told = _times(rows["label_at"]) if "label_at" in rows else made["at"]
    told = pd.Series(told, index=made.index).where(made["label"].notna())
    made["label_at"] = told.where(told >= made["at"]) if "label_at" in rows else told
    return made


def _times(column: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column):
        return pd.Series(pd.NaT, index=column.index, dtype="datetime64[us, UTC]")
    times = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
    return times.dt.as_unit("us")


def _every(at: pd.Series) -> str:
    """The shortest window of which there are at most `WINDOWS`."""
    found = next(
        (every for every in EVERY if at.dt.floor(every).nunique() <= WINDOWS), None
    )  # fmt: skip
    if found is None or at.dt.floor(found).nunique() < 2:
        raise MonitoringError(
            f"the times run from {at.min():%d %b %Y} to {at.max():%d %b %Y}, which makes no 2 to "
            f"{WINDOWS} windows of an hour to four weeks."
        )
    return found
