"""One request through five services that call one another, and the spans that each of them notes.

A service is a name here; which process runs it is what `/-peers` told everyone (the discovery).
A call carries the header `traceparent` (W3C Trace Context, 2021, section 3.2): the number of the
whole trace, and of the span that asks. Whoever is called notes its own span under it. Clocks are
those of one machine, so spans of several processes fit together without a correction.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from mlsys.serving.timeline import Event

HOST = "127.0.0.1"
PATIENCE = 5.0  # s that one service waits for another
ITEMS = 6  # candidates of a page
# work in ms that each service does itself
WORK_MS = {"page": 4, "user": 8, "candidates": 12, "rank": 5, "features": 6}
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True)
class Span:
    """What one service did for one trace; times in s since the epoch. parent is "" at the root."""

    trace: str
    id: str
    parent: str
    service: str
    start: float
    end: float
    process: int
    note: str = ""


kept: deque[Span] = deque(maxlen=5_000)
peers: dict[str, int] = {}


def new_trace() -> tuple[str, dict[str, str]]:
    """The number of a new trace, and the header with which a client begins it."""
    trace = secrets.token_hex(16)
    return trace, {"traceparent": f"00-{trace}-{'0' * 16}-01"}


async def answer(
    method: str, path: str, asked: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[int, Any]:
    """The part of a replica that belongs to tracing. ValueError for nonsense."""
    if path == "/-spans":
        return 200, [asdict(span) for span in list(kept) if span.trace == asked.get("trace")]
    if path == "/-peers":
        if method != "POST":
            return 405, {"error": "tell the peers with POST"}
        if any(not port.isdigit() for port in asked.values()):
            raise ValueError("the address of a peer is its port, a number")
        peers.update({name: int(port) for name, port in asked.items()})
        return 200, peers
    service = path.removeprefix("/call/")
    if service not in WORK_MS:
        return 404, {"error": f"no service is called {service[:40]!r}"}
    trace, parent = _context(headers.get("traceparent", ""))
    return 200, await _traced(service, trace, parent, asked)


def _context(header: str) -> tuple[str, str]:
    """Trace and parent; a header that is missing or broken begins a new trace, as W3C says."""
    found = TRACEPARENT.fullmatch(header)
    if not found:
        return secrets.token_hex(16), ""
    return found[1], "" if found[2] == "0" * 16 else found[2]


async def _traced(service: str, trace: str, parent: str, asked: Mapping[str, str]) -> Any:
    span, start = secrets.token_hex(8), time.time()
    note = "failed"
    try:
        result = await _SERVICES.get(service, _plain)(service, trace, span, asked)
        note = asked.get("items", "")
        return result
    finally:
        kept.append(Span(trace, span, parent, service, start, time.time(), os.getpid(), note))


async def _work(service: str) -> None:
    await asyncio.sleep(WORK_MS[service] / 1000)


async def _plain(service: str, trace: str, span: str, asked: Mapping[str, str]) -> Any:
    await _work(service)
    return {"service": service, "items": asked.get("items", "")}


async def _page(service: str, trace: str, span: str, asked: Mapping[str, str]) -> Any:
    """Two calls side by side, then one that needs what they brought."""
    await _work(service)
    await asyncio.gather(call("user", trace, span), call("candidates", trace, span))
    ranked = await call("rank", trace, span, batch=asked.get("batch", "0"))
    return {"page": ranked}


async def _rank(service: str, trace: str, span: str, asked: Mapping[str, str]) -> Any:
    """Ask for the features of each candidate by itself, or of all of them in one call."""
    items = [str(item) for item in range(ITEMS)]
    if asked.get("batch") == "1":
        await call("features", trace, span, items=",".join(items))
    else:
        for item in items:
            await call("features", trace, span, items=item)
    await _work(service)
    return {"ranked": items}


_SERVICES = {"page": _page, "rank": _rank}


async def call(service: str, trace: str, parent: str, **asked: str) -> Any:
    """Ask another service over HTTP. ConnectionError when it does not answer well or in time."""
    if service not in peers:
        raise ValueError(f"nobody has said where {service!r} is: POST /-peers first")
    target = f"/call/{service}?{urlencode(asked)}"
    head = (
        f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
        f"traceparent: 00-{trace}-{parent}-01\r\n\r\n"
    )
    return await asyncio.wait_for(_exchange(peers[service], head, service), PATIENCE)


async def _exchange(port: int, head: str, service: str) -> Any:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(head.encode("latin-1"))
        top, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status = top.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise ConnectionError(f"{service} answered {status!r}")
    return json.loads(body)


# --- reading a trace


def spans_of(told: Iterable[Mapping[str, Any]]) -> list[Span]:
    """Spans as the services told them, by their start."""
    return sorted((Span(**one) for one in told), key=lambda span: span.start)


def depths(spans: Iterable[Span]) -> dict[str, int]:
    """How deep each span lies below the root, by id; a span whose parent is lost counts as root."""
    parents = {span.id: span.parent for span in spans}
    found: dict[str, int] = {}
    for start in parents:
        way = []
        here = start
        while here in parents and here not in found and here not in way:
            way.append(here)
            here = parents[here]
        below = found.get(here, -1)
        for place, one in enumerate(reversed(way), start=1):
            found[one] = below + place
    return found


def as_events(spans: Iterable[Span]) -> list[Event]:
    """A row for each span, indented by its depth, times from the start of the first."""
    ordered = sorted(spans, key=lambda span: span.start)
    if not ordered:
        return []
    depth, first = depths(ordered), ordered[0].start
    rows = []
    for number, span in enumerate(ordered, start=1):
        # invisible marks at the end make rows of the same service different ones
        row = "\u2013 " * depth[span.id] + span.service + "\u200b" * number
        text = f"{span.service}, process {span.process}" + (f", {span.note}" if span.note else "")
        rows.append(Event(row, span.start - first, span.end - first, span.service, text))
    return rows
