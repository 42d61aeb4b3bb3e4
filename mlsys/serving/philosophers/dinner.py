"""Dining philosophers in real threads: guests who think, get their forks somehow, and eat.

How a guest gets its forks is the lesson's: a strategy is handed in. This module seats the guests,
keeps the times, and watches the wait-for graph until the time is over or nobody can move. The
table with its forks is `philosophers.table`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pandas as pd

from mlsys.serving.philosophers.table import Cleared, DinnerError, Snapshot, Table, cycle
from mlsys.serving.timeline import Event

MOST_GUESTS = 50
LOOK_S = 0.01  # between two looks at the wait-for graph
STALL_S = 0.25  # a look that comes so late: the machine stood still, and not the guests
TRIES = 3
KEPT = 2_000  # events kept of each guest

Strategy = Callable[[Table, int], AbstractContextManager]


@dataclass(frozen=True)
class Dinner:
    """What came of it.

    waits: of each guest, how long each meal was waited for, s. deadlock: the guests in a circle,
    () when there was none. overtaken: the most meals that one neighbour had during one wait.
    failed: tries that found a fork taken. last: the table at the end.
    """

    seconds: float
    meals: tuple[int, ...]
    waits: tuple[np.ndarray, ...]
    deadlock: tuple[int, ...]
    overtaken: int
    failed: int
    last: Snapshot
    events: tuple[Event, ...]

    @property
    def rate(self) -> float:
        """Meals a second, of all guests."""
        return sum(self.meals) / self.seconds

    @property
    def all_waits(self) -> np.ndarray:
        return np.concatenate(self.waits)

    @property
    def jain(self) -> float:
        return jain(self.meals)


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index: 1 when all have the same, 1/n when one of n has everything.

    (sum x)^2 / (n sum x^2); 1 for nothing at all. R. Jain, D. Chiu, W. Hawe, DEC TR-301 (1984).
    """
    x = np.asarray(shares, dtype=float)
    if x.size == 0 or x.min() < 0:
        raise DinnerError(f"Fairness is of at least one share, none below 0, not of {shares!r}.")
    return float(x.sum() ** 2 / (x.size * (x**2).sum())) if x.any() else 1.0


def dine(
    strategy: Strategy | type,
    *,
    guests: int = 5,
    seconds: float = 1.0,
    think: float = 0.001,
    eat: float = 0.001,
    seed: int = 0,
    watch: Callable[[Snapshot], None] | None = None,
) -> Dinner:
    """Let so many guests dine, a thread each, for so long or until they are in a deadlock.

    strategy: `strategy(table, i)` is a context manager: guest i eats inside it. A class instead is
    made once a guest and has `think(seconds)` and `forks()` (see `chandy_misra`). think,
    eat: mean times, s, drawn from exponential distributions (0: none at all). watch: called with a
    Snapshot ten times a second. A dinner during which the machine itself stood still is held again,
    unless it is watched or ended in a deadlock. Raises DinnerError for a dinner that cannot be
    held, and when neighbours ate together or a guest failed or would not leave.
    """
    if not 2 <= guests <= MOST_GUESTS:
        raise DinnerError(f"A table is for 2 to {MOST_GUESTS} guests, not for {guests}.")
    if not 0 < seconds <= 60 or min(think, eat) < 0:
        raise DinnerError(
            f"A dinner takes up to 60 s and no time is negative: {seconds=}, {think=}, {eat=}."
        )
    for _ in range(TRIES):
        dinner, longest = _dinner(strategy, guests, seconds, think, eat, seed, watch)
        if watch or dinner.deadlock or longest < STALL_S:
            break
    return dinner


def _dinner(
    strategy: Strategy | type,
    guests: int,
    seconds: float,
    think: float,
    eat: float,
    seed: int,
    watch: Callable[[Snapshot], None] | None,
) -> tuple[Dinner, float]:
    """One dinner, and the longest time between two looks, s."""
    table = Table(guests)
    diaries = [_Diary(table, i) for i in range(guests)]
    gate = threading.Barrier(guests + 1)
    dice = [Random(f"{seed} {i}") for i in range(guests)]
    threads = [
        threading.Thread(
            target=_dine, args=(table, strategy, diary, die, gate, think, eat), daemon=True
        )
        for diary, die in zip(diaries, dice)
    ]
    for thread in threads:
        thread.start()
    gate.wait()
    start = time.perf_counter()
    try:
        blocking = not isinstance(strategy, type)
        circle, longest = _host(table, start, seconds, watch, blocking=blocking)
        last = table.look(time.perf_counter() - start)
    finally:
        table.ended = time.perf_counter()
        table.over.set()
        with table.lock:
            table.lock.notify_all()
        for thread in threads:
            thread.join(10 + 4 * eat)
    _complain(table, threads, diaries)
    dinner = Dinner(
        last.seconds,
        last.meals,
        tuple(np.array(diary.waits) for diary in diaries),
        circle,
        max(diary.overtaken for diary in diaries),
        sum(table.failed),
        last,
        tuple(e for diary in diaries for e in diary.told(start, last.seconds)),
    )
    return dinner, longest


def dine_often(
    strategy: Strategy | type, *, runs: int, seed: int = 0, **options: Any
) -> list[Dinner]:
    """So many dinners, eight at a time, with the seeds from `seed` on; options as of `dine`."""
    with ThreadPoolExecutor(min(8, runs)) as pool:
        jobs = [pool.submit(dine, strategy, seed=seed + run, **options) for run in range(runs)]
        return [job.result() for job in jobs]


def compared(dinners: Mapping[str, Dinner]) -> pd.DataFrame:
    """A row for each dinner: throughput, fairness, who was overtaken, the longest wait (ms)."""
    rows = {
        name: {
            "meals/s": round(d.rate),
            "Jain": round(d.jain, 3),
            "fewest": min(d.meals),
            "most": max(d.meals),
            "overtaken": d.overtaken,
            "tries in vain": d.failed,
            "longest wait, ms": round(1000 * d.all_waits.max()) if d.all_waits.size else 0,
        }
        for name, d in dinners.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def waiter_with(serve: Callable[[list[int], set[int], int], Sequence[int]]) -> Strategy:
    """A strategy: a waiter hands out both forks to whom `serve` names.

    serve(queue, eating, n): the hungry in the order in which they came, those who eat, and how
    many guests there are; who may eat now.
    """

    def decide(table: Table) -> None:
        for i in serve(list(table.queue), set(table.served), table.guests):
            if i not in table.queue:
                raise DinnerError(f"serve named guest {i}, but the hungry are {table.queue}.")
            table.queue.remove(i)
            table.served.add(i)
            for k in table.beside(i):
                table.holder[k] = i
        table.lock.notify_all()

    @contextmanager
    def strategy(table: Table, i: int) -> Iterator[None]:
        with table.lock:
            table.queue.append(i)
            decide(table)
            while i not in table.served:
                table.wait()
        try:
            yield
        finally:
            with table.lock:
                table.served.discard(i)
                for k in table.beside(i):
                    table.holder[k] = None
                decide(table)

    return strategy


def _host(
    table: Table,
    start: float,
    seconds: float,
    watch: Callable[[Snapshot], None] | None,
    *,
    blocking: bool,
) -> tuple[tuple[int, ...], float]:
    """Watch until the time is over or a circle has stood still; that circle, and the longest gap
    between two looks, s."""
    shown, before, looked, longest = -1.0, None, 0.0, 0.0
    while not table.over.is_set():
        now = time.perf_counter() - start
        looked, longest = now, max(longest, now - looked)
        if now >= seconds:
            break
        here = table.look(now)
        if watch and now - shown >= 0.1:
            watch(here)
            shown = now
        circle = cycle(here.waits_for) if blocking else ()
        # Forks and guests are not read at one instant: a circle counts when a second look finds
        # that none in it has begun another wait since the first.
        seen = circle and (circle, [table.begun[i] for i in circle])
        if seen and seen == before:
            if watch:
                watch(here)
            return circle, longest
        before = seen
        time.sleep(LOOK_S)
    return (), longest


class _Diary:
    """One guest's own notes; nobody else writes them."""

    def __init__(self, table: Table, i: int) -> None:
        self.table, self.i = table, i
        self.beside = {(i - 1) % table.guests, (i + 1) % table.guests}
        self.waits: list[float] = []
        self.times: list[tuple[float, float, float]] = []  # hungry, served, done
        self.hungry: float | None = None
        self.at: float | None = None  # served at, in this meal
        self.overtaken = 0
        self.failure: Exception | None = None

    @contextmanager
    def meal(self) -> Iterator[None]:
        """Around getting forks and eating; yields when hungry, `served` notes the forks."""
        before = {j: self.table.meals[j] for j in self.beside}
        self.hungry, self.at = time.perf_counter(), None
        self.table.hungry[self.i] = True
        yield
        most = max(self.during[j] - before[j] for j in self.beside)
        self.overtaken = max(self.overtaken, most)

    def served(self) -> None:
        self.at = time.perf_counter()
        self.table.hungry[self.i] = False
        self.during = list(self.table.meals)
        self.waits.append(max(0.0, min(self.at, self.table.ended) - self.hungry))

    def done(self) -> None:
        if len(self.times) < KEPT:
            self.times.append((self.hungry, self.at, time.perf_counter()))
        self.hungry = None

    def gave_up(self) -> None:
        """A wait that the end of the dinner cut short was at least so long."""
        if self.hungry is not None and self.at is None and self.hungry < self.table.ended:
            self.waits.append(self.table.ended - self.hungry)

    def told(self, start: float, end: float) -> Iterator[Event]:
        row = f"guest {self.i}"
        for hungry, served, done in self.times:
            yield Event(row, hungry - start, served - start, "waits")
            yield Event(row, served - start, done - start, "eats")
        if self.hungry is not None and self.hungry - start < end and len(self.times) < KEPT:
            yield Event(row, self.hungry - start, end, "waits at the end")


class _Plain:
    """A strategy that is a function: its guest just sleeps while it thinks."""

    def __init__(self, strategy: Strategy, table: Table, i: int) -> None:
        self.table, self.forks = table, lambda: strategy(table, i)

    def think(self, seconds: float) -> None:
        if seconds:
            self.table.sleep(seconds)


def _dine(
    table: Table,
    strategy: Strategy | type,
    diary: _Diary,
    dice: Random,
    gate: threading.Barrier,
    think: float,
    eat: float,
) -> None:
    i = table._seat.number = diary.i
    gate.wait()
    try:
        made = isinstance(strategy, type)
        guest = strategy(table, i) if made else _Plain(strategy, table, i)
        while not table.over.is_set():
            guest.think(dice.expovariate(1 / think) if think else 0.0)
            with diary.meal(), guest.forks():
                diary.served()
                table.eats[i] = True
                if eat:
                    time.sleep(dice.expovariate(1 / eat))
                table.spoiled += [(i, j) for j in diary.beside if table.eats[j]]
                table.eats[i] = False
                table.meals[i] += 1
                diary.done()
    except Cleared:
        diary.gave_up()
    except Exception as error:  # a student's strategy may raise anything: the host tells it
        diary.failure = error
        table.over.set()


def _complain(table: Table, threads: Sequence[threading.Thread], diaries: Sequence[_Diary]) -> None:
    for diary in diaries:
        if diary.failure is not None:
            said = f"{type(diary.failure).__name__}: {diary.failure}"
            raise DinnerError(f"Guest {diary.i} left the table with {said}") from diary.failure
    if table.spoiled:
        one, other = table.spoiled[0]
        raise DinnerError(f"Guests {one} and {other} ate at one time with the same fork.")
    staying = [i for i, thread in enumerate(threads) if thread.is_alive()]
    if staying:
        raise DinnerError(
            f"Guests {staying} would not leave: wait with `fork.take`, `table.wait` or"
            " `table.sleep`, which end with the dinner."
        )
