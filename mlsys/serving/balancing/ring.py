"""Which of several stores keeps a key: places on a ring, and what it costs to add a store.

The ring itself is four lines in the lesson, built on `place`; here is what it needs around it:
keys put into real stores and looked up again after the stores have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from hashlib import blake2b
from typing import Any

Owner = Callable[[str], str]  # from a key to the name of its node


def place(text: str) -> int:
    """A place on the ring, 0 to 2**32 - 1, the same on every machine (unlike `hash`)."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")


def grow(
    start: Callable[[], AbstractContextManager[Any]],
    nodes: int,
    ways: Sequence[Callable[[list[str]], Owner]],
    keys: Sequence[str],
) -> list[float]:
    """Fill all of so many stores but the last, then add the last: the share of keys still found.

    `start` is `services.valkey`. A share for each way; a way gives, for the names of the stores
    ("node 0" and so on), the function from a key to its store.
    """
    shares = []
    with ExitStack() as stack:
        stores = [stack.enter_context(start()) for _ in range(nodes)]
        clients = {f"node {n}": stack.enter_context(one.client()) for n, one in enumerate(stores)}
        names = list(clients)
        for way in ways:
            _at_each(clients, way(names[:-1]), keys, lambda pipe, key: pipe.set(key, "x"))
            there = _at_each(clients, way(names), keys, lambda pipe, key: pipe.exists(key))
            shares.append(sum(there) / len(keys))
            for client in clients.values():
                client.flushdb()
    return shares


def _at_each(
    clients: Mapping[str, Any], choose: Owner, keys: Iterable[str], do: Callable[[Any, str], object]
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
