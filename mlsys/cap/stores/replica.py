"""What every store's node shares: its number, its disk, how it sends, waits and answers.

A replica is one life of a node: a crash ends the object, a restart makes a new one over the disk
that is left. Handlers are methods named `on_...`; they are sent by reference
(`self.send(target, WRITE, Raft.on_append, ...)`) and called on whoever lives at the target then.
The client sits with its node, so the node which a request comes in at answers it without a hop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlsys.cap.network import RESPONSE

if TYPE_CHECKING:
    from mlsys.cap.clients import Request
    from mlsys.cap.cluster import Cluster


class Replica:
    """The base of the stores' nodes. A subclass gives `on_request`, `view` and its handlers."""

    __slots__ = (
        "cluster",
        "complete",
        "disk",
        "name",
        "number",
        "peers",
        "scene",
        "send",
        "simulation",
    )

    def __init__(self, cluster: Cluster, number: int, disk: Any) -> None:
        self.cluster = cluster
        self.scene = cluster.scene
        self.simulation = cluster.simulation
        self.complete = cluster.clients.complete
        self.number = number
        self.name = f"node {number}"
        self.peers = tuple(n for n in range(cluster.scene.nodes) if n != number)
        self.disk = disk
        self.send = cluster.network.sender(number)

    @classmethod
    def blank_disk(cls) -> Any:
        """What a new machine's disk holds; kept over a crash, replaced when the disk is lost."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to live: set the first timers."""

    def on_request(self, request: Request) -> None:
        """A client of this node asks; answer with `self.answer` now or later."""
        raise NotImplementedError

    def view(self) -> dict[str, Any]:
        """What this node would tell of each key now, as a reader would see it."""
        raise NotImplementedError

    def trail(self) -> list[Any] | None:
        """Every value this node's log holds, oldest first; None for a store without a log."""
        return None

    @classmethod
    def lost(cls, cluster: Cluster, node: int) -> None:
        """A node crashed; only a store with an outside master has anything to do."""

    @classmethod
    def agreed(cls, cluster: Cluster) -> bool:
        """Do all nodes tell the same? Asked when all are up."""
        views = [replica.view() for replica in cluster.replicas]
        return all(view == views[0] for view in views)

    @classmethod
    def conclude(cls, cluster: Cluster) -> tuple[dict[str, Any], list[Any] | None]:
        """What the store holds when the run is over, and its log: whoever leads knows."""
        speaker = cluster.replicas[cluster.leader() or 0]
        return speaker.view(), speaker.trail()

    def after(self, delay: float, function: Callable, *args: object) -> None:
        self.simulation.timer(self, self.number, delay, function, *args)

    def clock(self) -> float:
        return self.simulation.clock(self.number)

    def answer(self, request: Request, kind: str, value: object = None, note: str = "") -> None:
        """Tell the client: "ok", "fail" (it surely did not happen) or "info" (nobody knows)."""
        if request.site == self.number:
            self.complete(request, kind, value, note or self.name)
        else:
            self.send(
                request.site, RESPONSE, Replica.on_answer, request, kind, value,
                note or self.name,
            )  # fmt: skip

    def on_answer(self, request: Request, kind: str, value: object, note: str) -> None:
        self.complete(request, kind, value, note)

    def become(self, role: str, term: int = 0) -> None:
        """Note for the picture what this node takes itself for from now on."""
        self.cluster.note_role(self.number, role, term)


def execute(state: dict[str, Any], f: str, key: str, value: Any) -> tuple[str, Any]:
    """Carry out one operation on a plain dict, as a state machine does.

    Returns ("ok", what a reader is told) or ("fail", None) for a compare-and-set that met another
    value. `append` keeps a tuple under its key.
    """
    if f == "write":
        state[key] = value
    elif f == "append":
        state[key] = (*state.get(key, ()), value)
    elif f == "cas":
        old, new = value
        if state.get(key) != old:
            return "fail", None
        state[key] = new
    return "ok", state.get(key) if f == "read" else value


def written(f: str, value: Any) -> Any:
    """The value that an operation leaves: the new one of a compare-and-set, else its own."""
    return value[1] if f == "cas" else value
