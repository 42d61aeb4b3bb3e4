"""Processes of our own: a web application with n workers on one port, replicas of it on n ports, a
group of plain workers. Each member can be killed by itself, which is what most lessons do to them.

What is run is named by its module, as `python -m` and uvicorn take it: processes start afresh, so
a function defined in a notebook's cell is not there for them.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import psutil

from mlsys.services.errors import ServiceError
from mlsys.services.process import (
    HOST,
    Process,
    first_that_binds,
    folder,
    free_ports,
    last_words,
    launch,
    wait_ready,
)
from mlsys.services.server import Server, as_table

READY_PATHS = ("/health", "/")
POLL_S = 0.02


@dataclass(frozen=True, repr=False, kw_only=True)
class WebApp(Server):
    """A web application run by uvicorn; `workers` processes share its port."""

    workers: int

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that answer requests: one itself, or the supervisor's children."""
        if self.workers == 1:
            return (self.process.pid,) if self.alive else ()
        return tuple(
            sorted(
                member.pid
                for member in self.process.family()
                if member.pid != self.process.pid and _serves(member)
            )
        )

    def kill_worker(self, index: int) -> int:
        """`kill -9` the worker at this place of `pids`, and return its process id.

        With several workers uvicorn's supervisor starts another in its place.
        """
        pids = self.pids
        if not 0 <= index < len(pids):
            raise ServiceError(f"There is no worker {index} among {len(pids)}; count from 0.")
        if self.workers == 1:
            self.kill()
        else:
            psutil.Process(pids[index]).kill()
        return pids[index]


@dataclass(frozen=True)
class Group:
    """Worker processes that run the same module."""

    module: str
    members: tuple[Process, ...]

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(member.pid for member in self.members)

    @property
    def alive(self) -> tuple[bool, ...]:
        return tuple(member.alive for member in self.members)

    @property
    def memory(self) -> float:
        """Resident memory of all, MB."""
        return sum(member.memory for member in self.members)

    def log(self, index: int) -> str:
        """What this member has printed."""
        return self._member(index).log

    def kill(self, index: int) -> None:
        """`kill -9`: no clean-up, no goodbye."""
        self._signal(index, "SIGKILL" if os.name == "posix" else "SIGTERM")

    def stop(self, index: int) -> None:
        """SIGTERM: the member may finish what it has begun."""
        self._signal(index, "SIGTERM")

    def pause(self, index: int) -> None:
        """Freeze the member (SIGSTOP)."""
        self._signal(index, "SIGSTOP")

    def resume(self, index: int) -> None:
        """Let a paused member go on (SIGCONT)."""
        self._signal(index, "SIGCONT")

    def wait(self, index: int, *, timeout: float = 30.0) -> int:
        """Wait until the member has ended; its exit code. ServiceError after `timeout` s."""
        end = time.monotonic() + timeout
        while (code := self._member(index).returncode) is None:
            if time.monotonic() > end:
                raise ServiceError(f"Worker {index} of {self.module} still runs after {timeout} s.")
            time.sleep(POLL_S)
        return code

    def _signal(self, index: int, name: str) -> None:
        self._member(index).signal(name)

    def _member(self, index: int) -> Process:
        if not 0 <= index < len(self.members):
            raise ServiceError(
                f"There is no worker {index} among {len(self.members)}; count from 0."
            )
        return self.members[index]

    def facts(self) -> dict[str, str]:
        """The rows of the small table, as text."""
        return {
            f"worker {index}": f"process {member.pid}, "
            + (f"{member.memory:.0f} MB" if member.alive else f"ended with {member.returncode}")
            for index, member in enumerate(self.members)
        }

    def __repr__(self) -> str:
        return f"<{self.module}: " + ", ".join(f"{k} {v}" for k, v in self.facts().items()) + ">"

    def _repr_html_(self) -> str:
        return as_table(self.module, self.facts())


@contextmanager
def web_app(
    app: str, *, workers: int = 1, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[WebApp]:
    """Serve "package.module:app" (ASGI) with uvicorn until the end of the `with`.

    Ready when /health or / answers with any status. `cwd` is where the module is found, the
    working directory by default. Raises ServiceError with the log's last words otherwise.
    """
    with replicas(app, [env or {}], workers=workers, cwd=cwd) as (server,):
        yield server


@contextmanager
def replicas(
    app: str,
    envs: Sequence[Mapping[str, str]],
    *,
    workers: int = 1,
    cwd: Path | None = None,
) -> Iterator[tuple[WebApp, ...]]:
    """The same application once for each environment, each on a port of its own.

    `replicas("shop:app", [{}, {}, {"SLOW_MS": "200"}])` starts three at once, one of them slow.
    """
    _check_app(app, workers)
    with ExitStack() as stack:
        begun = [stack.enter_context(_begin(app, dict(env), workers, cwd)) for env in envs]
        servers = []
        for process, port, env in begun:
            try:
                servers.append(_await_app(app, process, port, workers))
            except ServiceError as error:
                if "in use" not in str(error):
                    raise
                again = first_that_binds(lambda env=env: _once(app, env, workers, cwd))
                servers.append(stack.enter_context(again))
        yield tuple(servers)


@contextmanager
def _begin(
    app: str, env: Mapping[str, str], workers: int, where: Path | None
) -> Iterator[tuple[Process, int, Mapping[str, str]]]:
    with folder("web") as path:
        (port,) = free_ports()
        argv = [sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", str(port)]
        # On a busy machine a worker takes longer than uvicorn's 5 s to say that it lives.
        argv += ["--timeout-worker-healthcheck", "60"]
        argv += ["--workers", str(workers), "--no-use-colors", "--timeout-graceful-shutdown", "2"]
        cwd = where or Path.cwd()
        with launch(app, argv, folder=path, cwd=cwd, env=_plain(env), grace=3) as process:
            yield process, port, env


@contextmanager
def _once(app: str, env: Mapping[str, str], workers: int, where: Path | None) -> Iterator[WebApp]:
    with _begin(app, env, workers, where) as (process, port, _):
        yield _await_app(app, process, port, workers)


def _await_app(app: str, process: Process, port: int, workers: int) -> WebApp:
    wait_ready(process, port, lambda: _any_answer(port), deadline=90)
    return WebApp(
        name=app,
        url=f"http://{HOST}:{port}",
        host=HOST,
        port=port,
        version=f"uvicorn {importlib.metadata.version('uvicorn')}",
        found=f"Python {platform.python_version()}",
        started_in=time.perf_counter() - process.started,
        process=process,
        workers=workers,
    )


@contextmanager
def worker(
    module: str,
    *args: str,
    count: int = 1,
    env: Mapping[str, str] | None = None,
    ready: str | None = None,
    cwd: Path | None = None,
) -> Iterator[Group]:
    """Run `python -m module args...` in `count` processes until the end of the `with`.

    Each finds its number from 0 in the variable WORKER. With `ready`, waits until each has
    printed a line with that text. Raises ServiceError when one ends before that.
    """
    if count < 1:
        raise ServiceError(f"A group of {count} workers is none; start at least one.")
    with ExitStack() as stack:
        members = tuple(
            stack.enter_context(_member(module, args, index, env or {}, cwd))
            for index in range(count)
        )
        if ready is not None:
            for member in members:
                _await_text(member, ready)
        yield Group(module, members)


@contextmanager
def _member(
    module: str, args: Sequence[str], index: int, env: Mapping[str, str], where: Path | None
) -> Iterator[Process]:
    with folder("worker") as path:
        argv = [sys.executable, "-u", "-m", module, *map(str, args)]
        environment = {**_plain(env), "WORKER": str(index)}
        cwd = where or Path.cwd()
        name = f"worker {index} of {module}"
        with launch(name, argv, folder=path, cwd=cwd, env=environment, grace=2) as process:
            yield process


def _await_text(member: Process, text: str, *, deadline: float = 90.0) -> None:
    end = time.monotonic() + deadline
    while not _said(member, text):
        code = member.returncode
        if code is not None and not _said(member, text):
            raise ServiceError(
                f"{member.name} ended with code {code} before it printed {text!r};"
                f" its log ends with {last_words(member.log)!r}."
            )
        if time.monotonic() > end:
            raise ServiceError(
                f"{member.name} did not print {text!r} within {deadline:g} s;"
                f" its log ends with {last_words(member.log)!r}."
            )
        time.sleep(POLL_S)


def _said(member: Process, text: str) -> bool:
    """In a line that has ended: a line may come in pieces."""
    log = member.log
    return text in log[: log.rfind("\n") + 1]


def _any_answer(port: int) -> int:
    for path in READY_PATHS:
        connection = HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != 404:
            break
    return status


def _plain(env: Mapping[str, str]) -> dict[str, str]:
    """The process's own environment: what it prints comes at once and in UTF-8."""
    return {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **{k: str(v) for k, v in env.items()}}


def _check_app(app: str, workers: int) -> None:
    if ":" not in app:
        raise ServiceError(f"{app!r} names no application; write module:name, as in 'shop:app'.")
    if workers < 1:
        raise ServiceError(f"{workers} workers answer nobody; ask for at least one.")


def _serves(member: psutil.Process) -> bool:
    """A worker of uvicorn, not the resource tracker that multiprocessing starts beside it."""
    try:
        return "resource_tracker" not in " ".join(member.cmdline())
    except psutil.Error:
        return False
