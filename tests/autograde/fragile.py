"""Workers that end in the middle of a job. In a module of their own, so that a worker which is
started anew imports nothing but this.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def fragile(folder: str) -> Iterator[Callable[[tuple[str, str]], str]]:
    """A job ("always", …) ends its worker, ("once", …) does so the first time."""

    def work(job: tuple[str, str]) -> str:
        tries = Path(folder) / job[1]
        if job[0] == "always" or (job[0] == "once" and not tries.exists()):
            tries.touch()
            os._exit(3)
        return f"{job[1]} done"

    yield work
