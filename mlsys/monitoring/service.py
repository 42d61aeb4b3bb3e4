"""The mail gateway's classifier as an HTTP service that logs all it is asked and later told.

    MONITORED_STORE=folder uvicorn mlsys.monitoring.service:app

One worker: a log has one writer. POST /predict answers when the rows are safe in the store, POST
/labels takes what turned out true, GET /stats counts, GET /metrics is for Prometheus. Every
`MONITORED_WINDOW` rows (1,000) a profile of the inputs goes to the store too. What the log says is
for `watch` to judge, in another process: the reader needs nothing from this one.

With `MONITORED_REGISTRY`, the folder of a `registry`, each request is answered by the version that
is champion then. The log names the version of each answer; "built in" is the model made here.
"""

import asyncio
import os
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from mlsys.monitoring import traffic
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.recorder import Recorder
from mlsys.monitoring.registry import Registry
from mlsys.monitoring.store import TIME_TYPE, Writer
from mlsys.monitoring.streams import WindowProfiles

Word = Annotated[str, Field(max_length=100)]


class Mail(BaseModel):
    """One mail. A feature may be empty, as it may be in life; `at` is now unless it is given."""

    model_config = ConfigDict(extra="forbid")

    id: Word
    at: AwareDatetime | None = None
    size_kb: float | None = None
    links: float | None = None
    sender_age_days: float | None = None
    recipients: float | None = None
    capitals: float | None = None
    client: Word | None = None
    country: Word | None = None


class Label(BaseModel):
    """What a mail turned out to be (1 is spam), known at `at`."""

    id: Word
    label: Annotated[int, Field(ge=0, le=1)]
    at: AwareDatetime | None = None


class Mails(BaseModel):
    rows: Annotated[list[Mail], Field(min_length=1, max_length=5_000)]


class Labels(BaseModel):
    rows: Annotated[list[Label], Field(min_length=1, max_length=5_000)]


PREDICTIONS = pa.schema(
    [("id", pa.string()), ("at", TIME_TYPE)]
    + [(name, pa.float64()) for name in traffic.NUMBERS]
    + [(name, pa.string()) for name in traffic.CATEGORIES]
    + [("score", pa.float64()), ("prediction", pa.int64()), ("version", pa.string())]
)
BUILT_IN = "built in"
LABELS = pa.schema([("id", pa.string()), ("label", pa.int64()), ("at", TIME_TYPE)])
PROFILES = pa.schema([("at", TIME_TYPE), ("rows", pa.int64()), ("profile", pa.string())])


def profile_windows(windows: WindowProfiles, log: Writer, table: pa.Table) -> None:
    """Add logged rows to the open window; a window that is full goes to the log of profiles."""
    frame = table.select([*traffic.FEATURES, "score"]).to_pandas()
    for profile in windows.add(frame):
        row = {
            "at": table.column("at")[-1].as_py(),
            "rows": profile.rows,
            "profile": profile.to_json().decode(),
        }
        log.append(pa.Table.from_pylist([row], schema=PROFILES))


@asynccontextmanager
async def _open(app: FastAPI):
    folder = os.environ.get("MONITORED_STORE")
    if not folder:
        raise MonitoringError("Name the store's folder in the variable MONITORED_STORE.")
    app.state.seed = int(os.environ.get("MONITORED_SEED", "0"))
    with ExitStack() as stack:
        logs = {
            name: stack.enter_context(Writer(Path(folder) / name))
            for name in ("predictions", "labels", "profiles")
        }
        windows = WindowProfiles(int(os.environ.get("MONITORED_WINDOW", "1000")))
        watch = partial(profile_windows, windows, logs["profiles"])
        app.state.predictions = stack.enter_context(Recorder(logs["predictions"], then=watch))
        app.state.labels = stack.enter_context(Recorder(logs["labels"]))
        inputs = traffic.model(app.state.seed)[-1].n_features_in_
        registry = os.environ.get("MONITORED_REGISTRY")
        app.state.registry = Registry(registry, inputs) if registry else None
        yield


app = FastAPI(title="Is it spam? A monitored service", lifespan=_open)


def _scores(frame: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Probabilities of spam, and the version that gave them."""
    registry, seed = app.state.registry, app.state.seed
    if registry is None:
        return traffic.predict(frame, seed=seed), BUILT_IN
    champion = registry.champion()
    return champion.scores(traffic.encoded(frame, seed=seed)), champion.name


async def _safe(recorder: Recorder, batch: pa.RecordBatch) -> bool:
    """Did the rows reach the log? False when the queue was full or the disk refused."""
    future = recorder.put(batch)
    if future is None:
        return False
    try:
        await asyncio.wrap_future(future)
    except MonitoringError:
        return False
    return True


@app.post("/predict")
async def predict(mails: Mails) -> dict:
    """Probabilities of spam; `logged` says whether the rows are safe in the log."""
    now = datetime.now(UTC)
    rows = [{**vars(mail), "at": mail.at or now} for mail in mails.rows]
    frame = pd.DataFrame(rows)
    score, version = _scores(frame)
    said = (score >= traffic.THRESHOLD).astype(int)
    columns = {name: [row[name] for row in rows] for name in PREDICTIONS.names[:-3]}
    columns |= {"score": score, "prediction": said, "version": [version] * len(rows)}
    batch = pa.RecordBatch.from_pydict(columns, schema=PREDICTIONS)
    logged = await _safe(app.state.predictions, batch)
    return {"scores": score.tolist(), "version": version, "logged": logged}


@app.post("/labels")
async def labels(told: Labels) -> dict:
    """Take labels; `logged` says whether they are safe in the log."""
    now = datetime.now(UTC)
    rows = [{**vars(one), "at": one.at or now} for one in told.rows]
    batch = pa.RecordBatch.from_pylist(rows, schema=LABELS)
    return {"logged": await _safe(app.state.labels, batch)}


@app.get("/health")
async def health() -> dict:
    """Who answers: the process, its inputs, the version; `problem` when the registry has one."""
    registry = app.state.registry
    version = registry.champion().name if registry else BUILT_IN
    about = {"pid": os.getpid(), "features": list(traffic.FEATURES), "version": version}
    return about | ({"problem": registry.problem} if registry and registry.problem else {})


@app.get("/stats")
async def stats() -> dict:
    """Rows safe, waiting, dropped and failed, for predictions and labels."""
    return {name: asdict(getattr(app.state, name).counts) for name in ("predictions", "labels")}


@app.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> str:
    """The same counts, and the version that answers, in Prometheus' text format."""
    lines = ["# TYPE mlsys_service_rows gauge"]
    for name, counts in (await stats()).items():
        lines += [
            f'mlsys_service_rows{{log="{name}",state="{state}"}} {value}'
            for state, value in counts.items()
        ]
    version = (await health())["version"]
    lines += ["# TYPE mlsys_service_model gauge", f'mlsys_service_model{{version="{version}"}} 1']
    return "\n".join(lines) + "\n"
