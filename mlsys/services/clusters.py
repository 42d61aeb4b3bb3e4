"""What the three replicated stores have in common: links between nodes that can be cut, and clients
(sessions) that read and write one key at one node and say honestly what they know of the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlsys.services.errors import ServiceError
from mlsys.services.faults import Link
from mlsys.services.server import Server

Sides = tuple[int, int]  # (the node that connects, the node that it connects to)
IN_TIME = 60.0  # s for whatever must become so: a busy machine takes its time
ANSWER_IN_TIME = 20.0  # s for an answer where nothing is cut


class Refused(ServiceError):
    """The operation was certainly not done."""


class Unanswered(ServiceError):
    """Nobody knows whether the operation was, or still will be, done."""


class Session(Protocol):
    """A client of one node; for one thread at a time. Values are integers, None for no value."""

    def read(self, key: str) -> int | None: ...

    def write(self, key: str, value: int) -> None: ...

    def close(self) -> None: ...


class Cluster(Protocol):
    """What experiments and recordings need of a replicated store."""

    @property
    def nodes(self) -> Sequence[Server]: ...

    def leader(self) -> int: ...

    def session(self, node: int) -> Session: ...

    def reader(self) -> Session: ...

    def isolate(self, node: int, direction: str = "both") -> None: ...

    def heal(self) -> None: ...

    def failover(self) -> int: ...


@dataclass(frozen=True)
class Links:
    """The proxies between the nodes, by who connects to whom."""

    between: Mapping[Sides, Link]

    def isolate(self, node: int, direction: str = "both") -> None:
        """Cut a node off from all others: "both" ways, only what comes "in", or goes "out"."""
        if direction not in ("both", "in", "out"):
            raise ServiceError(f"{direction!r} is no direction; use both, in or out.")
        touching = {sides: link for sides, link in self.between.items() if node in sides}
        if not touching:
            raise ServiceError(f"There is no node {node} with links to cut.")
        for (connects, _), link in touching.items():
            outward, inward = (
                ("to_target", "to_client") if connects == node else ("to_client", "to_target")
            )
            link.cut({"both": "both", "in": inward, "out": outward}[direction])

    def delay(self, ms: float, *, jitter: float = 0.0) -> None:
        """The same one-way delay on every link."""
        for link in self.between.values():
            link.delay(ms, jitter=jitter)

    def heal(self) -> None:
        for link in self.between.values():
            link.heal()


def cluster_facts(nodes: Sequence[Server]) -> dict[str, str]:
    """The rows of a cluster's small table, as text."""
    return {
        f"node {index}": f"{node.url}, "
        + (f"process {node.pid}, {node.memory or 0:.0f} MB" if node.alive else "dead")
        + f", {node.version}"
        for index, node in enumerate(nodes)
    }
