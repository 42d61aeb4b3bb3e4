"""The philosophers' table: forks that are real locks, what each guest holds and waits for.

A fork that is waited for when the dinner is over raises `Cleared` in whoever waits, so that no
thread outlives a deadlock. Who sits down, for how long, and what comes of it is `philosophers`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

GLANCE_S = 0.05  # a waiting guest asks this often whether the dinner is over


class DinnerError(ValueError):
    """A dinner that cannot be held, or a guest that broke a rule of the table."""


class Cleared(Exception):
    """The dinner is over: raised in a guest who waits, so that its `with` blocks unwind."""


@dataclass(frozen=True)
class Snapshot:
    """The table at one instant, about `seconds` after the start.

    holder: of each fork, the guest or None. wants: of each guest, the fork that it waits for or
    None. hungry, eats: who is. meals: of each guest so far.
    """

    seconds: float
    holder: tuple[int | None, ...]
    wants: tuple[int | None, ...]
    hungry: tuple[bool, ...]
    eats: tuple[bool, ...]
    meals: tuple[int, ...]

    @property
    def waits_for(self) -> dict[int, int]:
        """The wait-for graph: who waits, and for whom."""
        holders = ((i, self.holder[k]) for i, k in enumerate(self.wants) if k is not None)
        return {i: other for i, other in holders if other is not None and other != i}


def cycle(waits_for: dict[int, int]) -> tuple[int, ...]:
    """Guests that wait for each other in a circle, from the smallest on; () when there is none."""
    for start in sorted(waits_for):
        path, here = [], start
        while here in waits_for and here not in path:
            path.append(here)
            here = waits_for[here]
        if here == start and path:
            return tuple(path)
    return ()


class Fork:
    """One fork: a real lock, with a note of who holds it and who waits for it."""

    def __init__(self, table: Table, number: int) -> None:
        self.table, self.number = table, number
        self.lock = threading.Lock()

    def take(self) -> None:
        """Wait for the fork. Cleared when the dinner ends first."""
        table, me = self.table, self.table.me
        if not self.lock.acquire(blocking=False):
            table.begun[me] += 1  # before `wants`: a look at the graph reads them the other way
            table.wants[me] = self.number
            try:
                while not self.lock.acquire(timeout=GLANCE_S):
                    if table.over.is_set():
                        raise Cleared
            finally:
                table.wants[me] = None
        table.holder[self.number] = me

    def try_take(self) -> bool:
        """Take the fork if it lies on the table; whether it did."""
        if self.table.over.is_set():
            raise Cleared
        if not self.lock.acquire(blocking=False):
            self.table.failed[self.table.me] += 1
            return False
        self.table.holder[self.number] = self.table.me
        return True

    def put(self) -> None:
        """Put the fork back. DinnerError when another guest holds it."""
        if self.table.holder[self.number] != self.table.me:
            raise DinnerError(
                f"Guest {self.table.me} puts back fork {self.number}, which it does not hold."
            )
        self.table.holder[self.number] = None
        self.lock.release()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Around what is done with a fork that has been taken: puts it back."""
        try:
            yield
        finally:
            self.put()

    def __enter__(self) -> Fork:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.put()


class Table:
    """What all guests share: n forks, of which guest i uses i and i + 1, and n - 1 seats."""

    def __init__(self, guests: int) -> None:
        self.guests = guests
        self.forks = [Fork(self, k) for k in range(guests)]
        self.seats = threading.Semaphore(guests - 1)
        self.lock = threading.Condition()  # for a strategy with a rule of its own
        self.queue: list[int] = []  # for a waiter with a list: who is hungry, as they came
        self.served: set[int] = set()  # and who has both forks from it
        self.over = threading.Event()
        self.ended = float("inf")  # when `over` was set, on the clock of time.perf_counter
        self.holder: list[int | None] = [None] * guests
        self.wants: list[int | None] = [None] * guests
        self.hungry = [False] * guests
        self.eats = [False] * guests
        self.begun = [0] * guests  # waits begun, by guest
        self.failed = [0] * guests  # tries that found the fork taken
        self.meals = [0] * guests
        self.spoiled: list[tuple[int, int]] = []  # neighbours seen eating together
        self._seat = threading.local()

    @property
    def me(self) -> int:
        """The number of the guest whose thread asks."""
        return self._seat.number

    def fork(self, number: int) -> Fork:
        return self.forks[number % self.guests]

    def beside(self, i: int) -> tuple[int, int]:
        """The numbers of guest i's two forks, the left one first."""
        return i, (i + 1) % self.guests

    def sleep(self, seconds: float) -> None:
        """Let time pass. Cleared when the dinner ends first."""
        if self.over.is_set():
            raise Cleared
        if seconds <= GLANCE_S:
            time.sleep(seconds)  # finer than a wait with a time limit
        elif self.over.wait(seconds):
            raise Cleared

    def wait(self) -> None:
        """Wait on `table.lock`, which you hold, until somebody calls `notify_all` on it."""
        if self.over.is_set():
            raise Cleared
        self.lock.wait(GLANCE_S)

    def look(self, seconds: float) -> Snapshot:
        """The table now; `wants` is read before `holder`."""
        notes = (self.wants, self.holder, self.hungry, self.eats, self.meals)
        wants, holder, *moods = (tuple(note) for note in notes)
        return Snapshot(seconds, holder, wants, *moods)
