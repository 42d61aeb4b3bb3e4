"""Keeps the process from which the workers' kernels are forked: on Linux, for two notebooks up.

`zygote` is that process, `provisioner` how a worker asks it. Where there is none (elsewhere than
on Linux, in a sandbox that forbids what it takes, with `MLSYS_WARM=0`), kernels start plainly.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlsys.notebooks.worker import MARK

ZYGOTE = Path(__file__).with_name("zygote.py")
NO_MARK = "0" * 32  # as long as a run's, which is written over it
# jemalloc, in pyarrow, keeps a thread of its own unless told otherwise: a fork wants one thread.
QUIET = {"JE_ARROW_MALLOC_CONF": "background_thread:false", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
LEAVE_WITHIN = 5.0  # seconds


@contextlib.contextmanager
def kernels(*, notebooks: int, environment: dict[str, str]) -> Iterator[str | None]:
    """Where to ask for a kernel while the block runs; None if each had better be started.

    environment: what libraries are to find there when they are loaded.
    """
    if not possible() or notebooks < 2:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="mlsys-warm-") as folder:
        address = str(Path(folder) / "asked")
        with contextlib.ExitStack() as held:
            try:
                process = held.enter_context(_started(address, environment))
            except OSError:
                process = None
            yield address if process else None


def possible() -> bool:
    """Linux, whose kernel knows descriptors of processes, and nobody has forbidden it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return sys.platform == "linux" and os.environ.get("MLSYS_WARM") != "0"


@contextlib.contextmanager
def _started(address: str, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    with socket.socket(socket.AF_UNIX) as listener:
        # It listens before the libraries are loaded: who asks early waits in line.
        listener.bind(address)
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, str(ZYGOTE), str(listener.fileno())],
            env={**os.environ, **QUIET, **environment, MARK: NO_MARK},
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(LEAVE_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
