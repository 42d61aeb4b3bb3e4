"""Which of several stores keeps a key: places on a ring, and what it costs to add a store.

The ring itself is four lines in the lesson, built on `place`; here is what it needs around it:
keys put into real stores and looked up again after the stores have changed.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from hashlib import blake2b
from typing import Any, Protocol

Ring = list[tuple[int, str]]
Owner = Callable[[str], str]  # from a key to the name of its node


class Store(Protocol):
    """A server that gives redis clients, such as `services.valkey`."""

    def client(self) -> Any: ...


def place(text: str) -> int:
    """A place on the ring, 0 to 2**32 - 1, the same on every machine (unlike `hash`)."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")


def make_ring(nodes: Iterable[str], points: int = 100) -> Ring:
    """So many points for each node, in order round the ring (Karger et al., STOC 1997).

    Raises ValueError without a node or a point.
    """
    ring = sorted((place(f"{node}/{i}"), node) for node in nodes for i in range(points))
    if not ring:
        raise ValueError("a ring needs at least one node with at least one point")
    return ring


def owner(ring: Ring, key: str) -> str:
    """The node of the first point after the key's place."""
    return ring[bisect(ring, (place(key), "")) % len(ring)][1]


def modulo(nodes: Sequence[str], key: str) -> str:
    """The plain way: the place divided by the number of nodes, the remainder counts."""
    return nodes[place(key) % len(nodes)]


def moved(keys: Iterable[str], before: Callable[[str], str], after: Callable[[str], str]) -> float:
    """Share of the keys whose node is another one after the change."""
    changes = [before(key) != after(key) for key in keys]
    return sum(changes) / len(changes) if changes else 0.0


def _at_each(
    clients: Mapping[str, Any],
    choose: Callable[[str], str],
    keys: Iterable[str],
    do: Callable[[Any, str], object],
) -> list[Any]:
    """Do this for each key at the store that `choose` names, a pipeline a store: all answers."""
    batches: dict[str, list[str]] = {name: [] for name in clients}
    for key in keys:
        batches[choose(key)].append(key)
    answers: list[Any] = []
    for name, batch in batches.items():
        with clients[name].pipeline(transaction=False) as pipe:
            for key in batch:
                do(pipe, key)
            answers += pipe.execute()
    return answers


def store(clients: Mapping[str, Any], choose: Callable[[str], str], keys: Iterable[str]) -> None:
    """Write each key into the store that `choose` names (redis clients)."""
    _at_each(clients, choose, keys, lambda pipe, key: pipe.set(key, "x"))


def add_one(
    stores: Sequence[Store], ways: Sequence[Callable[[list[str]], Owner]], keys: Sequence[str]
) -> list[float]:
    """Fill all stores but the last, then add the last: the share of keys still found, by way.

    A way gives, for the names of the stores, the function from a key to its store.
    """
    shares = []
    with ExitStack() as stack:
        clients = {f"node {n}": stack.enter_context(one.client()) for n, one in enumerate(stores)}
        names = list(clients)
        for way in ways:
            store(clients, way(names[:-1]), keys)
            shares.append(found(clients, way(names), keys))
            for client in clients.values():
                client.flushdb()
    return shares


def found(clients: Mapping[str, Any], choose: Callable[[str], str], keys: Sequence[str]) -> float:
    """Share of the keys that are there where `choose` now looks for them."""
    hits = _at_each(clients, choose, keys, lambda pipe, key: pipe.exists(key))
    return sum(hits) / len(keys) if keys else 0.0


def grow(
    start: Callable[[], AbstractContextManager[Store]],
    nodes: int,
    ways: Sequence[Callable[[list[str]], Owner]],
    keys: Sequence[str],
) -> list[float]:
    """`add_one` on so many stores of its own; `start` is `services.valkey`."""
    with ExitStack() as stack:
        stores = [stack.enter_context(start()) for _ in range(nodes)]
        return add_one(stores, ways, keys)
