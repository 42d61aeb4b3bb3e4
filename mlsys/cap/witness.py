"""Why a history is not linearizable: the smallest part of it that already is not, in words.

Only what may soundly be left out is left out: a part of a linearizable history, cut by the rules
of `_without`, is linearizable too, so a part that is not convicts the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlsys.cap.checker import Witness, changes_nothing, search
from mlsys.cap.history import Operation, milliseconds
from mlsys.cap.models import Model


def find_witness(
    model: Model, prefix: list[Operation], *, originals: Sequence[Operation], steps: int
) -> Witness:
    """Shrink a prefix that is not linearizable, whose last answer is the impossible one.

    `originals` are the operations as recorded, to be shown; in the prefix those that return after
    the culprit count as still running.

    Chunks of operations are taken out, halves first, then single ones, as long as the rest is
    still not linearizable; `steps` bounds the search steps of all tries together.
    """
    culprit = max(prefix, key=lambda operation: operation.returned)
    kept, left = list(prefix), steps
    size = max(1, len(kept) // 2)
    smallest = True
    while left > 0:
        before, at = len(kept), 0
        while at < len(kept) and left > 0:
            rest = _without(model, kept, kept[at : at + size], culprit)
            if rest is None:
                at += size
                continue
            answer, used = search(model, rest, max(1, min(left, steps // 10)))
            left -= used + len(rest)
            if answer is False:
                kept = rest
            else:
                smallest = smallest and (answer is not None or size > 1)
                at += size
        if size > 1:
            size //= 2
        elif len(kept) == before:
            break
    indices = {operation.index for operation in kept}
    shown = tuple(operation for operation in originals if operation.index in indices)
    return Witness(
        operations=shown,
        culprit=culprit,
        start=min(operation.start for operation in shown),
        end=culprit.end,
        reason=explain(model, culprit, shown),
        smallest=smallest and left > 0,
    )


def _without(
    model: Model, operations: list[Operation], chunk: list[Operation], culprit: Operation
) -> list[Operation] | None:
    """The operations less a chunk and less all that could depend on it; None if nothing may go.

    A read, or a compare-and-set that was refused, may always go: it changes nothing. A write of v
    may go together with everything that saw v, whoever wrote it; a refused compare-and-set must
    go with any write, because it depends on what was *not* there. An appended element may go from
    the log and from every read of it. Joined strings hide their parts: there only reads may go.
    """
    gone = {op.index for op in chunk if op.index != culprit.index and changes_nothing(op)}
    changing = [op for op in chunk if op.index != culprit.index and op.index not in gone]
    if changing and any(op.f == "append" for op in operations):
        if model.name != "log":
            changing = []
        else:
            return _without_elements(operations, gone, {op.argument for op in changing}, culprit)
    values = {_written(op) for op in changing}
    gone |= {op.index for op in changing}
    spread = bool(values)
    while spread:
        spread = False
        for op in operations:
            if op.index not in gone and (op.result is False or _seen(op) in values):
                gone.add(op.index)
                if not changes_nothing(op):
                    values.add(_written(op))
                    spread = True
    if not gone or culprit.index in gone:
        return None
    return [op for op in operations if op.index not in gone]


def _without_elements(
    operations: list[Operation], gone: set[int], elements: set, culprit: Operation
) -> list[Operation]:
    rest = []
    for op in operations:
        if op.index in gone or (op.f == "append" and op.argument in elements):
            continue
        if op.f == "read" and op.status == "ok":
            seen = tuple(item for item in op.result or () if item not in elements)
            op = Operation(
                op.process,
                op.f,
                op.key,
                None,
                seen,
                op.start,
                op.end,
                op.status,
                op.index,
                op.returned,
            )
        rest.append(op)
    return rest


_NO_VALUE = object()


def _written(op: Operation) -> object:
    """The value that an operation leaves behind."""
    if op.f == "write":
        return op.argument
    return op.argument[1] if op.f == "cas" and op.result is not False else _NO_VALUE


def _seen(op: Operation) -> object:
    """The value that an operation needs to have found."""
    if op.f == "read" and op.status == "ok":
        return op.result
    return op.argument[0] if op.f == "cas" and op.result is not False else _NO_VALUE


def explain(model: Model, culprit: Operation, operations: Iterable[Operation]) -> str:
    """One sentence on why no order of these operations gives the culprit's answer."""
    if culprit.f == "read" and isinstance(culprit.result, tuple):
        why = _why_log(culprit, operations)
    elif culprit.result is False:
        why = f"the value was {culprit.argument[0]!r} all the while"
    elif any(op.f == "append" for op in operations):
        why = None
    else:
        why = _why_register(model, culprit, operations)
    why = why or f"no order of these {len(tuple(operations))} operations explains it"
    return f"{culprit} is impossible: {why}."


def _why_register(model: Model, culprit: Operation, operations: Iterable[Operation]) -> str | None:
    value = _seen(culprit)
    others = [op for op in operations if op.index != culprit.index]
    writes = [op for op in others if not changes_nothing(op)]
    writers = [op for op in writes if _written(op) == value]
    if not writers and value != model.initial:
        return f"nobody had written {value!r} before it ended"
    for newer in writes:
        if newer in writers or not _precedes(newer, culprit):
            continue
        if all(_precedes(writer, newer) for writer in writers):
            ago = milliseconds(culprit.start - newer.end)
            return (
                f"{_written(newer)!r} had replaced {value!r}, {ago} ms before it began"
                f" (process {newer.process}, acknowledged at {milliseconds(newer.end)} ms)"
            )
    for newer in others:
        if newer.f == "read" and newer.result != value and _precedes(newer, culprit):
            return (
                f"process {newer.process} had already read {newer.result!r} by"
                f" {milliseconds(newer.end)} ms, and no order of these operations"
                f" leads back to {value!r}"
            )
    return None


def _why_log(culprit: Operation, operations: Iterable[Operation]) -> str | None:
    appends = [op for op in operations if op.f == "append"]
    for op in appends:
        if op.argument not in culprit.result and _precedes(op, culprit):
            return (
                f"{op.argument!r} is missing, whose append was acknowledged at"
                f" {milliseconds(op.end)} ms,"
                f" {milliseconds(culprit.start - op.end)} ms before it began"
            )
    known = {op.argument for op in appends}
    for item in culprit.result:
        if appends and item not in known and len(known) == len(culprit.result):
            return f"nobody had appended {item!r} before it ended"
    return None


def _precedes(first: Operation, second: Operation) -> bool:
    return 0 <= first.returned < second.index
