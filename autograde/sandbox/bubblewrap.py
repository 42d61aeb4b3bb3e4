"""Namespaces through bubblewrap (`bwrap`), for an ordinary user whose Python may make none while
that program may: AppArmor names it, or it has root's rights (setuid). A warm process that is
started so is the first of a process namespace without a network, and so are the submissions that it
forks, one after the other; Landlock, seccomp and limits are put on each as everywhere.
"""

import functools
import os
import shutil
import subprocess

from autograde.sandbox import kernel
from autograde.sandbox.layers import can_isolate

# Files stay as they are, since Landlock closes them. Bubblewrap leaves no process of its own in
# there, so ours is the first: no other can end or stop it, and when it ends the kernel ends all.
_OPTIONS = (
    "--dev-bind", "/", "/", "--proc", "/proc",
    "--unshare-pid", "--unshare-net", "--unshare-ipc", "--as-pid-1", "--",
)  # fmt: skip
_PATIENCE = 60.0  # seconds, on a machine that is very busy


def prefix() -> tuple[str, ...]:
    """What stands before a command that is to be started in bubblewrap's namespaces. Nothing where
    we make our own, or where bubblewrap is missing or fails.
    """
    program = shutil.which("bwrap")
    if program is None or os.geteuid() == 0 or can_isolate() or problem():
        return ()
    return (program, *_OPTIONS)


@functools.cache
def problem() -> str:
    """Why bubblewrap cannot be used, tried once; nothing if it works."""
    program = shutil.which("bwrap")
    if not kernel.LINUX:
        return "only on Linux"
    if os.geteuid() == 0:
        return "not used as root"
    if program is None:
        return "not installed"
    try:
        done = subprocess.run(
            [program, *_OPTIONS, "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it fails: {error}"
    return "" if done.returncode == 0 else f"it fails: {done.stderr.strip()}"
