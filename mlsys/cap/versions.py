"""Versions of a value: which came later, and which are siblings that nobody has joined yet.

Pure functions over plain tuples and dicts. A version has a *dot*, (node, counter), its own name,
and a *clock*, the vector of what its writer had seen. One version supersedes another when it has
seen the other's dot; two that have not seen each other are siblings (Preguiça and others, "Dotted
Version Vectors", 2010, which mends what plain version vectors per node get wrong when two clients
write through one node).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Clock = Mapping[int, int]


class Version(NamedTuple):
    """A value, the event that wrote it, and what that writer had seen (sorted pairs)."""

    dot: tuple[int, int]
    clock: tuple[tuple[int, int], ...]
    value: Any

    def seen(self, dot: tuple[int, int]) -> bool:
        """Had the writer of this version seen that one?"""
        return any(node == dot[0] and counter >= dot[1] for node, counter in self.clock)


Versions = tuple[Version, ...]


def merge_clocks(one: Clock, other: Clock) -> dict[int, int]:
    """The vector that has seen what either has seen."""
    nodes = sorted({*one, *other})
    return {node: max(one.get(node, 0), other.get(node, 0)) for node in nodes}


def happened_before(one: Clock, other: Clock) -> bool:
    """Did everything that `one` has seen happen before `other`, which has seen more?"""
    return all(other.get(n, 0) >= c for n, c in one.items()) and any(
        c > one.get(n, 0) for n, c in other.items()
    )


def merge(one: Versions, other: Versions) -> Versions:
    """The siblings that remain of both: those that no other version has seen. In order of dots."""
    every = {version.dot: version for version in (*one, *other)}
    kept = [v for v in every.values() if not any(o.seen(v.dot) for o in every.values())]
    return tuple(sorted(kept, key=lambda version: version.dot))


def context(versions: Iterable[Version]) -> dict[int, int]:
    """What a reader of these versions has seen; it goes along with his next write."""
    seen: dict[int, int] = {}
    for version in versions:
        seen = merge_clocks(seen, merge_clocks(dict(version.clock), dict([version.dot])))
    return seen


def write(value: Any, *, node: int, counter: int, seen: Clock) -> Version:
    """A new version by `node`; `counter` must be larger than any it has used."""
    return Version((node, counter), tuple(sorted(seen.items())), value)
