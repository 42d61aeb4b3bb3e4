"""huey, a light task queue on the same Valkey, and its crash test.

`orders(url)` makes the application with its tasks. The workers are
`python -m huey.bin.huey_consumer mlsys.serving.queues.on_huey.app`, told of the broker by the
variable in BROKER. What a task does is `worker.work`, as for the workers made by hand.
"""

from __future__ import annotations

import redis
from huey import RedisHuey

from mlsys.serving.queues.runs import KILLED, ORDERS, Crash, Start, crash_of, new_queue, until
from mlsys.serving.queues.tasks import broker_url, charge, kill, library_worker, predict, stalled
from mlsys.serving.queues.worker import Job

ARGUMENTS = ("mlsys.serving.queues.on_huey.app", "-k", "process", "-w", "3")


def orders(url: str) -> RedisHuey:
    """The application, with the task `charge`."""
    app = RedisHuey("orders", url=url)
    app.charge = app.task(name="charge")(charge)
    app.predict = app.task(name="predict")(predict)
    return app


def first_message(url: str) -> bytes:
    """What huey puts into the broker for `predict("a b")`, byte for byte; taken out again."""
    app = orders(url)
    app.predict("a b")
    with redis.Redis.from_url(url) as raw:
        message = raw.lindex(app.storage.queue_key, 0)
    app.flush()
    return message


def crash_test(broker: redis.Redis, url: str, start: Start) -> Crash:
    """The crash test of `queues.runs`; two of the consumer's three processes are killed."""
    app, queue = orders(url), new_queue("huey")
    ready = "Huey consumer started"
    with library_worker(start, "huey.bin.huey_consumer", *ARGUMENTS, url=url, ready=ready):
        for order in range(ORDERS):
            app.charge(url, queue, Job(order, 0.01, KILLED.get(order, "")).text())
        kills = tuple(kill(*one) for one in stalled(broker, queue))
        # A process is left: it does in order what comes, so after this one all before are done.
        app.charge(url, queue, Job(ORDERS).text())
        until(lambda: broker.hexists(f"{queue}:charged", str(ORDERS)), "huey had done all orders")
    return crash_of(broker, queue, "huey", kills)


app = orders(broker_url())
