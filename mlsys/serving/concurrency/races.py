"""Parts for finding races: a count that threads share, a cell whose read lets others run, a count
that shares nothing.

What processes run stands in a module, because they are started afresh and import it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


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


def count_to(times: int) -> int:
    """Count in a variable of one's own."""
    total = 0
    for _ in range(times):
        total += 1
    return total
