"""A cluster at work: the scene's nodes, links, clients and faults put together in one simulation.

It carries out the faults, keeps what a picture needs (who took itself for what, what was cut, who
was down, what each node would have told), and ends the run: when the load is over everything is
healed and restarted, and then it watches how long the nodes take to agree.
"""

from __future__ import annotations

from typing import Any

from mlsys.cap.clients import Clients, Request
from mlsys.cap.faults import (
    Crash,
    Fault,
    Heal,
    IsolateLeader,
    OneWay,
    Partition,
    Restart,
    Skew,
    Slow,
)
from mlsys.cap.latency import profile
from mlsys.cap.network import Network
from mlsys.cap.scenes import Scene
from mlsys.cap.simulation import Simulation
from mlsys.cap.stores import STORES

SAMPLES = 200  # pictures of the nodes' data a run
CHECK_MS = 10.0  # how often agreement is looked at once the load is over


class Cluster:
    """The running cluster; `play` plays the scene to its end."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.simulation = Simulation(scene.seed, scene.nodes)
        self.network = Network(
            self.simulation,
            profile(scene.latency),
            zones=scene.zones or range(scene.nodes),
            loss=scene.loss,
            keep=scene.keep_messages,
        )
        self.clients = Clients(self)
        self.store = STORES[scene.store]
        self.disks: list[Any] = [self.store.blank_disk() for _ in range(scene.nodes)]
        self.replicas = self.simulation.replicas
        self.shared: dict[str, Any] = {}  # what an outside master knows (chain replication)
        self.slow: dict[int, float] = {}
        self.roles: list[tuple[float, int, str, int]] = []
        self.links: list[tuple[float, tuple[tuple[int, int], ...], tuple[int, ...]]] = [
            (0.0, (), ())
        ]
        self.samples: list[tuple[float, tuple[Any, ...]]] = []
        self.role: list[tuple[str, int]] = [("", 0)] * scene.nodes
        self.quiet_ms = max([scene.duration_ms, *(fault.at for fault in scene.faults)])
        self.agreed_ms: float | None = None

    def play(self) -> None:
        """Run the load, then heal everything, then wait for `settle_ms`."""
        scene, simulation = self.scene, self.simulation
        self.boot()
        for one in sorted(scene.faults, key=lambda fault: fault.at):
            simulation.call(one.at, self.strike, one)
        self._sample()
        self.clients.start()
        simulation.call(self.quiet_ms, self._quieten)
        simulation.run(self.quiet_ms + scene.settle_ms)

    def boot(self) -> None:
        """Start every node; without `play` there are no clients, faults or ending."""
        for node in range(self.scene.nodes):
            self._begin(node)

    def ask(self, request: Request) -> None:
        """Hand a request to the client's own node; a node that is down refuses it at once."""
        replica = self.replicas[request.site]
        if replica is None:
            self.clients.complete(request, "fail", None, f"node {request.site} is down")
        else:
            replica.on_request(request)

    def note_role(self, node: int, role: str, term: int) -> None:
        if self.role[node] != (role, term):
            self.role[node] = (role, term)
            self.roles.append((self.simulation.now, node, role, term))

    def leader(self) -> int | None:
        """Who leads now: of those that think they do, the one with the newest term."""
        leading = [
            (term, node)
            for node, (role, term) in enumerate(self.role)
            if role in ("leader", "head")
        ]
        return max(leading)[1] if leading else None

    def strike(self, fault: Fault) -> None:
        """Carry out one fault now."""
        network, everyone = self.network, range(self.scene.nodes)
        match fault:
            case Partition(_, groups):
                for one in groups:
                    for other in groups:
                        if one is not other:
                            network.cut_between(one, other)
            case OneWay(_, sources, targets):
                network.cut_between(sources, targets)
            case IsolateLeader():
                leader = self.leader() or 0
                others = [node for node in everyone if node != leader]
                network.cut_between([leader], others)
                network.cut_between(others, [leader])
            case Crash(_, node):
                self._crash(node)
            case Restart(_, node, disk):
                self._restart(node, disk=disk)
            case Slow(_, node, factor):
                self.slow[node] = factor
                network.slow(node, factor)
            case Skew(_, node, ms, rate):
                self.simulation.skew(node, ms, rate)
            case Heal():
                self.slow.clear()
                network.heal()
        self.links.append((self.simulation.now, network.cuts(), tuple(self.slow)))

    def _begin(self, node: int) -> None:
        self.replicas[node] = replica = self.store(self, node, self.disks[node])
        replica.start()

    def _crash(self, node: int) -> None:
        if self.replicas[node] is not None:
            self.replicas[node] = None
            self.note_role(node, "down", 0)
            self.store.lost(self, node)

    def _restart(self, node: int, *, disk: bool) -> None:
        if self.replicas[node] is None:
            if not disk:
                self.disks[node] = self.store.blank_disk()
            self._begin(node)

    def _sample(self) -> None:
        views = tuple(r.view().get("k0") if r is not None else None for r in self.replicas)
        self.samples.append((self.simulation.now, views))
        self.simulation.call((self.quiet_ms + self.scene.settle_ms) / SAMPLES, self._sample)

    def _quieten(self) -> None:
        self.strike(Heal(self.simulation.now))
        for node in range(self.scene.nodes):
            self._restart(node, disk=True)
        self._look_for_agreement()

    def _look_for_agreement(self) -> None:
        if not self.store.agreed(self):
            self.agreed_ms = None
        elif self.agreed_ms is None:
            self.agreed_ms = self.simulation.now
        self.simulation.call(CHECK_MS, self._look_for_agreement)
