"""The reference that a log names for itself: a file beside it, and which columns that watches.

`reference.parquet` or `reference.csv` in the store's folder has rows of before, labelled: `score`
and `label` (0 or 1), and, where known, `prediction` (else the score decides, from one half on),
`at` and `label_at`. All other columns are inputs that the log has under the same name. The weeks
of a log that were fine become its reference in one line:

    Store(folder).joined(until=day).to_pandas().to_parquet(folder / "reference.parquet")
"""

from pathlib import Path

import pandas as pd

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.sources_upload import read_upload
from mlsys.monitoring.store import Store
from mlsys.monitoring.traffic import THRESHOLD

NAMES = ("reference.parquet", "reference.csv")
NO_INPUTS = ("id", "at", "prediction", "label", "label_at", "version", "took_ms")


def beside(store: Store) -> Path | None:
    """The file that the log names as its reference; None when there is none."""
    paths = (Path(store.folder) / name for name in NAMES)
    return next((path for path in paths if path.is_file()), None)


def read_reference(path: Path) -> pd.DataFrame:
    """Its rows with a label, as `windows.learn` takes them.

    Raises MonitoringError, one sentence, for a file that cannot be read or lacks what is needed.
    """
    rows = read_upload(path)
    for name in ("score", "label"):
        if name not in rows:
            raise MonitoringError(
                f"{path.name} has no column {name!r}: a reference needs 'score' and 'label'."
            )
        rows[name] = pd.to_numeric(rows[name], errors="coerce")
    rows = rows.dropna(subset=["score", "label"]).reset_index(drop=True)
    if not len(rows):
        raise MonitoringError(f"{path.name} has no row with a score and a label.")
    if "prediction" not in rows:
        rows["prediction"] = (rows["score"] >= THRESHOLD).astype(int)
    for name in {"at", "label_at"} & set(rows):
        times = rows[name]
        if not pd.api.types.is_datetime64_any_dtype(times):
            times = pd.to_datetime(times.astype(str), utc=True, errors="coerce", format="ISO8601")
        elif times.dt.tz is None:
            times = times.dt.tz_localize("UTC")
        rows[name] = times.dt.as_unit("us")
    return rows


def watched(rows: pd.DataFrame) -> list[str]:
    """The columns of a reference that are watched: its inputs, and the score."""
    return [name for name in rows if name not in NO_INPUTS]
