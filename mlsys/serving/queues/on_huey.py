"""huey, a light task queue on the same Valkey, and its crash test.

`orders(url)` makes the application with its tasks. The workers are
`python -m huey.bin.huey_consumer mlsys.serving.queues.on_huey.app`, told of the broker by the
variable in BROKER. What a task does is `worker.work`, as for the workers made by hand.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil
import redis
from huey import RedisHuey

from mlsys.serving.queues.runs import (
    KILLED,
    ORDERS,
    Crash,
    Start,
    crash_of,
    held,
    new_queue,
    until,
)
from mlsys.serving.queues.worker import Job, parse, work

BROKER = "MLSYS_QUEUE_BROKER"
ARGUMENTS = ("mlsys.serving.queues.on_huey.app", "-k", "process", "-w", "3")


def orders(url: str) -> RedisHuey:
    """The application, with the task `charge`."""
    app = RedisHuey("orders", url=url)
    app.charge = app.task(name="charge")(charge)
    app.predict = app.task(name="predict")(predict)
    return app


def charge(url: str, queue: str, job: str) -> None:
    """The order of the crash test, in a process of the consumer."""
    with redis.Redis.from_url(url, decode_responses=True) as kv:
        work(kv, queue, parse(job), str(os.getpid()))


def predict(words: str) -> int:
    """Stands for a model: how many words there are."""
    return len(words.split())


def crash_test(broker: redis.Redis, url: str, start: Start) -> Crash:
    """The crash test of `queues.runs`; two of the consumer's three processes are killed."""
    app, queue, kills = orders(url), new_queue("huey"), []
    with start(
        "huey.bin.huey_consumer", *ARGUMENTS, env={BROKER: url}, ready="Huey consumer started"
    ):
        for order in range(ORDERS):
            app.charge(url, queue, Job(order, 0.01, KILLED.get(order, "")).text())
        for _ in KILLED:
            victim = held(broker, queue)
            with suppress(psutil.NoSuchProcess):
                psutil.Process(int(victim["pid"])).kill()
            kills.append((str(victim["worker"]), time.monotonic()))
        # A process is left: it does in order what comes, so after this one all before are done.
        app.charge(url, queue, Job(ORDERS).text())
        until(lambda: broker.hexists(f"{queue}:charged", str(ORDERS)), "huey had done all orders")
    return crash_of(broker, queue, "huey", tuple(kills))


app = orders(os.environ.get(BROKER, "redis://127.0.0.1:6379/0"))
