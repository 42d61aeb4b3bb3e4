"""The fault proxy's TCP: two pumps a connection, each a reader that dates what it read and a writer
that delivers on that date. Settings and controls are `mlsys.services.faults.Link`'s.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from mlsys.services.faults import HOST, SEGMENT, Direction, Fate, Faults, Link

IN_FLIGHT = 4_000_000  # bytes held in one direction of one connection before reading stops
CHUNK = 65_536
TIMER = 0.2  # s, the least retransmission timeout of Linux
ROUND_TRIP = 0.001  # s, that of a link without delay
GIVE_UP = 8  # losses of one segment in a row


@asynccontextmanager
async def listen(link: Link) -> AsyncIterator[int]:
    """Accept connections; yields the port."""
    tasks: set[asyncio.Task] = set()
    clear: dict[Direction, float] = {"to_target": 0.0, "to_client": 0.0}

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(task := asyncio.current_task())
        try:
            await _connection(link, clear, reader, writer)
        except asyncio.CancelledError:
            _reset(writer)
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(accept, HOST, 0, limit=CHUNK)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _connection(
    link: Link,
    clear: dict[Direction, float],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    link.connections += 1
    number = link.connections
    gone = asyncio.Event()
    link.abort[number] = gone.set
    far_writer = None
    pumps: list[asyncio.Task] = []
    try:
        for each in link.open.values():  # a handshake needs both ways
            await each.wait()
        far_reader, far_writer = await asyncio.open_connection(*link.target, limit=CHUNK)
        flows = (
            Flow(link, "to_target", clear, Fate(f"{link.seed}/{number}/to_target")),
            Flow(link, "to_client", clear, Fate(f"{link.seed}/{number}/to_client")),
        )
        pumps = [
            asyncio.create_task(flows[0].pump(reader, far_writer)),
            asyncio.create_task(flows[1].pump(far_reader, writer)),
        ]
        resetting = asyncio.create_task(gone.wait())
        while not gone.is_set() and not all(pump.done() for pump in pumps):
            running = {task for task in (*pumps, resetting) if not task.done()}
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if any(pump.done() and pump.exception() for pump in pumps):
                gone.set()
        resetting.cancel()
    except OSError:
        gone.set()
    finally:
        for pump in pumps:
            pump.cancel()
        del link.abort[number]
        for each in filter(None, (writer, far_writer)):
            _reset(each) if gone.is_set() else each.close()


@dataclass
class Flow:
    """One direction of one connection."""

    link: Link
    direction: Direction
    clear: dict[Direction, float]  # when the line is free again, shared by all connections
    fate: Fate
    due: float = 0.0  # when the last piece arrives

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the end of the stream, which travels like any byte; raises OSError on a reset."""
        counts = self.link.counts[self.direction]
        line: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue()
        room = asyncio.Event()
        held = 0

        async def read() -> None:
            nonlocal held
            data = b"-"
            try:
                while data:
                    data = await reader.read(self._appetite())
                    line.put_nowait(self._date(data))
                    held += len(data)
                    counts.taken += len(data)
                    while held > IN_FLIGHT:
                        room.clear()
                        await room.wait()
            except OSError as error:  # a reset travels behind the data, and no cut lets it pass
                line.put_nowait((self.due, error))

        reading = asyncio.create_task(read())
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await line.get()
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                await self.link.open[self.direction].wait()
                if isinstance(data, OSError):
                    raise data
                if not data:
                    with suppress(OSError, RuntimeError):
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
                counts.bytes += len(data)
                held -= len(data)
                room.set()
        finally:
            reading.cancel()

    def _appetite(self) -> int:
        """About 10 ms of the bandwidth at a time, so that a narrow link flows rather than jerks."""
        width = self.link.faults(self.direction).bandwidth
        return CHUNK if width == math.inf else int(min(CHUNK, max(SEGMENT, width / 100)))

    def _date(self, data: bytes) -> tuple[float, bytes]:
        """When these bytes arrive, and what of them."""
        faults = self.link.faults(self.direction)
        now = asyncio.get_running_loop().time()
        sent = now
        if data and faults.bandwidth < math.inf:
            sent = max(now, self.clear[self.direction]) + len(data) / faults.bandwidth
            self.clear[self.direction] = sent
        stall, data = self._damage(data, faults)
        self.due = max(self.due, sent + stall + self.fate.late(faults))
        return self.due, data

    def _damage(self, data: bytes, faults: Faults) -> tuple[float, bytes]:
        """Throw the dice for each segment of the data; the stall in s, and the data."""
        counts = self.link.counts[self.direction]
        stall, changed = 0.0, None
        for start in range(0, len(data), SEGMENT):
            losses, corrupted = self.fate.next(faults)
            if losses:
                counts.lost += min(losses, GIVE_UP)
                if losses >= GIVE_UP:
                    raise ConnectionResetError("lost too often")
                last = start + SEGMENT >= len(data)
                round_trip = max(ROUND_TRIP, 2 * faults.delay)
                stall = max(stall, TIMER * (2**losses - 1) if last else losses * round_trip)
            if corrupted:
                counts.corrupted += 1
                changed = changed or bytearray(data)
                self.fate.flip_bit(changed, start, min(start + SEGMENT, len(data)))
        return stall, bytes(changed) if changed else data


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    with suppress(OSError, AttributeError):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
