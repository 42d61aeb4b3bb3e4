"""Ends what a confined process has left behind, where no namespace does it by ending itself."""

import contextlib
import os
import signal
import time
from pathlib import Path


def end_orphans(*, seconds: float = 2.0) -> None:
    """Kill this process's children, and those they leave to it if it is their subreaper."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    stop = time.monotonic() + seconds
    while time.monotonic() < stop and listing.is_file():
        orphans = listing.read_text().split()
        if not orphans:
            return
        for orphan in orphans:
            with contextlib.suppress(OSError):
                os.kill(int(orphan), signal.SIGKILL)
                os.waitpid(int(orphan), 0)


def end_all_others() -> None:
    """Kill every other process of the process namespace whose first process this is, and wait until
    all have ended. One call reaches all of them: none can fork its way out.
    """
    if os.getpid() != 1:
        raise RuntimeError("only the first process of a namespace may end all others")
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
