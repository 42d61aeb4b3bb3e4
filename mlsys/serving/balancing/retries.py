"""A service that stands still for a second, and clients that try again: who recovers?

Several ways of retrying are measured at once, each in a lane of its own of the same replica
(`balancing.replica`), so that they meet the same stall on the same machine. The guards, a budget
and a breaker, are any objects with the methods of `Budget` and `Breaker`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import aiohttp
import numpy as np
import pandas as pd

from mlsys.serving.load import LoadResult, open_loop

AT_ONCE = 400  # requests of one way under way at the same time


class Budget(Protocol):
    """How many retries the whole client may send."""

    def asked(self) -> None: ...

    def may_retry(self) -> bool: ...


class Breaker(Protocol):
    """Whether a request may go out at all; times in s."""

    def allows(self, now: float) -> bool: ...

    def saw(self, ok: bool, now: float) -> None: ...


@dataclass
class RetryBudget:
    """A retry costs a token; each request of a user brings a tenth of one, up to five."""

    share: float = 0.1
    most: float = 5.0
    tokens: float = 5.0

    def asked(self) -> None:
        self.tokens = min(self.most, self.tokens + self.share)

    def may_retry(self) -> bool:
        allowed = self.tokens >= 1
        self.tokens -= allowed
        return allowed


@dataclass
class CircuitBreaker:
    """Open after so many `failures` in a row; then one probe after each `rest` (s), and a success
    closes it."""

    failures: int = 5
    rest: float = 0.3
    row: int = 0
    until: float = 0.0

    def allows(self, now: float) -> bool:
        probe = self.row >= self.failures and now >= self.until
        if probe:
            self.until = now + self.rest
        return probe or self.row < self.failures

    def saw(self, ok: bool, now: float) -> None:
        self.row = 0 if ok else self.row + 1
        if self.row == self.failures:
            self.until = now + self.rest


class Refused(Exception):
    """The breaker is open: nothing was sent."""


@dataclass(frozen=True)
class Way:
    """How a client tries: so often at most, and what may hold it back (a class, made anew for
    each run)."""

    tries: int = 1
    budget: Callable[[], Budget] | None = None
    breaker: Callable[[], Breaker] | None = None


@dataclass(frozen=True)
class Storm:
    """What one way did: the load as its users saw it, and the instants (s) of all its sends."""

    load: LoadResult
    sends: np.ndarray
    rate: float

    def recovered(self, after: float) -> float:
        """Share of the requests due after this instant (s) that were answered."""
        late = self.load.events[self.load.events.intended >= after]
        return float(late.ok.mean()) if len(late) else 0.0

    def curves(self, step: float = 0.4) -> pd.DataFrame:
        """Share answered, and sends as a multiple of the planned rate, for each step (s)."""
        events = self.load.events
        end = float(events.intended.max())
        edges = np.arange(0, end + step, step)
        due, _ = np.histogram(events.intended, edges)
        good, _ = np.histogram(events.intended[events.ok], edges)
        sent, _ = np.histogram(self.sends, edges)
        return pd.DataFrame(
            {
                "second": edges[:-1] + step / 2,
                "answered": np.where(due, good / np.maximum(due, 1), np.nan),
                "sent": sent / (self.rate * step),
            }
        )


async def storm(
    url: str,
    ways: Mapping[str, Way],
    *,
    rate: float = 20.0,
    seconds: float = 5.0,
    patience: float = 0.3,
    stall: tuple[float, float] = (0.4, 1.0),
    seed: int = 0,
    attempts: int = 3,
) -> dict[str, Storm]:
    """Every way at `rate` requests a second, each in its lane, all from one instant on.

    patience: s until a try is given up. stall: at which second every lane stands still, and for
    how long. Users who were not answered in any try count as failed. The first way is the control:
    where even it has not recovered at the end, the machine had no time for the experiment, and it
    is run again, at most `attempts` times in all.
    """
    for attempt in range(attempts):
        lanes = {name: f"storm-{attempt}-{place}" for place, name in enumerate(ways)}
        storms = await _once(url, ways, lanes, rate, seconds, patience, stall, seed)
        if next(iter(storms.values())).recovered(0.7 * seconds) > 0.8:
            break
    return storms


async def _once(
    url: str,
    ways: Mapping[str, Way],
    lanes: Mapping[str, str],
    rate: float,
    seconds: float,
    patience: float,
    stall: tuple[float, float],
    seed: int,
) -> dict[str, Storm]:
    limits = aiohttp.TCPConnector(limit=0)
    wait = aiohttp.ClientTimeout(total=patience)
    async with aiohttp.ClientSession(connector=limits, timeout=wait) as session:
        begun = time.perf_counter()
        clients = {
            name: _Client(session, f"{url}/predict?lane={lanes[name]}", way, begun)
            for name, way in ways.items()
        }
        loads = [
            open_loop(client.ask, rate=rate, seconds=seconds, seed=seed, connections=AT_ONCE,
                      timeout=2 * seconds, name=name)
            for name, client in clients.items()
        ]  # fmt: skip
        stalls = [_stall(url, lane, *stall) for lane in lanes.values()]
        done = await asyncio.gather(*loads, *stalls)
    return {
        name: Storm(load, np.array(client.sends), rate)
        for (name, client), load in zip(clients.items(), done, strict=False)
    }


class _Client:
    def __init__(self, session: aiohttp.ClientSession, url: str, way: Way, begun: float) -> None:
        self.session, self.url, self.begun = session, url, begun
        self.tries = way.tries
        self.budget = way.budget() if way.budget else None
        self.breaker = way.breaker() if way.breaker else None
        self.sends: list[float] = []

    async def ask(self) -> str:
        """One request of a user, with its retries; the number of tries as the label."""
        if self.budget:
            self.budget.asked()
        for number in range(1, self.tries + 1):
            if self.breaker and not self.breaker.allows(time.perf_counter()):
                raise Refused
            good = await self._try()
            if self.breaker:
                self.breaker.saw(good, time.perf_counter())
            if good:
                return str(number)
            if number < self.tries and self.budget and not self.budget.may_retry():
                break
        raise TimeoutError

    async def _try(self) -> bool:
        self.sends.append(time.perf_counter() - self.begun)
        try:
            async with self.session.get(self.url) as answered:
                await answered.read()
                return answered.status < 500
        except (aiohttp.ClientError, TimeoutError):
            return False


async def _stall(url: str, lane: str, at: float, length: float) -> None:
    await asyncio.sleep(at)
    patient = aiohttp.ClientTimeout(total=length + 30)
    where = f"{url}/-stall?lane={lane}&ms={1000 * length:.0f}"
    async with (
        aiohttp.ClientSession(timeout=patient) as session,
        session.post(where) as answered,
    ):
        await answered.read()
