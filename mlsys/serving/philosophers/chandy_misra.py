"""Chandy and Misra's philosophers: nobody in charge, forks and requests for them go by message.

Each guest is a thread with a mailbox and tells nobody else anything. K. M. Chandy, J. Misra, "The
Drinking Philosophers Problem", ACM TOPLAS 6(4), 1984, section 3. The rules as transitions of a
small model, for exploring, stand in `philosophers.model`.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlsys.serving.philosophers.table import GLANCE_S, Cleared, Table

ASK, FORK = "ask", "fork"


class ChandyMisra:
    """A guest for `philosophers.dine`: `dine(ChandyMisra)`.

    A fork is clean or dirty; eating makes it dirty. Who is asked for a dirty fork cleans it and
    gives it away, unless it eats; who is asked for a clean fork keeps it until it has eaten. At
    the start all forks are dirty and with the lower-numbered of the two neighbours, so that nobody
    waits in a circle, and no rule ever closes one.
    """

    def __init__(self, table: Table, i: int) -> None:
        left, right = table.beside(i)
        n = table.guests
        self.table, self.i = table, i
        self.neighbour = {left: (i - 1) % n, right: (i + 1) % n}
        with table.lock:
            if not hasattr(table, "mail"):
                table.mail = [queue.SimpleQueue() for _ in range(n)]
        self.mine = {k for k, other in self.neighbour.items() if i < other}
        self.dirty = set(self.mine)
        self.may_ask = set(self.neighbour) - self.mine  # the one request token of each fork
        self.asked_for: set[int] = set()
        self.hungry = self.eating = False
        for k in self.mine:
            table.holder[k] = i

    def think(self, seconds: float) -> None:
        """Answer mail until the time is over; all that has come, when there is none to pass."""
        end = time.perf_counter() + seconds
        while True:
            self._drain()
            left = end - time.perf_counter()
            if left <= 0:
                return
            self._one(left)

    @contextmanager
    def forks(self) -> Iterator[None]:
        self.hungry = True
        self._drain()
        while self.mine != set(self.neighbour):
            for k in sorted(self.may_ask - self.mine):
                self._ask(k)
            self.table.wants[self.i] = min(set(self.neighbour) - self.mine)
            self._one(GLANCE_S)
        self.table.wants[self.i] = None
        self.hungry, self.eating = False, True
        try:
            yield
        finally:
            self.eating = False
            self.dirty |= self.mine
            for k in sorted(self.asked_for):
                self.give(k)

    def _one(self, patience: float) -> None:
        if self.table.over.is_set():
            raise Cleared
        with suppress(queue.Empty):
            self.receive(self.table.mail[self.i].get(timeout=min(patience, GLANCE_S)))

    def _drain(self) -> None:
        while not self.table.mail[self.i].empty():  # only this thread takes from it
            self.receive(self.table.mail[self.i].get())

    def receive(self, letter: tuple[str, int]) -> None:
        what, k = letter
        if what == FORK:
            self.mine.add(k)
            self.table.holder[k] = self.i
            return
        self.asked_for.add(k)
        self.may_ask.add(k)
        if k in self.dirty and not self.eating:
            self.give(k)

    def give(self, k: int) -> None:
        self.mine.discard(k)
        self.dirty.discard(k)
        self.asked_for.discard(k)
        self.table.holder[k] = None
        self.table.mail[self.neighbour[k]].put((FORK, k))

    def _ask(self, k: int) -> None:
        self.may_ask.discard(k)
        self.table.mail[self.neighbour[k]].put((ASK, k))
