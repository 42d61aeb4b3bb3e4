"""Web servers in processes of their own, and one in a thread: Flask's, gunicorn, uvicorn.

Each takes a free port by itself and says which in its log. The processes are started by the
function that is handed in (`services.worker`), which also ends them. gunicorn needs a Unix: on
Windows uvicorn runs the WSGI application in its place, and takes no more workers while it runs.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import psutil

HOST = "127.0.0.1"
KINDS = ("flask", "gunicorn", "uvicorn")
DEADLINE = 60.0  # s until a server must have said its port
POLL_S = 0.02
ADDRESS = re.compile(rf"(?:Listening at|[Rr]unning on):? (http://{re.escape(HOST)}:\d+)")

Start = Callable[..., AbstractContextManager[Any]]


class ServerError(Exception):
    """A server that cannot be had, or that did not come up; the message says why."""


@dataclass(frozen=True)
class WebServer:
    """A web server and its worker processes. The first look at `url` waits until it answers."""

    kind: str
    app: str
    workers: int
    group: Any

    @property
    def url(self) -> str:
        """Its address. Raises ServerError with the log's end when it does not come up."""
        end = time.monotonic() + DEADLINE
        while not (found := ADDRESS.search(self.log)):
            if self.group.members[0].returncode is not None or time.monotonic() > end:
                raise ServerError(f"{self.kind} did not come up: {self.log[-600:].strip()!r}")
            time.sleep(POLL_S)
        return found[1]

    @property
    def port(self) -> int:
        return urlsplit(self.url).port

    @property
    def log(self) -> str:
        """What server and workers have printed."""
        return self.group.log(0)

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that answer: the one itself, or its children."""
        (own,) = self.group.pids
        if self.workers == 1 and self.kind != "gunicorn":
            return (own,)
        try:
            return tuple(p.pid for p in psutil.Process(own).children() if _serves(p))
        except psutil.Error:
            return ()

    def add_worker(self) -> int:
        """Let gunicorn start one more, while it answers (SIGTTIN); how many there are now."""
        if self.kind != "gunicorn":
            raise ServerError(f"{self.kind} takes no more workers while it runs; gunicorn does.")
        before, end = len(self.pids), time.monotonic() + DEADLINE
        os.kill(self.group.pids[0], signal.SIGTTIN)
        while len(self.pids) <= before:
            if time.monotonic() > end:
                raise ServerError(f"gunicorn started no more than {before} workers.")
            time.sleep(POLL_S)
        return before + 1

    def kill_worker(self) -> int:
        """`kill -9` one of the processes that answer, and return its id when it is dead."""
        pids = self.pids
        if not pids:
            raise ServerError("There is no worker left to kill.")
        victim = psutil.Process(pids[0])
        victim.kill()
        end = time.monotonic() + DEADLINE
        while _serves(victim):
            if time.monotonic() > end:
                raise ServerError(f"Worker {victim.pid} outlived `kill -9`.")
            time.sleep(POLL_S)
        return victim.pid


def _serves(member: psutil.Process) -> bool:
    """Alive, and not the tracker of resources that multiprocessing starts beside its workers."""
    try:
        return "resource_tracker" not in " ".join(member.cmdline())
    except psutil.Error:  # gone, or dead and not yet buried
        return False


@contextmanager
def served(
    start: Start,
    kind: str,
    app: str,
    *,
    workers: int = 1,
    threads: int = 1,
    env: Mapping[str, str] | None = None,
    debug: bool = False,
    share_metrics: bool = False,
) -> Iterator[WebServer]:
    """Serve "module:factory()" by Flask's own server, gunicorn (WSGI) or uvicorn (ASGI).

    `start` is `services.worker`. `threads` is gunicorn's, for each worker; its workers are forked
    after the application is loaded. `debug` is of Flask's server. `share_metrics`: the workers'
    counts are added up, through files. Returns at once: several servers come up side by side.
    """
    if workers < 1 or threads < 1:
        raise ServerError(
            f"{workers} workers of {threads} threads answer nobody; start at least 1."
        )
    argv = _argv(kind, app, workers, threads, debug)
    with TemporaryDirectory(prefix="metrics-") as folder, ExitStack() as running:
        shared = {"PROMETHEUS_MULTIPROC_DIR": folder} if share_metrics else {}
        group = running.enter_context(start(*argv, env={**(env or {}), **shared}))
        try:
            yield WebServer(kind, app, workers, group)
        finally:
            _end(group)


def _end(group: Any) -> None:
    """Kill server and workers: they keep nothing, and an orderly end takes seconds."""
    with suppress(psutil.Error):
        family = psutil.Process(group.pids[0]).children(recursive=True)
        group.kill(0)  # first, so that it starts no other
        for member in family:
            with suppress(psutil.Error):
                member.kill()


def _argv(kind: str, app: str, workers: int, threads: int, debug: bool) -> list[str]:
    module, _, name = app.partition(":")
    if not name:
        raise ServerError(f"{app!r} names no application; write module:name.")
    match kind:
        case "flask":
            mode = ["--debug", "run", "--no-reload"] if debug else ["run"]
            return ["flask", "--app", app, *mode, "--port", "0"]
        case "gunicorn":
            if os.name == "nt":  # no fork: the nearest real alternative
                argv = ["uvicorn", f"{module}:{name.removesuffix('()')}", "--port", "0"]
                argv += ["--interface", "wsgi", "--workers", str(workers)]
                return [*argv, *(["--factory"] if name.endswith("()") else [])]
            argv = ["gunicorn", "--bind", f"{HOST}:0", "--workers", str(workers), "--preload"]
            argv += ["--threads", str(threads)] if threads > 1 else []
            # Heartbeats in memory where there is some; no control socket in the home folder.
            argv += ["--worker-tmp-dir", "/dev/shm"] if Path("/dev/shm").is_dir() else []
            return [*argv, "--no-control-socket", app]
        case "uvicorn":
            factory = ["--factory"] if name.endswith("()") else []
            argv = ["uvicorn", f"{module}:{name.removesuffix('()')}", *factory, "--port", "0"]
            argv += ["--timeout-worker-healthcheck", "60", "--no-use-colors", "--no-access-log"]
            return [*argv, "--workers", str(workers)]
    raise ServerError(f"{kind!r} is no server here; there are {', '.join(KINDS)}.")


class Model(Protocol):
    """What can be put into a file for a server, as `rest.model.Committee`."""

    def as_file(self) -> AbstractContextManager[str]: ...


@contextmanager
def three_servers(start: Start, model: Model, *, lookup_ms: int = 40) -> Iterator[tuple]:
    """Flask's own server in debug mode, gunicorn and uvicorn, one worker each, with this model.

    `start` is `services.worker`; a stored picture is `lookup_ms` away. They come up side by side.
    """
    kinds = {"flask": "flask", "gunicorn": "flask", "uvicorn": "fastapi"}
    with ExitStack() as stack:
        env = {"REST_MODEL": stack.enter_context(model.as_file())}
        env["REST_LOOKUP_MS"] = str(lookup_ms)
        running = (
            served(start, kind, f"mlsys.serving.rest.model:{app}_app()", env=env,
                   debug=kind == "flask")
            for kind, app in kinds.items()
        )  # fmt: skip
        yield tuple(stack.enter_context(one) for one in running)


@contextmanager
def in_thread(app: Any) -> Iterator[str]:
    """Serve an application object from a thread of this process; yields its address.

    A Flask application by Werkzeug's server, any other as ASGI by uvicorn. For looking, not for
    load: it shares the interpreter with whoever asks.
    """
    if callable(getattr(app, "wsgi_app", None)):
        with _werkzeug(app) as url:
            yield url
    else:
        with _uvicorn(app) as url:
            yield url


@contextmanager
def _werkzeug(app: Any) -> Iterator[str]:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        """Writes no line for each request into the notebook."""

        def log(self, *args: object) -> None:
            """Nothing."""

    app.logger.disabled = True  # a fault is seen in the answer; its traceback is not for the page
    server = make_server(HOST, 0, app, threaded=True, request_handler=Silent)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


@contextmanager
def _uvicorn(app: Any) -> Iterator[str]:
    import uvicorn

    settings = uvicorn.Config(app, host=HOST, port=0, log_level="error", lifespan="on")
    settings.timeout_graceful_shutdown = 1
    server = uvicorn.Server(settings)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + DEADLINE
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise ServerError("The application did not start; look at its first lines.")
        time.sleep(POLL_S)
    try:
        yield f"http://{HOST}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5)


def wait_until(url: str, status: int, *, seconds: float = DEADLINE) -> float:
    """Ask this address again and again until it answers with `status`; the seconds that it took.

    Raises ServerError when it has not by then.
    """
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        try:
            if httpx.get(url, timeout=5).status_code == status:
                return time.monotonic() - begun
        except httpx.TransportError:
            pass
        time.sleep(POLL_S)
    raise ServerError(f"{url} did not answer {status} within {seconds:g} s.")
