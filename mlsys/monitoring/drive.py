"""Sends a scene's rows to the running service in the order of their time, labels when they are due.

The clock is the rows' own: four weeks pass as fast as the service answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import pandas as pd

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.traffic import FEATURES


@dataclass(frozen=True)
class Sent:
    """How far it came: the newest time sent, and the rows that the service has made safe."""

    at: pd.Timestamp
    predictions: int
    labels: int
    refused: int


def drive(url: str, live: pd.DataFrame, *, batch: int = 500, timeout: float = 60) -> Iterator[Sent]:
    """Post the rows of `Traffic.live` in batches; yields after each.

    A label is posted once its time has passed on the rows' clock; those due after the last row are
    not posted. Raises MonitoringError when the service does not answer as it should.
    """
    rows = live.sort_values("at")
    due = live[live["label_at"].notna()].sort_values("label_at")
    predictions = labels = refused = 0
    with httpx.Client(base_url=url, timeout=timeout) as client:
        for start in range(0, len(rows), batch):
            part = rows.iloc[start : start + batch]
            answer = _post(client, "/predict", _records(part, ["id", "at", *FEATURES]))
            predictions += len(part) if answer["logged"] else 0
            refused += 0 if answer["logged"] else len(part)
            now = part["at"].iloc[-1]
            ready = int(np.searchsorted(due["label_at"], now, side="right"))
            told, due = due.iloc[:ready], due.iloc[ready:]
            for first in range(0, len(told), 5_000):
                some = told.iloc[first : first + 5_000].drop(columns="at")
                some = some.rename(columns={"label_at": "at"})
                answer = _post(client, "/labels", _records(some, ["id", "label", "at"]))
                labels += len(some) if answer["logged"] else 0
            yield Sent(now, predictions, labels, refused)


def _records(rows: pd.DataFrame, columns: list[str]) -> list[dict]:
    table = rows[columns].astype(object).where(rows[columns].notna(), None)
    table["at"] = [at.isoformat() for at in rows["at"]]
    return table.to_dict("records")


def _post(client: httpx.Client, path: str, rows: list[dict]) -> dict:
    try:
        answer = client.post(path, json={"rows": rows})
    except httpx.HTTPError as error:
        raise MonitoringError(
            f"The service at {client.base_url} does not answer: {error}"
        ) from None
    if not answer.is_success:
        raise MonitoringError(
            f"The service answered {path} with {answer.status_code}: {answer.text[:200]}"
        )
    return answer.json()
