"""Says which layers of the sandbox this machine has, by trying each in a process that ends at once,
and what is unprotected where one is missing.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from autograde.sandbox import kernel, landlock, seccomp


@dataclass(frozen=True)
class Row:
    """One layer: whether it works here, what it does, and what is open without it."""

    layer: str
    works: bool
    detail: str
    without: str


def doctor() -> list[Row]:
    """Every layer in the order in which they are put on."""
    abi = landlock.abi()
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [
        Row(
            "limits", os.name == "posix", "memory, processor time, files, processes of each run",
            "one submission can use up the machine",
        ),
        Row(
            "user", root, "each run has a user number of its own" if root else
            "needs root; submissions run as you",
            "only the other layers keep submissions from your files",
        ),
        Row(
            "namespaces", _survives(_namespaces),
            "no network, no sight of other processes, all of them end together",
            "programs that a submission starts may outlive it, and are hunted by name only; a real "
            "kernel has the machine's network and runs only where submissions are trusted",
        ),
        Row(
            "landlock", abi > 0, f"version {abi}: only its own folder and Python's can be read",
            "what your user may read, a submission may read: sources, gradebook, home",
        ),
        Row(
            "landlock signals", abi >= 6, "no signals to the outside",
            "without namespaces, a submission can signal processes of the same user",
        ),
        Row(
            "seccomp", seccomp.is_supported() and _survives(_filtered),
            "no tracing, mounts, keys, raw sockets",
            "more of the kernel is open to attack",
        ),
        Row(
            "bubblewrap", shutil.which("bwrap") is not None, "found, not needed",
            "nothing: the layers above do its work",
        ),
    ]  # fmt: skip


def is_enough(rows: list[Row]) -> bool:
    """Whether work that nobody vouches for may run here without being asked for."""
    works = {row.layer for row in rows if row.works}
    return {"limits", "landlock", "seccomp"} <= works and bool(
        works & {"user", "namespaces", "landlock signals"}
    )


def what_is_missing(rows: list[Row]) -> str:
    """The sentence with which grading stops where the sandbox is not enough."""
    missing = ", ".join(row.layer for row in rows if not row.works and row.layer != "bubblewrap")
    return (
        f"This machine's sandbox lacks {missing}; to grade work that you trust all the same, set "
        "c.ProtectedExecute.trust_submissions = True."
    )


def _survives(attempt: Callable[[], None]) -> bool:
    """Whether `attempt` works, tried in a child that ends at once."""
    if sys.platform != "linux":
        return False
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a machine that is busy takes its time over namespaces
        try:
            attempt()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _namespaces() -> None:
    rest = kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
    kernel.unshare(rest if os.geteuid() == 0 else rest | kernel.CLONE_NEWUSER)


def _filtered() -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.restrict(network=False)
    try:
        kernel.unshare(kernel.CLONE_NEWUSER)
    except PermissionError:
        return
    raise OSError("the filter does not hold")
