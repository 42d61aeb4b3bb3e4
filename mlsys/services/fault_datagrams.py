"""The fault proxy's UDP: each client address gets a socket of its own towards the target, and each
datagram is lost, corrupted, queued or delayed by itself. Settings and controls are
`mlsys.services.faults.Link`'s.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mlsys.services.faults import HOST, Direction, Fate, Link

QUEUE_S = 0.5  # a datagram that would wait longer for the line is dropped
MAX_CLIENTS = 256

Address = tuple[str, int]


@asynccontextmanager
async def listen(link: Link) -> AsyncIterator[int]:
    """Pass datagrams on; yields the port."""
    loop = asyncio.get_running_loop()
    near, front = await loop.create_datagram_endpoint(lambda: _Front(link), local_addr=(HOST, 0))
    try:
        yield near.get_extra_info("sockname")[1]
    finally:
        near.close()
        for back in front.backs.values():
            back.close()


class _Flow:
    """One direction of one client's traffic."""

    def __init__(
        self, link: Link, direction: Direction, clear: dict[Direction, float], number: int
    ):
        self.link, self.direction, self.clear = link, direction, clear
        self.fate = Fate(f"{link.seed}/{number}/{direction}")

    def send(self, data: bytes, deliver: Any) -> None:
        """Throw the dice, and call deliver(data) when and if the datagram arrives."""
        loop = asyncio.get_running_loop()
        faults = self.link.faults(self.direction)
        counts = self.link.counts[self.direction]
        counts.taken += len(data)
        losses, corrupted = self.fate.next(faults)
        wait = 0.0
        if faults.bandwidth < math.inf:
            free = max(loop.time(), self.clear[self.direction])
            wait = free + len(data) / faults.bandwidth - loop.time()
        if losses or faults.cut or wait > QUEUE_S:
            counts.lost += 1
            return
        self.clear[self.direction] = loop.time() + wait
        if corrupted and data:
            counts.corrupted += 1
            changed = bytearray(data)
            self.fate.flip_bit(changed, 0, len(data))
            data = bytes(changed)
        counts.bytes += len(data)
        wait += self.fate.late(faults)
        if wait > 0:
            loop.call_later(wait, deliver, data)
        else:
            deliver(data)


class _Front(asyncio.DatagramProtocol):
    """The side of the clients."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.clear: dict[Direction, float] = {"to_target": 0.0, "to_client": 0.0}
        self.backs: dict[Address, _Back] = {}

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, client: Address) -> None:
        if client not in self.backs:
            if len(self.backs) >= MAX_CLIENTS:  # the oldest makes room
                self.backs.pop(next(iter(self.backs))).close()
            self.link.connections += 1
            self.backs[client] = _Back(self, client, self.link.connections)
        back = self.backs[client]
        back.outward.send(data, back.deliver)

    def error_received(self, error: OSError) -> None:
        """A client that has gone away: datagrams to it are lost, as on any network."""


class _Back(asyncio.DatagramProtocol):
    """The side of the target, for one client."""

    def __init__(self, front: _Front, client: Address, number: int) -> None:
        self.front, self.client = front, client
        self.outward = _Flow(front.link, "to_target", front.clear, number)
        self.homeward = _Flow(front.link, "to_client", front.clear, number)
        self.transport: asyncio.DatagramTransport | None = None
        self.waiting: list[bytes] = []
        loop = asyncio.get_running_loop()
        self.opening = loop.create_task(
            loop.create_datagram_endpoint(lambda: self, remote_addr=front.link.target)
        )

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport
        for data in self.waiting:
            transport.sendto(data)
        self.waiting.clear()

    def deliver(self, data: bytes) -> None:
        if self.transport is None:
            self.waiting.append(data)
        elif not self.transport.is_closing():
            self.transport.sendto(data)

    def datagram_received(self, data: bytes, _: Address) -> None:
        self.homeward.send(data, self._home)

    def _home(self, data: bytes) -> None:
        if not self.front.transport.is_closing():
            self.front.transport.sendto(data, self.client)

    def error_received(self, error: OSError) -> None:
        """Nobody listens at the target: UDP's sender does not learn it."""

    def close(self) -> None:
        self.opening.cancel()
        if self.transport is not None:
            self.transport.close()
