"""One replica of a model server, as an ASGI application: a line of requests before one accelerator.

    services.replicas("mlsys.serving.balancing.replica:app", [{"NAME": "a"}, {"NAME": "b"}])

    GET  /predict?lane=x     wait for your turn in this lane, then for the model
    GET  /health             200, or 500 while it is told to fail
    POST /-set?fails=1&ms=10 answer 500 at once; take so long for a prediction
    POST /-stall?lane=x&ms=  the lane stands still, as in a long garbage collection
    GET  /call/NAME          the services of `balancing.tracing`, which call one another

The model is a wait of MS milliseconds, exponentially distributed, as if an accelerator worked: four
real models would share the two cores of a laptop and measure those. Each lane is a line of its own,
so that several experiments can use the same processes at once without meeting.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any
from urllib.parse import parse_qsl

from mlsys.serving.balancing import tracing as balancing_tracing

MOST_LANES = 100  # a client cannot fill our memory with names of lanes
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Replica:
    """What one process knows: its name, its speed, its lines."""

    def __init__(self, name: str, ms: float, seed: int) -> None:
        self.name, self.ms, self.fails = name, ms, False
        self.dice = Random(seed)
        self.lanes: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def lane(self, name: str) -> asyncio.Lock:
        """The line of this name. ValueError when there are too many."""
        if name not in self.lanes and len(self.lanes) >= MOST_LANES:
            raise ValueError(f"there are {MOST_LANES} lanes already; use one of them")
        return self.lanes[name]

    async def predict(self, lane: str) -> None:
        """Wait in line, then work. A client that has left is served all the same."""
        async with self.lane(lane):
            await asyncio.sleep(self.dice.expovariate(1000 / self.ms) if self.ms else 0)

    async def stall(self, lane: str, ms: float) -> None:
        async with self.lane(lane):
            await asyncio.sleep(ms / 1000)

    def set(self, asked: dict[str, str]) -> None:
        """ValueError for a value that is no number, or a time under 0 or over a minute."""
        if "ms" in asked:
            self.ms = _milliseconds(asked["ms"])
        if "fails" in asked:
            self.fails = asked["fails"] == "1"


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"ms={text[:40]!r} is no number of milliseconds") from None
    if not 0 <= value <= 60_000:
        raise ValueError(f"ms={value:g} is not between 0 and 60000")
    return value


replica = Replica(
    os.environ.get("NAME", "replica"),
    float(os.environ.get("MS", "20")),
    int(os.environ.get("SEED", "0")),
)


async def answer(
    method: str, path: str, asked: dict[str, str], headers: dict[str, str]
) -> tuple[int, Any]:
    """Status and body. ValueError for a request that makes no sense."""
    lane = asked.get("lane", "")
    if path.startswith("/call/") or path in ("/-spans", "/-peers"):
        return await balancing_tracing.answer(method, path, asked, headers)
    match method, path:
        case "GET", "/health":
            return (500, {"ill": replica.name}) if replica.fails else (200, {"by": replica.name})
        case "GET", "/predict" if replica.fails:
            return 500, {"error": f"{replica.name} cannot find its model"}
        case "GET", "/predict":
            await replica.predict(lane)
            return 200, {"by": replica.name}
        case "POST", "/-stall":
            await replica.stall(lane, _milliseconds(asked.get("ms", "0")))
            return 200, {"by": replica.name}
        case "POST", "/-set":
            replica.set(asked)
            return 200, {"by": replica.name, "ms": replica.ms, "fails": replica.fails}
    return 404, {"error": f"there is no {method} {path[:80]} here"}


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[dict]], send: Send) -> None:
    """The application that uvicorn calls."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] != "http":
        return
    asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        status, body = await answer(scope["method"], scope["path"], asked, headers)
    except ValueError as error:
        status, body = 400, {"error": str(error)}
    text = json.dumps(body).encode()
    kind = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": kind})
    await send({"type": "http.response.body", "body": text})
