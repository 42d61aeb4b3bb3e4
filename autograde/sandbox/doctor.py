"""Says which layers of the sandbox this machine has, by trying each in a process that ends at once,
and what is unprotected where one is missing.
"""

import os
import shutil
from dataclasses import dataclass

from autograde.sandbox import bubblewrap, kernel, landlock, seccomp
from autograde.sandbox.cause import why_no_namespaces
from autograde.sandbox.layers import can_isolate
from autograde.sandbox.trial import survives

_APART = "no network, no sight of other processes, all of them end together"


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
        _namespaces(),
        Row(
            "landlock", abi > 0, f"version {abi}: only its own folder and Python's can be read",
            "what your user may read, a submission may read: sources, gradebook, home",
        ),
        Row(
            "landlock signals", abi >= 6, "no signals to the outside",
            "without namespaces, a submission can signal processes of the same user",
        ),
        Row(
            "seccomp", seccomp.is_supported() and survives(_filtered),
            "no tracing, mounts, keys, raw sockets",
            "more of the kernel is open to attack",
        ),
        _bubblewrap(),
    ]  # fmt: skip


def is_enough(rows: list[Row]) -> bool:
    """Whether work that nobody vouches for may run here without being asked for."""
    works = {row.layer for row in rows if row.works}
    return {"limits", "landlock", "seccomp"} <= works and bool(
        works & {"user", "namespaces", "bubblewrap", "landlock signals"}
    )


def missing(rows: list[Row]) -> str:
    """The layers that this machine lacks; bubblewrap is none, it stands in for namespaces."""
    return ", ".join(row.layer for row in rows if not row.works and row.layer != "bubblewrap")


def what_is_missing(rows: list[Row]) -> str:
    """The sentence with which grading stops where the sandbox is not enough."""
    return (
        f"This machine's sandbox lacks {missing(rows)}; to grade work that you trust all the same, "
        "set c.ProtectedExecute.trust_submissions = True."
    )


def _namespaces() -> Row:
    works = can_isolate()
    detail = _APART if works else why_no_namespaces() if kernel.LINUX else "only on Linux"
    outlive = "programs that a submission starts may outlive it, and are hunted by name only; "
    kernels = "a real kernel has the machine's network and runs only where submissions are trusted"
    return Row("namespaces", works, detail, kernels if bubblewrap.prefix() else outlive + kernels)


def _bubblewrap() -> Row:
    program = shutil.which("bwrap")
    if can_isolate():
        found = "found, not needed" if program else "not installed, not needed"
        return Row("bubblewrap", program is not None, found, "nothing: namespaces do its work")
    problem = bubblewrap.problem()
    detail = problem or f"instead of our own namespaces: {_APART}"
    return Row("bubblewrap", not problem, detail, "what is open without namespaces")


def _filtered() -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.restrict(network=False, alone=False)
    try:
        kernel.unshare(kernel.CLONE_NEWUSER)
    except PermissionError:
        return
    raise OSError("the filter does not hold")
