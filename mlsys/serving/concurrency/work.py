"""The same work done by threads, by processes and by coroutines, and how much each gets done.

A task is a little of one kind of work (bytecode, calls of NumPy) and a wait; workers repeat it
until the time is over. Threads and coroutines run here, processes in a `Team` that has been started
before the clock. Lesson 10 draws the results with `concurrency.figures`; its servers are in
`concurrency.servers`, its races in `concurrency.races`.

    python -m mlsys.serving.concurrency.work PORT   (one process of a team; it takes orders there)
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median

import numpy as np

HOST = "127.0.0.1"
PATIENCE = 30.0  # s that a team and its processes wait for each other
LONGEST = 30.0  # s that workers may be kept busy at once
MOST_WORKERS = 1000
START_GAP = 0.01  # s between the order and the common start
KINDS = ("python", "small arrays", "large arrays")

_SMALL = np.arange(8.0)
_LARGE = np.random.default_rng(0).random(50_000)


class ConcurrencyError(ValueError):
    """What was asked for cannot be run; the message is one sentence."""


@dataclass(frozen=True)
class Task:
    """`work` rounds of computing of one of KINDS, then `wait` s of waiting."""

    kind: str = "python"
    work: int = 0
    wait: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConcurrencyError(f"{self.kind!r} is no kind of work; take {', '.join(KINDS)}.")
        if not (0 <= self.work <= 10**7 and 0 <= self.wait <= 1 and (self.work or self.wait)):
            raise ConcurrencyError(
                f"work={self.work}, wait={self.wait} is no task; give rounds up to 10,000,000 or a"
                " wait of up to 1 s."
            )


@dataclass(frozen=True)
class Run:
    """What workers did: for each, the (start, end) in s of every task that it finished."""

    how: str
    seconds: float
    tasks: tuple[tuple[tuple[float, float], ...], ...]
    cpu: float  # s of computing, all workers together

    @property
    def done(self) -> int:
        return sum(map(len, self.tasks))

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.done / self.seconds


def compute(kind: str, rounds: int) -> float:
    """Some work that holds the GIL throughout, for the most part, or hardly.

    python: bytecode. small arrays: NumPy calls of which each is over in a microsecond. large
    arrays: NumPy calls that work for a good part of a millisecond without the GIL.
    """
    total = 0.0
    if kind == "python":
        for number in range(rounds):
            total += number % 7
    elif kind == "small arrays":
        for _ in range(rounds):
            total += (_SMALL + _SMALL)[0]
    else:
        for _ in range(rounds):
            total += np.sort(_LARGE)[0]
    return total


def rounds_for(kind: str, seconds: float, *, tries: int = 5) -> int:
    """How many rounds take so many seconds of this machine's CPU, when nothing else disturbs."""
    rounds, best = 1, 0.0
    while best < 0.002:
        rounds *= 4
        best = min(_cpu_of(kind, rounds) for _ in range(tries))
    return max(1, round(rounds * seconds / best))


def _cpu_of(kind: str, rounds: int) -> float:
    start = time.thread_time()
    compute(kind, rounds)
    return time.thread_time() - start


def repeat(task: Task, start: float, end: float) -> tuple[list[tuple[float, float]], float]:
    """Do the task again and again from `start` to `end` (time.perf_counter), in this thread.

    The (start, end) of those that were finished in time, and the CPU seconds of all.
    """
    time.sleep(max(0.0, start - time.perf_counter()))
    done, cpu, now = [], time.thread_time(), time.perf_counter()
    while now < end:
        begun = now
        if task.work:
            compute(task.kind, task.work)
        if task.wait:
            time.sleep(task.wait)
        now = time.perf_counter()
        if now <= end:
            done.append((begun - start, now - start))
    return done, time.thread_time() - cpu


def threads(task: Task, workers: int, seconds: float) -> Run:
    """So many threads of this process repeat the task."""
    _check(workers, seconds)
    start = time.perf_counter() + START_GAP
    with ThreadPoolExecutor(workers, thread_name_prefix="worker") as pool:
        orders = [pool.submit(repeat, task, start, start + seconds) for _ in range(workers)]
        told = [order.result() for order in orders]
    return _run("threads", seconds, told)


async def coroutines(task: Task, workers: int, seconds: float) -> Run:
    """So many coroutines of one thread repeat the task; they await the wait."""
    _check(workers, seconds)
    start = time.perf_counter() + START_GAP
    cpu = time.thread_time()

    async def one() -> tuple[list[tuple[float, float]], float]:
        done = []
        await asyncio.sleep(max(0.0, start - time.perf_counter()))
        while (begun := time.perf_counter()) < start + seconds:
            if task.work:
                compute(task.kind, task.work)
            await asyncio.sleep(task.wait)
            if (now := time.perf_counter()) <= start + seconds:
                done.append((begun - start, now - start))
        return done, 0.0

    told = await asyncio.gather(*(one() for _ in range(workers)))
    run = _run("asyncio", seconds, told)
    return Run(run.how, run.seconds, run.tasks, time.thread_time() - cpu)


def coroutines_now(task: Task, workers: int, seconds: float) -> Run:
    """`coroutines` without an await: in a thread with an event loop of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(coroutines(task, workers, seconds))).result()


class Team:
    """Processes that have been started and wait for orders."""

    def __init__(self, lines: Sequence[socket.socket]) -> None:
        self._files = [line.makefile("rw", encoding="utf-8", newline="\n") for line in lines]

    @property
    def size(self) -> int:
        return len(self._files)

    def __call__(self, task: Task, workers: int, seconds: float) -> Run:
        """So many processes of the team repeat the task."""
        _check(workers, seconds)
        if workers > self.size:
            raise ConcurrencyError(f"{workers} processes are asked of a team of {self.size}.")
        start = time.perf_counter() + START_GAP
        order = json.dumps({**asdict(task), "start": start, "end": start + seconds})
        told = []
        try:
            for file in self._files[:workers]:
                file.write(order + "\n")
                file.flush()
            for file in self._files[:workers]:
                done, cpu = json.loads(file.readline())
                told.append(([(begun, ended) for begun, ended in done], cpu))
        except (OSError, ValueError) as error:  # no line, or half a one
            raise ConcurrencyError(
                f"A process of the team has gone; start the team again ({error})."
            ) from None
        return _run("processes", seconds, told)


@contextmanager
def team(size: int, start_worker: Callable[..., AbstractContextManager]) -> Iterator[Team]:
    """A team for the length of the `with`; `start_worker` is `mlsys.services.worker`.

    The processes are started afresh (no fork of this one) and import this module: a function that
    a notebook's cell defines does not exist in them.
    """
    _check(size, LONGEST)
    with ExitStack() as open_:
        door = open_.enter_context(socket.create_server((HOST, 0)))
        door.settimeout(PATIENCE)
        port = str(door.getsockname()[1])
        open_.enter_context(start_worker(__name__, port, count=size, env={"OMP_NUM_THREADS": "1"}))
        lines = [open_.enter_context(door.accept()[0]) for _ in range(size)]
        for line in lines:
            line.settimeout(LONGEST + PATIENCE)
        ready = Team(lines)
        ready(Task("python", 1), size, 0.001)
        yield ready


def speed_up(
    run: Callable[[Task, int, float], Run],
    task: Task,
    workers: int = 2,
    *,
    seconds: float = 0.03,
    rounds: int = 3,
    most: int = 8,
) -> float:
    """How many times as much the workers do as one thread does, each in its best round.

    Other programs can only take speed away, so the best counts; the two are measured in turn, and
    again (at most `most` times) until the best of each has been reached twice, within 5 %.
    """
    alone: list[int] = []
    together: list[int] = []
    while len(alone) < rounds or (len(alone) < most and not (_firm(alone) and _firm(together))):
        alone.append(threads(task, 1, seconds).done)
        together.append(run(task, workers, seconds).done)
    return max(together) / max(1, *alone)


def most_at_once(
    run: Callable[[Task, int, float], Run],
    task: Task,
    workers: int = 2,
    *,
    seconds: float = 0.06,
    most: int = 10,
    enough: float = 0.15,
) -> Run:
    """The round in which workers computed at the same time for longest.

    Other programs may leave no two cores free for a while: so until workers were seen to compute at
    once for the share `enough` of the time, it is tried again, up to `most` rounds.
    """
    best = run(task, workers, seconds)
    for _ in range(most - 1):
        if both_at_once(best) >= enough:
            break
        best = max(best, run(task, workers, seconds), key=both_at_once)
    return best


def multiples(
    ways: Mapping[str, Callable[[Task, int, float], Run]],
    task: Task,
    workers: Sequence[int],
) -> dict[str, dict[int, float]]:
    """How many times as much each way does with each number of workers as one thread does.

    Best rounds are compared, as in `speed_up`, and measured again until that of the one thread and
    those of all with the most workers have been reached twice; each round measures all.
    """
    seconds, rounds, most = 0.03, 3, 8
    alone: list[int] = []
    done: dict[str, dict[int, list[int]]] = {name: {n: [] for n in workers} for name in ways}
    while len(alone) < rounds or (
        len(alone) < most
        and not all(map(_firm, [alone, *(counts[max(workers)] for counts in done.values())]))
    ):
        alone.append(threads(task, 1, seconds).done)
        for name, way in ways.items():
            for n in workers:
                done[name][n].append(way(task, n, seconds).done)
    one = max(1, *alone)
    return {
        name: {n: max(counts) / one for n, counts in made.items()} for name, made in done.items()
    }


def gains(ways: Mapping[str, Callable[[Task, int, float], Run]]) -> dict[str, dict[str, float]]:
    """For each kind of computing, how many times as much two workers of each way do as one thread.

    A task takes about a millisecond.
    """
    tasks = {kind: Task(kind, work=rounds_for(kind, seconds=0.001)) for kind in KINDS}
    return {
        kind: {name: speed_up(way, task, 2) for name, way in ways.items()}
        for kind, task in tasks.items()
    }


def mixed(
    ways: Mapping[str, Callable[[Task, int, float], Run]],
    workers: int,
    waiting: float,
    *,
    seconds: float = 0.01,
) -> tuple[dict[str, float], dict[str, float]]:
    """Tasks a second that each way finishes, and a bound on them.

    A task takes `seconds` when it is alone, and waits for the share `waiting` of them. A worker
    does one at a time, and the computing of all must fit into one core, for "processes" into all.
    """
    busy = seconds * (1 - waiting)
    task = Task(work=rounds_for("python", busy), wait=seconds * waiting)
    done = {name: way(task, workers, 0.25).rate for name, way in ways.items()}
    room = {name: cores() if name == "processes" else 1 for name in ways}
    return done, {name: min(workers / seconds, n / busy) for name, n in room.items()}


def _firm(counts: Sequence[int]) -> bool:
    best, second, *_ = sorted(counts, reverse=True)
    return second >= 0.95 * best


def stretches(run: Run, *, pause: float = 0.0005) -> list[list[tuple[float, float]]]:
    """When each worker computed, in s: its short tasks joined to stretches.

    A task that took five times as long as most was interrupted, so it is left out; two that lie
    less than `pause` apart belong together.
    """
    joined = []
    for tasks in run.tasks:
        usual = median(end - begin for begin, end in tasks) if tasks else 0.0
        bars: list[tuple[float, float]] = []
        for begin, end in tasks:
            if end - begin > 5 * usual:
                continue
            if bars and begin - bars[-1][1] < pause:
                bars[-1] = (bars[-1][0], end)
            else:
                bars.append((begin, end))
        joined.append(bars)
    return joined


def both_at_once(run: Run) -> float:
    """Share of the time in which two workers or more computed, of that in which any did."""
    edges = sorted(edge for bars in stretches(run) for a, b in bars for edge in ((a, 1), (b, -1)))
    running, last, any_, more = 0, 0.0, 0.0, 0.0
    for when, change in edges:
        any_ += (when - last) * (running >= 1)
        more += (when - last) * (running >= 2)
        running, last = running + change, when
    return more / any_ if any_ else 0.0


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def _run(how: str, seconds: float, told: Sequence[tuple[list[tuple[float, float]], float]]) -> Run:
    return Run(how, seconds, tuple(tuple(done) for done, _ in told), sum(cpu for _, cpu in told))


def _check(workers: int, seconds: float) -> None:
    if not 1 <= workers <= MOST_WORKERS:
        raise ConcurrencyError(f"{workers} workers cannot be; take 1 to {MOST_WORKERS}.")
    if not 0 < seconds <= LONGEST:
        raise ConcurrencyError(f"{seconds} s is no time to work; take up to {LONGEST:g}.")


def main(port: str) -> None:
    """Take orders, one JSON object a line, until the line is closed."""
    with socket.create_connection((HOST, int(port)), timeout=PATIENCE) as line:
        line.settimeout(None)
        orders = line.makefile("rw", encoding="utf-8", newline="\n")
        for order in orders:
            wanted = json.loads(order)
            start, end = wanted.pop("start"), wanted.pop("end")
            orders.write(json.dumps(repeat(Task(**wanted), start, end)) + "\n")
            orders.flush()


if __name__ == "__main__":
    threading.current_thread().name = "team"
    main(sys.argv[1])
