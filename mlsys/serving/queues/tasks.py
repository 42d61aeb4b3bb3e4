"""What the task libraries of lesson 14 run for us: the order of the crash test, and a small model.

`queues.on_celery` and `queues.on_huey` register these functions; the worker processes import them.
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, suppress
from typing import Any

import psutil
import redis

from mlsys.serving.queues.runs import KILLED, Start, held
from mlsys.serving.queues.worker import parse, work

BROKER = "MLSYS_QUEUE_BROKER"  # the variable that tells a worker where the broker is
ELSEWHERE = "redis://127.0.0.1:6379/0"  # where it looks untold


def broker_url() -> str:
    return os.environ.get(BROKER, ELSEWHERE)


def library_worker(
    start: Start, module: str, *args: str, url: str, ready: str
) -> AbstractContextManager[Any]:
    """A library's own worker process for the broker at `url`, when it has printed `ready`."""
    env = {BROKER: url, "REMAP_SIGTERM": "SIGQUIT"}  # Celery's: stop at once
    return start(module, *args, ready=ready, env=env)


def charge(url: str, queue: str, job: str) -> None:
    """The order of the crash test, in a process of the library's pool."""
    with redis.Redis.from_url(url, decode_responses=True) as kv:
        work(kv, queue, parse(job), str(os.getpid()))


def predict(words: str) -> int:
    """Stands for a model: how many words there are."""
    return len(words.split())


def stalled(broker: redis.Redis, queue: str) -> list[tuple[str, int]]:
    """Wait until each order that stalls has come to its charge: the worker's name and process."""
    found = [held(broker, queue) for _ in KILLED]
    return [(str(one["worker"]), int(one["pid"])) for one in found]


def kill(worker: str, process: int) -> tuple[str, float]:
    """`kill -9`, as an entry of `Crash.kills`."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(process).kill()
    return worker, time.monotonic()
