"""Clients that are slow on purpose, and what a quick one meets among them.

Two hundred clients each send a line one byte at a time, as phones on a bad network do; meanwhile
a quick client asks on schedule. Which server stands behind the port is the caller's business.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mlsys.serving.event_loop.servers import HOST, Running
from mlsys.serving.load import LoadResult, Tcp, open_loop

LINE = b"hello\n"
MOST_CLIENTS = 2000


@dataclass
class SlowClients:
    """What became of them: lines answered, connections held now, and errors by class."""

    answered: int = 0
    held: int = 0
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Crowded:
    """A server among slow clients: its threads, the memory they added, and the quick client."""

    kind: str
    threads: int
    added: float  # MB
    answered: int  # lines of slow clients
    quick: LoadResult


@contextmanager
def slow_clients(port: int, count: int, *, gap: float = 0.05) -> Iterator[SlowClients]:
    """So many clients repeat a line, a byte every `gap` s, until the end of the `with`.

    They run in a thread of their own and spread their beginnings over one line's time. Raises
    ValueError for a count or a gap that is not sensible.
    """
    if not (0 <= count <= MOST_CLIENTS and 0.001 <= gap <= 10):
        raise ValueError(
            f"{count} clients with a byte every {gap} s are not sensible; take up to"
            f" {MOST_CLIENTS:,} clients and a gap from 0.001 to 10 s."
        )
    seen = SlowClients()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def all_of_them() -> None:
        spread = len(LINE) * gap / max(count, 1)
        tasks = [
            asyncio.create_task(_dribble(port, gap, number * spread, seen))
            for number in range(count)
        ]
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(all_of_them())

    thread = threading.Thread(target=run, name="slow clients", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)
        thread.join(5)


async def _dribble(port: int, gap: float, delay: float, seen: SlowClients) -> None:
    writer = None
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
        seen.held += 1
        await asyncio.sleep(delay)
        while True:
            for place in range(len(LINE)):
                writer.write(LINE[place : place + 1])
                await asyncio.sleep(gap)
            if not await reader.readline():
                raise ConnectionError("the server has closed")
            seen.answered += 1
    except OSError as error:
        name = type(error).__name__
        seen.errors[name] = seen.errors.get(name, 0) + 1
    finally:
        if writer is not None:
            seen.held -= 1
            writer.transport.abort()


async def crowded(
    running: Running,
    *,
    clients: int,
    gap: float = 0.1,
    rate: float = 100,
    seconds: float = 0.8,
    timeout: float = 0.5,
) -> Crowded:
    """Ask the server on one quick connection after another while slow clients occupy it."""
    before = running.memory
    with slow_clients(running.port, clients, gap=gap) as slow:
        end = asyncio.get_running_loop().time() + 30
        while slow.held < clients and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.005)
        target = Tcp(running.port, b"quick\n", until=b"\n", keep=False)
        quick = await open_loop(
            target, rate=rate, seconds=seconds, timeout=timeout, name=running.kind
        )
        threads, added = running.threads, running.memory - before
    return Crowded(running.kind, threads, added, slow.answered, quick)


async def beside(
    running: Running, what: str, *, rate: float = 100, wait: float = 20, seconds: float = 1.5
) -> LoadResult:
    """Latency of `wait` (ms) at `rate` a second, while `what` is asked for twice a second."""
    quick = Tcp(running.port, f"wait {wait}\n".encode(), until=b"\n")
    other = Tcp(running.port, f"{what}\n".encode(), until=b"\n")
    measured, _ = await asyncio.gather(
        open_loop(quick, rate=rate, seconds=seconds, timeout=5, warm=5, name=what),
        open_loop(other, trace=np.arange(0.2, seconds, 0.5), timeout=5),
    )
    return measured


async def all_beside(
    servers: Sequence[Running], whats: Sequence[str], *, seconds: float, tries: int = 3
) -> list[LoadResult]:
    """`beside` on each server with its own of `whats`, all at one time.

    The first of `whats` is one that disturbs nobody. When more than 2 % of the answers beside it
    are late (over 100 ms), something else held up the machine or a server, and all are measured
    again, at most `tries` times; the least disturbed measurement counts.
    """
    measured: list[list[LoadResult]] = []
    while len(measured) < tries and not (measured and _late(measured[-1]) <= 0.02):
        loads = (beside(*each, seconds=seconds) for each in zip(servers, whats, strict=True))
        measured.append(await asyncio.gather(*loads))
    return min(measured, key=_late)


def _late(loads: Sequence[LoadResult]) -> float:
    return loads[0].latency.share_over(0.1)


def compared(servers: Sequence[Crowded]) -> pd.DataFrame:
    """A row for each server: what the crowd cost it, and who was served."""
    return pd.DataFrame(
        {
            "threads": {one.kind: one.threads for one in servers},
            "MB for them": {one.kind: round(one.added, 1) for one in servers},
            "slow lines answered": {one.kind: one.answered for one in servers},
            "quick ones served": {one.kind: one.quick.ok for one in servers},
        }
    )
