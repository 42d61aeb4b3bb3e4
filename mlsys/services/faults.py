"""Faults between two processes: a proxy on this machine whose link can be slowed, cut and healed.

`proxy(target_port)` listens on a port of its own and passes on what comes to the target and back.
It runs in a thread of its own, so a notebook's cell can be busy while it works. What each fault
means for TCP, which promises to deliver in order, and for UDP, which promises nothing, is said at
each method of `Link`. The pumping of TCP is in `fault_streams`, of UDP in `fault_datagrams`.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from mlsys.services.errors import ServiceError
from mlsys.services.process import HOST
from mlsys.services.server import as_table

Direction = Literal["to_target", "to_client"]
DIRECTIONS: tuple[Direction, Direction] = ("to_target", "to_client")
SEGMENT = 1448  # bytes: an Ethernet frame's 1,500 less the headers of IP and TCP with timestamps


@dataclass(frozen=True)
class Faults:
    """What is wrong with one direction now; times in s, bandwidth in bytes/s."""

    delay: float = 0.0
    jitter: float = 0.0
    bandwidth: float = math.inf
    loss: float = 0.0
    corrupt: float = 0.0
    cut: bool = False


@dataclass
class Counts:
    """What has passed in one direction so far."""

    taken: int = 0  # bytes that its sender has handed over, delivered or not
    bytes: int = 0  # delivered
    lost: int = 0  # TCP: segments sent again; UDP: datagrams dropped
    corrupted: int = 0


@dataclass
class Fate:
    """The dice of one flow: the n-th segment or datagram meets the same fate at the same seed."""

    seed: str
    dice: Random = field(init=False)
    jitter: Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)
        self.jitter = Random(f"{self.seed}/jitter")

    def next(self, faults: Faults) -> tuple[int, bool]:
        """How often the next packet is lost in a row, and whether it arrives corrupted.

        Always two throws, so that a setting changed on the way leaves later fates alone.
        """
        u, v = self.dice.random(), self.dice.random()
        if faults.loss >= 1:
            losses = 1_000
        else:  # geometric by inversion
            losses = int(math.log(u) / math.log(faults.loss)) if 0 < u < faults.loss else 0
        return losses, v < faults.corrupt

    def late(self, faults: Faults) -> float:
        """One-way delay of the next packet, s."""
        return max(0.0, faults.delay + self.jitter.uniform(-1, 1) * faults.jitter)

    def flip_bit(self, data: bytearray, start: int, stop: int) -> None:
        data[self.jitter.randrange(start, stop)] ^= 1 << self.jitter.randrange(8)


class Link:
    """The proxy's controls; each may be used at any time, from any thread.

    `direction` is "both", "to_target" or "to_client". Every setting stays until it is changed or
    `heal()` takes all away.
    """

    def __init__(self, target: tuple[str, int], *, udp: bool, seed: int) -> None:
        self.target = target
        self.udp = udp
        self.seed = seed
        self.host = HOST
        self.port = 0
        self.connections = 0  # ever opened (UDP: client addresses seen)
        self.counts: dict[Direction, Counts] = {each: Counts() for each in DIRECTIONS}
        self._faults: dict[Direction, Faults] = {each: Faults() for each in DIRECTIONS}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        # in the loop's thread: set while the direction is not cut; aborters of open connections
        self.open: dict[Direction, asyncio.Event] = {}
        self.abort: dict[int, object] = {}

    def faults(self, direction: Direction) -> Faults:
        return self._faults[direction]

    def delay(self, ms: float, *, jitter: float = 0.0, direction: str = "both") -> None:
        """Deliver `ms` later, give or take up to `jitter` ms (uniform).

        TCP stays in order, so a late piece holds up those behind it; datagrams may overtake.
        Opening a connection is not delayed, only what is sent on it.
        """
        if ms < 0 or jitter < 0:
            raise ServiceError(
                f"A delay of {ms} ms with jitter {jitter} ms is no delay; give >= 0."
            )
        self._set(direction, delay=ms / 1000, jitter=jitter / 1000)

    def bandwidth(self, bytes_per_s: float, *, direction: str = "both") -> None:
        """Pass at most so many bytes a second, for all connections together (math.inf: no limit).

        TCP's senders feel it as back-pressure; datagrams queue for at most half a second, then
        they are dropped and counted as lost.
        """
        if not bytes_per_s > 0:
            raise ServiceError(f"A bandwidth of {bytes_per_s} bytes/s passes nothing; use cut().")
        self._set(direction, bandwidth=bytes_per_s)

    def loss(self, share: float, *, direction: str = "both") -> None:
        """Lose this share of packets, each on its own.

        UDP: the datagram is gone. TCP repairs loss, so what its user sees is time: what is sent at
        once travels in segments of up to 1,448 bytes, and a lost one is sent again. With later
        bytes behind it that takes one round trip (fast retransmit, RFC 5681 section 3.2); the last
        of a burst waits for the timer, 200 ms (Linux's least), doubled each time (RFC 6298 section
        5.5). After eight losses in a row the connection is reset. The shrinking of the congestion
        window is not modelled: real TCP loses more throughput than this.
        """
        self._set(direction, loss=_share(share))

    def corrupt(self, share: float, *, direction: str = "both") -> None:
        """Flip one bit in this share of segments (TCP) or datagrams (UDP).

        This is what gets past TCP's 16-bit checksum in life (Stone and Partridge, SIGCOMM 2000).
        """
        self._set(direction, corrupt=_share(share))

    def cut(self, direction: str = "both") -> None:
        """A black hole: nothing arrives and nobody is told, as when a cable is pulled.

        Open connections stay open and silent; new ones are accepted and stay silent. TCP's bytes
        arrive after `heal()`, as its retransmissions would bring them; datagrams are lost.
        """
        self._set(direction, cut=True)

    def close_connections(self) -> None:
        """Reset every open connection (TCP RST), as a dying host or a firewall does."""
        self._in_loop(lambda: [abort() for abort in list(self.abort.values())])

    def heal(self) -> None:
        """Take every fault away, in both directions."""
        with self._lock:
            self._faults = {each: Faults() for each in DIRECTIONS}
        self._in_loop(self.apply_cuts)

    def _set(self, direction: str, **changes: float | bool) -> None:
        if direction not in (*DIRECTIONS, "both"):
            raise ServiceError(f"{direction!r} is no direction; use both, to_target or to_client.")
        with self._lock:
            for each in DIRECTIONS if direction == "both" else (direction,):
                self._faults = {**self._faults, each: replace(self._faults[each], **changes)}
        self._in_loop(self.apply_cuts)

    def apply_cuts(self) -> None:
        for direction, event in self.open.items():
            if self._faults[direction].cut:
                event.clear()
            else:
                event.set()

    def _in_loop(self, action) -> None:
        """Do it in the proxy's thread, and wait until it is done there."""
        if self._loop is None or self._loop.is_closed():
            raise ServiceError(f"The link to port {self.target[1]} is closed.")
        done = threading.Event()

        def act() -> None:
            try:
                action()
            finally:
                done.set()

        self._loop.call_soon_threadsafe(act)
        if not done.wait(30):
            raise ServiceError(f"The link to port {self.target[1]} did not take the change.")

    def facts(self) -> dict[str, str]:
        """The rows of the small table, as text."""
        rows = {"link": f"{self.host}:{self.port} to {self.target[0]}:{self.target[1]}"}
        rows["protocol"] = "UDP" if self.udp else f"TCP, {self.connections} connections so far"
        for direction in DIRECTIONS:
            counts, faults = self.counts[direction], self._faults[direction]
            rows[direction.replace("_", " ")] = (
                f"{counts.bytes:,} bytes, {counts.lost} lost, {counts.corrupted} corrupted;"
                f" {_describe(faults)}"
            )
        return rows

    def __repr__(self) -> str:
        return "<Link: " + ", ".join(f"{k} {v}" for k, v in self.facts().items()) + ">"

    def _repr_html_(self) -> str:
        return as_table("Fault proxy", self.facts())

    async def _serve(self, ready: threading.Event, stop: list) -> None:
        from mlsys.services import fault_datagrams, fault_streams

        self._loop = asyncio.get_running_loop()
        self.open = {each: asyncio.Event() for each in DIRECTIONS}
        self.apply_cuts()
        stop.append(asyncio.Event())
        listen = fault_datagrams.listen if self.udp else fault_streams.listen
        async with listen(self) as self.port:
            ready.set()
            await stop[0].wait()


@contextmanager
def proxy(target: int, *, host: str = HOST, udp: bool = False, seed: int = 0) -> Iterator[Link]:
    """A link to a port of this machine (or of `host`), perfect until told otherwise.

    Clients connect to `link.port` instead. The same seed gives the n-th segment of the n-th
    connection the same fate; the moments at which bytes come are the machine's.
    """
    link = Link((host, target), udp=udp, seed=seed)
    ready, stop, failure = threading.Event(), [], []

    def run() -> None:
        try:
            asyncio.run(link._serve(ready, stop))
        except Exception as error:  # told to the caller below, if it still waits
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name=f"proxy-to-{target}", daemon=True)
    thread.start()
    if not ready.wait(30) or failure:
        raise ServiceError(f"The proxy to port {target} did not start ({failure or 'no answer'}).")
    try:
        yield link
    finally:
        if thread.is_alive():
            link._loop.call_soon_threadsafe(stop[0].set)
            thread.join(30)


def _share(share: float) -> float:
    if not 0 <= share <= 1:
        raise ServiceError(f"{share} is no share; give a number from 0 to 1.")
    return float(share)


def _describe(faults: Faults) -> str:
    if faults.cut:
        return "cut"
    parts = []
    if faults.delay or faults.jitter:
        parts.append(f"{1000 * faults.delay:g} ± {1000 * faults.jitter:g} ms")
    if faults.bandwidth < math.inf:
        parts.append(f"{faults.bandwidth:,.0f} bytes/s")
    if faults.loss:
        parts.append(f"{faults.loss:.1%} lost")
    if faults.corrupt:
        parts.append(f"{faults.corrupt:.1%} corrupted")
    return ", ".join(parts) or "no fault"
