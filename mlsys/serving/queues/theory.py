"""A queue held against its theory: the same random jobs at several loads, measured side by side.

Each load has a queue of its own and a worker of its own; who asks waits for the answer, so that its
latency is the whole time in the system. The formulas are in `mlsys.serving.queueing`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import numpy as np
import redis.asyncio

from mlsys.serving.load import LoadResult, open_loop
from mlsys.serving.queues.runs import (
    MODULE,
    QueueError,
    Start,
    Step,
    broker_url,
    job_text,
    new_queue,
    steps_of,
    until,
)

PATIENCE = 20.0  # s that an asker waits for its answer
STEADY = 1.5  # times the service time of before: more is another machine
BLIND = 0.25  # s without a look at the line: what it did meanwhile is not known


@dataclass(frozen=True)
class Line:
    """A queue under several loads, and what was seen of its last one.

    service: mean s that the worker takes for a job, with all trips to the broker. waiting: mean
    number in line, sampled from the first arrival to the last answer, which took `seconds`; `blind`
    is the longest time between two samples, s.
    """

    loads: tuple[LoadResult, ...]
    steps: tuple[Step, ...]
    service: float
    waiting: float
    seconds: float
    blind: float

    @property
    def by_law(self) -> float:
        """The mean number in line by Little's law, from the worker's own trail: rate times wait."""
        waits = [step.begun - step.pushed for step in self.steps]
        return len(waits) / self.seconds * float(np.mean(waits))


async def measure(
    broker: redis.Redis, start: Start, loads: Sequence[float], *, seconds: float,
    service: float = 0.01, seed: int = 0,
) -> Line:  # fmt: skip
    """Offer each load (share of the time that a worker is busy) to a queue of its own.

    Jobs come at random and take a random time of mean `service` s, both exponential. The last load
    is the one whose length is sampled. Where the worker was much slower than just before, or nobody
    looked at the line for a while, somebody else had the machine, and all is measured again, at
    most three times; then the one with the shortest such while is returned.
    """
    tried = []
    for _ in range(3):
        line, before = await _once(broker, start, loads, seconds, service, seed)
        if line.service < STEADY * before and line.blind < BLIND:
            return line
        tried.append(line)
    return min(tried, key=lambda line: line.blind)


async def _once(
    broker: redis.Redis, start: Start, loads: Sequence[float], seconds: float, service: float,
    seed: int,
) -> tuple[Line, float]:  # fmt: skip
    """One measurement, and the service time before it by which the rates were chosen."""
    queues = [new_queue("theory") for _ in loads]
    works = np.random.default_rng(seed).exponential(service, 10_000)
    askers = [_Asker(broker, queue, works) for queue in queues]
    way = ("at least once", ",".join(queues))
    with start(MODULE, broker_url(broker), *way, ready="ready"):
        s = full_speed(broker, queues, job=service)
        with ThreadPoolExecutor(1) as pool:
            over = Event()
            sampled = pool.submit(mean_length, broker, queues[-1], over)
            try:
                results = await asyncio.gather(
                    *(one.offer(load / s, seconds, seed) for one, load in zip(askers, loads))
                )
            finally:
                over.set()
        waiting, took, blind = sampled.result()
    steps = steps_of(broker, queues[-1])
    return Line(tuple(results), steps, service_time(steps), waiting, took, blind), s


class _Asker:
    """Sends jobs to one queue and gets their answers, over one connection for each direction."""

    def __init__(self, broker: redis.Redis, queue: str, works: np.ndarray) -> None:
        self.broker, self.queue, self.works = broker, queue, works
        self.waiting: dict[int, asyncio.Future] = {}

    async def offer(self, rate: float, seconds: float, seed: int) -> LoadResult:
        """So many jobs a second, whose latency is the whole time in the system."""
        over = asyncio.Event()
        collecting = asyncio.create_task(self._collect(over))
        try:
            return await open_loop(
                self._ask, rate=rate, seconds=seconds, timeout=PATIENCE, seed=seed
            )
        finally:
            over.set()
            await collecting

    async def _ask(self, i: int) -> None:
        """Send job i and wait until a worker has done it.

        It is sent without giving way to others, so that the instant in the job is that of the push.
        """
        done = self.waiting[i] = asyncio.get_running_loop().create_future()
        work = self.works[i % len(self.works)]
        self.broker.lpush(self.queue, job_text(i, work, reply=True))
        await done

    async def _collect(self, over: asyncio.Event) -> None:
        async with redis.asyncio.Redis.from_url(broker_url(self.broker)) as kv:
            while not over.is_set():
                if found := await kv.blpop([f"{self.queue}:answers"], timeout=0.2):
                    done = self.waiting.pop(int(found[1]), None)
                    if done and not done.done():
                        done.set_result(None)


def mean_length(broker: redis.Redis, queue: str, over: Event) -> tuple[float, float, float]:
    """The mean number that waits until it is over, how long that took, and the longest time between
    two looks, s.

    Looked up every 5 ms, or later where the machine is busy: between two looks their mean counts.
    """
    times, seen = [time.monotonic()], [broker.llen(queue)]
    while not over.wait(0.005) or len(times) < 2:
        seen.append(broker.llen(queue))
        times.append(time.monotonic())
    took = times[-1] - times[0]
    return float(np.trapezoid(seen, times)) / took, took, float(np.diff(times).max())


def service_time(steps: Sequence[Step]) -> float:
    """Mean s that one worker takes for a job with all trips to the broker.

    Read from one job's end to the next one's, wherever the next was waiting by then.
    """
    pairs = itertools.pairwise(steps)
    gaps = [two.done - one.done for one, two in pairs if two.pushed < one.done]
    if not gaps:
        raise QueueError("No job had to wait, so that no time between two jobs can be read.")
    return float(np.mean(gaps))


def full_speed(broker: redis.Redis, queues: Iterable[str], *, job: float, count: int = 40) -> float:
    """The service time, s, of workers that are already there when all their queues are full.

    `count` jobs of `job` s go to each queue; their trail is removed.
    """
    queues = list(queues)
    for queue in queues:
        broker.lpush(queue, *(job_text(number, job) for number in range(count)))
    for queue in queues:
        until(
            lambda queue=queue: broker.llen(f"{queue}:trail") >= count,
            f"{count} jobs of {queue} were done",
        )
    found = [service_time(steps_of(broker, queue)) for queue in queues]
    broker.delete(*(f"{queue}:trail" for queue in queues))
    return float(np.mean(found))
