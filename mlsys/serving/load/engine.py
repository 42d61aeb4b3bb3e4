"""The clockwork of a load: sends on schedule, whatever the server does, and notes every instant.

Open loop: the schedule is fixed before the start, and a latency counts from the instant at which
a request was meant to be sent. A closed loop has clients that wait for each answer. What goes over
the wire is the senders' affair; what the notes mean is `load.result`'s.
"""

from __future__ import annotations

import asyncio
import gc
import math
import select
import selectors
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from mlsys.serving.load.arrivals import MOST_REQUESTS
from mlsys.serving.load.senders import as_cycle, make_sender, threads_of

_NEVER = math.nan
_BURST = 16  # late arrivals sent before answers get a turn


@dataclass
class Record:
    """What happened to each request, in s from the start; NaN where it did not come to that.

    intended: when it was due; ready: when the generator came to it; sent: when it had a
    connection and went out; done: when its answer was whole, or it was given up. error is "" for
    an answer, else what went wrong. lane: the connection's number, from 0.
    """

    intended: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    label: list[str] = field(default_factory=list)
    error: list[str] = field(default_factory=list)
    lane: list[int] = field(default_factory=list)

    def add(self, intended: float) -> int:
        self.intended.append(intended)
        self.ready.append(_NEVER)
        self.sent.append(_NEVER)
        self.done.append(_NEVER)
        self.status.append(0)
        self.label.append("")
        self.error.append("not sent")
        self.lane.append(-1)
        return len(self.intended) - 1


class _Line:
    """Connections and the line of requests that wait for a free one."""

    def __init__(self, target: Any, *, timeout: float, connections: int) -> None:
        self.record = Record()
        self._begun = perf_counter()
        lanes = threads_of(target, connections)
        self._free = list(range(lanes - 1, -1, -1))
        self._waiting: deque[int] = deque()
        self.open = 0  # requests that have come and not ended
        self._idle = asyncio.Event()
        self._closed = False
        self.on_end: Any = lambda index: None
        self._sender = make_sender(target, timeout, self._ended, lanes)

    def begin(self) -> None:
        self._begun = perf_counter()

    def now(self) -> float:
        return perf_counter() - self._begun

    def come(self, index: int) -> None:
        self.record.ready[index] = self.now()
        self.open += 1
        self._idle.clear()
        if self._free:
            self._send(index)
        else:
            self._waiting.append(index)

    def come_now(self) -> None:
        """A request that nobody had planned: it is due at the instant of its send."""
        record = self.record
        index = record.add(self.now())
        self.come(index)
        if not math.isnan(record.sent[index]):
            record.intended[index] = record.ready[index] = record.sent[index]

    def _send(self, index: int) -> None:
        record = self.record
        record.lane[index] = self._free.pop()
        record.sent[index] = self.now()
        record.error[index] = "timeout"  # until something else is known
        self._sender.send(index)

    def _ended(self, index: int, status: int, label: str, error: str) -> None:
        if self._closed:
            return
        record = self.record
        record.done[index] = self.now()
        record.status[index], record.label[index] = status, label
        record.error[index] = error or (f"status {status}" if status >= 400 else "")
        self._free.append(record.lane[index])
        self.open -= 1
        if self._waiting:
            self._send(self._waiting.popleft())
        if not self.open:
            self._idle.set()
        self.on_end(index)

    async def drain(self, seconds: float) -> None:
        """Wait until all have ended, at most so long; what has not by then keeps its error."""
        if self.open:
            try:
                async with asyncio.timeout(seconds):
                    await self._idle.wait()
            except TimeoutError:
                pass

    def close(self) -> None:
        self._closed = True
        self._sender.close()
        end = self.now()
        record = self.record
        for index, done in enumerate(record.done):
            if math.isnan(done) and not math.isnan(record.ready[index]):
                record.done[index] = end


async def send_open(
    target: Any, arrivals: Sequence[float], *, timeout: float, connections: int, warm: int
) -> Record:
    """Send request i at arrivals[i] seconds, come what may."""
    target = as_cycle(target)
    await _warm_up(target, warm, timeout)
    line = _Line(target, timeout=timeout, connections=connections)
    for instant in arrivals:
        line.record.add(float(instant))
    with _QuietCollector():
        try:
            line.begin()
            late = 0
            for index, instant in enumerate(line.record.intended):
                wait = instant - line.now()
                if wait > 0:
                    late = 0
                    await asyncio.sleep(wait)
                else:
                    late += 1
                    if late % _BURST == 0:
                        await asyncio.sleep(0)
                line.come(index)
            await line.drain(2 * timeout)
        finally:
            line.close()
    return line.record


async def send_closed(
    target: Any,
    *,
    clients: int,
    seconds: float,
    count: int,
    think: float,
    timeout: float,
    warm: int,
) -> Record:
    """Clients that each send, wait for the answer, think, and send again.

    Ends after `seconds`, or earlier when `count` requests have been sent.
    """
    target = as_cycle(target)
    await _warm_up(target, warm, timeout)
    line = _Line(target, timeout=timeout, connections=clients)
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    most = min(count, MOST_REQUESTS)

    def again() -> None:
        now = line.now()
        if now < seconds and len(line.record.intended) < most:
            line.come_now()
        elif not line.open:
            over.set()

    def on_end(index: int) -> None:
        # By the loop, never at once: an answer that is there already must not recurse.
        if think:
            loop.call_later(think, again)
        else:
            loop.call_soon(again)

    line.on_end = on_end
    with _QuietCollector():
        try:
            line.begin()
            for _ in range(clients):
                again()
            left = seconds + think + 2 * timeout - line.now()
            try:
                async with asyncio.timeout(left):
                    await over.wait()
            except TimeoutError:
                pass
        finally:
            line.close()
    return line.record


async def _warm_up(target: Any, requests: int, timeout: float) -> None:
    """So many requests one after another, not noted."""
    if requests:
        line = _Line(target, timeout=timeout, connections=1)
        try:
            for _ in range(requests):
                line.come(line.record.add(0.0))
                await line.drain(2 * timeout)
        finally:
            line.close()


class _QuietCollector:
    """What exists already is left out of garbage collection while instants are noted.

    A full collection of a kernel that has pandas in it stops everything for tens of milliseconds.
    """

    def __enter__(self) -> None:
        gc.freeze()

    def __exit__(self, *error: object) -> None:
        gc.unfreeze()


def precise_loop() -> asyncio.AbstractEventLoop:
    """A new event loop whose timer is as fine as the system's.

    epoll counts in whole milliseconds, which at 1,000 requests a second is the whole gap. select
    counts in microseconds, and an epoll object can itself be selected.
    """
    if sys.platform == "linux":
        return asyncio.SelectorEventLoop(_FineEpoll())
    return asyncio.new_event_loop()


if sys.platform == "linux":

    class _FineEpoll(selectors.EpollSelector):
        def select(self, timeout: float | None = None) -> list:
            # FD_SETSIZE: select cannot watch a descriptor from 1,024 on
            if timeout is not None and timeout > 0 and self.fileno() < 1024:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)
