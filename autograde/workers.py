"""Processes that work side by side on jobs, one at a time each. A worker that ends in the middle of
a job is replaced and the job tried once more; if that ends it too, the job's answer is None. When
the process that made them ends, in whatever way, they end.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from autograde import early
from autograde.sandbox import kernel

Job = tuple[str, ...]
_LONGEST = 3600.0  # seconds of one job; limits of cells, calls and restarts end it long before
_START = 300.0


class WorkerError(RuntimeError):
    """No worker can be started; the message says why."""


@dataclass
class _Worker:
    process: BaseProcess
    channel: Connection
    ready: bool = False
    job: Job | None = None
    since: float = field(default_factory=time.monotonic)
    ended: bool = False


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Pool:
    """A context manager around `count` workers. Each calls `prepare(*arguments)` once, which gives
    the function that does a job; both must be importable, arguments and answers plain data.
    """

    def __init__(self, count: int, prepare: Callable[..., Any], *arguments: Any) -> None:
        # Told as bytes, which a process that begins anew reads once it can import soon.
        self.told = pickle.dumps((prepare, arguments))
        self.workers: list[_Worker] = []
        try:
            for _ in range(max(1, count)):
                self.workers.append(self._start())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _start(self) -> _Worker:
        # A fork costs nothing and shares what is imported, but only a process of one thread, on
        # Linux, may be forked.
        method = "fork" if kernel.LINUX and _threads() == 1 else "spawn"
        context = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        inherited = [w.channel for w in self.workers] + [ours] if method == "fork" else []
        process = context.Process(
            target=_serve, args=(theirs, os.getpid(), inherited, self.told), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def run(
        self, jobs: Iterable[Job], *, started: Callable[[Job], None] = lambda job: None
    ) -> Iterator[tuple[Job, Any]]:
        """Do all jobs; yields each with its answer, in the order in which they end."""
        waiting: deque[Job] = deque(jobs)
        again: set[Job] = set()
        while waiting or any(worker.job for worker in self.workers):
            for worker in self.workers:
                if worker.ready and worker.job is None and waiting:
                    self._give(worker, waiting.popleft(), started)
            wait([worker.channel for worker in self.workers], timeout=0.5)
            for place, worker in enumerate(self.workers):
                answered, answer = self._take(worker)
                if answered:
                    yield answer
                elif not self._is_alive(worker):
                    job = worker.job
                    self.workers[place] = self._replace(worker)
                    if job in again:
                        yield job, None
                    elif job is not None:
                        again.add(job)
                        waiting.appendleft(job)

    def _give(self, worker: _Worker, job: Job, started: Callable[[Job], None]) -> None:
        worker.job, worker.since = job, time.monotonic()
        started(job)
        with contextlib.suppress(OSError):  # it has ended; `run` will see
            worker.channel.send(job)

    def _take(self, worker: _Worker) -> tuple[bool, Any]:
        try:
            if not worker.channel.poll():
                return False, None
            kind, content = worker.channel.recv()
        except (EOFError, OSError):
            worker.ended = True
            return False, None
        if kind == "ready":
            worker.ready = True
            return False, None
        if kind == "failed":
            raise WorkerError(content)
        job, worker.job = worker.job, None
        return True, (job, content)

    def _is_alive(self, worker: _Worker) -> bool:
        if worker.ended:
            return False
        took = time.monotonic() - worker.since
        if not worker.ready:
            return took < _START
        return worker.job is None or took < _LONGEST

    def _replace(self, worker: _Worker) -> _Worker:
        if not worker.ready:
            code = worker.process.exitcode
            raise WorkerError(f"A worker ended before it could begin (exit code {code}).")
        _end(worker)
        return self._start()

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.channel.close()
        for worker in self.workers:
            _end(worker)
        self.workers.clear()


def _end(worker: _Worker) -> None:
    worker.channel.close()
    if worker.job is None:
        worker.process.join(5)  # it reads the end of its channel, and tidies up
    worker.process.kill()
    worker.process.join(10)


def _serve(channel: Connection, parent: int, inherited: list[Connection], told: bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    if kernel.LINUX:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    for other in inherited:
        other.close()
    try:
        with early.lean():
            prepare, arguments = pickle.loads(told)  # our own process wrote it
        with prepare(*arguments) as work:
            channel.send(("ready", None))
            while True:
                job = channel.recv()
                channel.send(("done", work(job)))
    except (EOFError, OSError):
        return
    except Exception as error:
        with contextlib.suppress(OSError):
            channel.send(("failed", str(error)))


def _threads() -> int:
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() and sys.platform == "linux" else 2
