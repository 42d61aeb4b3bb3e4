"""Members of a chat room who write down what they hear, for lesson 12's broadcasts.

The room itself, a server with the `websockets` library, is the lesson's; here are its guests: some
who read, and one who has stopped reading and never says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server
from websockets.exceptions import ConnectionClosed

MOST_MEMBERS = 1000
JOINING = 60.0  # s that all together may take to join


@dataclass
class Member:
    """One who reads: what came (of bytes, how many), and when (time.perf_counter)."""

    number: int
    heard: list[str | int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    closed: int | None = None  # the code with which the connection ended


@dataclass(frozen=True)
class Shown:
    """What came of sending to a room with a silent member in it."""

    sent: int  # before the sender stood still
    heard: int  # by the member who has heard least, the silent one apart
    heap: float  # MB that waited in the server for the silent one


async def show(
    send: Callable[[], Awaitable[object]],
    count: int,
    room: Server,
    *,
    guests: int = 10,
    patience: float = 1.0,
    pause: float = 0.005,
) -> Shown:
    """Send `count` times to the room, in which `guests` listen and one is silent.

    After each time the loop is free for `pause` s, so that what was sent can be read. Ends early
    when one `send()` takes longer than `patience` s.
    """
    url = "ws://{}:{}".format(*room.sockets[0].getsockname())
    async with joined(url, guests) as listening, silent(url):
        await until(lambda: len(room.connections) > guests, seconds=60)
        sent = 0
        with suppress(TimeoutError):
            while sent < count:
                async with asyncio.timeout(patience):
                    await send()
                sent += 1
                await asyncio.sleep(pause)
        heap = max((m.transport.get_write_buffer_size() for m in room.connections), default=0)
        await until(lambda: all(len(guest.heard) >= sent for guest in listening), seconds=60)
    await until(lambda: not room.connections)
    return Shown(sent, min((len(guest.heard) for guest in listening), default=0), heap / 1e6)


@asynccontextmanager
async def joined(url: str, count: int) -> AsyncIterator[list[Member]]:
    """So many members in the room at `url`, reading until the end of the `async with`.

    Raises ValueError for a count that is not sensible, and TimeoutError when not all of them are in
    after a minute.
    """
    if not 0 <= count <= MOST_MEMBERS:
        raise ValueError(f"{count} members are not sensible; take up to {MOST_MEMBERS:,}.")
    members = [Member(number) for number in range(count)]
    connections: list[ClientConnection] = []
    tasks: list[asyncio.Task] = []
    try:
        async with asyncio.timeout(JOINING):
            for _ in members:
                connections.append(await connect(url, compression=None, max_size=None))
        tasks += [
            asyncio.create_task(_read(connection, member))
            for connection, member in zip(connections, members, strict=True)
        ]
        yield members
    finally:
        await asyncio.gather(*(_leave(connection) for connection in connections))
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def silent(url: str) -> AsyncIterator[ClientConnection]:
    """A member who is connected and reads nothing: its system's buffers fill, then its server's."""
    connection = await connect(url, compression=None, max_size=None, max_queue=1)
    try:
        yield connection
    finally:
        connection.transport.abort()
        await connection.wait_closed()


async def _read(connection: ClientConnection, member: Member) -> None:
    try:
        async for message in connection:
            member.heard.append(message if isinstance(message, str) else len(message))
            member.times.append(perf_counter())
    except ConnectionClosed:
        pass
    finally:
        member.closed = connection.close_code


async def _leave(connection: ClientConnection) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            await connection.close()
            return
    connection.transport.abort()


async def until(seen: Callable[[], bool], *, seconds: float = 5.0) -> bool:
    """Whether it is so at last, asked again and again for at most so many seconds."""
    end = perf_counter() + seconds
    while not (so := seen()) and perf_counter() < end:
        await asyncio.sleep(0.005)
    return so
