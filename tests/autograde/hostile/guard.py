"""The outer guard of the hostile class: an ordinary user, limits of resources and, where this
machine lets us make one, a cgroup; so that a sandbox that fails cannot take the machine down.
"""

import contextlib
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from autograde.sandbox import kernel
from autograde.sandbox.layers import open_way, python_folders

REPOSITORY = Path(__file__).parents[3]
MOST_MEMORY, MOST_PROCESSES = 9_000_000_000, 700
_LIMITS = {
    resource.RLIMIT_CPU: 600,
    resource.RLIMIT_FSIZE: 2_000_000_000,
    resource.RLIMIT_NOFILE: 2000,
    resource.RLIMIT_NPROC: MOST_PROCESSES,
    resource.RLIMIT_CORE: 0,
}


def some_user() -> int:
    """A user for this run alone if we are root, else ourselves."""
    return 1_800_000_000 + random.randrange(10**7) if os.geteuid() == 0 else os.geteuid()


def enter(user: int, group_folders: list[str]) -> None:
    """Put the guard on this process and all that it will start."""
    for folder in group_folders:
        (Path(folder) / "cgroup.procs").write_text(str(os.getpid()))
    for number, most in _LIMITS.items():
        _, hard = resource.getrlimit(number)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (most, most))
    if os.geteuid() == 0:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        open_way([*python_folders(), str(REPOSITORY)])
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # as after a login


@contextlib.contextmanager
def cgroup() -> Iterator[list[str]]:
    """Folders of a new cgroup that bounds memory and processes; none where that is not ours."""
    root, name = Path("/sys/fs/cgroup"), f"autograde-test-{os.getpid()}"
    if (root / "cgroup.controllers").is_file():
        bounds = {root / name: {"memory.max": MOST_MEMORY, "pids.max": MOST_PROCESSES}}
    else:
        bounds = {
            root / "memory" / name: {"memory.limit_in_bytes": MOST_MEMORY},
            root / "pids" / name: {"pids.max": MOST_PROCESSES},
        }
    made: list[Path] = []
    with contextlib.suppress(OSError):
        for folder, limits in bounds.items():
            folder.mkdir()
            made.append(folder)
            for file, most in limits.items():
                (folder / file).write_text(str(most))
    usable = len(made) == len(bounds)
    try:
        yield [str(folder) for folder in made] if usable else []
    finally:
        for folder in made:
            stop = time.monotonic() + 10
            while folder.exists() and time.monotonic() < stop:
                with contextlib.suppress(OSError):
                    for number in (folder / "cgroup.procs").read_text().split():
                        os.kill(int(number), signal.SIGKILL)
                    folder.rmdir()


def processes_of(user: int) -> list[str]:
    """Numbers and commands of this user's processes."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            if lines["Uid"].split()[0] == str(user) and "Z" not in lines["State"].split()[0]:
                found.append(f"{status.parent.name} {lines['Name'].strip()}")
    return found


def children(patience: float = 10.0) -> list[str]:
    """Numbers and commands of what this process, which inherits orphans, has below it for good.

    What has ended is reaped; what is just ending has `patience` seconds.
    """
    end = time.monotonic() + patience
    while True:
        found = []
        for listing in Path("/proc/self/task").glob("*/children"):
            for number in listing.read_text().split():
                with contextlib.suppress(OSError):
                    if os.waitpid(int(number), os.WNOHANG)[0] == 0:
                        found.append(f"{number} {Path(f'/proc/{number}/comm').read_text().strip()}")
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit("guard.py is imported by class_run.py")
