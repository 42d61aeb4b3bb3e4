"""The clients: who asks what and when, how long they wait, and the history they leave.

A closed-loop client asks, waits for the answer, thinks, asks again. An open-loop client asks at
random instants (Poisson) whether or not it was answered, as the public does. A read that is not
answered in time failed; a write is `info`: it may have happened, or happen yet. As in Jepsen the
process that got `info` is retired and the client goes on under its number plus that of clients.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from mlsys.cap.history import Event, History
from mlsys.cap.latency import Exponential

if TYPE_CHECKING:
    from mlsys.cap.cluster import Cluster

# A client and its node stand in one rack: an answer takes this long from node to client.
CLIENT_MS = 0.1


class Request:
    """One operation under way; `context` is what its client saw last of the key (vector clocks)."""

    __slots__ = ("client", "context", "done", "f", "invoked", "key", "process", "site", "value")

    def __init__(self, client, process, site, f, key, value, context, invoked) -> None:
        self.client = client
        self.process = process
        self.site = site
        self.f = f
        self.key = key
        self.value = value
        self.context = context
        self.invoked = invoked
        self.done = False


class Clients:
    """All clients of a run; deterministic given the simulation's generator."""

    __slots__ = (
        "_closed", "_cluster", "_contexts", "_free", "_keys", "_last_value", "_pause", "_retired",
        "_rng", "_scene", "_seen", "_simulation", "_sites", "_until", "_waiting", "_watching",
        "_write", "asked", "events",
    )  # fmt: skip

    def __init__(self, cluster: Cluster) -> None:
        scene = cluster.scene
        self._cluster = cluster
        self._scene = scene
        self._simulation = cluster.simulation
        self._rng = cluster.simulation.rng
        self._until = scene.duration_ms
        self._closed = scene.loop == "closed"
        pause = scene.think_ms if self._closed else 1000.0 / scene.rate
        self._pause = Exponential(1.0 / pause).drawer(self._rng) if pause else float
        self._keys = [f"k{i}" for i in range(scene.keys)]
        plain = "append" if scene.workload == "append" else "write"
        self._write = plain if scene.conflict in ("lww", "vector") else ""  # else: counter or set
        self._sites = [scene.site(client) for client in range(scene.clients)]
        self._free: list[list[int]] = [[client] for client in range(scene.clients)]
        self._retired = list(range(scene.clients))
        self._seen: list[dict[str, Any]] = [{} for _ in range(scene.clients)]
        self._contexts: list[dict[str, Any]] = [{} for _ in range(scene.clients)]
        self._last_value = 0
        self._waiting: deque[Request] = deque()
        self._watching = False
        self.asked = 0
        self.events: list[tuple] = []

    def start(self) -> None:
        for client in range(self._scene.clients):
            self._simulation.call(self._pause(), self._ask, client)

    def _ask(self, client: int) -> None:
        now = self._simulation.now
        if now >= self._until or self.asked >= self._scene.operations:
            return
        self.asked += 1
        free = self._free[client]
        process = free.pop() if free else self._next_process(client)
        f, key, value = self._choose(client)
        request = Request(
            client, process, self._sites[client], f, key, value,
            self._contexts[client].get(key), now,
        )  # fmt: skip
        self.events.append((now, process, "invoke", f, key, value, ""))
        self._waiting.append(request)
        if not self._watching:
            self._watching = True
            self._simulation.call(self._scene.timeout_ms, self._watch)
        self._cluster.ask(request)
        if not self._closed:
            self._simulation.call(self._pause(), self._ask, client)

    def _choose(self, client: int) -> tuple[str, str, Any]:
        scene, keys = self._scene, self._keys
        key = keys[0] if len(keys) == 1 else self._rng.choice(keys)
        dice = self._rng.random()
        if dice < scene.read_share:
            return "read", key, None
        self._last_value += 1
        new = self._last_value
        if dice < scene.read_share + scene.cas_share:
            return "cas", key, (self._seen[client].get(key), new)
        if self._write:
            return self._write, key, new
        match scene.conflict:
            case "g-counter":
                return "add", key, 1
            case "pn-counter":
                return "add", key, 1 if self._rng.random() < 0.5 else -1
            case "or-set" if new > 3 and self._rng.random() < 0.3:
                return "remove", key, self._rng.randrange(1, new)
            case _:
                return "add", key, new

    def complete(self, request: Request, kind: str, value: Any, note: str) -> None:
        """The outcome reaches the client, unless it has given up before."""
        if request.done:
            return
        request.done = True
        f, client = request.f, request.client
        time = self._simulation.now + CLIENT_MS
        if kind == "ok":
            if f == "read":
                self._seen[client][request.key] = value
            else:
                value = request.value
                if f == "write":
                    self._seen[client][request.key] = value
                elif f == "cas":
                    self._seen[client][request.key] = value[1]
        else:
            value = request.value
        self.events.append((time, request.process, kind, f, request.key, value, note))
        if self._closed:
            if kind != "info":
                self._free[client].append(request.process)
            self._simulation.call(CLIENT_MS + self._pause(), self._ask, client)
        elif kind != "info":  # free when the answer is there, not before
            self._simulation.call(CLIENT_MS, self._free[client].append, request.process)

    def saw_context(self, request: Request, context: Any) -> None:
        """Remember which versions this client has seen, for its next write of that key."""
        self._contexts[request.client][request.key] = context

    def _next_process(self, client: int) -> int:
        self._retired[client] += self._scene.clients
        return self._retired[client]

    def _watch(self) -> None:
        """Give up on those who waited too long; the oldest stand first, so one timer will do."""
        waiting, now = self._waiting, self._simulation.now
        while waiting:
            due = waiting[0].invoked + self._scene.timeout_ms
            if waiting[0].done:
                waiting.popleft()
            elif due <= now + 1e-6:
                request = waiting.popleft()
                kind = "fail" if request.f == "read" else "info"
                self.complete(request, kind, None, "timed out")
            else:
                self._simulation.call(due - now, self._watch)
                return
        self._watching = False

    def history(self) -> History:
        """All events in order of time, to the nanosecond as EDN keeps it; ties as recorded."""
        whole_ns = (Event(round(e[0], 6), *e[1:]) for e in sorted(self.events, key=_time))
        return History(tuple(whole_ns))


def _time(event: tuple) -> float:
    return event[0]
