"""How a quorum store joins two answers about one key: five rules behind one small record.

A `Rule` says how states merge, what an operation makes of one, and what a reader is told. Absence
is None everywhere. The merge functions are those of `mlsys.cap.versions` and `mlsys.cap.crdt`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from mlsys.cap import crdt, versions


class Stamp(NamedTuple):
    """What a coordinator can put to a write: its number, a counter it never reuses, its clock."""

    node: int
    counter: int
    clock: float


@dataclass(frozen=True, slots=True)
class Rule:
    """`update(state, stamp, f, value, seen)` gives the state to send out; `seen` is what the
    client read last (`seen_of`), `local` whether the update needs this node's own state."""

    merge: Callable[[Any, Any], Any]
    update: Callable[[Any, Stamp, str, Any, Any], Any]
    read: Callable[[Any], Any]
    local: bool
    seen_of: Callable[[Any], Any] | None = None


def _lww_update(state: Any, stamp: Stamp, f: str, value: Any, seen: Any) -> tuple:
    return (stamp.clock, stamp.node, stamp.counter, value)


def _vector_update(state: Any, stamp: Stamp, f: str, value: Any, seen: Any) -> versions.Versions:
    return (versions.write(value, node=stamp.node, counter=stamp.counter, seen=seen or {}),)


def _g_update(state: Any, stamp: Stamp, f: str, value: int, seen: Any) -> crdt.GCounter:
    return crdt.g_add(state or crdt.G_ZERO, stamp.node, value)


def _pn_update(state: Any, stamp: Stamp, f: str, value: int, seen: Any) -> crdt.PNCounter:
    return crdt.pn_add(state or crdt.PNCounter(), stamp.node, value)


def _or_update(state: Any, stamp: Stamp, f: str, value: Any, seen: Any) -> crdt.ORSet:
    state = state or crdt.ORSet()
    if f == "remove":
        return crdt.or_remove(state, value)
    return crdt.or_add(state, value, (stamp.node, stamp.counter))


def _siblings(state: versions.Versions) -> Any:
    return state[0].value if len(state) == 1 else tuple(version.value for version in state)


RULES: dict[str, Rule] = {
    # Last writer wins: (time by the coordinator's clock, node, counter, value); the largest stays.
    "lww": Rule(max, _lww_update, lambda state: state[3], local=False),
    # Vector clocks: a reader is told every sibling, as a tuple when there are several.
    "vector": Rule(versions.merge, _vector_update, _siblings, False, versions.context),
    "g-counter": Rule(crdt.g_merge, _g_update, crdt.g_value, local=True),
    "pn-counter": Rule(crdt.pn_merge, _pn_update, crdt.pn_value, local=True),
    "or-set": Rule(
        crdt.or_merge, _or_update, lambda state: tuple(sorted(crdt.or_value(state))), local=True
    ),
}
