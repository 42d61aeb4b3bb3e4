"""Chain replication, after van Renesse and Schneider (OSDI 2004).

Nodes form a chain. Writes enter at the head and travel to the tail, reads are answered by the
tail; the tail answers a write too, so what a client was told is on every node. When a node
crashes, a master takes it out of the chain and the update goes on from its predecessor, which
keeps what the tail has not acknowledged. The master is an oracle here (in the paper, a Paxos group
outside): all nodes learn of a new chain at once, `DETECT_MS` after a crash. A restarted node joins
as the new tail with a copy of the old tail's data; the cost of that copy is not modelled.

The paper assumes nodes that stop, not links that are cut: under a partition the chain stays as it
is and whoever cannot reach the end that he needs waits. Reads at the `tail` are linearizable;
`local` ones are what a middle node has so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlsys.cap.network import ACK, READ, WRITE
from mlsys.cap.stores.replica import Replica, execute, written

if TYPE_CHECKING:
    from mlsys.cap.clients import Request
    from mlsys.cap.cluster import Cluster

DETECT_MS = 200.0


class Chain(Replica):
    """`disk` is the log of updates, `acked` how many of them the tail has for sure."""

    __slots__ = ("acked", "active", "early", "master", "requests", "state")

    def __init__(self, cluster, number: int, disk: list) -> None:
        super().__init__(cluster, number, disk)
        self.state: dict[str, Any] = {}
        self.requests: dict[int, Request] = {}
        self.acked = 0
        self.active = False  # has the master taken this life of the node into the chain?
        self.early: dict[int, tuple] = {}  # updates that overtook one before them
        self.master = cluster.shared.get("master") or Master(cluster)
        for f, key, value in disk:
            execute(self.state, f, key, value)

    @classmethod
    def blank_disk(cls) -> list:
        return []

    def start(self) -> None:
        if self.simulation.now == 0:
            self.master.add(self)
        else:
            self.become("joining")
            self.after(DETECT_MS, self.join)
        self.after(self.scene.heartbeat_ms, self.resend)

    def view(self) -> dict[str, Any]:
        return dict(self.state)

    def trail(self) -> list[Any]:
        return [written(f, value) for f, _, value in self.disk]

    @classmethod
    def lost(cls, cluster: Cluster, node: int) -> None:
        cluster.simulation.call(DETECT_MS, cluster.shared["master"].remove, node)

    @classmethod
    def conclude(cls, cluster: Cluster) -> tuple[dict[str, Any], list[Any] | None]:
        tail = cluster.replicas[cluster.shared["master"].chain[-1]]
        return tail.view(), tail.trail()

    # Serving

    def on_request(self, request: Request) -> None:
        chain = self.master.chain
        if request.f == "read" and self.scene.how_to_read == "local":
            self.answer(request, "ok", self.state.get(request.key))
        elif not chain:
            self.answer(request, "fail", note="no chain")
        else:
            self.pass_to(chain[-1] if request.f == "read" else chain[0], request)

    def pass_to(self, node: int, request: Request) -> None:
        if node == self.number:
            self.on_forward(request)
        else:
            self.send(node, READ, Chain.on_forward, request)

    def on_forward(self, request: Request) -> None:
        chain = self.master.chain
        f, key, value = request.f, request.key, request.value
        end = (chain or [None])[-1 if f == "read" else 0]
        if self.number != end or not self.active:
            self.answer(request, "fail", note=f"node {self.number} is not that end of the chain")
        elif f == "read":
            self.answer(request, "ok", self.state.get(key))
        elif f == "cas" and self.state.get(key) != value[0]:
            # What the head saw may not have reached the tail: no observation, only a refusal.
            self.answer(request, "fail", note="refused by the head")
        else:
            self.update(len(self.disk), (f, key, value), request)

    def update(self, index: int, entry: tuple, request: Request | None) -> None:
        """Take update number `index`, then hand it on or, at the tail, acknowledge it."""
        self.disk.append(entry)
        execute(self.state, *entry)
        if request is not None:
            self.requests[index] = request
        successor = self.successor()
        if successor is None:
            self.finish()
        else:
            self.send(
                successor, WRITE, Chain.on_update, self.master.epoch, index, entry,
                self.requests.get(index),
            )  # fmt: skip

    def on_update(self, epoch: int, index: int, entry: tuple, request: Request | None) -> None:
        if epoch != self.master.epoch or not self.active:
            return
        if index > len(self.disk):
            self.early[index] = (epoch, entry, request)
        elif index == len(self.disk):
            self.update(index, entry, request)
            following = self.early.pop(index + 1, None)
            if following is not None:
                self.on_update(following[0], index + 1, *following[1:])
        elif index < len(self.disk) and self.successor() is None:
            self.finish()  # a repetition: our acknowledgement was lost

    def finish(self) -> None:
        """The tail holds everything it has got: tell the clients and the nodes before it."""
        for index in sorted(self.requests):
            self.answer(self.requests.pop(index), "ok", self.disk[index][2])
        self.acked = len(self.disk)
        self.acknowledge()

    def acknowledge(self) -> None:
        predecessor = self.predecessor()
        if predecessor is not None:
            self.send(predecessor, ACK, Chain.on_ack, self.master.epoch, self.acked)

    def on_ack(self, epoch: int, acked: int) -> None:
        if epoch == self.master.epoch and acked > self.acked:
            self.acked = min(acked, len(self.disk))
            for index in [i for i in self.requests if i < self.acked]:
                del self.requests[index]
            self.acknowledge()

    def resend(self) -> None:
        """Repeat what the tail has not acknowledged; messages get lost, and chains change."""
        successor = self.successor()
        if successor is not None:
            for index in range(self.acked, min(self.acked + 64, len(self.disk))):
                self.send(
                    successor, WRITE, Chain.on_update, self.master.epoch, index, self.disk[index],
                    self.requests.get(index),
                )  # fmt: skip
        self.after(self.scene.heartbeat_ms, self.resend)

    # The place in the chain

    def neighbour(self, step: int) -> int | None:
        chain = self.master.chain if self.active else []
        place = chain.index(self.number) + step if self.number in chain else -1
        return chain[place] if 0 <= place < len(chain) else None

    def successor(self) -> int | None:
        return self.neighbour(+1)

    def predecessor(self) -> int | None:
        return self.neighbour(-1)

    def join(self) -> None:
        self.master.add(self)


class Master:
    """The oracle outside: the chain, and a number that tells one chain from the next."""

    def __init__(self, cluster: Cluster) -> None:
        cluster.shared["master"] = self
        self.cluster = cluster
        self.chain: list[int] = []
        self.epoch = 0

    def remove(self, node: int) -> None:
        """Take a crashed node out; the last one stays, for only its disk has every update."""
        if node in self.chain and len(self.chain) > 1:
            self.chain.remove(node)
            self.announce()

    def add(self, replica: Chain) -> None:
        """Make the replica the new tail, with the data of the old one."""
        if replica.number not in self.chain:
            tail = self.cluster.replicas[self.chain[-1]] if self.chain else None
            if self.chain and (tail is None or not tail.active):
                replica.after(DETECT_MS, replica.join)  # nobody to copy from at the moment
                return
            if tail is not None:
                replica.disk[:] = tail.disk
                replica.state = dict(tail.state)
                replica.acked = tail.acked
            self.chain.append(replica.number)
        replica.active = True
        self.announce()

    def announce(self) -> None:
        self.epoch += 1
        for place, node in enumerate(self.chain):
            replica = self.cluster.replicas[node]
            if replica is not None and replica.active:
                last = place == len(self.chain) - 1
                replica.become("head" if place == 0 else "tail" if last else "middle", self.epoch)
                if last:
                    replica.finish()
