"""Simulated time: one heap of things to come, one source of randomness.

Nothing here knows what a store is. An entry of the heap is a plain tuple `(time, ticket, place,
function, arguments)`: the ticket makes the order of equal times the order of scheduling, so that
the same seed replays the same run. With `place` >= 0 the entry is a message and `function` is
called with the replica that lives there at that moment, or is lost when none does.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

NOWHERE = -1
LAST = float("inf")  # a ticket after all others


class Simulation:
    """The clock, the heap, the generator and who is alive; times are ms since the start."""

    __slots__ = ("_offset", "_rate", "heap", "now", "replicas", "rng", "ticket")

    def __init__(self, seed: int, size: int) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self.heap: list[tuple] = []
        self.ticket = count().__next__
        self.replicas: list = [None] * size
        self._offset = [0.0] * size
        self._rate = [1.0] * size

    def call(self, delay: float, function: Callable, *args: object) -> None:
        """Call `function(*args)` after `delay` ms, whoever is alive then."""
        heappush(self.heap, (self.now + delay, self.ticket(), NOWHERE, function, args))

    def timer(self, owner: object, place: int, delay: float, function: Callable, *args) -> None:
        """Call `function(*args)` after `delay` ms of the owner's own clock, if it lives then.

        A replica that crashed and came back is another object: its old timers stay silent.
        """
        due = self.now + delay / self._rate[place]
        heappush(
            self.heap, (due, self.ticket(), NOWHERE, self._fire, (owner, place, function, args))
        )

    def _fire(self, owner: object, place: int, function: Callable, args: tuple) -> None:
        if self.replicas[place] is owner:
            function(*args)

    def clock(self, place: int) -> float:
        """What the clock on that node shows (ms); equal to `now` until it is skewed."""
        return self.now * self._rate[place] + self._offset[place]

    def skew(self, place: int, ms: float, rate: float) -> None:
        """Put that node's clock `ms` ahead of what it shows; from now on it runs at `rate`."""
        shows = self.clock(place) + ms
        self._rate[place] = rate
        self._offset[place] = shows - self.now * rate

    def run(self, until: float) -> None:
        """Let everything happen that is due up to and including `until`.

        The cycle collector rests meanwhile: a run makes many small tuples and no cycles, so that
        walking over them only costs time.
        """
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._run(max(until, self.now))
        finally:
            if collecting:
                gc.enable()

    def _run(self, until: float) -> None:
        heap, replicas, pop = self.heap, self.replicas, heappop
        heappush(heap, (until, LAST, NOWHERE, None, ()))  # comes after all else that is due then
        while True:
            self.now, _, place, function, args = pop(heap)
            if place >= 0:
                replica = replicas[place]
                if replica is not None:
                    function(replica, *args)
            elif function is not None:
                function(*args)
            else:
                break
