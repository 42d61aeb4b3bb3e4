"""Raft, after Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014).

The rules of the paper's figure 2, with section numbers beside them. Every operation that changes
something goes through the log. Reads can be done three ways:

- `log`: the read is an entry of the log like any other, and always right;
- `lease`: the leader answers at once while it holds a lease from a majority (Ongaro's thesis,
  section 6.4.1), right only as long as clocks run at about the same rate;
- `local`: the client's own node answers from what it has applied, so it may be stale.

Log indices start at 1, as in the paper; `log[0]` is a sentinel of term 0. An entry is a tuple
(term, f, key, value). A new leader appends an empty entry (section 8), which makes the entries
before it committable. Not here: snapshots, membership changes, retries of a client's request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlsys.cap.network import ACK, READ, RESPONSE, WRITE
from mlsys.cap.stores.replica import Replica, execute, written

if TYPE_CHECKING:
    from mlsys.cap.clients import Request

BATCH = 256  # entries in one message
NEVER = float("-inf")


class Disk:
    """What must survive a crash (figure 2, "persistent state on all servers")."""

    __slots__ = ("log", "term", "vote")

    def __init__(self) -> None:
        self.term = 0
        self.vote: int | None = None
        self.log: list[tuple] = [(0, "empty", None, None)]


class Raft(Replica):
    __slots__ = (
        "acked_at", "applied", "commit", "deadline", "granted", "heard", "leader", "match", "next",
        "pending", "role", "state",
    )  # fmt: skip

    def __init__(self, cluster, number: int, disk: Disk) -> None:
        super().__init__(cluster, number, disk)
        self.role = "follower"
        self.leader: int | None = None
        self.commit = self.applied = 0
        self.state: dict[str, Any] = {}
        self.pending: dict[int, tuple[int, Request]] = {}  # index -> (term, who waits for it)
        self.granted: set[int] = set()
        self.next: dict[int, int] = {}
        self.match: dict[int, int] = {}
        self.acked_at: dict[int, float] = {}  # when each follower's last acked append was sent
        # A restarted node may have promised not to vote for a while; a new cluster has not.
        self.heard = self.clock() if self.simulation.now > 0 else NEVER
        self.deadline = 0.0

    @classmethod
    def blank_disk(cls) -> Disk:
        return Disk()

    def start(self) -> None:
        self.become("follower", self.disk.term)
        self.reset_election_timer()
        if self.number == 0 and self.simulation.now == 0:
            self.deadline = self.clock()  # node 0 stands at once, so that all runs begin alike
        self.after(self.deadline - self.clock(), self.check_election_timer)

    def view(self) -> dict[str, Any]:
        return dict(self.state)

    def trail(self) -> list[Any]:
        return [
            written(f, value) for _, f, _, value in self.disk.log if f in ("write", "append", "cas")
        ]

    # Elections (5.2)

    def reset_election_timer(self) -> None:
        scene = self.scene
        wait = self.simulation.rng.uniform(scene.election_low_ms, scene.election_high_ms)
        self.deadline = self.clock() + wait

    def check_election_timer(self) -> None:
        now = self.clock()
        if self.role == "leader":
            self.reset_election_timer()
        elif now >= self.deadline - 1e-6:
            self.start_election()
        self.after(max(self.deadline - now, 0.01), self.check_election_timer)

    def start_election(self) -> None:
        disk = self.disk
        disk.term += 1
        disk.vote = self.number
        self.role, self.leader, self.granted = "candidate", None, {self.number}
        self.become("candidate", disk.term)
        self.reset_election_timer()
        last = len(disk.log) - 1
        for peer in self.peers:
            self.send(
                peer, READ, Raft.on_request_vote, self.number, disk.term, last, disk.log[last][0]
            )
        self.count_votes()

    def on_request_vote(self, candidate: int, term: int, last: int, last_term: int) -> None:
        disk = self.disk
        # Who heard a leader within the shortest time-out does not let it be deposed (thesis 4.2.3);
        # a lease rests on this promise.
        if self.role == "leader" or self.clock() - self.heard < self.scene.election_low_ms:
            if term > disk.term:
                return
        elif term > disk.term:
            self.step_down(term)
        mine = (disk.log[-1][0], len(disk.log) - 1)
        grant = (
            term == disk.term
            and disk.vote in (None, candidate)
            and (last_term, last) >= mine  # the candidate's log is at least as up to date (5.4.1)
        )
        if grant:
            disk.vote = candidate
            self.reset_election_timer()
        self.send(candidate, RESPONSE, Raft.on_vote, self.number, disk.term, grant)

    def on_vote(self, voter: int, term: int, granted: bool) -> None:
        if term > self.disk.term:
            self.step_down(term)
        elif granted and term == self.disk.term and self.role == "candidate":
            self.granted.add(voter)
            self.count_votes()

    def count_votes(self) -> None:
        if 2 * len(self.granted) > self.scene.nodes:
            self.become_leader()

    def become_leader(self) -> None:
        disk = self.disk
        self.role, self.leader = "leader", self.number
        self.become("leader", disk.term)
        self.next = dict.fromkeys(self.peers, len(disk.log))
        self.match = dict.fromkeys(self.peers, 0)
        self.acked_at = dict.fromkeys(self.peers, NEVER)
        self.heard = self.clock()
        disk.log.append((disk.term, "empty", None, None))
        self.heartbeat(disk.term)
        self.advance_commit()

    def step_down(self, term: int) -> None:
        if term > self.disk.term:
            self.disk.term, self.disk.vote = term, None
        if self.role != "follower":
            self.role, self.leader = "follower", None
            self.reset_election_timer()
        self.become("follower", self.disk.term)

    # Log replication (5.3)

    def on_request(self, request: Request) -> None:
        if request.f == "read" and self.scene.how_to_read == "local":
            self.answer(request, "ok", self.state.get(request.key))
        elif self.role == "leader":
            self.on_forward(request)
        elif self.leader is not None:
            self.send(self.leader, READ, Raft.on_forward, request)
        else:
            self.answer(request, "fail", note="no leader known")

    def on_forward(self, request: Request) -> None:
        disk = self.disk
        if self.role != "leader":
            self.answer(request, "fail", note=f"node {self.number} is not the leader")
        elif request.f == "read" and self.scene.how_to_read == "lease" and self.holds_lease():
            self.answer(request, "ok", self.state.get(request.key), f"lease of {self.number}")
        else:
            disk.log.append((disk.term, request.f, request.key, request.value))
            self.pending[len(disk.log) - 1] = (disk.term, request)
            self.replicate()
            self.advance_commit()

    def heartbeat(self, term: int) -> None:
        if self.role != "leader" or self.disk.term != term:
            return
        if self.clock() - self.majority_heard() > self.scene.election_high_ms:
            self.step_down(term)  # nobody follows any more (thesis 6.2)
            return
        self.replicate()
        self.after(self.scene.heartbeat_ms, self.heartbeat, term)

    def replicate(self) -> None:
        for peer in self.peers:
            self.send_append(peer)

    def send_append(self, peer: int) -> None:
        disk, start = self.disk, self.next[peer]
        entries = disk.log[start : start + BATCH]
        self.send(
            peer, WRITE if entries else READ, Raft.on_append, self.number, disk.term, start - 1,
            disk.log[start - 1][0], entries, self.commit, self.clock(),
        )  # fmt: skip

    def on_append(self, leader, term, before, before_term, entries, commit, sent_at) -> None:
        disk = self.disk
        if term < disk.term:
            self.send(leader, ACK, Raft.on_appended, self.number, disk.term, False, 0, sent_at)
            return
        self.step_down(term)
        self.leader = leader
        self.heard = self.clock()
        self.reset_election_timer()
        log = disk.log
        if before >= len(log) or log[before][0] != before_term:
            # Do not agree yet: say how far the leader may have to go back.
            hint = min(before, len(log)) - 1
            while hint > self.commit and before < len(log) and log[hint][0] == log[before][0]:
                hint -= 1
            self.send(
                leader, ACK, Raft.on_appended, self.number, term, False, max(hint, 0), sent_at
            )
            return
        for index, entry in enumerate(entries, before + 1):
            if index < len(log) and log[index][0] != entry[0]:
                del log[index:]  # an entry of another term is not the leader's (5.3)
            if index >= len(log):
                log.append(entry)
        held = before + len(entries)
        self.commit = max(self.commit, min(commit, held))
        self.apply()
        self.send(leader, ACK, Raft.on_appended, self.number, term, True, held, sent_at)

    def on_appended(self, follower, term, agreed, index, sent_at) -> None:
        if term > self.disk.term:
            self.step_down(term)
        if self.role != "leader" or term != self.disk.term:
            return
        self.acked_at[follower] = max(self.acked_at[follower], sent_at)
        if not agreed:
            self.next[follower] = index + 1
            self.send_append(follower)
            return
        self.next[follower] = max(self.next[follower], index + 1)
        if index > self.match[follower]:
            self.match[follower] = index
            self.advance_commit()
            if index + BATCH < len(self.disk.log):
                self.send_append(follower)

    def advance_commit(self) -> None:
        """Commit what a majority holds, counting only entries of this term (5.4.2)."""
        held = sorted([len(self.disk.log) - 1, *self.match.values()], reverse=True)
        index = held[self.scene.nodes // 2]
        if index > self.commit and self.disk.log[index][0] == self.disk.term:
            self.commit = index
            self.apply()

    def apply(self) -> None:
        log = self.disk.log
        while self.applied < self.commit:
            self.applied += 1
            term, f, key, value = log[self.applied]
            if f != "empty":
                kind, result = execute(self.state, f, key, value)
                asked_in, request = self.pending.pop(self.applied, (0, None))
                if request is not None and asked_in == term:
                    self.answer(request, kind, result, "mismatch" if kind == "fail" else "")

    # The lease (thesis 6.4.1)

    def majority_heard(self) -> float:
        """By this leader's clock: when it sent what a majority (itself one) has acknowledged."""
        times = sorted([self.clock(), *self.acked_at.values()], reverse=True)
        return max(times[self.scene.nodes // 2], self.heard)

    def holds_lease(self) -> bool:
        since = sorted([self.clock(), *self.acked_at.values()], reverse=True)[self.scene.nodes // 2]
        own_term = self.disk.log[self.applied][0] == self.disk.term
        return own_term and self.clock() < since + self.scene.election_low_ms
