"""A single leader that answers a write when a majority has it on disk. No failover.

Node 0 leads for ever: it gives every write its place in the log, sends it to all, and says ok when
a majority holds it. Nothing acknowledged is lost and reads at the leader are linearizable; the
price is that nobody writes while the leader is cut off or down. `leader_async` chose the other
way; `raft` shows how to have both back after an election.

Reads go to the `leader`, or are `local` and may be stale. A leader that restarts serves only when
a majority holds its whole log again; one that lost its disk first fetches the longest log of as
many followers as make sure that one of them has every acknowledged write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlsys.cap.network import ACK, READ, RESPONSE, WRITE
from mlsys.cap.stores.replica import Replica, execute, written

if TYPE_CHECKING:
    from mlsys.cap.clients import Request

BATCH = 256
LEADER = 0


class Disk:
    """The log, and whether this disk ever belonged to the running cluster."""

    __slots__ = ("known", "log")

    def __init__(self) -> None:
        self.known = False
        self.log: list[tuple] = []


class SyncLeader(Replica):
    __slots__ = ("acked", "applied", "commit", "fetched", "must_reach", "pending", "state")

    def __init__(self, cluster, number: int, disk: Disk) -> None:
        super().__init__(cluster, number, disk)
        self.state: dict[str, Any] = {}
        self.commit = self.applied = 0
        self.acked = dict.fromkeys(self.peers, 0)
        self.pending: dict[int, Request] = {}
        self.must_reach = len(disk.log)  # before this is committed again, reads could be stale
        self.fetched: dict[int, list] | None = None

    @classmethod
    def blank_disk(cls) -> Disk:
        return Disk()

    def start(self) -> None:
        if self.number != LEADER:
            self.become("follower")
            return
        if not self.disk.known and self.simulation.now > 0:
            self.fetched = {}  # a new disk in a running cluster: ask the others first
        self.disk.known = True
        self.become("leader")
        self.tick()

    def view(self) -> dict[str, Any]:
        return dict(self.state)

    def trail(self) -> list[Any]:
        return [written(f, value) for f, _, value in self.disk.log[: self.commit] if f != "read"]

    def on_request(self, request: Request) -> None:
        if request.f == "read" and self.scene.how_to_read == "local":
            self.answer(request, "ok", self.state.get(request.key))
        elif self.number == LEADER:
            self.on_forward(request)
        else:
            self.send(LEADER, READ, SyncLeader.on_forward, request)

    def on_forward(self, request: Request) -> None:
        if self.fetched is not None or self.commit < self.must_reach:
            self.answer(request, "fail", note="the leader is recovering")
        elif request.f == "read":
            self.answer(request, "ok", self.state.get(request.key))
        else:
            self.disk.log.append((request.f, request.key, request.value))
            self.pending[len(self.disk.log)] = request
            for peer in self.peers:
                self.replicate(peer)
            self.advance_commit()

    def tick(self) -> None:
        for peer in self.peers:
            if self.fetched is None:
                self.replicate(peer)
            else:
                self.send(peer, READ, SyncLeader.on_fetch)
        self.after(self.scene.heartbeat_ms, self.tick)

    def replicate(self, peer: int) -> None:
        start = self.acked[peer]
        entries = self.disk.log[start : start + BATCH]
        self.send(
            peer, WRITE if entries else READ, SyncLeader.on_replicate, start, entries, self.commit
        )

    def on_replicate(self, start: int, entries: list, commit: int) -> None:
        log = self.disk.log
        if start <= len(log):
            log.extend(entries[len(log) - start :])
        self.commit = max(self.commit, min(commit, len(log)))
        self.apply()
        self.send(LEADER, ACK, SyncLeader.on_replicated, self.number, len(log))

    def on_replicated(self, follower: int, held: int) -> None:
        if held < self.acked[follower]:
            self.acked[follower] = held  # it lost its disk, or an older answer overtook: resend
        elif held > self.acked[follower] and held <= len(self.disk.log):
            self.acked[follower] = held
            self.advance_commit()
            if held + BATCH < len(self.disk.log):
                self.replicate(follower)

    def advance_commit(self) -> None:
        held = sorted([len(self.disk.log), *self.acked.values()], reverse=True)
        self.commit = max(self.commit, held[self.scene.nodes // 2])
        self.apply()

    def apply(self) -> None:
        while self.applied < self.commit:
            entry = self.disk.log[self.applied]
            kind, result = execute(self.state, *entry)
            self.applied += 1
            request = self.pending.pop(self.applied, None)
            if request is not None:
                self.answer(request, kind, result, "mismatch" if kind == "fail" else "")

    # A leader with a new disk

    def on_fetch(self) -> None:
        self.send(LEADER, RESPONSE, SyncLeader.on_fetched, self.number, list(self.disk.log))

    def on_fetched(self, follower: int, log: list) -> None:
        if self.fetched is None:
            return
        self.fetched[follower] = log
        if len(self.fetched) >= self.scene.nodes - self.scene.nodes // 2:
            self.disk.log = max(self.fetched.values(), key=len)
            self.must_reach = len(self.disk.log)
            self.fetched = None
            self.tick_once_recovered()

    def tick_once_recovered(self) -> None:
        for peer in self.peers:
            self.replicate(peer)
