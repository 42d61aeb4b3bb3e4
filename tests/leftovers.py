"""For tests of what must not outlive its owner.

A process that has ended stays in the table until its parent, often the system's first process,
takes note: it counts as gone. And who looks the moment after waits: killing takes a while.
"""

import time
from collections.abc import Iterable
from pathlib import Path

import psutil


def await_gone(
    processes: Iterable[psutil.Process], folders: Iterable[str | Path] = (), *, within: float = 20.0
) -> None:
    """Wait until all are gone; a failed assertion names those that are not."""
    end = time.monotonic() + within
    while True:
        alive = [process for process in processes if _lives(process)]
        left = [folder for folder in folders if Path(folder).exists()]
        if not alive and not left:
            return
        assert time.monotonic() < end, f"still there: {alive} {left}"
        time.sleep(0.02)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
