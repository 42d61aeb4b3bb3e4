"""Weaker promises than linearizability, and how far a history is from fresh.

Sequential consistency (one order of everything that keeps each process's own order), causal
consistency (nobody sees an effect without its cause), and for any history which reads were stale,
by how many milliseconds and versions. Linearizability is in `checker.py`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mlsys.cap.history import History, HistoryError, Operation, milliseconds
from mlsys.cap.models import ILLEGAL, Model, find_model, partition

MAX_SEQUENTIAL = 2_000
MAX_CAUSAL = 2_000


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a check: `holds` is None when the budget ended it.

    `reason` is one sentence; `operations` those that break the promise, when it is broken.
    """

    holds: bool | None
    reason: str
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class StaleRead:
    """A read that missed a write acknowledged before it began.

    `ms` ago the first write that it missed was acknowledged; at least `versions` were missed.
    """

    operation: Operation
    ms: float
    versions: int


@dataclass(frozen=True, slots=True)
class Staleness:
    """Of one history: how many reads were answered, which were stale, and which returned what
    nobody had asked to write before they ended."""

    reads: int
    stale: tuple[StaleRead, ...]
    unwritten: tuple[Operation, ...]

    @property
    def share(self) -> float:
        """Stale reads of all reads answered; 0 when there were none."""
        return len(self.stale) / self.reads if self.reads else 0.0

    def older_than(self, ms: float) -> int:
        """How many reads missed a write acknowledged more than so many ms before."""
        return sum(read.ms > ms for read in self.stale)

    def by_versions(self) -> dict[int, int]:
        """How many stale reads missed 1, 2, … versions."""
        counts: dict[int, int] = {}
        for read in self.stale:
            counts[read.versions] = counts.get(read.versions, 0) + 1
        return dict(sorted(counts.items()))


def stale_reads(history: History) -> Staleness:
    """Find the reads that missed a write which had been acknowledged before they began.

    Writes that overlapped in time may have happened in either order, so only what is certain
    counts: every number is a lower bound, and with values written more than once the bound is
    looser. Of an append log or joined strings a version is an acknowledged append that is missing.
    """
    keys: dict[str | None, list[Operation]] = defaultdict(list)
    for operation in history.operations():
        keys[operation.key].append(operation)
    reads, stale, unwritten = 0, [], []
    for operations in keys.values():
        judge = _judge_appends if any(op.f == "append" for op in operations) else _judge_writes
        for read, found in judge(operations):
            reads += 1
            if found is None:
                unwritten.append(read)
            elif found.versions:
                stale.append(found)
    stale.sort(key=lambda found: found.operation.index)
    unwritten.sort(key=lambda read: read.index)
    return Staleness(reads, tuple(stale), tuple(unwritten))


def _judge_writes(operations: list[Operation]) -> Iterable[tuple[Operation, StaleRead | None]]:
    writes = [op for op in operations if _writes(op)]
    done = sorted((op for op in writes if op.returned >= 0), key=lambda op: op.returned)
    ends = [op.returned for op in done]
    by_value = defaultdict(list)
    for op in writes:
        by_value[_value_written(op)].append(op)
    for read in operations:
        if read.f != "read" or read.status != "ok":
            continue
        known = done[: bisect_left(ends, read.index)]
        writers = [
            op
            for value in _values(read.result, by_value)
            for op in by_value[value]
            if op.index < read.returned
        ]
        if not writers and read.result is not None:
            yield read, None
            continue
        # The writer that finished last is the least stale explanation; infinite: it may be now.
        since = max((_end(op) for op in writers), default=-1)
        missed = [op for op in known if op.index > since]
        yield read, _stale(read, missed)


def _values(result: object, written: Iterable) -> list[object]:
    """The values that a read returned: one, or several siblings as a tuple or a set."""
    if isinstance(result, (tuple, list, set, frozenset)) and _key(result) not in written:
        return [_key(item) for item in result]
    return [_key(result)]


def _judge_appends(operations: list[Operation]) -> Iterable[tuple[Operation, StaleRead | None]]:
    appends = [op for op in operations if op.f == "append"]
    done = sorted((op for op in appends if op.returned >= 0), key=lambda op: op.returned)
    ends = [op.returned for op in done]
    for read in operations:
        if read.f != "read" or read.status != "ok":
            continue
        seen = read.result
        if not isinstance(seen, str):
            seen = {_key(item) for item in seen or ()}
            asked = {_key(op.argument) for op in appends if op.index < read.returned}
            if not seen <= asked:
                yield read, None
                continue
        known = done[: bisect_left(ends, read.index)]
        # For joined strings `in` looks for a part, which is what an append leaves behind.
        missed = [
            op
            for op in known
            if (str(op.argument) if isinstance(seen, str) else _key(op.argument)) not in seen
        ]
        yield read, _stale(read, missed)


def _stale(read: Operation, missed: list[Operation]) -> StaleRead:
    first = min((op.end for op in missed), default=read.start)
    return StaleRead(read, read.start - first, len(missed))


def _writes(op: Operation) -> bool:
    return op.f == "write" or (op.f == "cas" and op.result is not False)


def _value_written(op: Operation) -> object:
    return _key(op.argument[1] if op.f == "cas" else op.argument)


def _key(value: object) -> object:
    """A hashable stand-in for a value, which in a simulated history may be a list or a set."""
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def _end(op: Operation) -> float:
    return op.returned if op.returned >= 0 else float("inf")


def check_sequential(
    history: History, *, model: str | Model | None = None, steps: int = 200_000
) -> Finding:
    """Is there one order of all operations, over all keys, that keeps each process's own order
    and answers like a single copy? (Lamport, 1979.)

    Not compositional: keys cannot be judged one by one. For small histories; `steps` bounds the
    search. Raises HistoryError for more than 2,000 operations.
    """
    chosen = find_model(model, history)
    operations = [op for part in partition(history, chosen).values() for op in part]
    if len(operations) > MAX_SEQUENTIAL:
        raise HistoryError(
            f"Sequential consistency is checked for at most {MAX_SEQUENTIAL:,} operations;"
            f" this history has {len(operations):,}."
        )
    operations.sort(key=lambda op: op.index)
    keys = {key: n for n, key in enumerate(dict.fromkeys(op.key for op in operations))}
    lines = _program_order(operations)
    found, used = _order_exists(chosen, lines, keys, steps)
    if found:
        return Finding(True, "One order of all operations keeps each process's own order.")
    if found is None:
        return Finding(None, f"{used:,} steps did not settle {len(operations):,} operations.")
    return Finding(False, "No order of all operations keeps each process's own order.")


def _program_order(operations: Iterable[Operation]) -> list[list[Operation]]:
    """Each process's operations in order. One of unknown outcome may take effect at any later
    time, so it also ends a line of its own and does not hold up what its process did next."""
    lines: dict[int, list[Operation]] = defaultdict(list)
    loose = []
    for op in operations:
        (loose if op.status == "info" else lines[op.process]).append(op)
    return [*lines.values(), *([op] for op in loose)]


def _order_exists(
    model: Model, lines: list[list[Operation]], keys: dict, steps: int
) -> tuple[bool | None, int]:
    """Depth-first over (how far each line is, the state of each key), each seen once."""
    ends = tuple(len(line) if line[0].status == "ok" else 0 for line in lines)
    waits = [_predecessors(line, lines) for line in lines]
    start = ((0,) * len(lines), (model.initial,) * len(keys))
    stack, seen, used = [start], {start}, 0
    while stack:
        at, states = stack.pop()
        if all(place >= end for place, end in zip(at, ends)):
            return True, used
        options = []
        for n, line in enumerate(lines):
            place = at[n]
            if place == len(line) or any(at[other] < count for other, count in waits[n]):
                continue
            used += 1
            if used > steps:
                return None, steps
            op = line[place]
            slot = keys[op.key]
            after = model.step(states[slot], op)
            if after is ILLEGAL:
                continue
            moved = (*at[:n], place + 1, *at[n + 1 :])
            reached = (moved, (*states[:slot], after, *states[slot + 1 :]))
            if op.f == "read" or op.result is False:
                options = [reached]  # it changes nothing, so it may always go first
                break
            options.append(reached)
        for option in options:
            if option not in seen:
                seen.add(option)
                stack.append(option)
    return False, used


def _predecessors(line: list[Operation], lines: list[list[Operation]]) -> list[tuple[int, int]]:
    """For an operation of unknown outcome: (line, how many) of its process that came before."""
    op = line[0]
    if op.status == "ok":
        return []
    return [
        (n, sum(earlier.index < op.index for earlier in other))
        for n, other in enumerate(lines)
        if other[0].process == op.process and other[0].status == "ok"
    ]


def check_causal(history: History) -> Finding:
    """Does every read respect cause and effect? Registers whose values are written once.

    Causal order is each process's own order, and write before the read that saw it, and what
    follows from both. The history is causally consistent when none of four patterns occurs: a
    cycle in that order; a read of what nobody wrote; a read of the initial value after a write to
    the key; a read of a value that a later write had replaced (Bouajjani, Enea, Guerraoui, Hamza,
    "On Verifying Causal Consistency", POPL 2017, section 5). A compare-and-set counts as a read
    and a write. Raises HistoryError for appends, repeated values or over 2,000 operations.
    """
    operations = [
        op
        for part in partition(history, find_model("cas-register", history)).values()
        for op in part
    ]
    if len(operations) > MAX_CAUSAL:
        raise HistoryError(
            f"Causal consistency is checked for at most {MAX_CAUSAL:,} operations;"
            f" this history has {len(operations):,}."
        )
    operations.sort(key=lambda op: op.index)
    writers = _writers(operations)
    sources: dict[int, int] = {}
    for n, op in enumerate(operations):
        seen = _value_read(op)
        if seen is not None:
            if (op.key, seen) not in writers:
                return Finding(False, f"{op} is impossible: nobody wrote {seen!r}.", (op,))
            sources[n] = writers[op.key, seen]
    before = _causal_order(operations, sources)
    if before is None:
        return Finding(False, "Causes and effects go round in a circle.", tuple(operations))
    return _replaced(operations, sources, before) or Finding(
        True, "No read shows an effect without its cause."
    )


def _replaced(operations: list[Operation], sources: dict[int, int], before: list[int]):
    """The first read of a value which, for its reader, another write had already replaced."""
    by_key: dict[str | None, list[int]] = defaultdict(list)
    for n, op in enumerate(operations):
        if _writes(op):
            by_key[op.key].append(n)
    for n, op in enumerate(operations):
        if not _observes(op):
            continue
        source = sources.get(n)
        for other in by_key[op.key]:
            if other in (n, source) or not before[n] >> other & 1:
                continue
            if source is None or before[other] >> source & 1:
                newer = operations[other]
                reason = (
                    f"{op} shows a value that {_value_written(newer)!r} had replaced in everything"
                    f" which process {op.process} had already seen or done"
                )
                shown = (op, newer) if source is None else (operations[source], newer, op)
                return Finding(False, f"{reason}.", tuple(sorted(shown, key=lambda o: o.index)))
    return None


def _writers(operations: list[Operation]) -> dict[tuple, int]:
    writers: dict[tuple, int] = {}
    for n, op in enumerate(operations):
        if _writes(op):
            name = (op.key, _value_written(op))
            if name in writers or name[1] is None:
                raise HistoryError(
                    f"Causal consistency needs each value written once; {name[1]!r} was written"
                    f" again by process {op.process} at {milliseconds(op.start)} ms."
                )
            writers[name] = n
    return writers


def _observes(op: Operation) -> bool:
    return op.status == "ok" and (op.f == "read" or (op.f == "cas" and op.result is not False))


def _value_read(op: Operation) -> object:
    if not _observes(op):
        return None
    return op.result if op.f == "read" else op.argument[0]


def _causal_order(operations: list[Operation], sources: dict[int, int]) -> list[int] | None:
    """For each operation, as bits, all that causally precede it; None when that is a cycle."""
    causes: list[list[int]] = [[] for _ in operations]
    last: dict[int, int] = {}
    for n, op in enumerate(operations):
        if op.process in last:
            causes[n].append(last[op.process])
        if op.status == "ok":
            last[op.process] = n
        if n in sources and sources[n] != n:
            causes[n].append(sources[n])
    waiting = [len(each) for each in causes]
    effects: list[list[int]] = [[] for _ in operations]
    for n, each in enumerate(causes):
        for cause in each:
            effects[cause].append(n)
    ready = [n for n, count in enumerate(waiting) if not count]
    before, settled = [0] * len(operations), 0
    while ready:
        n = ready.pop()
        settled += 1
        for cause in causes[n]:
            before[n] |= before[cause] | 1 << cause
        for effect in effects[n]:
            waiting[effect] -= 1
            if not waiting[effect]:
                ready.append(effect)
    return before if settled == len(operations) else None
