"""When each coroutine runs and when it waits, written down by whoever takes its steps.

A coroutine runs from one `await` that has to wait to the next; `Steps.watch` hands on what the
event loop sends it and notes the time at both ends of each step; `watched` does so for several
that run together. Drawing is `timeline`'s.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator, Mapping
from itertools import accumulate
from time import perf_counter
from typing import Any

from mlsys.serving.timeline import Event

PALE = {"waits": "#d9dde3"}  # for timeline: a wait is nothing that happens


class Steps:
    """The steps of some coroutines, as events of a timeline that begins at the first of them."""

    def __init__(self) -> None:
        self._noted: list[tuple[str, float, float]] = []
        self._ends: dict[str, str] = {}

    async def watch(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What the coroutine returns or raises; its steps are noted under the name."""
        return await self._watch(name, coroutine)

    @types.coroutine
    def _watch(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        step, given = coroutine.send, None
        while True:
            start = perf_counter()
            try:
                waits_for = step(given)
            except StopIteration as end:
                return end.value
            except BaseException as error:
                self._ends[name] = type(error).__name__
                raise
            finally:
                self._noted.append((name, start, perf_counter()))
            try:
                step, given = coroutine.send, (yield waits_for)
            except BaseException as error:  # such as CancelledError, for the coroutine to see
                step, given = coroutine.throw, error

    @property
    def runs(self) -> list[Event]:
        """The steps alone."""
        return [event for event in self.events if event.kind == "runs"]

    @property
    def most_at_once(self) -> int:
        """How many steps were ever under way at one instant: on one loop, one."""
        turns = sorted(
            [(end, -1) for _, _, end in self._noted] + [(start, 1) for _, start, _ in self._noted]
        )  # at equal times an end comes first
        return max(accumulate(turn for _, turn in turns), default=0)

    @property
    def events(self) -> list[Event]:
        """Steps that run, and the waits between them; a mark where one ended by an exception."""
        origin = min((start for _, start, _ in self._noted), default=0.0)
        told: list[Event] = []
        last: dict[str, float] = {}
        for name, start, end in sorted(self._noted, key=lambda step: step[1]):
            if name in last:
                told.append(Event(name, last[name], start - origin, "waits"))
            told.append(Event(name, start - origin, end - origin, "runs"))
            last[name] = end - origin
        told += [Event(name, last[name], kind=what) for name, what in self._ends.items()]
        return told


async def watched(coroutines: Mapping[str, Coroutine[Any, Any, Any]]) -> Steps:
    """Run the coroutines together, each under its name; their steps, or what one of them raised."""
    steps = Steps()
    await asyncio.gather(*(steps.watch(name, one) for name, one in coroutines.items()))
    return steps
