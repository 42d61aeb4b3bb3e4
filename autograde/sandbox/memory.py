"""How much memory a confined process and all that it has started hold together. A resource limit
bounds each process by itself, and a control group is seldom ours to make; so whoever watches a
submission counts, and ends it when it is too much.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_SHARE = 0.2  # of a processor, at most, goes into counting
_LONGEST_REST = 3.0  # seconds


class MemoryWatch:
    """Looks whether a submission holds more than `most` bytes."""

    def __init__(self, most: int) -> None:
        self.most, self._rests_until = most, 0.0

    def sees_too_much(self, process: int) -> bool:
        """Whether a process and its descendants hold too much. What they share, as after a fork,
        counts once. False where there is no /proc, and for a while after a count that took long.
        """
        start = time.process_time()
        if time.monotonic() < self._rests_until:
            return False
        members = list(family(process))
        # Quick to read, but what is shared counts for each; to divide it up takes longer.
        too_much = (
            sum(map(_resident, members)) > self.most
            and sum(map(_proportional, members)) > self.most
        )
        took = time.process_time() - start
        self._rests_until = time.monotonic() + min(took / _SHARE, _LONGEST_REST)
        return too_much


def family(process: int) -> Iterator[int]:
    """A process and its descendants, as this process numbers them."""
    yield process
    with contextlib.suppress(OSError):  # it has just ended
        for listing in Path(f"/proc/{process}/task").glob("*/children"):
            for child in listing.read_text().split():
                yield from family(int(child))


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):  # it has just ended
        return 0


def _proportional(process: int) -> int:
    """Its own memory and its part of what it shares; all of both where that may not be read."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    except (OSError, StopIteration):
        return _resident(process)
