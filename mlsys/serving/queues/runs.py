"""Experiments on queues with real workers: how many jobs a second, how long the line gets, and what
a worker that is killed in mid-job loses or does twice.

The workers are processes (`queues.worker`, `queues.on_nats`); this side fills the queue, kills,
waits and reads Valkey's counts. Celery's and huey's crash tests stand beside their tasks. Pictures
are drawn by `queues.figures`.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import redis

from mlsys.serving.load.arrivals import poisson
from mlsys.serving.queues.worker import GROUP, WAYS, Job, doing_list

MODULE = "mlsys.serving.queues.worker"
ORDERS = 12  # messages of a crash test; one is killed before its charge, one after it
KILLED = {3: "before", 7: "after"}
PATIENCE = 30.0  # s
TRIES = 5  # at most, of what another program's work can only make slower
LAST = "that was all"  # ends what `heard` listens to
_numbers = itertools.count(1)

# Starts `count` processes of a module and yields a group that can be killed: `services.worker`.
Start = Callable[..., object]


class QueueError(RuntimeError):
    """An experiment that did not come to its end, or an argument it cannot work with."""


@dataclass(frozen=True)
class Step:
    """One delivery of a job to a worker; instants in s, `done` is None when it was killed."""

    id: int
    worker: str
    pushed: float
    begun: float
    done: float | None = None


@dataclass(frozen=True)
class Crash:
    """What a crash test found: how often each order was charged, and what happened when."""

    name: str
    charged: dict[int, int]
    steps: tuple[Step, ...] = ()
    kills: tuple[tuple[str, float], ...] = ()  # worker and instant

    @property
    def lost(self) -> int:
        return sum(count == 0 for count in self.charged.values())

    @property
    def doubled(self) -> int:
        return sum(count > 1 for count in self.charged.values())

    @property
    def undisturbed(self) -> bool:
        """Whether only orders whose worker was killed were lost or doubled."""
        return all(n == 1 for order, n in self.charged.items() if order not in KILLED)


@dataclass(frozen=True)
class Run:
    """A queue watched: its length at sampled instants (s from the first arrival), and its jobs."""

    times: np.ndarray
    lengths: np.ndarray
    steps: tuple[Step, ...]
    offered: int
    refused: int = 0
    crash: float | None = None
    waits: np.ndarray = field(default_factory=lambda: np.empty(0))  # s from push to begin

    @property
    def left(self) -> int:
        """Jobs that were accepted and not done when we stopped to look."""
        return self.offered - self.refused - len({step.id for step in self.steps})


def new_queue(name: str = "jobs") -> str:
    """A name that no queue of this notebook has had."""
    return f"{name}:{next(_numbers)}"


def job_text(number: int, work: float, *, reply: bool = False) -> str:
    """A message for the workers: job `number`, `work` seconds long, pushed now."""
    return Job(int(number), float(work), reply=reply, pushed=time.monotonic()).text()


def take_back(kv: redis.Redis, queue: str, worker: str) -> None:
    """Put what a dead worker has not finished back at the head of its queue."""
    while kv.lmove(doing_list(queue, worker), queue, "RIGHT", "RIGHT"):
        pass


def steps_of(kv: redis.Redis, queue: str) -> tuple[Step, ...]:
    """The queue's trail, in the order in which the jobs were begun."""
    told = [Step(**json.loads(line)) for line in kv.lrange(f"{queue}:trail", 0, -1)]
    return tuple(sorted(told, key=lambda step: step.begun))


def rates(
    broker: redis.Redis, start: Start, *, sizes: Sequence[int] = (1, 2, 4), job: float = 0.02,
    each: int = 40,
) -> dict[int, float]:  # fmt: skip
    """Jobs/s that each number of workers gets done, `each` jobs a worker.

    Tried again, up to five times in all, until two thirds of what is possible are reached: a busy
    machine can only take speed away. The largest group is started, and workers are stopped
    (SIGTERM: they finish what they have begun) to make smaller ones. `broker` is a client of
    Valkey.
    """
    if not sizes or min(sizes) < 1:
        raise QueueError(f"Sizes of groups are whole numbers from 1, not {list(sizes)}.")
    queue, measured = new_queue(), {}
    url, most = broker_url(broker), max(sizes)
    with start(MODULE, url, "at least once", queue, count=most, ready="ready") as group:
        for size in sorted(set(sizes), reverse=True):
            for index in range(size, most):
                if group.alive[index]:
                    group.stop(index)
                    group.wait(index)
            measured[size] = _best_rate(broker, queue, job, each * size, 2 / 3 * size / job)
    return dict(sorted(measured.items()))


def _best_rate(broker: redis.Redis, queue: str, job: float, count: int, enough: float) -> float:
    tries: list[float] = []
    while not tries or (max(tries) < enough and len(tries) < TRIES):
        tries.append(_rate(broker, queue, job, count))
    return max(tries)


def _rate(broker: redis.Redis, queue: str, job: float, count: int) -> float:
    """Jobs/s from the first begun to the last done, all of them there beforehand."""
    broker.delete(f"{queue}:trail")
    broker.lpush(queue, *(Job(number, job).text() for number in range(count)))
    _wait_done(broker, queue, count)
    steps = steps_of(broker, queue)
    return count / (max(step.done for step in steps) - steps[0].begun)


def _wait_done(broker: redis.Redis, queue: str, count: int) -> None:
    until(lambda: broker.llen(f"{queue}:trail") >= count, f"{count} jobs of {queue} were done")


def watch(
    broker: redis.Redis, start: Start, *, workers: int = 2, job: float = 0.02, rate: float = 75.0,
    seconds: float = 2.0, kill: bool = False, limit: int | None = None, seed: int = 0,
    drain: float = 1.0,
) -> Run:  # fmt: skip
    """Let jobs arrive (Poisson, `rate` a second for `seconds`), and sample the queue's length.

    With `kill` worker 0 is killed (`kill -9`) after a third of the time; what it held is taken
    back. With `limit`, a job that finds so many waiting is refused. The line is watched for
    `drain` seconds after the last arrival.
    """
    room = limit if limit is not None else 1_000_000
    if workers < 1 or not 0 < job <= 1 or not 0 < seconds <= 60 or room < 1:
        raise QueueError(
            "Take at least 1 worker, jobs of up to 1 s, up to 60 s and a limit of at least 1, not"
            f" {workers} workers, jobs of {job} s, {seconds} s and a limit of {limit}."
        )
    queue, refused, crash = new_queue(), 0, None
    arrivals = poisson(rate, seconds, seed=seed)
    samples: list[tuple[float, int]] = []
    url = broker_url(broker)
    with start(MODULE, url, "at least once", queue, count=workers, ready="ready") as group:
        zero, place = time.monotonic(), 0
        while (now := time.monotonic() - zero) < seconds + drain or place < len(arrivals):
            while place < len(arrivals) and arrivals[place] <= now:
                if broker.llen(queue) >= room:
                    refused += 1
                else:
                    broker.lpush(queue, job_text(place, job))
                place += 1
            if kill and crash is None and now >= seconds / 3:
                group.kill(0)
                group.wait(0)
                crash = time.monotonic() - zero
                take_back(broker, queue, "0")
            samples.append((now, broker.llen(queue)))
            time.sleep(0.005)
    steps = steps_of(broker, queue)
    times, lengths = np.array(samples).T
    waits = np.array([step.begun - step.pushed for step in steps])
    return Run(times, lengths, steps, len(arrivals), refused, crash, waits)


def with_limits(broker: redis.Redis, start: Start, limits: Sequence[int | None]) -> list[Run]:
    """`watch` one worker for each limit of its queue, side by side; no time to drain.

    In a bounded queue a job waits for `limit` others and the one in work. Where one waited three
    times as long as these take, the worker itself stood still, and all are watched again, at most
    three times.
    """
    job = 0.02
    how = {"workers": 1, "job": job, "drain": 0.1}
    for _ in range(3):
        with ThreadPoolExecutor() as pool:
            runs = list(pool.map(lambda n: watch(broker, start, limit=n, **how), limits))
        longest = [3 * (n + 1) * job if n else np.inf for n in limits]
        if all(run.waits.max(initial=0) < most for run, most in zip(runs, longest)):
            break
    return runs


def heard(broker: redis.Redis, channel: str, act: Callable[[], object]) -> int:
    """How many messages of a channel a subscriber hears that is there while `act` runs."""
    with broker.pubsub() as inbox:
        inbox.subscribe(channel)
        _next(inbox, "subscribe")
        act()
        broker.publish(channel, LAST)  # in order: after it nothing of `act` can come
        count = 0
        while _next(inbox, "message")["data"] != LAST:
            count += 1
    return count


def _next(inbox: Any, kind: str) -> dict[str, Any]:
    """The next message of this kind; QueueError when none comes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        message = inbox.get_message(timeout=1)
        if message and message["type"] == kind:
            return message
    raise QueueError(f"In {PATIENCE:g} s the subscriber heard no {kind}.")


def kept_by(start: Callable[..., Any], **settings: str) -> int:
    """Messages of 40 that a broker has again after `kill -9`, on the same folder.

    `start` is `services.valkey`; settings are Valkey's own. What it has acknowledged may wait for
    a slow disk inside the process: it is killed when it has handed that to the operating system.
    """
    with TemporaryDirectory(prefix="kept-", ignore_cleanup_errors=True) as folder:
        with start(dir=folder, **settings) as first:
            client = first.client()
            client.lpush("orders", *range(40))
            until(
                lambda: not client.info("persistence").get("aof_buffer_length"),
                "the broker had handed all to the operating system",
            )
            first.kill()
        with start(dir=folder, **settings) as second:
            return second.client().llen("orders")


def crash_tests(broker: redis.Redis, start: Start, ways: Sequence[str]) -> list[Crash]:
    """`crash_test` of several ways, side by side."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(partial(crash_test, broker, start), ways))


def crash_test(broker: redis.Redis, start: Start, way: str) -> Crash:
    """Twelve orders for three workers; two of these are killed, one before its charge, one after.

    Repeated, up to three times, when the busy machine let a lease run out by itself, so that an
    order was delivered again whose worker lived.
    """
    if way not in WAYS:
        raise QueueError(f"There is no way {way!r}; there are {', '.join(WAYS)}.")
    for _ in range(3):
        found = _crash_test(broker, start, way, new_queue(way.replace(" ", "-")))
        if found.undisturbed:
            break
    return found


def _crash_test(broker: redis.Redis, start: Start, way: str, queue: str) -> Crash:
    if way == "stream":
        broker.xgroup_create(queue, GROUP, mkstream=True)
    with start(MODULE, broker_url(broker), way, queue, count=3, ready="ready") as group:
        for number in range(ORDERS):
            _send(broker, way, queue, Job(number, 0.01, KILLED.get(number, "")))
        kills = kill_held(broker, queue, group)
        for worker, _ in kills:
            take_back(broker, queue, worker)
        until(lambda: _settled(broker, way, queue), "nothing was under way any more")
        # One worker is left: when it has done this last order, it has done all before it.
        _send(broker, way, queue, Job(ORDERS))
        until(lambda: broker.hexists(f"{queue}:charged", str(ORDERS)), "the end was seen")
    return crash_of(broker, queue, way, kills)


def kill_held(broker: redis.Redis, queue: str, group: object) -> tuple[tuple[str, float], ...]:
    """Wait for each worker that stalls and kill it: who, and when."""
    kills = []
    for _ in KILLED:
        worker = str(held(broker, queue)["worker"])
        group.kill(int(worker))
        group.wait(int(worker))
        kills.append((worker, time.monotonic()))
    return tuple(kills)


def held(broker: redis.Redis, queue: str) -> dict[str, object]:
    """What the next worker that stalls next to its charge says: its job, its name, its process.

    Kept for `crash_of` as well. QueueError when none comes in half a minute.
    """
    # Looked at again and again: a client waits for one answer no longer than its own time-out.
    until(lambda: broker.llen(f"{queue}:held") > 0, f"a worker of {queue} came to its stalling job")
    return json.loads(broker.lmove(f"{queue}:held", f"{queue}:killed", "LEFT", "RIGHT"))


def crash_of(
    broker: redis.Redis, queue: str, name: str, kills: tuple[tuple[str, float], ...] = ()
) -> Crash:
    """The counts of a crash test of ORDERS orders, with the deliveries that were killed."""
    counts = broker.hgetall(f"{queue}:charged")
    killed = []
    for line in broker.lrange(f"{queue}:killed", 0, -1):
        step = {key: value for key, value in json.loads(line).items() if key != "pid"}
        killed.append(Step(**step))
    steps = [step for step in steps_of(broker, queue) if step.id < ORDERS]
    charged = {order: int(counts.get(str(order), 0)) for order in range(ORDERS)}
    return Crash(name, charged, tuple(sorted([*steps, *killed], key=lambda s: s.begun)), kills)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds; QueueError says what did not happen in PATIENCE s."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise QueueError(f"In {PATIENCE:g} s it did not come to this: {what}.")
        time.sleep(0.01)


def _send(broker: redis.Redis, way: str, queue: str, job: Job) -> None:
    if way == "stream":
        broker.xadd(queue, {"job": job.text()})
    else:
        broker.lpush(queue, job.text())


def _settled(broker: redis.Redis, way: str, queue: str) -> bool:
    """Nothing waits, and nothing is unacknowledged, as far as the broker knows."""
    if way == "stream":
        group = broker.xinfo_groups(queue)[0]
        return not group["pending"] and group["lag"] == 0
    return not broker.llen(queue) and not any(
        broker.llen(doing_list(queue, str(worker))) for worker in range(3)
    )


def broker_url(broker: redis.Redis) -> str:
    where = broker.connection_pool.connection_kwargs
    return f"redis://{where['host']}:{where['port']}/{where.get('db', 0)}"
