"""The links between nodes: how long a message takes, and whether it arrives at all.

A link is directed and has three properties: cut or not, a factor (a slow end), and a distance in
ms. Faults change them (`mlsys.cap.faults`); stores only send. A message that is cut or lost
vanishes without a word, as on a real network: only time-outs tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappush
from typing import NamedTuple

from mlsys.cap.latency import Profile
from mlsys.cap.simulation import Simulation

WRITE, ACK, READ, RESPONSE = range(4)  # W, A, R, S of the WARS model


class Message(NamedTuple):
    """One message as a picture needs it; `arrives` is None when the network dropped it."""

    sent: float
    arrives: float | None
    source: int
    target: int
    name: str


class Network:
    """All links of a cluster of `size` nodes; link s -> t has the index s * size + t."""

    __slots__ = (
        "_keep", "_random", "_simulation", "cut", "distance", "draws", "dropped", "factor", "loss",
        "messages", "plain", "sent", "size",
    )  # fmt: skip

    def __init__(
        self,
        simulation: Simulation,
        profile: Profile,
        *,
        zones: Sequence[int],
        loss: float = 0.0,
        keep: int = 0,
    ) -> None:
        self._simulation = simulation
        self._random = simulation.rng.random
        self.size = size = len(zones)
        kinds = (profile.write, profile.ack, profile.read, profile.response)
        self.draws = tuple(kind.drawer(simulation.rng) for kind in kinds)
        self.cut = bytearray(size * size)
        self.factor = [1.0] * (size * size)
        self.distance = [
            0.0 if zones[s] == zones[t] else profile.remote_ms
            for s in range(size)
            for t in range(size)
        ]
        self.loss = loss
        self.sent = self.dropped = 0
        self.messages: list[Message] = []
        self._keep = keep
        self._look_if_plain()

    def sender(self, source: int) -> Callable[..., None]:
        """The function by which `source` sends: `send(target, kind, handler, *args)`.

        `handler(replica at target, *args)` is called when the message arrives, if it does. This is
        the hot path of every run: one closure a node, so that nothing has to be looked up.
        """
        simulation, heap, ticket = self._simulation, self._simulation.heap, self._simulation.ticket
        draws, factor, distance = self.draws, self.factor, self.distance
        first = source * self.size

        def send(target: int, kind: int, handler: Callable, *args: object) -> None:
            link = first + target
            arrives = simulation.now + draws[kind]() * factor[link] + distance[link]
            self.sent += 1
            if self.plain or self._passes(source, target, handler, arrives):
                heappush(heap, (arrives, ticket(), target, handler, args))

        return send

    def _passes(self, source: int, target: int, handler: Callable, arrives: float) -> bool:
        """Does the network deliver this message? Nothing is lost between a node and itself."""
        cut = self.cut[source * self.size + target]
        lost = cut or (self.loss and source != target and self._random() < self.loss)
        self.dropped += bool(lost)
        if len(self.messages) < self._keep:
            name = handler.__name__.removeprefix("on_").replace("_", " ")
            when = None if lost else arrives
            self.messages.append(Message(self._simulation.now, when, source, target, name))
            self._look_if_plain()
        return not lost

    def _look_if_plain(self) -> None:
        """Plain is a network that neither drops a message nor keeps one for the picture."""
        keeping = len(self.messages) < self._keep
        self.plain = not (keeping or self.loss or any(self.cut))

    def cut_between(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Drop from now on what any source sends to any target; the other way stays open."""
        for source in sources:
            for target in targets:
                if source != target:
                    self.cut[source * self.size + target] = 1
        self._look_if_plain()

    def slow(self, node: int, factor: float) -> None:
        """Every message from or to `node` takes `factor` times as long."""
        for other in range(self.size):
            self.factor[node * self.size + other] = factor
            self.factor[other * self.size + node] = factor

    def heal(self) -> None:
        """Every link open, every node at its own speed."""
        self.cut = bytearray(self.size * self.size)
        self.factor[:] = [1.0] * (self.size * self.size)  # senders hold this very list
        self._look_if_plain()

    def cuts(self) -> tuple[tuple[int, int], ...]:
        """The directed links that are cut now."""
        return tuple(divmod(link, self.size) for link, cut in enumerate(self.cut) if cut)
