"""The supervisor's end of the warm process (`autograde.protect.zygote`): starts it, has it fork a
pair of processes for each submission, and ends it with all that it forked.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from autograde.protect.wire import Wire, send_sockets
from autograde.sandbox.layers import Policy

_ROOT = str(Path(__file__).parents[2])
_START = (
    "import sys; sys.path.append({root!r}); "
    "from autograde.protect.zygote import main; main({number})"
)
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV")


class SupervisorError(RuntimeError):
    """The machinery itself failed; the message says what to do."""


class Zygote:
    """A warm process for one assignment: a context manager that forks pairs."""

    def __init__(self, imports: Sequence[str] = ()) -> None:
        ours, theirs = socket.socketpair()
        environment = {k: os.environ[k] for k in _PASSED_ON if k in os.environ}
        environment |= dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
        )
        environment |= {"NBGRADER_EXECUTION": "autograde", "ARROW_DEFAULT_MEMORY_POOL": "system"}
        # pyarrow would start a thread of its allocator before the fork.
        environment["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
        self.folder = tempfile.mkdtemp(prefix="autograde-")
        environment |= {"HOME": self.folder, "IPYTHONDIR": self.folder}
        # matplotlib's list of fonts takes ten seconds to make; the user's own cache has it.
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
        environment["XDG_CACHE_HOME"] = cache
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START.format(root=_ROOT, number=theirs.fileno())],
                pass_fds=[theirs.fileno()], env=environment, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self.sock = ours
        self.lock = threading.Lock()  # sessions of several threads may share one warm process
        self.sock.settimeout(180)
        self.sock.sendall(json.dumps({"imports": list(imports)}).encode())
        about = self._answer()
        self.failed: list[str] = about["failed"]
        self.threads: int = about["threads"]
        self.sock.settimeout(30)

    def _answer(self) -> Any:
        try:
            message = self.sock.recv(1 << 16)
        except OSError as error:
            raise SupervisorError(f"The warm process does not answer: {error}.") from None
        if not message:
            raise SupervisorError("The warm process ended; its error stands above.")
        return json.loads(message)

    def fork(self, child: Policy, trusted: Policy) -> tuple[list[Wire], list[list[int]]]:
        """A pair: the supervisor's wires to the child and the trusted process, and their pids."""
        to_child, child_control = socket.socketpair()
        to_trusted, trusted_control = socket.socketpair()
        child_calls, trusted_calls = socket.socketpair()
        sent = [child_control, child_calls, trusted_control, trusted_calls]
        policies = json.dumps([msgspec.to_builtins(child), msgspec.to_builtins(trusted)])
        with self.lock:
            try:
                send_sockets(self.sock, policies.encode(), sent)
                pids = self._answer()
            except OSError as error:
                raise SupervisorError(f"The warm process is gone: {error}.") from None
            finally:
                for sock in sent:
                    sock.close()
        return [Wire(to_child), Wire(to_trusted)], pids

    def close(self) -> None:
        """End the process and all that it forked."""
        self.sock.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Zygote":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
