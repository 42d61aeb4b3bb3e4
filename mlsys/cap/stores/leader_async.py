"""A single leader that replicates asynchronously, with automatic failover.

The leader carries out a write, says ok, and tells its followers later: fast, and available to
whoever reaches a leader. When followers hear nothing from it for an election time-out, a majority
promotes one of them (as Redis Sentinel does). The old leader, cut off, goes on saying ok to its
clients; when it meets the newer epoch it throws its log away for the new leader's. What it had
acknowledged meanwhile is lost.

Reads are `local` (the client's node answers, perhaps stale) or go to the `leader`. A follower that
is behind asks for what it lacks; one that comes from another epoch copies the whole log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlsys.cap.network import ACK, READ, RESPONSE, WRITE
from mlsys.cap.stores.replica import Replica, execute, written

if TYPE_CHECKING:
    from mlsys.cap.clients import Request

BATCH = 256


class Disk:
    """The log with its epoch, the data it adds up to, and the newest epoch it voted for."""

    __slots__ = ("epoch", "log", "promised", "state")

    def __init__(self) -> None:
        self.epoch = self.promised = 0
        self.log: list[tuple] = []
        self.state: dict[str, Any] = {}


class AsyncLeader(Replica):
    __slots__ = ("acked", "deadline", "heard", "leader", "votes")

    def __init__(self, cluster, number: int, disk: Disk) -> None:
        super().__init__(cluster, number, disk)
        self.leader: int | None = None
        self.acked: dict[int, int] = {}  # a leader's: how much of its log each follower has
        self.votes: set[int] = set()
        self.heard = self.clock()
        self.deadline = 0.0

    @classmethod
    def blank_disk(cls) -> Disk:
        return Disk()

    def start(self) -> None:
        self.wait_for_leader()
        self.after(self.deadline - self.clock(), self.check_leader)
        if self.number == 0 and self.disk.epoch == 0 and self.simulation.now == 0:
            self.lead(1)
        else:
            self.become("follower", self.disk.epoch)

    def view(self) -> dict[str, Any]:
        return dict(self.disk.state)

    def trail(self) -> list[Any]:
        return [written(f, value) for f, _, value in self.disk.log]

    # Serving

    def on_request(self, request: Request) -> None:
        if request.f == "read" and self.scene.how_to_read == "local":
            self.answer(request, "ok", self.disk.state.get(request.key))
        elif self.leader == self.number:
            self.on_forward(request)
        elif self.leader is not None:
            self.send(self.leader, READ, AsyncLeader.on_forward, request)
        else:
            self.answer(request, "fail", note="no leader known")

    def on_forward(self, request: Request) -> None:
        if self.leader != self.number:
            self.answer(request, "fail", note=f"node {self.number} is not the leader")
            return
        disk = self.disk
        kind, result = execute(disk.state, request.f, request.key, request.value)
        self.answer(request, kind, result, "mismatch" if kind == "fail" else "")
        if request.f != "read" and kind == "ok":
            disk.log.append((request.f, request.key, request.value))
            for peer in self.peers:
                self.replicate(peer)

    def replicate(self, peer: int) -> None:
        """Send what this follower is not known to have; nothing but a sign of life if unsure."""
        start = self.acked.get(peer)
        entries = [] if start is None else self.disk.log[start : start + BATCH]
        self.send(
            peer, WRITE if entries else READ, AsyncLeader.on_replicate, self.number,
            self.disk.epoch, start, entries,
        )  # fmt: skip

    def on_replicate(self, leader: int, epoch: int, start: int | None, entries: list) -> None:
        disk = self.disk
        if epoch < disk.epoch:
            self.send(leader, ACK, AsyncLeader.on_stale, disk.epoch)
            return
        self.follow(leader, epoch)
        if disk.epoch < epoch:
            self.send(leader, ACK, AsyncLeader.on_behind, self.number, epoch)
            return
        if start is not None and start <= len(disk.log):
            for entry in entries[len(disk.log) - start :]:
                disk.log.append(entry)
                execute(disk.state, *entry)
        self.send(leader, ACK, AsyncLeader.on_replicated, self.number, epoch, len(disk.log))

    def on_replicated(self, follower: int, epoch: int, held: int) -> None:
        if self.leader == self.number and epoch == self.disk.epoch:
            self.acked[follower] = max(held, self.acked.get(follower) or 0)
            if held + BATCH < len(self.disk.log):
                self.replicate(follower)

    def on_behind(self, follower: int, epoch: int) -> None:
        if self.leader == self.number and epoch == self.disk.epoch:
            copy = list(self.disk.log), dict(self.disk.state)
            self.send(follower, WRITE, AsyncLeader.on_copy, self.number, epoch, *copy)

    def on_copy(self, leader: int, epoch: int, log: list, state: dict) -> None:
        """Become a copy of the leader; what only this node held is gone."""
        disk = self.disk
        if epoch > disk.epoch:
            disk.epoch, disk.log, disk.state = epoch, list(log), dict(state)
            self.follow(leader, epoch)
            self.send(leader, ACK, AsyncLeader.on_replicated, self.number, epoch, len(disk.log))

    # Failover

    def follow(self, leader: int, epoch: int) -> None:
        self.leader = leader
        self.disk.promised = max(self.disk.promised, epoch)
        self.heard = self.clock()
        self.wait_for_leader()
        self.become("follower", epoch)

    def on_stale(self, epoch: int) -> None:
        """Somebody newer leads: an old leader hears of it here."""
        if epoch > self.disk.epoch and self.leader == self.number:
            self.leader = None
            self.wait_for_leader()
            self.become("follower", self.disk.epoch)

    def wait_for_leader(self) -> None:
        scene = self.scene
        self.deadline = self.clock() + self.simulation.rng.uniform(
            scene.election_low_ms, scene.election_high_ms
        )

    def check_leader(self) -> None:
        now = self.clock()
        if self.leader == self.number:
            self.wait_for_leader()
        elif now >= self.deadline - 1e-6:
            self.ask_for_votes()
        self.after(max(self.deadline - now, 0.01), self.check_leader)

    def ask_for_votes(self) -> None:
        disk = self.disk
        self.leader = None
        disk.promised += 1
        self.votes = {self.number}
        self.become("candidate", disk.promised)
        self.wait_for_leader()
        for peer in self.peers:
            self.send(
                peer, READ, AsyncLeader.on_ask, self.number, disk.promised, disk.epoch,
                len(disk.log),
            )  # fmt: skip
        self.count_votes()

    def on_ask(self, candidate: int, promise: int, epoch: int, held: int) -> None:
        disk = self.disk
        silent = self.clock() - self.heard >= self.scene.election_low_ms
        if (
            self.leader != self.number
            and silent
            and promise > disk.promised
            and (epoch, held) >= (disk.epoch, len(disk.log))
        ):
            disk.promised = promise
            self.wait_for_leader()
            self.send(candidate, RESPONSE, AsyncLeader.on_vote, self.number, promise)
        elif promise <= disk.promised:
            self.send(candidate, RESPONSE, AsyncLeader.on_refusal, disk.promised)

    def on_refusal(self, promised: int) -> None:
        self.disk.promised = max(self.disk.promised, promised)

    def on_vote(self, voter: int, promise: int) -> None:
        if self.leader is None and promise == self.disk.promised:
            self.votes.add(voter)
            self.count_votes()

    def count_votes(self) -> None:
        if 2 * len(self.votes) > self.scene.nodes:
            self.lead(self.disk.promised)

    def lead(self, epoch: int) -> None:
        self.disk.epoch = self.disk.promised = epoch
        self.leader = self.number
        self.acked = {}
        self.become("leader", epoch)
        self.heartbeat(epoch)

    def heartbeat(self, epoch: int) -> None:
        if self.leader == self.number and self.disk.epoch == epoch:
            for peer in self.peers:
                self.replicate(peer)
            self.after(self.scene.heartbeat_ms, self.heartbeat, epoch)
