"""The spam filter as an HTTP service; `SPAM_MODEL` names its ONNX file.

    SPAM_MODEL=model.onnx uvicorn mlsys.serving.workflows.spam_service:app --workers 2

Each worker is a process of its own and opens the model once, when it starts.
"""

import os
from contextlib import asynccontextmanager
from time import perf_counter

from fastapi import FastAPI
from pydantic import BaseModel, Field

from mlsys.serving.workflows.onnx_model import OnnxModel


class Message(BaseModel):
    """One message, as long as a very long mail at most."""

    text: str = Field(max_length=100_000)


class Messages(BaseModel):
    """Several messages at once."""

    texts: list[str] = Field(min_length=1, max_length=10_000)


@asynccontextmanager
async def _open_model(app: FastAPI):
    app.state.model = OnnxModel(os.environ["SPAM_MODEL"])
    yield


app = FastAPI(title="Is it spam?", lifespan=_open_model)


# The model takes microseconds, so the handlers run in the event loop itself: handing each request
# to a thread would cost more than the answer.
@app.get("/health")
async def health() -> dict:
    """Which version answers here, and in which process."""
    return {"version": app.state.model.version, "pid": os.getpid()}


@app.post("/spam")
async def spam(message: Message) -> dict:
    """Probability of spam; `seconds` is what the model alone took."""
    start = perf_counter()
    probability = app.state.model.spam(message.text)
    return {"spam": probability, "seconds": perf_counter() - start, **await health()}


@app.post("/spam_all")
async def spam_all(messages: Messages) -> dict:
    """Probabilities of spam, one a message."""
    return {"spam": app.state.model.spam_all(messages.texts).tolist(), **await health()}
