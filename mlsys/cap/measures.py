"""Numbers from a run: how available, how fast, what was lost, when the nodes agreed again.

Most take a history alone, so that a history from elsewhere can be measured too; times are ms. How
stale its reads are is in `mlsys.cap.staleness`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsys.cap.history import History
from mlsys.cap.outcomes import INFINITY, Outcome, outcomes
from mlsys.cap.runs import Run
from mlsys.cap.staleness import read_ages, writes_of

# Availability


@dataclass(frozen=True, slots=True)
class Availability:
    """How many operations were asked and how many answered ok."""

    asked: int
    answered: int

    @property
    def share(self) -> float:
        """In 0..1; not a number when nothing was asked."""
        return self.answered / self.asked if self.asked else float("nan")


def availability(
    history: History,
    groups: Mapping[int, Any] | None = None,
    *,
    clients: int | None = None,
    begin: float = 0.0,
    end: float = INFINITY,
    over: float = INFINITY,
    f: str | None = None,
) -> dict[Any, Availability]:
    """Availability of operations asked in [begin, end), by group of client.

    `groups` maps a client to its group (clients not in it are left out); without it there is one
    group, None. `clients` is their number, by which a process tells its client. `over` keeps what
    was answered, refused or given up by then, `f` one kind of operation.
    """
    asked: dict[Any, int] = defaultdict(int)
    answered: dict[Any, int] = defaultdict(int)
    for one in outcomes(history):
        if not begin <= one.start < end or (f is not None and one.f != f):
            continue
        if over < INFINITY and (one.end is None or one.end > over):
            continue
        client = one.process % clients if clients else one.process
        if groups is not None and client not in groups:
            continue
        group = None if groups is None else groups[client]
        asked[group] += 1
        answered[group] += one.status == "ok"
    return {group: Availability(asked[group], answered[group]) for group in sorted(asked, key=str)}


def availability_by_side(run: Run, begin: float, end: float) -> dict[int, Availability]:
    """Availability per side of the partition that holds at the middle of [begin, end).

    Side 0 is the largest group of nodes that reach each other.
    """
    sides = run.side_of((begin + end) / 2)
    return availability(run.history, sides, clients=run.scene.clients, begin=begin, end=end)


@dataclass(frozen=True, slots=True)
class PerSecond:
    """One row a bin: when it begins, and how many operations asked in it came to what."""

    begin: float
    ok: int
    fail: int
    info: int

    @property
    def share(self) -> float:
        """The share that was answered; not a number when nothing was asked."""
        asked = self.ok + self.fail + self.info
        return self.ok / asked if asked else float("nan")


def by_second(
    history: History,
    among: Iterable[int] | None = None,
    *,
    clients: int | None = None,
    width: float = 1_000.0,
) -> list[PerSecond]:
    """Outcomes by the second (or `width` ms) in which they were asked; open ones count as info.

    `among` keeps these clients only.
    """
    kept = None if among is None else set(among)
    counts: dict[int, dict[str, int]] = defaultdict(lambda: {"ok": 0, "fail": 0, "info": 0})
    for one in outcomes(history):
        client = one.process % clients if clients else one.process
        if kept is None or client in kept:
            status = "info" if one.status == "open" else one.status
            counts[int(one.start // width)][status] += 1
    last = max(counts, default=-1)
    return [PerSecond(i * width, **counts[i]) for i in range(last + 1)]


# Latency


def latencies(history: History, f: str | None = None) -> np.ndarray:
    """The ms from asking to the ok, of every operation that got one (of kind `f`)."""
    return np.array(
        [o.end - o.start for o in outcomes(history) if o.status == "ok" and f in (None, o.f)]
    )


def percentiles(
    history: History, f: str | None = None, ranks: Sequence[float] = (50, 90, 99, 99.9)
) -> dict[float, float]:
    """Latency percentiles in ms by rank; not a number when nothing was answered."""
    found = latencies(history, f)
    if not len(found):
        return dict.fromkeys(ranks, float("nan"))
    return dict(zip(ranks, np.percentile(found, ranks).tolist()))


# Losses and agreement


def lost_writes(
    history: History, final: Mapping[str, Any], trail: Iterable[Any] | None = None
) -> list[Outcome]:
    """The acknowledged writes that are gone when everything has healed and come to rest.

    With `trail` (all values in the surviving log) an acknowledged write is lost when it is not in
    it. Without it, by the final values: an addition or append is lost when its value is not there;
    a write of a register is lost when the value that stayed had been written before it began.
    A value that a client removed again is not counted.
    """
    done = [o for o in outcomes(history) if o.status == "ok" and o.f in _CHANGES]
    if trail is not None:
        kept = set(trail)
        return [one for one in done if _value(one) not in kept]
    removed = {(o.key, o.value) for o in outcomes(history) if o.f == "remove"}
    writes = writes_of(history)
    lost = []
    for one in done:
        stayed = final.get(one.key)
        if one.f in ("append", "add"):
            if not isinstance(stayed, (int, float)):  # a counter forgets who added what
                gone = one.value not in (stayed or ()) and (one.key, one.value) not in removed
                lost += [one] if gone else []
        else:
            ends = [
                writes[one.key].ended(value)
                for value in (stayed if isinstance(stayed, tuple) else (stayed,))
            ]
            lost += [one] if max(ends) < one.start else []
    return lost


_CHANGES = ("write", "cas", "append", "add")


def _value(one: Outcome) -> Any:
    return one.value[1] if one.f == "cas" else one.value


def lost(run: Run) -> list[Outcome]:
    """`lost_writes` of a run, by its log where the store keeps one.

    A counter has no values to look for: there the sum of what was acknowledged and is missing is
    in `missing_from_counter`.
    """
    return lost_writes(run.history, run.final, run.trail)


def missing_from_counter(run: Run) -> int:
    """How much of the acknowledged additions the final counters lack (unknown ones may add)."""
    asked = sum(o.value for o in outcomes(run.history) if o.status == "ok" and o.f == "add")
    return asked - sum(run.final.values())


def convergence_ms(run: Run) -> float | None:
    """How long after the load had ended and all was healed the nodes told the same for good.

    None when they did not within the scene's `settle_ms`.
    """
    return None if run.agreed_ms is None else run.agreed_ms - run.quiet_ms


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in one row, for sweeps and tables; times in ms, shares in 0..1."""

    asked: int
    available: float
    read_p50: float
    read_p99: float
    write_p50: float
    write_p99: float
    stale_share: float
    worst_behind: int
    worst_age: float
    lost: int
    converged: float | None


def summary(run: Run) -> Summary:
    """The measures most asked for; a plain function, so that a sweep can send it to a worker."""
    whole = availability(run.history).get(None, Availability(0, 0))
    reads = percentiles(run.history, "read", (50, 99))
    kind = next((o.f for o in outcomes(run.history) if o.f != "read"), "write")
    writes = percentiles(run.history, kind, (50, 99))
    ages = read_ages(run.history) if kind in ("write", "cas") else []
    return Summary(
        asked=whole.asked,
        available=whole.share,
        read_p50=reads[50],
        read_p99=reads[99],
        write_p50=writes[50],
        write_p99=writes[99],
        stale_share=sum(age.stale for age in ages) / len(ages) if ages else 0.0,
        worst_behind=max((age.behind for age in ages), default=0),
        worst_age=max((age.age for age in ages), default=0.0),
        lost=len(lost(run)),
        converged=convergence_ms(run),
    )


Measure = Callable[[Run], Any]
