"""What benchmarks/serving.py asks: it answers after a drawn delay, and imports little."""

from __future__ import annotations

import asyncio
import random
from typing import Any

DELAYS = (0.010, 0.030)  # s, uniform: within a factor of three, as the benchmark explains

_draw = random.Random(0)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Plain ASGI; lifespan events are ignored."""
    if scope["type"] != "http":
        return
    await asyncio.sleep(_draw.uniform(*DELAYS))
    headers = [(b"content-length", b"2"), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})
