"""How soon a client learns what is new, and what it asks for that: polling against pushing.

`compare` says the same things at the same instants in several ways at once; a listener is a
coroutine that appends to a list what each of its exchanges brought: (start, end, texts), in s of
time.perf_counter; the start of what came unasked is None. The lesson writes the listeners.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import pandas as pd

from mlsys.serving.timeline import Event

Exchange = tuple[float | None, float, list[str]]
Way = tuple[Callable[[str], object], Callable[[list[Exchange]], Awaitable[None]]]
LAST_WORDS = 3.0  # s that the last message may take


@dataclass(frozen=True)
class Heard:
    """One way of learning: its exchanges, and the delay of each message (s), all from 0."""

    name: str
    exchanges: tuple[Exchange, ...]
    delays: tuple[float, ...]

    @property
    def requests(self) -> int:
        """How often the client asked."""
        return sum(start is not None for start, _, _ in self.exchanges)

    @property
    def events(self) -> list[Event]:
        """Each exchange as a bar, each message that it brought as a mark at its end."""
        told, before = [], 0.0
        for start, end, texts in self.exchanges:
            asked = start is not None
            kind = "waits for the answer" if asked else "connected"
            told.append(Event(self.name, start if asked else min(before, end), end, kind))
            told += [Event(self.name, end, kind="message", text=text) for text in texts]
            before = end
        return told


async def compare(ways: Mapping[str, Way], instants: Sequence[float]) -> list[Heard]:
    """Say message k at instants[k] (s, rising) in all ways; who learned it when, and by what.

    Raises whatever a listener raises, and TimeoutError when messages do not come.
    """
    noted: dict[str, list[Exchange]] = {name: [] for name in ways}
    tasks = [asyncio.ensure_future(listen(noted[name])) for name, (_, listen) in ways.items()]
    await asyncio.sleep(0.1)  # all of them listen
    origin = perf_counter()
    said: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for number, instant in enumerate(instants):
            await asyncio.sleep(origin + instant - perf_counter())
            for name, (say, _) in ways.items():
                said[name].append(perf_counter())
                say(str(number))
        end = perf_counter() + LAST_WORDS
        while any(_count(one) < len(instants) for one in noted.values()):
            for task in tasks:
                if task.done():
                    task.result()
                    raise ConnectionError("A listener has ended before the last message.")
            if perf_counter() > end:
                raise TimeoutError(f"Not all messages had come after {LAST_WORDS:g} s.")
            await asyncio.sleep(0.01)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [_heard(name, exchanges, said[name], origin) for name, exchanges in noted.items()]


def compared(heard: Sequence[Heard]) -> pd.DataFrame:
    """Requests and delays, a row for each way."""
    return pd.DataFrame(
        {
            "requests": {one.name: one.requests for one in heard},
            "median delay, ms": {
                one.name: round(1000 * sorted(one.delays)[len(one.delays) // 2], 1) for one in heard
            },
            "longest, ms": {one.name: round(1000 * max(one.delays), 1) for one in heard},
        }
    )


def _count(exchanges: Sequence[Exchange]) -> int:
    return sum(len(texts) for _, _, texts in exchanges)


def _heard(name: str, noted: Sequence[Exchange], said: Sequence[float], origin: float) -> Heard:
    came = {text: end for _, end, texts in noted for text in texts}
    delays = tuple(came[str(number)] - instant for number, instant in enumerate(said))
    exchanges = tuple(
        (None if start is None else start - origin, end - origin, list(texts))
        for start, end, texts in noted
    )
    return Heard(name, exchanges, delays)
