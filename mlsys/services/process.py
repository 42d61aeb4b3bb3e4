"""A server process from the notebook's side: started through the guardian, waited for, stopped.

`folder` and `launch` are context managers; whatever they make is gone at the end of the `with`, at
the interpreter's exit, and after a crash (see `mlsys.services.guardian`). Ports come from the
operating system; a server that lost its port to somebody else between the choice and the bind is
started again on another. What each server's command line looks like is left to its adapter.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from mlsys.services import guardian as guardian_module
from mlsys.services.errors import ServiceError

HOST = "127.0.0.1"
BIND_ATTEMPTS = 5
LOG_KEPT = 200_000  # characters of a log that stay readable after its server is gone
PORT_TAKEN = ("address already in use", "address in use", "only one usage of each socket")

T = TypeVar("T")


class _Guardian:
    """The pipe to this interpreter's guardian process."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.lock = threading.Lock()
        own_session: dict[str, Any] = (
            {"start_new_session": True}
            if os.name == "posix"
            else {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        )
        self.child = subprocess.Popen(
            [sys.executable, "-I", guardian_module.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            **own_session,
        )
        atexit.register(self.close)

    def ask(self, do: str, **request: Any) -> Any:
        """One request and its answer.

        Raises ServiceError with the guardian's sentence, or when the guardian itself is gone.
        """
        with self.lock:
            try:
                self.child.stdin.write(json.dumps({"do": do, **request}) + "\n")
                self.child.stdin.flush()
                line = self.child.stdout.readline()
            except (OSError, ValueError):
                line = ""
        if not line:
            raise ServiceError(
                "The process that keeps the servers has gone; restart the kernel to get a new one."
            )
        answer = json.loads(line)
        if "error" in answer:
            raise ServiceError(f"The request to {do} a server failed: {answer['error']}.")
        return answer["ok"]

    def close(self) -> None:
        """Let the guardian stop everything, and wait for it. In a forked child: nothing."""
        if os.getpid() != self.owner:
            return
        with suppress(OSError, ValueError):
            self.child.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.child.wait(15)
        self.child.stdout.close()


_guardian: _Guardian | None = None
_guardian_lock = threading.Lock()


def guardian() -> _Guardian:
    """This interpreter's guardian, started at the first use; a forked child gets its own."""
    global _guardian
    with _guardian_lock:
        gone = _guardian is None or _guardian.child.poll() is not None
        if gone or _guardian.owner != os.getpid():
            _guardian = _Guardian()
        return _guardian


@dataclass(frozen=True)
class Process:
    """A process that the guardian runs: its id, its folder, its log file."""

    name: str
    pid: int
    folder: Path
    log_file: Path
    started: float  # time.perf_counter() at the start
    _kept: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def returncode(self) -> int | None:
        """None while it runs; the (negative signal or) exit code afterwards."""
        try:
            return guardian().ask("poll", pid=self.pid)
        except ServiceError:
            return -1  # stopped already, and forgotten

    @property
    def alive(self) -> bool:
        return self.returncode is None

    @property
    def log(self) -> str:
        """What the process has written so far; its end stays readable after the process."""
        with suppress(OSError), self.log_file.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - LOG_KEPT))
            return stream.read().decode(errors="replace")
        return self._kept.get("log", "")

    @property
    def memory(self) -> float:
        """Resident memory of the process and its descendants, MB; 0 when it is gone."""
        return sum(_resident(process) for process in self.family()) / 1e6

    def family(self) -> list[psutil.Process]:
        """The process and its descendants, those that are alive."""
        try:
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        except psutil.Error:
            return []

    def signal(self, name: str) -> None:
        """Send a signal by its name, such as "SIGKILL", "SIGSTOP", "SIGCONT"."""
        guardian().ask("signal", pid=self.pid, name=name)

    def keep_log(self) -> None:
        self._kept["log"] = self.log


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def _stop(
    keeper: _Guardian,
    *,
    pids: Sequence[int] = (),
    folders: Sequence[str] = (),
    family: Sequence[psutil.Process] = (),
) -> None:
    """Through the guardian; by hand when somebody has killed the guardian itself."""
    try:
        keeper.ask("stop", pids=list(pids), folders=list(folders))
    except ServiceError:
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(family, timeout=5)
        for path in folders:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def folder(name: str, *, owner: tuple[int, int] | None = None) -> Iterator[Path]:
    """A temporary folder, removed at the end even if this interpreter is killed."""
    keeper = guardian()
    path = keeper.ask("folder", name=name, owner=owner)
    try:
        yield Path(path)
    finally:
        _stop(keeper, folders=[path])


@contextmanager
def launch(
    name: str,
    argv: Sequence[str | Path],
    *,
    folder: Path,
    env: Mapping[str, str] | None = None,
    owner: tuple[int, int] | None = None,
    cwd: Path | None = None,
    stop: str = "SIGTERM",
    grace: float = 3.0,
    litter: Sequence[str | Path] = (),
) -> Iterator[Process]:
    """Run argv until the end of the `with`, its output in a log file in the folder.

    At the end it is sent the signal `stop`, and killed with all its descendants when it is not
    gone after `grace` seconds. `litter` names files outside the folder to remove as well.
    """
    keeper = guardian()
    started = time.perf_counter()
    log_file = folder / f"{re.sub(r'[^a-z0-9_.-]+', '-', name.lower())}.log"
    pid = keeper.ask(
        "start",
        argv=[str(part) for part in argv],
        folder=str(folder),
        env={**os.environ, **(env or {})},
        log=str(log_file),
        owner=owner,
        cwd=str(cwd) if cwd else None,
        stop=stop,
        grace=grace,
        litter=[str(path) for path in litter],
    )
    process = Process(name, pid, folder, log_file, started)
    try:
        yield process
    finally:
        family = process.family()
        _stop(keeper, pids=[pid], family=family)
        process.keep_log()


def run(
    name: str,
    argv: Sequence[str | Path],
    *,
    folder: Path,
    env: Mapping[str, str] | None = None,
    owner: tuple[int, int] | None = None,
) -> None:
    """Run a preparing command to its end; ServiceError with its last words when it fails."""
    done = guardian().ask(
        "run",
        argv=[str(part) for part in argv],
        folder=str(folder),
        env={**os.environ, **(env or {})},
        owner=owner,
    )
    if done["code"]:
        raise ServiceError(
            f"{name} could not be prepared: {Path(argv[0]).name} ended with code {done['code']}"
            f" and said {last_words(done['output'])!r}."
        )


def free_ports(count: int = 1) -> list[int]:
    """Loopback ports that nobody listens on now, all different."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_ready(
    process: Process, port: int, answer: Callable[[], T], *, deadline: float = 60.0
) -> T:
    """Ask until the server answers, and return its answer.

    `answer` raises (any Exception) as long as the server is not there. The port must be held by
    the process itself or a descendant: somebody else's server at the same port is not ours.

    Raises ServiceError when the process ends or the deadline (s) passes, with the log's last words.
    """
    end = time.monotonic() + deadline
    problem = "nothing answers yet"
    pause = 0.004
    while time.monotonic() < end:
        if (code := process.returncode) is not None:
            raise ServiceError(
                f"{process.name} ended with code {code} before it answered at port {port};"
                f" its log ends with {last_words(process.log)!r}."
            )
        try:
            with socket.create_connection((HOST, port), timeout=1):
                pass
            if not listens(process, port):
                raise ConnectionError("another program has the port: address in use")
            return answer()
        except Exception as error:  # clients raise their own families: any of them means "not yet"
            problem = str(error) or type(error).__name__
        time.sleep(pause)
        pause = min(0.05, 1.5 * pause)
    raise ServiceError(
        f"{process.name} did not answer at port {port} within {deadline:g} s ({problem});"
        f" its log ends with {last_words(process.log)!r}."
    )


def listens(process: Process, port: int) -> bool:
    """Whether the process or a descendant listens on the port (True when we may not look)."""
    for member in process.family():
        try:
            connections = member.net_connections("inet")
        except psutil.AccessDenied:
            return True
        except psutil.Error:
            continue
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections):
            return True
    return False


def last_words(log: str, *, lines: int = 4, width: int = 400) -> str:
    """The end of a log on one line."""
    return " | ".join(line.strip() for line in log.strip().splitlines()[-lines:])[-width:]


def port_was_taken(error: ServiceError) -> bool:
    return any(sign in str(error).lower() for sign in PORT_TAKEN)


@contextmanager
def first_that_binds(attempt: Callable[[], ExitStack | Any]) -> Iterator[Any]:
    """Enter the context manager that `attempt()` makes; again, when it lost its port to another.

    The OS gives a free port, but between our asking and the server's bind another notebook may
    take it: then a fresh attempt takes a fresh port.
    """
    with ExitStack() as stack:
        for left in reversed(range(BIND_ATTEMPTS)):
            try:
                value = stack.enter_context(attempt())
                break
            except ServiceError as error:
                if not left or not port_was_taken(error):
                    raise
        yield value
