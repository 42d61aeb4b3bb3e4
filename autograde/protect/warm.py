"""The supervisor's end of the warm process (`autograde.protect.zygote`): starts it without waiting
for it, has it fork a pair of processes for each submission, and ends it with all that it forked.
One warm process serves a program and the workers that the program forks: each worker speaks to it
on a line of its own, its seat.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from autograde.protect.folder import remove_tree
from autograde.protect.wire import Wire, send_sockets
from autograde.sandbox import bubblewrap
from autograde.sandbox.layers import Policy
from autograde.sandbox.memory import family

_ROOT = str(Path(__file__).parents[2])
_START = (
    "import gc, sys; gc.disable(); sys.path.append({root!r}); "
    "from autograde.protect.zygote import main; "
    "main({number}, {imports!r}, {folder!r}, bubble={bubble})"
)
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV")
_STARTS_WITHIN = 180.0  # seconds, on a machine that is very busy
_ANSWERS_WITHIN = 30.0
_ENDS_WITHIN = 10.0
_MOST_SEATS = 200


class SupervisorError(RuntimeError):
    """The machinery itself failed; the message says what to do."""


class Line:
    """A connection to a warm process, which forks pairs for whoever holds it. What is left in
    `folder` is removed when that process ends.
    """

    def __init__(self, sock: socket.socket, folder: str) -> None:
        self.sock, self.folder = sock, folder
        self.lock = threading.Lock()  # sessions of several threads may share one line
        self._about: dict[str, Any] | None = None

    def about(self) -> dict[str, Any]:
        """What the process says when it is warm: modules that `failed` to import, its `threads`,
        whether it stands in a `bubble`, where one submission runs at a time.
        """
        with self.lock:
            return self._wait()

    def _wait(self) -> dict[str, Any]:
        if self._about is None:
            self.sock.settimeout(_STARTS_WITHIN)
            self._about, _ = self._answer()
            self.sock.settimeout(_ANSWERS_WITHIN)
        return self._about

    def _answer(self) -> tuple[Any, list[int]]:
        """What the process says, and descriptors that came with it."""
        try:
            message, processes, _, _ = socket.recv_fds(self.sock, 1 << 16, 4)
        except OSError as error:
            self.close()  # what it may still say would be taken for the next answer
            raise SupervisorError(f"The warm process does not answer: {error}.") from None
        if not message:
            raise SupervisorError("The warm process ended; its error stands above.")
        return json.loads(message), processes

    def fork(self, child: Policy, trusted: Policy) -> tuple[list[Wire], list[list[int]]]:
        """A pair: the supervisor's wires to the child and the trusted process, and their pids."""
        to_child, child_control = socket.socketpair()
        to_trusted, trusted_control = socket.socketpair()
        child_calls, trusted_calls = socket.socketpair()
        sent = [child_control, child_calls, trusted_control, trusted_calls]
        policies = json.dumps([msgspec.to_builtins(child), msgspec.to_builtins(trusted)])
        with self.lock:
            try:
                self._wait()
                send_sockets(self.sock, policies.encode(), sent)
                pids, processes = self._answer()
            except OSError as error:
                raise SupervisorError(f"The warm process is gone: {error}.") from None
            finally:
                for sock in sent:
                    sock.close()
        if not pids:
            raise SupervisorError("Bubblewrap's namespaces hold one submission at a time.")
        if self._about["bubble"]:
            numbers = map(_number, processes)
            pids = [[next(numbers, 0) if there else 0 for there in pair] for pair in pids]
        return [Wire(to_child), Wire(to_trusted)], pids

    def end_submission(self) -> None:
        """In a bubble, where submissions come one after the other: end all that one started."""
        if self._about is None or not self._about["bubble"]:
            return
        with self.lock, contextlib.suppress(OSError, SupervisorError):  # it is gone, and all in it
            self.sock.sendall(b"end")
            self._answer()

    def is_open(self) -> bool:
        """Whether the process at the other end is there; asks nothing of it."""
        try:
            return not self._has_told() or self.sock.recv(1, socket.MSG_PEEK) != b""
        except (OSError, ValueError):
            return False

    def _has_told(self) -> bool:
        """Whether something is there to be read, if only the end."""
        poll = select.poll()  # a socket with a timeout would wait for it in `recv`
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """What was forked for this line ends."""
        self.sock.close()


class Zygote(Line):
    """The warm process of an assignment and a line to it; a context manager."""

    def __init__(self, imports: Sequence[str] = ()) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(ours, tempfile.mkdtemp(prefix="autograde-"))
        Path(self.folder).chmod(0o711)  # submissions pass through it to their own
        environment = {k: os.environ[k] for k in _PASSED_ON if k in os.environ}
        environment |= dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
        )
        environment |= {"NBGRADER_EXECUTION": "autograde", "ARROW_DEFAULT_MEMORY_POOL": "system"}
        # pyarrow would start a thread of its allocator before the fork.
        environment["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
        environment |= {"HOME": self.folder, "IPYTHONDIR": self.folder}
        # matplotlib's list of fonts takes ten seconds to make; the user's own cache has it.
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
        environment["XDG_CACHE_HOME"] = cache
        self.bubble = bubblewrap.prefix()
        text = _START.format(
            root=_ROOT, number=theirs.fileno(), imports=list(imports), folder=self.folder,
            bubble=bool(self.bubble),
        )  # fmt: skip
        with theirs:
            self.process = subprocess.Popen(
                [*self.bubble, sys.executable, "-c", text],
                pass_fds=[theirs.fileno()], env=environment, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                start_new_session=bool(self.bubble),  # Ctrl-C would end bubblewrap before us
            )  # fmt: skip
        self.seats: list[socket.socket] = []
        self.tokens: tuple[int, int] | None = None

    def make_seats(self, count: int) -> None:
        """Lines for so many processes that will be forked from this one; in a bubble for one, and
        each of the others starts its own.
        """
        self.remove_seats()
        for _ in range(min(count, 1 if self.bubble else _MOST_SEATS)):
            ours, theirs = socket.socketpair()
            with theirs, self.lock:
                send_sockets(self.sock, b"seat", [theirs])
            self.seats.append(ours)
        self.tokens = os.pipe()
        os.set_blocking(self.tokens[0], False)
        os.write(self.tokens[1], bytes(range(len(self.seats))))

    def take_seat(self) -> Line | None:
        """In a forked process: a line that nobody else has; None when all are taken."""
        if self.tokens is None:
            return None
        try:
            (number,) = os.read(self.tokens[0], 1)
        except (BlockingIOError, ValueError):
            return None
        for other in self.seats[:number] + self.seats[number + 1 :]:
            other.close()
        return Line(self.seats[number], self.folder)

    def remove_seats(self) -> None:
        for sock in self.seats:
            sock.close()
        for number in self.tokens or ():
            os.close(number)
        self.seats, self.tokens = [], None

    def close(self) -> None:
        """End the process and all that it forked; they have ended when this returns."""
        self.remove_seats()
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            if self._about is not None or self._has_told():  # else it has forked nothing yet
                self.sock.shutdown(socket.SHUT_RDWR)  # workers may have this end open as well
                self.process.wait(_ENDS_WITHIN)
        super().close()
        if self.bubble and self.process.poll() is None:
            for pid in list(family(self.process.pid)):  # what bubblewrap started would outlive it
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        remove_tree(Path(self.folder))

    def __enter__(self) -> "Zygote":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _number(process: int) -> int:
    """The number that a process of another namespace has in ours, by an open descriptor of it,
    which is closed; 0 when it has ended. (proc(5), fdinfo)
    """
    try:
        about = Path(f"/proc/self/fdinfo/{process}").read_text()
    finally:
        os.close(process)
    return max(0, int(about.split("\nPid:")[1].split()[0]))
