"""The mail gateway's classifier as an HTTP service that logs all it is asked and later told.

    MONITORED_STORE=folder uvicorn mlsys.monitoring.service:app

One worker: a log has one writer. POST /predict answers when the rows are safe in the store, POST
/labels takes what turned out true, GET /stats counts, GET /metrics is for Prometheus. What
the log says is for `watch` to judge, in another process: the reader needs nothing from this one.

With `MONITORED_REGISTRY`, the folder of a `registry`, each request is answered by the version that
is champion then. The log names the version of each answer; "built in" is the model made here.

How long an answer took is told twice, both by this process' monotonic clock and from the moment at
which the request's headers were here. `took_ms` in the log ends when the scores are known, since a
row cannot say how long its own writing takes. The histogram at /metrics ends when the answer is
sent: it holds the disk's part too.
"""

import asyncio
import os
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from mlsys.monitoring import traffic
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.recorder import Recorder
from mlsys.monitoring.registry import Registry
from mlsys.monitoring.store import TIME_TYPE, Writer

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
    + [("score", pa.float64()), ("prediction", pa.int64())]
    + [("version", pa.string()), ("took_ms", pa.float64())]
)
BUILT_IN = "built in"
LABELS = pa.schema([("id", pa.string()), ("label", pa.int64()), ("at", TIME_TYPE)])

METRICS = CollectorRegistry()
ROWS = Gauge("mlsys_service_rows", "Rows by log and state", ("log", "state"), registry=METRICS)
MODEL = Gauge("mlsys_service_model", "1 for the version that answers", ("version",),
              registry=METRICS)  # fmt: skip
PREDICTED = Counter("mlsys_service_predictions", "Predictions (1 is spam)", ("class", "version"),
                    registry=METRICS)  # fmt: skip
ANSWERED = Histogram(
    "mlsys_service_answer_seconds", "From a request's headers to its answer sent",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10), registry=METRICS,
)  # fmt: skip


@asynccontextmanager
async def _open(app: FastAPI):
    folder = os.environ.get("MONITORED_STORE")
    if not folder:
        raise MonitoringError("Name the store's folder in the variable MONITORED_STORE.")
    app.state.seed = int(os.environ.get("MONITORED_SEED", "0"))
    with ExitStack() as stack:
        logs = {
            name: stack.enter_context(Writer(Path(folder) / name))
            for name in ("predictions", "labels")
        }
        app.state.predictions = stack.enter_context(Recorder(logs["predictions"]))
        app.state.labels = stack.enter_context(Recorder(logs["labels"]))
        inputs = traffic.model(app.state.seed)[-1].n_features_in_
        registry = os.environ.get("MONITORED_REGISTRY")
        app.state.registry = Registry(registry, inputs) if registry else None
        yield


class Stopwatch:
    """Starts before the body is read and parsed, which for many rows takes longer than the model.

    The state of a request has `begun` (s); when it says `predicted` at the end, its time goes into
    the histogram.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        state = scope.setdefault("state", {})
        state["begun"] = monotonic()
        await self._app(scope, receive, send)
        if "predicted" in state:
            ANSWERED.observe(monotonic() - state["begun"])


app = FastAPI(title="Is it spam? A monitored service", lifespan=_open)
app.add_middleware(Stopwatch)


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
async def predict(mails: Mails, request: Request) -> dict:
    """Probabilities of spam; `logged` says whether the rows are safe in the log."""
    now = datetime.now(UTC)
    rows = [{**vars(mail), "at": mail.at or now} for mail in mails.rows]
    frame = pd.DataFrame(rows)
    score, version = _scores(frame)
    said = (score >= traffic.THRESHOLD).astype(int)
    spam = int(said.sum())
    PREDICTED.labels("1", version).inc(spam)
    PREDICTED.labels("0", version).inc(len(rows) - spam)
    columns = {name: [row[name] for row in rows] for name in Mail.model_fields}
    columns |= {"score": score, "prediction": said, "version": [version] * len(rows)}
    columns["took_ms"] = [1000 * (monotonic() - request.state.begun)] * len(rows)
    batch = pa.RecordBatch.from_pydict(columns, schema=PREDICTIONS)
    logged = await _safe(app.state.predictions, batch)
    request.state.predicted = True
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
async def metrics() -> bytes:
    """The same counts, the version, predictions and times, in Prometheus' text format."""
    for name, counts in (await stats()).items():
        for state, value in counts.items():
            ROWS.labels(name, state).set(value)
    MODEL.clear()
    MODEL.labels((await health())["version"]).set(1)
    return generate_latest(METRICS)
