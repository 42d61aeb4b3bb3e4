"""Counters and sets that merge by themselves (state-based CRDTs), as pure functions.

Every `merge` is commutative, associative and idempotent, so replicas agree whatever the order in
which states arrive, and however often (Shapiro, Preguiça, Baquero, Zawirski, "A comprehensive
study of Convergent and Commutative Replicated Data Types", INRIA RR-7506, 2011: specifications 6,
7 and 15). States are immutable; a replica is known by a number that nobody else uses.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

# G-counter: how much each replica has added, as sorted pairs (replica, amount).
GCounter = tuple[tuple[int, int], ...]
G_ZERO: GCounter = ()


def g_add(state: GCounter, replica: int, amount: int = 1) -> GCounter:
    """Add `amount` >= 0 in the name of `replica`; only that replica itself may do so."""
    if amount < 0:
        raise ValueError(f"A G-counter only grows; it cannot add {amount}.")
    mine = dict(state)
    mine[replica] = mine.get(replica, 0) + amount
    return tuple(sorted(mine.items()))


def g_value(state: GCounter) -> int:
    return sum(amount for _, amount in state)


def g_merge(one: GCounter, other: GCounter) -> GCounter:
    """The larger amount of each replica: what it added last."""
    joined = dict(one)
    for replica, amount in other:
        joined[replica] = max(amount, joined.get(replica, 0))
    return tuple(sorted(joined.items()))


@dataclass(frozen=True, slots=True)
class PNCounter:
    """A counter that also goes down: one G-counter of what was added, one of what was taken."""

    added: GCounter = G_ZERO
    taken: GCounter = G_ZERO


def pn_add(state: PNCounter, replica: int, amount: int = 1) -> PNCounter:
    """Add `amount`, which may be negative."""
    if amount >= 0:
        return PNCounter(g_add(state.added, replica, amount), state.taken)
    return PNCounter(state.added, g_add(state.taken, replica, -amount))


def pn_value(state: PNCounter) -> int:
    return g_value(state.added) - g_value(state.taken)


def pn_merge(one: PNCounter, other: PNCounter) -> PNCounter:
    return PNCounter(g_merge(one.added, other.added), g_merge(one.taken, other.taken))


@dataclass(frozen=True, slots=True)
class ORSet:
    """An observed-remove set: each addition has a tag of its own, a removal names tags it saw.

    An element is in while one of its tags has not been removed, so of an addition and a removal at
    the same time the addition wins.
    """

    added: frozenset[tuple[Hashable, Hashable]] = field(default=frozenset())
    removed: frozenset[Hashable] = field(default=frozenset())


def or_add(state: ORSet, element: Hashable, tag: Hashable) -> ORSet:
    """Put `element` in, under a tag that nobody has used before."""
    return ORSet(state.added | {(element, tag)}, state.removed)


def or_remove(state: ORSet, element: Hashable) -> ORSet:
    """Take out what of `element` this replica has seen."""
    seen = {tag for other, tag in state.added if other == element}
    return ORSet(state.added, state.removed | seen)


def or_value(state: ORSet) -> frozenset[Any]:
    return frozenset(element for element, tag in state.added if tag not in state.removed)


def or_merge(one: ORSet, other: ORSet) -> ORSet:
    return ORSet(one.added | other.added, one.removed | other.removed)
