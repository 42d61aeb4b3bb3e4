"""Celery, the usual task queue, on the same Valkey: three ways to acknowledge, and a crash test.

`orders(url)` makes the application with its tasks, for who sends. The workers are
`python -m celery -A mlsys.serving.queues.on_celery worker`, told of the broker by the variable in
BROKER. What a task does is `worker.work`, as for the workers made by hand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import redis
from celery import Celery

from mlsys.serving.queues.runs import KILLED, ORDERS, Crash, Start, crash_of, new_queue, until
from mlsys.serving.queues.tasks import broker_url, charge, kill, library_worker, predict, stalled
from mlsys.serving.queues.worker import Job

PROCESSES = 8  # six are killed, and two go on
SETTINGS = {
    "Celery": {},
    "Celery, late ack": {"acks_late": True},
    "Celery, late ack + reject": {"acks_late": True, "reject_on_worker_lost": True},
}
# Processes are forked only where that exists; elsewhere threads run the tasks.
ARGUMENTS = ("-A", __spec__.name if __spec__ else __name__, "worker", "--loglevel=INFO",
             "--pool", "prefork" if os.name == "posix" else "threads",
             "--concurrency", str(PROCESSES),
             "--without-gossip", "--without-mingle", "--without-heartbeat")  # fmt: skip


def orders(url: str) -> Celery:
    """The application: `charge_0` to `charge_2`, with the settings above, `predict` and `flaky`."""
    app = Celery("orders", broker=url, backend=url)
    app.conf.update(
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        worker_lost_wait=1.0,
        result_expires=600,
        # One client and its answers need no more; more would be opened at each call of a thread.
        broker_pool_limit=4,
    )
    for number, settings in enumerate(SETTINGS.values()):
        app.task(charge, name=f"orders.charge_{number}", **settings)
    app.task(predict, name="orders.predict")
    app.task(
        flaky, name="orders.flaky", bind=True, autoretry_for=(ConnectionError,), max_retries=3,
        default_retry_delay=0.1,
    )  # fmt: skip
    return app


def flaky(task: object, fails: int) -> int:
    """Raises ConnectionError at its first `fails` tries, then returns the number of tries."""
    tries = task.request.retries
    if tries < fails:
        raise ConnectionError("the bank does not answer")
    return tries + 1


def node(url: str, start: Start) -> AbstractContextManager[Any]:
    """A Celery worker for the broker at `url`, until the end of the `with`; ready when it begins.

    At its end it stops at once, rather than wait for what it has begun.
    """
    return library_worker(start, "celery", *ARGUMENTS, url=url, ready=" ready.")


@contextmanager
def node_meanwhile(url: str, start: Start) -> Iterator[Callable[[], object]]:
    """`node`, started in a thread: it takes seconds. Yields a function that waits until it is
    ready."""
    with ExitStack() as running, ThreadPoolExecutor(1) as pool:
        yield pool.submit(running.enter_context, node(url, start)).result


def crash_test(broker: redis.Redis, app: Celery) -> list[Crash]:
    """The crash test of `queues.runs` for each of SETTINGS; processes of a node's pool are killed.

    All victims stall at the same time and are replaced by the pool. Celery looks for the dead
    every 5 s, so this takes some seconds: begin it in a thread and do something else meanwhile.
    """
    url = app.conf.broker_url
    queues = {name: new_queue("celery") for name in SETTINGS}
    results = {}
    for number, queue in enumerate(queues.values()):
        task = app.tasks[f"orders.charge_{number}"]
        for order in range(ORDERS):
            job = Job(order, 0.01, KILLED.get(order, ""))
            results[number, order] = task.delay(url, queue, job.text())
    kills = _kill(broker, app, queues, {results[key].id for key in results if key[1] in KILLED})
    until(lambda: all(one.ready() for one in results.values()), "Celery had done all orders")
    return [crash_of(broker, queue, name, kills[name]) for name, queue in queues.items()]


def _kill(
    broker: redis.Redis, app: Celery, queues: dict[str, str], begun: set[str]
) -> dict[str, tuple[tuple[str, float], ...]]:
    """Kill the processes that stall, when Celery's main process has seen that they began.

    A process that dies before that is taken for one that had not begun, and its task is run again
    whatever its settings say.
    """
    victims = {name: stalled(broker, queue) for name, queue in queues.items()}
    until(lambda: begun <= _active(app), "Celery knew of all that had begun")
    return {name: tuple(kill(*one) for one in those) for name, those in victims.items()}


def _active(app: Celery) -> set[str]:
    """The ids of the tasks that the node has begun and not finished."""
    told = app.control.inspect(limit=1, timeout=5).active() or {}
    return {task["id"] for tasks in told.values() for task in tasks}


app = orders(broker_url())
