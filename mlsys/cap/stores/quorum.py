"""A Dynamo-style quorum store, after DeCandia and others, "Dynamo" (SOSP 2007), section 4.

Every key has N home nodes, found along a ring. Whichever node a client asks coordinates: a write
goes to all homes and is done when W acknowledged it, a read asks all and is done when R answered.
`conflict` says how two answers are joined (`mlsys.cap.stores.conflicts`). Three things bring the
homes together again: *read repair* sends what a read learnt to those who were behind, *hinted
handoff* has a stand-in keep a write for a home that did not answer (only with a *sloppy* quorum,
where stand-ins count towards R and W), and *gossip* between random pairs.

R + W > N makes a read meet the last finished write. It does not make the store linearizable: a
write under way may be seen by one reader and then missed by the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlsys.cap.network import ACK, READ, RESPONSE, WRITE
from mlsys.cap.stores.conflicts import RULES, Stamp
from mlsys.cap.stores.replica import Replica

if TYPE_CHECKING:
    from mlsys.cap.clients import Request
    from mlsys.cap.cluster import Cluster


class Disk:
    """The data, the hints kept for others by (home, key), and a counter that never repeats."""

    __slots__ = ("counter", "data", "hints")

    def __init__(self) -> None:
        self.counter = 0
        self.data: dict[str, Any] = {}
        self.hints: dict[tuple[int, str], Any] = {}


class Round:
    """One read or write on its way: how many must answer, and who did with what."""

    __slots__ = ("answers", "done", "need", "request", "state", "writing")

    def __init__(self, request: Request, need: int, state: Any, *, writing: bool) -> None:
        self.request = request
        self.need = need
        self.state = state  # a write's new state; a read's answers, joined
        self.writing = writing
        self.answers: dict[int, Any] = {}
        self.done = False


class Quorum(Replica):
    __slots__ = ("data", "homes", "merge", "rule", "stand_ins")

    def __init__(self, cluster, number: int, disk: Disk) -> None:
        super().__init__(cluster, number, disk)
        self.data = disk.data
        self.rule = RULES[self.scene.conflict]
        self.merge = self.rule.merge
        nodes = self.scene.nodes
        ring = {
            f"k{i}": [(i + step) % nodes for step in range(nodes)] for i in range(self.scene.keys)
        }
        n = self.scene.n  # the first N along the ring are a key's homes, the rest its stand-ins
        self.homes = {key: nodes[:n] for key, nodes in ring.items()}
        self.stand_ins = {key: nodes[n:] for key, nodes in ring.items()}

    @classmethod
    def blank_disk(cls) -> Disk:
        return Disk()

    def start(self) -> None:
        self.become("replica")
        scene = self.scene
        if scene.gossip_ms and self.peers:
            self.after(self.simulation.rng.uniform(0, scene.gossip_ms), self.gossip)
        if scene.sloppy:
            self.after(scene.handoff_ms, self.hand_off)

    def view(self) -> dict[str, Any]:
        return {key: self.rule.read(self.data[key]) for key in self.homes if key in self.data}

    @classmethod
    def agreed(cls, cluster: Cluster) -> bool:
        """Do the homes of every key hold the same of it?"""
        replicas = cluster.replicas
        return all(
            replicas[home].data.get(key) == replicas[homes[0]].data.get(key)
            for key, homes in replicas[0].homes.items()
            for home in homes[1:]
        )

    @classmethod
    def conclude(cls, cluster: Cluster) -> tuple[dict[str, Any], None]:
        """What a reader who asked every node would be told."""
        whole = cls(cluster, 0, Disk())
        for replica in cluster.replicas:
            for key, state in replica.data.items():
                whole.take(key, state)
        return whole.view(), None

    # The coordinator (4.5)

    def on_request(self, request: Request) -> None:
        if request.f in ("read", "cas"):
            self.start_read(request)
        else:
            self.start_write(request, request.value)

    def start_read(self, request: Request) -> None:
        homes, send = self.homes[request.key], self.send
        asked = Round(request, self.scene.r, None, writing=False)
        for home in homes:
            send(home, READ, Quorum.on_read, self.number, asked, request.key)
        if self.scene.sloppy:
            self.after(self.scene.hint_ms, self.ask_stand_ins, asked)

    def on_read(self, coordinator: int, asked: Round, key: str) -> None:
        self.send(coordinator, RESPONSE, Quorum.on_value, self.number, asked, self.data.get(key))

    def on_value(self, node: int, asked: Round, state: Any) -> None:
        answers = asked.answers
        answers[node] = state
        if state is not None:
            joined = asked.state
            asked.state = state if joined is None else self.merge(joined, state)
        if asked.done:
            if self.scene.read_repair:
                self.repair(asked)
        elif len(answers) >= asked.need:
            asked.done = True
            self.finish_read(asked)
            if self.scene.read_repair:
                self.repair(asked)

    def finish_read(self, asked: Round) -> None:
        request, state, rule = asked.request, asked.state, self.rule
        value = None if state is None else rule.read(state)
        if request.f == "cas":  # two rounds and no lock: two of these can both succeed
            if value != request.value[0]:
                self.answer(request, "fail", note="mismatch")
            elif not request.done:
                self.start_write(request, request.value[1])
            return
        if rule.seen_of is not None and state is not None:
            self.cluster.clients.saw_context(request, rule.seen_of(state))
        note = f"{len(state)} siblings" if isinstance(value, tuple) and rule.seen_of else ""
        self.answer(request, "ok", value, note)

    def repair(self, asked: Round) -> None:
        """Bring those who answered with less up to date (read repair, 5)."""
        best = asked.state
        for node, state in asked.answers.items():
            if state != best:
                asked.answers[node] = best
                self.send(node, WRITE, Quorum.on_repair, asked.request.key, best)

    def on_repair(self, key: str, state: Any) -> None:
        self.take(key, state)

    def start_write(self, request: Request, value: Any) -> None:
        disk, key = self.disk, request.key
        disk.counter += 1
        stamp = Stamp(self.number, disk.counter, self.simulation.clock(self.number))
        old = self.data.get(key)
        state = self.rule.update(old, stamp, request.f, value, request.context)
        if self.rule.local:
            self.data[key] = state  # what a node adds in its own name it must not forget
        homes, send = self.homes[key], self.send
        asked = Round(request, self.scene.w, state, writing=True)
        for home in homes:
            send(home, WRITE, Quorum.on_write, self.number, asked, key, state)
        if self.scene.sloppy:
            self.after(self.scene.hint_ms, self.ask_stand_ins, asked)

    def on_write(self, coordinator: int, asked: Round, key: str, state: Any) -> None:
        self.take(key, state)
        self.send(coordinator, ACK, Quorum.on_ack, self.number, asked)

    def take(self, key: str, state: Any) -> None:
        mine = self.data.get(key)
        self.data[key] = state if mine is None else self.merge(mine, state)

    def on_ack(self, node: int, asked: Round) -> None:
        answers = asked.answers
        answers[node] = None
        if not asked.done and len(answers) >= asked.need:
            asked.done = True
            self.answer(asked.request, "ok")

    # Sloppy quorum and hinted handoff (4.6)

    def ask_stand_ins(self, asked: Round) -> None:
        """Nobody answered for some homes: turn to as many of the next nodes on the ring."""
        if asked.done or asked.request.done:
            return
        key = asked.request.key
        silent = [home for home in self.homes[key] if home not in asked.answers]
        for home, node in zip(silent, self.stand_ins[key]):
            if asked.writing:
                self.send(node, WRITE, Quorum.on_hint, self.number, asked, home, key, asked.state)
            else:
                self.send(node, READ, Quorum.on_hint_read, self.number, asked, key)

    def on_hint(self, coordinator: int, asked: Round, home: int, key: str, state: Any) -> None:
        hints = self.disk.hints
        kept = hints.get((home, key))
        hints[home, key] = state if kept is None else self.merge(kept, state)
        self.send(coordinator, ACK, Quorum.on_ack, self.number, asked)

    def on_hint_read(self, coordinator: int, asked: Round, key: str) -> None:
        state = None
        for (_, kept_key), kept in self.disk.hints.items():
            if kept_key == key:
                state = kept if state is None else self.merge(state, kept)
        self.send(coordinator, RESPONSE, Quorum.on_value, self.number, asked, state)

    def hand_off(self) -> None:
        for (home, key), state in self.disk.hints.items():
            self.send(home, WRITE, Quorum.on_handed, self.number, key, state)
        self.after(self.scene.handoff_ms, self.hand_off)

    def on_handed(self, keeper: int, key: str, state: Any) -> None:
        self.take(key, state)
        self.send(keeper, ACK, Quorum.on_delivered, self.number, key, state)

    def on_delivered(self, home: int, key: str, state: Any) -> None:
        if self.disk.hints.get((home, key)) == state:
            del self.disk.hints[home, key]

    # Gossip (anti-entropy; Dynamo compares Merkle trees first, here states travel whole)

    def gossip(self) -> None:
        peer = self.simulation.rng.choice(self.peers)
        self.send(peer, WRITE, Quorum.on_gossip, self.number, self.shared_with(peer), True)
        self.after(self.scene.gossip_ms, self.gossip)

    def shared_with(self, peer: int) -> dict[str, Any]:
        """What this node holds of the keys that `peer` is a home of."""
        return {key: state for key, state in self.data.items() if peer in self.homes[key]}

    def on_gossip(self, peer: int, states: dict[str, Any], reply: bool) -> None:
        for key, state in states.items():
            self.take(key, state)
        if reply:
            self.send(peer, WRITE, Quorum.on_gossip, self.number, self.shared_with(peer), False)
