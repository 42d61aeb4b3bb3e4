"""`run(scene)`: play one scene and hand back everything worth looking at, as plain values.

The measures of `mlsys.cap.measures` and the figures take a `Run`; the checkers take its history.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlsys.cap.cluster import Cluster
from mlsys.cap.history import History
from mlsys.cap.network import Message
from mlsys.cap.scenes import Scene

Link = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Instant:
    """The cluster at one moment, for a picture.

    `roles[i]` is what node i takes itself for ("leader", "follower", "candidate", "replica",
    "head", "middle", "tail", "joining", "ready", "prepared", "down"), `terms[i]` in which term;
    `cut` are the directed links that drop everything, `slow` the slow nodes, `flying` the messages
    under way (as far as they were kept), `values[i]` what node i last told of the first key.
    """

    time: float
    roles: tuple[str, ...]
    terms: tuple[int, ...]
    cut: tuple[Link, ...]
    slow: tuple[int, ...]
    flying: tuple[Message, ...]
    values: tuple[Any, ...]

    @property
    def leaders(self) -> tuple[int, ...]:
        """All who think they lead; two are a split brain, or an old one who has not heard."""
        return tuple(n for n, role in enumerate(self.roles) if role in ("leader", "head"))

    @property
    def sides(self) -> tuple[tuple[int, ...], ...]:
        """The groups of live nodes that reach each other both ways, the largest first."""
        nodes = [node for node, role in enumerate(self.roles) if role != "down"]
        cut, sides = set(self.cut), []
        while nodes:
            side = [nodes.pop(0)]
            for one in side:
                near = [n for n in nodes if (one, n) not in cut and (n, one) not in cut]
                side += near
                nodes = [n for n in nodes if n not in near]
            sides.append(tuple(sorted(side)))
        return tuple(sorted(sides, key=lambda side: (-len(side), side)))


@dataclass(frozen=True)
class Run:
    """What happened. Times are ms since the start.

    `roles` are changes (time, node, role, term); `links` (time, links cut from then on, slow
    nodes); `samples` (time, each node's value of the first key); `messages` the first
    `scene.keep_messages` of `sent`. `quiet_ms` is when the load had ended and everything was
    healed, `agreed_ms` since when all nodes have told the same (None: they never did). `final` is
    what the store holds in the end, `trail` all values in its log, None for a store without one.
    """

    scene: Scene
    history: History = field(repr=False)
    messages: tuple[Message, ...] = field(repr=False)
    roles: tuple[tuple[float, int, str, int], ...] = field(repr=False)
    links: tuple[tuple[float, tuple[Link, ...], tuple[int, ...]], ...] = field(repr=False)
    samples: tuple[tuple[float, tuple[Any, ...]], ...] = field(repr=False)
    sent: int
    dropped: int
    quiet_ms: float
    agreed_ms: float | None
    finals: tuple[dict[str, Any], ...] = field(repr=False)
    final: dict[str, Any] = field(repr=False)
    trail: tuple[Any, ...] | None = field(repr=False)

    @cached_property
    def leaders(self) -> tuple[tuple[float, int, int], ...]:
        """Who came to lead: (time, node, term). A chain's head counts once, not at each change."""
        found: list[tuple[float, int, int]] = []
        for time, node, role, term in self.roles:
            again = role == "head" and found and found[-1][1] == node
            if role in ("leader", "head") and not again:
                found.append((time, node, term))
        return tuple(found)

    def at(self, time: float) -> Instant:
        """The cluster at that moment."""
        roles, terms = [""] * self.scene.nodes, [0] * self.scene.nodes
        for _, node, role, term in self.roles[: bisect_right(self.roles, time, key=_first)]:
            roles[node], terms[node] = role, term
        _, cut, slow = self.links[max(bisect_right(self.links, time, key=_first) - 1, 0)]
        values = self.samples[max(bisect_right(self.samples, time, key=_first) - 1, 0)][1]
        flying = tuple(
            m
            for m in self.messages
            if m.arrives is not None and m.sent <= time < m.arrives and m.source != m.target
        )
        return Instant(time, tuple(roles), tuple(terms), cut, slow, flying, values)

    def side_of(self, time: float) -> dict[int, int]:
        """For each client the number of its side at that moment: 0 is the largest. Clients whose
        node is down are left out."""
        sides = self.at(time).sides
        number = {node: i for i, side in enumerate(sides) for node in side}
        sites = ((client, self.scene.site(client)) for client in range(self.scene.clients))
        return {client: number[site] for client, site in sites if site in number}


def run(scene: Scene) -> Run:
    """Play the scene. The same scene gives an equal run, on any machine."""
    cluster = Cluster(scene)
    cluster.play()
    final, trail = cluster.store.conclude(cluster)
    return Run(
        scene=scene,
        history=cluster.clients.history(),
        messages=tuple(cluster.network.messages),
        roles=tuple(cluster.roles),
        links=tuple(cluster.links),
        samples=tuple(cluster.samples),
        sent=cluster.network.sent,
        dropped=cluster.network.dropped,
        quiet_ms=cluster.quiet_ms,
        agreed_ms=cluster.agreed_ms,
        finals=tuple(replica.view() for replica in cluster.replicas),
        final=final,
        trail=None if trail is None else tuple(trail),
    )


def _first(row: tuple) -> float:
    return row[0]
