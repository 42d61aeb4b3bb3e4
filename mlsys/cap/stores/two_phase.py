"""Two-phase commit (Gray 1978; Bernstein, Hadzilacos and Goodman, chapter 7): all nodes or none.

Every write is a transaction over all nodes. Its coordinator, the client's own node, asks everyone
to prepare: to lock the key and to promise, on disk, to do as told. If all say yes it writes its
decision down and tells them; one no, or silence for `VOTE_MS`, and it tells them to abort. A node
that has promised is **blocked** until it hears the decision: it can neither commit nor abort alone,
so a coordinator that crashes in between leaves the key locked everywhere until it is back.

A node answers reads itself, and lets them wait while the key is locked; so reads are linearizable
while disks last. A node that lost its disk forgets its promises: then all bets are off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlsys.cap.network import READ, RESPONSE, WRITE
from mlsys.cap.stores.replica import Replica, execute, written

if TYPE_CHECKING:
    from mlsys.cap.clients import Request

VOTE_MS = 150.0
INQUIRE_MS = 100.0

Ident = tuple[int, int]  # (coordinator, its running number): the name of a transaction


class Disk:
    """Data, promises and decisions; `prepared` maps a key to the transaction that locks it."""

    __slots__ = ("decisions", "finished", "log", "number", "prepared", "state")

    def __init__(self) -> None:
        self.number = 0
        self.state: dict[str, Any] = {}
        self.log: list[tuple] = []
        self.prepared: dict[str, tuple[Ident, tuple]] = {}
        self.decisions: dict[Ident, bool] = {}  # as coordinator; no decision means abort
        self.finished: dict[Ident, bool] = {}  # as participant


class TwoPhase(Replica):
    __slots__ = ("open", "waiting")

    def __init__(self, cluster, number: int, disk: Disk) -> None:
        super().__init__(cluster, number, disk)
        self.open: dict[Ident, tuple[Request, tuple, set[int]]] = {}  # as coordinator: the votes
        self.waiting: dict[str, list[Request]] = {}  # reads of locked keys

    @classmethod
    def blank_disk(cls) -> Disk:
        return Disk()

    def start(self) -> None:
        self.show()
        self.after(INQUIRE_MS, self.inquire)

    def show(self) -> None:
        self.become("prepared" if self.disk.prepared else "ready")

    def view(self) -> dict[str, Any]:
        return dict(self.disk.state)

    def trail(self) -> list[Any]:
        return [written(f, value) for f, _, value in self.disk.log]

    def on_request(self, request: Request) -> None:
        if request.f == "read":
            self.read(request)
        else:
            self.begin(request)

    def read(self, request: Request) -> None:
        if request.key in self.disk.prepared:
            self.waiting.setdefault(request.key, []).append(request)
        else:
            self.answer(request, "ok", self.disk.state.get(request.key))

    # The coordinator

    def begin(self, request: Request) -> None:
        self.disk.number += 1
        ident = (self.number, self.disk.number)
        entry = (request.f, request.key, request.value)
        self.open[ident] = (request, entry, set())
        for node in range(self.scene.nodes):
            self.send(node, WRITE, TwoPhase.on_prepare, ident, entry)
        self.after(VOTE_MS, self.decide, ident, False, "not everyone voted in time")

    def on_vote(self, voter: int, ident: Ident, yes: bool, why: str) -> None:
        if ident not in self.open:
            return
        votes = self.open[ident][2]
        votes.add(voter)
        if not yes:
            self.decide(ident, False, why)
        elif len(votes) == self.scene.nodes:
            self.decide(ident, True, "")

    def decide(self, ident: Ident, commit: bool, why: str) -> None:
        if ident not in self.open:
            return
        request, entry, _ = self.open.pop(ident)
        if commit:
            self.disk.decisions[ident] = True  # from here on it has happened
        for node in range(self.scene.nodes):
            self.send(node, WRITE, TwoPhase.on_decision, ident, entry, commit)
        self.answer(request, "ok" if commit else "fail", request.value, why)

    def on_inquiry(self, node: int, ident: Ident, entry: tuple) -> None:
        """A blocked participant asks. What is neither open nor decided was aborted by a crash."""
        if ident not in self.open:
            commit = self.disk.decisions.get(ident, False)
            self.send(node, RESPONSE, TwoPhase.on_decision, ident, entry, commit)

    # The participant

    def on_prepare(self, ident: Ident, entry: tuple) -> None:
        disk, (f, key, value) = self.disk, entry
        if ident in disk.finished:
            return  # the abort overtook the question
        if key in disk.prepared:
            yes, why = disk.prepared[key][0] == ident, "another transaction holds the key"
        elif f == "cas" and disk.state.get(key) != value[0]:
            yes, why = False, "mismatch"
        else:
            yes, why = True, ""
            disk.prepared[key] = (ident, entry)
            self.show()
        self.send(ident[0], RESPONSE, TwoPhase.on_vote, self.number, ident, yes, why)

    def on_decision(self, ident: Ident, entry: tuple, commit: bool) -> None:
        disk = self.disk
        if ident in disk.finished:
            return
        disk.finished[ident] = commit
        if commit:
            execute(disk.state, *entry)
            disk.log.append(entry)
        key = entry[1]
        if disk.prepared.get(key, (None,))[0] == ident:
            del disk.prepared[key]
            self.show()
            for request in self.waiting.pop(key, []):
                self.read(request)

    def inquire(self) -> None:
        """Ask the coordinators of whatever still binds this node."""
        for ident, entry in list(self.disk.prepared.values()):
            self.send(ident[0], READ, TwoPhase.on_inquiry, self.number, ident, entry)
        self.after(INQUIRE_MS, self.inquire)
