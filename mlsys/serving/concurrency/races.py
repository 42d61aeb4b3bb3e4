"""Parts for finding races: a count that threads share, a cell whose read lets others run, threads
that begin together, a count that shares nothing.

What processes run stands in a module, because they are started afresh and import it.
"""

from __future__ import annotations

import dis
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier


class Count:
    """A number that threads share."""

    value = 0


def lost(step: Callable[[Count], None], *, times: int = 200_000) -> int:
    """How much is lost of what two threads count together, each by so many steps."""
    count = Count()

    def many() -> None:
        for _ in range(times):
            step(count)

    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(many) for _ in range(2)]:
            job.result()
    return 2 * times - count.value


def lost_twice(step: Callable[[Count], None], *, most: int = 20) -> list[int]:
    """What is lost in each try, until something was lost in two of them, or after `most` tries."""
    losses: list[int] = []
    while sum(map(bool, losses)) < 2 and len(losses) < most:
        losses.append(lost(step))
    return losses


def between_read_and_write(step: Callable[[Count], None]) -> list[str]:
    """The bytecode of `count.value = ...`, from the read of the value to its write."""
    codes = [one.opname for one in dis.get_instructions(step)]
    return codes[codes.index("LOAD_ATTR") : codes.index("STORE_ATTR") + 1]


def hammer(step: Callable[[], object], *, threads: int = 4, times: int = 50) -> None:
    """So many threads begin together, and each calls `step` so many times.

    An error in one of them is raised here, when all have ended.
    """
    start = Barrier(threads)

    def many() -> None:
        start.wait()
        for _ in range(times):
            step()

    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(many) for _ in range(threads)]
    for job in jobs:
        job.result()


class Cell:
    """A number that threads share; reading it takes a moment, in which others run.

    So are a row of a database, a file, a value in a cache. `sleep(0)` gives the GIL away, which
    makes lost updates frequent instead of rare: what is found thus is there without it, too.
    """

    def __init__(self) -> None:
        self._value = 0

    def get(self) -> int:
        value = self._value
        time.sleep(0)
        return value

    def set(self, value: int) -> None:
        self._value = value


class Racy:
    def __init__(self):
        self.cell = Cell()

    def add(self):
        self.cell.set(self.cell.get() + 1)

    def total(self):
        return self.cell.get()


def count_to(times: int) -> int:
    """Count in a variable of one's own."""
    total = 0
    for _ in range(times):
        total += 1
    return total
