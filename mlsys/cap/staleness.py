"""How stale reads are, and which promises of a session were broken, from a history alone.

"Newer" here means *certainly* newer: a write that began after another had been acknowledged. Of
two writes at the same time neither is, so stale reads and broken sessions are counted only where
the times of the history prove them. Values written must differ, as the clients of this package see
to. Times are ms. Whether a history is linearizable is the checker's question.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mlsys.cap.history import History
from mlsys.cap.outcomes import INFINITY, outcomes


@dataclass(frozen=True, slots=True)
class ReadAge:
    """One ok read of a register, and by how much what it told was out of date.

    `behind` counts the certainly newer writes that had been acknowledged before the read began (0:
    fresh). `age` is for how long the first of them had been (0 when fresh). `since` is the time
    from the last acknowledged write of the key to the read: the t of t-visibility (infinite when
    there was none).
    """

    process: int
    key: str | None
    value: Any
    start: float
    behind: int
    age: float
    since: float

    @property
    def stale(self) -> bool:
        return self.behind > 0


class Writes:
    """The acknowledged writes of one key, to be asked what is newer than what."""

    def __init__(self, writes: list[tuple[float, float, Any]], spans: dict) -> None:
        self.spans = spans
        self.by_start = sorted(writes, key=lambda write: write[0])
        self.starts = [write[0] for write in self.by_start]
        self.ends = sorted(write[1] for write in writes)

    def ended(self, value: Any) -> float:
        """When the write of `value` had ended for sure; before all others if there was none."""
        return self.spans.get(value, (-INFINITY, -INFINITY))[1]

    def newer(self, value: Any, before: float) -> list[float]:
        """When each write that began after that of `value` ended, of those that ended `before`."""
        place = bisect_right(self.starts, self.ended(value))
        stop = bisect_left(self.starts, before)
        return [end for _, end, _ in self.by_start[place:stop] if end < before]


def writes_of(history: History) -> dict[str | None, Writes]:
    done: dict[Any, list] = defaultdict(list)
    spans: dict[Any, dict] = defaultdict(dict)
    for one in outcomes(history):
        if one.f not in ("write", "cas") or one.status == "fail":
            continue
        value = one.value[1] if one.f == "cas" else one.value
        if one.status == "ok":
            done[one.key].append((one.start, one.end, value))
        # An unacknowledged write has no end that proves anything.
        spans[one.key][value] = (one.start, one.end if one.status == "ok" else INFINITY)
    return {key: Writes(done[key], spans[key]) for key in spans}


def read_ages(history: History) -> list[ReadAge]:
    """The age of what each ok read of a register told; siblings count by their newest."""
    writes, ages = writes_of(history), []
    nothing = Writes([], {})
    for one in outcomes(history):
        if one.f != "read" or one.status != "ok":
            continue
        known = writes.get(one.key, nothing)
        told = one.value if isinstance(one.value, tuple) and one.value else (one.value,)
        newer = min((known.newer(value, one.start) for value in told), key=len)
        last = bisect_left(known.ends, one.start)
        since = one.start - known.ends[last - 1] if last else INFINITY
        age = one.start - min(newer) if newer else 0.0
        ages.append(ReadAge(one.process, one.key, one.value, one.start, len(newer), age, since))
    return ages


def visibility(ages: Sequence[ReadAge], edges: Sequence[float]) -> list[tuple[float, int, float]]:
    """t-visibility as measured: for reads that began t ms after the last acknowledged write.

    One row (t, reads, share of them fresh) for each pair of neighbours in `edges`, t its left end.
    """
    rows = []
    for low, high in pairwise(edges):
        within = [age for age in ages if low <= age.since < high]
        fresh = sum(not age.stale for age in within)
        rows.append((low, len(within), fresh / len(within) if within else float("nan")))
    return rows


def within_versions(ages: Sequence[ReadAge], k: int) -> float:
    """The share of reads that told one of the last `k` versions (k-staleness: 1 - this)."""
    return sum(age.behind < k for age in ages) / len(ages) if ages else float("nan")


@dataclass(frozen=True, slots=True)
class Sessions:
    """How many reads could break each guarantee, and how many did (Terry and others, 1994)."""

    reads_after_own_write: int
    broke_read_your_writes: int
    reads_after_read: int
    broke_monotonic_reads: int


def sessions(history: History, *, clients: int | None = None) -> Sessions:
    """Read-your-writes and monotonic reads, per client and key, for registers."""
    writes, nothing = writes_of(history), Writes([], {})
    last_write: dict[tuple, tuple] = {}
    last_read: dict[tuple, tuple] = {}
    own = broke_own = again = broke_again = 0
    finished = sorted((o for o in outcomes(history) if o.status == "ok"), key=lambda one: one.end)
    for one in finished:
        who = (one.process % clients if clients else one.process, one.key)
        if one.f in ("write", "cas"):
            last_write[who] = (one.start, one.end)
        elif one.f == "read" and not isinstance(one.value, tuple):
            known = writes.get(one.key, nothing)
            ended = known.ended(one.value)
            wrote = last_write.get(who)
            if wrote is not None and wrote[1] <= one.start:
                own += 1
                broke_own += ended < wrote[0]
            read = last_read.get(who)
            if read is not None and read[1] <= one.start:
                again += 1
                broke_again += ended < known.spans.get(read[0], (-INFINITY, 0.0))[0]
            last_read[who] = (one.value, one.end)
    return Sessions(own, broke_own, again, broke_again)
