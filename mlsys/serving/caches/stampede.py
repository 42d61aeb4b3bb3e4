"""A popular key expires: everybody misses at once and asks a database that can take two at a time.

`stampede` measures four ways to read through a real Valkey under the same load. The database is a
wait behind a semaphore; how often it was asked, and when, is in the result. Each way is one
coroutine, as short as it would be in a service.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import redis.asyncio as redis

from mlsys.serving.load import LoadResult, open_loop
from mlsys.serving.timeline import Event

CURES = (
    "no cure",
    "one asks, others wait",
    "one asks, others take the old",
    "ask early, at random",
)
LOCK_S = 10.0  # a lock whose holder has died is gone after this


@dataclass(frozen=True)
class Stampede:
    """One way under load; queries are (start, end) at the database, s from the first request."""

    cure: str
    load: LoadResult
    queries: tuple[tuple[float, float], ...]

    @property
    def most_at_once(self) -> int:
        """Queries that were asked for and not answered, at the worst instant."""
        steps = sorted([(start, 1) for start, _ in self.queries]
                       + [(end, -1) for _, end in self.queries])  # fmt: skip
        inside = most = 0
        for _, step in steps:
            inside += step
            most = max(most, inside)
        return most

    def events(self) -> list[Event]:
        """A row for each query in line at the same time."""
        free: list[float] = []
        made = []
        for start, end in sorted(self.queries):
            row = next((i for i, until in enumerate(free) if until <= start), len(free))
            free[row : row + 1] = [end]
            made.append(Event(f"{self.cure}, query {row + 1}", start, end, self.cure))
        return made


@dataclass
class _Reader:
    """A key, its time to live (s), the database behind it, and one way to read it."""

    store: redis.Redis
    key: str
    ttl: float
    query_s: float
    room: asyncio.Semaphore
    dice: Random
    queries: list[tuple[float, float]] = field(default_factory=list)
    refreshing: set[asyncio.Task] = field(default_factory=set)

    async def query(self) -> dict[str, Any]:
        start = time.perf_counter()
        async with self.room:
            await asyncio.sleep(self.query_s)
        self.queries.append((start, time.perf_counter()))
        now = time.time()
        return {"value": 42, "end": now + self.ttl, "took": time.perf_counter() - start}

    async def look(self) -> dict[str, Any] | None:
        text = await self.store.get(self.key)
        return json.loads(text) if text else None

    async def refresh(self, *, keep: float = 1.0) -> dict[str, Any]:
        """Ask the database and store it; `keep` times the TTL, for who takes the old."""
        entry = await self.query()
        await self.store.set(self.key, json.dumps(entry), px=int(1000 * self.ttl * keep))
        return entry

    async def _mine(self) -> bool:
        """Whether we are the one who asks; the lock ends by itself if its holder dies."""
        return bool(await self.store.set(f"{self.key}:lock", 1, nx=True, px=int(1000 * LOCK_S)))

    async def _locked_refresh(self, keep: float = 1.0) -> dict[str, Any]:
        try:
            return await self.refresh(keep=keep)
        finally:
            await self.store.delete(f"{self.key}:lock")

    async def plain(self) -> None:
        if await self.look() is None:
            await self.refresh()

    async def one_asks(self) -> None:
        while await self.look() is None:
            if await self._mine():
                await self._locked_refresh()
                return
            await asyncio.sleep(0.01)

    async def take_the_old(self) -> None:
        entry = await self.look()
        if entry is None:
            await self.one_asks()
        elif entry["end"] < time.time() and await self._mine():
            task = asyncio.create_task(self._locked_refresh(keep=10))
            self.refreshing.add(task)  # else nothing would hold it
            task.add_done_callback(self.refreshing.discard)

    async def ask_early(self) -> None:
        """XFetch (A. Vattani, F. Chierichetti, K. Lowenstein, "Optimal probabilistic cache stampede
        prevention", PVLDB 8(8), 2015, figure 3, beta = 1): the sooner the end and the longer the
        query, the likelier somebody goes early."""
        entry = await self.look()
        early = 0.0 if entry is None else -entry["took"] * math.log(1 - self.dice.random())
        if entry is None or time.time() + early >= entry["end"]:
            await self.refresh()


async def stampede(
    url: str,
    *,
    rate: float = 100.0,
    seconds: float = 2.0,
    ttl: float = 0.5,
    query: float = 0.1,
    at_once: int = 2,
    seed: int = 0,
) -> dict[str, Stampede]:
    """Each way at `rate` reads a second of one key, side by side, each with a database of its own
    that takes `at_once` queries of `query` s. The key is there at the start."""
    # few connections: each that is opened costs as much as many answers
    pool = redis.BlockingConnectionPool.from_url(
        url.replace("valkey:", "redis:", 1), decode_responses=True, max_connections=24, timeout=10
    )
    store = redis.Redis.from_pool(pool)
    try:
        async with store:
            await asyncio.gather(*(store.ping() for _ in range(24)))
            ways: list[tuple[str, _Reader, Callable[[], Awaitable[None]]]] = []
            for place, cure in enumerate(CURES):
                room = asyncio.Semaphore(at_once)
                reader = _Reader(store, f"hot-{place}", ttl, query, room, Random(seed))
                read = (reader.plain, reader.one_asks, reader.take_the_old, reader.ask_early)
                await reader.refresh(keep=10 if place == 2 else 1)
                reader.queries.clear()
                ways.append((cure, reader, read[place]))
            begun = time.perf_counter()
            loads = [open_loop(read, rate=rate, seconds=seconds, seed=seed, name=cure)
                     for cure, _, read in ways]  # fmt: skip
            done = await asyncio.gather(*loads)
            await asyncio.gather(*(task for _, reader, _ in ways for task in reader.refreshing))
    finally:
        await store.aclose()
    return {
        cure: Stampede(cure, load, tuple((a - begun, b - begun) for a, b in reader.queries))
        for (cure, reader, _), load in zip(ways, done, strict=True)
    }
