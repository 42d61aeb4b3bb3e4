"""Is a history linearizable? The algorithm of Wing, Gong and Lowe, with a budget.

A history is linearizable when each operation can be given one instant between its invocation and
its answer so that the store answers like a single copy (Herlihy and Wing, 1990). The search takes
any operation that nothing else must precede, tries it on the model, and steps back when an answer
does not fit; configurations already seen are not tried twice (Lowe, "Testing for
linearizability", 2017). Each key is searched on its own, all keys in turns, so that one hard key
cannot hide an easy violation. What the witness of a violation is, `witness.py` finds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from mlsys.cap.history import History, Operation
from mlsys.cap.models import ILLEGAL, Model, find_model, partition

LINEARIZABLE = "linearizable"
NOT_LINEARIZABLE = "not linearizable"
UNKNOWN = "unknown within the budget"

STEPS = 2_000_000
QUANTUM = 2_000


@dataclass(frozen=True, slots=True)
class Witness:
    """The smallest part of a history found that is still not linearizable.

    `operations` in order of invocation, `culprit` the one whose answer is impossible, `start` and
    `end` of the window in ms, `reason` one sentence. `smallest` is False when the budget ended the
    shrinking: the part is still not linearizable, but it may hold more than it must.
    """

    operations: tuple[Operation, ...]
    culprit: Operation
    start: float
    end: float
    reason: str
    smallest: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a check: `answer` is one of the three constants of this module.

    `steps` counts the transitions tried in the search, `operations` those that were judged.
    """

    answer: str
    model: str
    operations: int
    steps: int
    witness: Witness | None = None

    @property
    def linearizable(self) -> bool | None:
        """True, False, or None when the budget ended the search."""
        return {LINEARIZABLE: True, NOT_LINEARIZABLE: False}.get(self.answer)

    def __str__(self) -> str:
        if self.witness is not None:
            return f"Not linearizable: {self.witness.reason}"
        if self.answer == UNKNOWN:
            return f"Unknown: {self.steps:,} steps did not settle {self.operations:,} operations."
        return f"Linearizable: one order of all {self.operations:,} operations explains them."


def check(history: History, *, model: str | Model | None = None, steps: int = STEPS) -> Verdict:
    """Say whether a history is linearizable, within a budget of search steps.

    `model` is "register", "cas-register", "key-value", "log" or a Model of your own; None picks
    one by the operations. Each key is one object. A step is one transition tried, about a
    microsecond, so the budget ends every call; finding the smallest window of a violation may
    take as many again. Raises HistoryError when the history makes no sense.
    """
    from mlsys.cap.witness import find_witness  # it shrinks by calling `search` of this module

    chosen = find_model(model, history)
    parts = partition(history, chosen)
    count = sum(map(len, parts.values()))
    turns = deque((key, Search(chosen, needed(part))) for key, part in parts.items())
    used = 0
    while turns and used < steps:
        key, search = turns.popleft()
        used += search.advance(min(QUANTUM, steps - used))
        if search.answer is None:
            turns.append((key, search))
        elif not search.answer:
            prefix = search.blocked_prefix()
            witness = find_witness(chosen, prefix, originals=search.operations, steps=steps)
            return Verdict(NOT_LINEARIZABLE, chosen.name, count, used, witness)
    return Verdict(UNKNOWN if turns else LINEARIZABLE, chosen.name, count, used)


class Search:
    """The search over one object's operations, advanced a quantum at a time.

    `answer` is None until the search ends. Memory grows by at most one small entry a step.
    """

    def __init__(self, model: Model, operations: Sequence[Operation]):
        self.model = model
        self.operations = operations
        self.answer: bool | None = None
        self._blocked = -1
        self._running = self._explore()
        self._allowed = 0

    def advance(self, quantum: int) -> int:
        """Try up to `quantum` more transitions; return how many were tried."""
        self._allowed = quantum
        return next(self._running, 0)

    def blocked_prefix(self) -> list[Operation]:
        """After the answer no: the operations invoked up to the first answer that no order
        explains. The last to return among them is the culprit. What returns later counts as still
        running, and is left out if it changes nothing."""
        end = self._blocked
        return [
            operation if 0 <= operation.returned <= end else _still_running(operation)
            for operation in self.operations
            if operation.index < end
            and (0 <= operation.returned <= end or not changes_nothing(operation))
        ]

    def _explore(self) -> Generator[int, None, None]:
        """Wing, Gong and Lowe's search; yields the steps of each quantum.

        The history is a doubly linked list in two int lists: entry 0 is the head, then calls and
        returns in order. `match` of a call is its return (-1: it never returned), of a return 0.
        Linearizing an operation lifts its two entries out; stepping back puts them in again.
        """
        operations = self.operations
        places, match, code, ident, samples = _lay_out(operations)
        end = len(match) - 1
        nxt, prv = list(range(1, end + 2)), list(range(-1, end))
        pure = [changes_nothing(operations[i]) for i in samples]
        states, numbers = [self.model.initial], {self.model.initial: 0}
        rows: list[dict[int, int]] = [{}]
        seen: set[tuple[int, int, int]] = set()
        stack: list[tuple[int, int]] = []
        left = sum(operation.returned >= 0 for operation in operations)
        bits = state = used = furthest = 0
        entry = nxt[0]
        while left:
            partner = match[entry]
            if partner:
                used += 1
                if used > self._allowed:
                    yield used - 1
                    used = 1
                row, kind = rows[state], code[entry]
                to = row.get(kind)
                if to is None:
                    after = self.model.step(states[state], operations[samples[kind]])
                    if after is ILLEGAL:
                        to = -1
                    else:
                        to = numbers.setdefault(after, len(states))
                        if to == len(states):
                            states.append(after)
                            rows.append({})
                    row[kind] = to
                # An operation that never returned and changes nothing helps nobody.
                if to < 0 or (partner < 0 and to == state):
                    entry = nxt[entry]
                    continue
                # What is linearized, as bits from the first operation that is not.
                first = nxt[0]
                if first == entry:
                    first = nxt[entry]
                    if first == partner:
                        first = nxt[first]
                after_bits = bits | 1 << ident[entry]
                base = ident[first]
                configuration = (to, base, after_bits >> base)
                if configuration not in seen:
                    seen.add(configuration)
                    stack.append((entry, state))
                    bits, state = after_bits, to
                    before, behind = prv[entry], nxt[entry]
                    nxt[before], prv[behind] = behind, before
                    if partner > 0:
                        before, behind = prv[partner], nxt[partner]
                        nxt[before], prv[behind] = behind, before
                        left -= 1
                    entry = nxt[0]
                    continue
                if not pure[kind]:
                    entry = nxt[entry]
                    continue
            elif entry > furthest:
                furthest = entry
            # A return is due whose operation fits nowhere: step back. A read that fits may
            # always go first, for it changes nothing, so no other choice at its place can help.
            while True:
                if not stack:
                    self._blocked, self.answer = places[furthest], False
                    yield used
                    return
                entry, state = stack.pop()
                bits ^= 1 << ident[entry]
                partner = match[entry]
                if partner > 0:
                    nxt[prv[partner]] = prv[nxt[partner]] = partner
                    left += 1
                nxt[prv[entry]] = prv[nxt[entry]] = entry
                if not pure[code[entry]]:
                    break
            entry = nxt[entry]
        self.answer = True
        yield used


def _lay_out(
    operations: Sequence[Operation],
) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Each entry's place in the history, its match, its kind and its operation's number.

    Operations that ask and are told the same are one kind; `samples` holds one of each. Entry 0
    is the head and one more entry closes the list.
    """
    entries = []
    for number, operation in enumerate(operations):
        entries.append((operation.index, number, True))
        if operation.returned >= 0:
            entries.append((operation.returned, number, False))
    entries.sort()
    size = len(entries) + 2
    places, match, code, ident = ([0] * size for _ in range(4))
    kinds: dict[tuple, int] = {}
    samples: list[int] = []
    called: dict[int, int] = {}
    for at, (place, number, call) in enumerate(entries, 1):
        places[at] = place
        if not call:
            match[called[number]] = at
            continue
        operation = operations[number]
        kind = (operation.f, operation.argument, operation.result, operation.status)
        code[at] = kinds.setdefault(kind, len(kinds))
        if code[at] == len(samples):
            samples.append(number)
        called[number], match[at], ident[at] = at, -1, len(called)
    ident[-1] = len(called)
    return places, match, code, ident, samples


def needed(operations: Sequence[Operation]) -> list[Operation]:
    """The operations of one register that decide the answer: unseen lost writes are left out.

    A write of unknown outcome whose value nobody ever saw can be taken out of any order that
    explains the rest, and each such write would double the search. A refused compare-and-set
    sees that a value is *not* there, so with one of them all writes stay; and so they do when
    values are appended to.
    """
    if any(o.f not in ("read", "write", "cas") or o.result is False for o in operations):
        return list(operations)
    seen = {o.result for o in operations if o.f == "read" and o.status == "ok"}
    seen |= {o.argument[0] for o in operations if o.f == "cas"}
    return [o for o in operations if o.f != "write" or o.status != "info" or o.argument in seen]


def changes_nothing(operation: Operation) -> bool:
    """Whether an operation leaves any state as it is: a read, or a refused compare-and-set."""
    return operation.f == "read" or operation.result is False


def _still_running(operation: Operation) -> Operation:
    return Operation(
        operation.process,
        operation.f,
        operation.key,
        operation.argument,
        None,
        operation.start,
        float("inf"),
        "info",
        operation.index,
    )


def search(model: Model, operations: Iterable[Operation], steps: int) -> tuple[bool | None, int]:
    """Check one object's operations: the answer (None: budget spent) and the steps used."""
    looking = Search(
        model,
        [operation for operation in operations if operation.returned >= 0 or operation.f != "read"],
    )
    used = looking.advance(steps)
    return looking.answer, used
