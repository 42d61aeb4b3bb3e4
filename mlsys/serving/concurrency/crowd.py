"""A crowd of clients that hold their connections: what does each one cost the server?

Of many thousands who are connected, few speak at any moment. So here `connections` are open, and
some requests at a time go over whichever of them come next (`mlsys.serving.load` sends and times
them). The C10K question asks how a server's rate, its answer times and its memory change while the
crowd grows and the number of requests stays (D. Kegel, "The C10K problem", 1999).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random

from mlsys.serving.concurrency.servers import HOST, PICTURE, Serving, raise_file_limit, serving
from mlsys.serving.concurrency.work import ConcurrencyError
from mlsys.serving.load import LoadResult, Tcp, closed_loop

AT_ONCE = 8  # requests under way
BATCH = 200  # connections opened together
SPARE = 200  # descriptors that a process needs for other things
MOST = 20_000


class Crowd:
    """Open connections to one server, of which now this, now that one asks."""

    def __init__(self, port: int, seed: int = 0) -> None:
        self.port = port
        self.open: list[socket.socket] = []
        self._free: list[socket.socket] = []
        self._dice = Random(seed)

    async def grow(self, connections: int) -> None:
        """Open more, until there are so many. ConcurrencyError when this machine cannot."""
        check_room(connections)
        while len(self.open) < connections:
            batch = min(BATCH, connections - len(self.open))
            try:
                more = await asyncio.gather(*(self._connect() for _ in range(batch)))
            except OSError as error:
                raise ConcurrencyError(
                    f"Connection {len(self.open) + 1:,} could not be opened: {error.strerror}."
                ) from None
            self.open += more
            self._free += more

    async def _connect(self) -> socket.socket:
        conn = socket.socket()
        conn.setblocking(False)
        # Closed with a reset: no port is kept waiting for a minute after the lesson.
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            await asyncio.get_running_loop().sock_connect(conn, (HOST, self.port))
        except BaseException:
            conn.close()
            raise
        return conn

    async def ask(self) -> None:
        """Any connection asks that is free. One that is left without an answer asks no more."""
        if not self._free:
            raise ConnectionError("no connection is free that has been answered so far")
        place = self._dice.randrange(len(self._free))
        self._free[place], self._free[-1] = self._free[-1], self._free[place]
        await self._ask(self._free.pop())

    async def ask_last(self) -> None:
        """The connection that was opened last asks: when it is answered, all have been let in."""
        conn = self.open[-1]
        self._free.remove(conn)
        await self._ask(conn)

    async def _ask(self, conn: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(conn, bytes(PICTURE))
        if not await loop.sock_recv(conn, 1):
            raise ConnectionResetError("the server has closed the connection")
        self._free.append(conn)

    @property
    def willing(self) -> int:
        """Connections that have not been left without an answer."""
        return len(self._free)

    def close(self) -> None:
        for conn in self.open:
            conn.close()


@asynccontextmanager
async def crowd(port: int, connections: int = 1, *, seed: int = 0) -> AsyncIterator[Crowd]:
    """So many open connections to the port, until the end of the `async with`."""
    made = Crowd(port, seed)
    try:
        await made.grow(connections)
        yield made
    finally:
        made.close()


@dataclass(frozen=True)
class Held:
    """A server with so many connections: answers a second, times in s, memory in kB.

    silent: share of the requests without an answer within the time-out. each: resident memory
    that the server has taken on, by connections; the kernel's buffers are not in it.
    """

    design: str
    connections: int
    rate: float
    p50: float
    p99: float
    silent: float
    each: float


async def hold(
    server: Serving,
    sizes: Sequence[int],
    *,
    seconds: float = 0.12,
    timeout: float = 0.2,
    seed: int = 0,
) -> list[Held]:
    """Let a crowd grow through the sizes, and measure at each; of two rounds the better one.

    `seed` decides who asks. Who gets no answer within `timeout` s from a server that holds more
    connections than its size is counted as silent. Otherwise everybody is answered, and gets 5 s,
    so that a busy machine is not taken for a silent server.
    """
    check_room(max(sizes))
    told = []
    async with crowd(server.port, seed=seed) as clients:
        await asyncio.wait_for(clients.ask(), 60)
        before = server.memory
        for size in sorted(sizes):
            await clients.grow(size)
            fits = server.size is None or size <= server.size
            if fits:
                await asyncio.wait_for(clients.ask_last(), 60)
            patience = 5.0 if fits else timeout
            told.append(await _measure(server, clients, seconds, patience, before))
    return told


async def _measure(
    server: Serving, clients: Crowd, seconds: float, timeout: float, before: float
) -> Held:
    rounds = []
    for _ in range(2):
        if not clients.willing:
            break
        at_once = min(AT_ONCE, clients.willing)
        rounds.append(
            await closed_loop(clients.ask, clients=at_once, seconds=seconds, timeout=timeout)
        )
    best = max(rounds, key=lambda run: run.achieved)
    asked, answered = sum(run.planned for run in rounds), sum(run.ok for run in rounds)
    connections = len(clients.open)
    return Held(
        server.design, connections, best.achieved, best.latency.p50, best.latency.p99,
        1 - answered / asked, max(0.0, 1000 * (server.memory - before) / connections),
    )  # fmt: skip


async def compare(
    designs: Mapping[str, tuple[str, int, str]],
    start_worker: Callable[..., AbstractContextManager],
    picture: bytes,
    *,
    clients: int = 8,
    seconds: float = 0.25,
    rounds: int = 3,
) -> dict[str, LoadResult]:
    """The same load on each server, a connection for each request; of some rounds the best one.

    `designs` names (design, size, model). The servers take turns, so that what else the machine
    does meets all of them.
    """
    best: dict[str, LoadResult] = {}
    with ExitStack() as open_:
        ports = {
            name: open_.enter_context(serving(design, start_worker, size=size, model=model)).port
            for name, (design, size, model) in designs.items()
        }
        for _ in range(rounds):
            for name, port in ports.items():
                target = Tcp(port, picture, size=1, keep=False)
                run = await closed_loop(target, clients=clients, seconds=seconds, name=name)
                if name not in best or run.achieved > best[name].achieved:
                    best[name] = run
    return best


def check_room(connections: int) -> None:
    """Raise this process's limit of open files as far as needed. ConcurrencyError if it cannot."""
    if not 1 <= connections <= MOST:
        raise ConcurrencyError(f"{connections} connections cannot be; take 1 to {MOST:,}.")
    limit = raise_file_limit()
    if connections + SPARE > limit:
        raise ConcurrencyError(
            f"{connections:,} connections need as many open files, and this machine allows"
            f" {limit:,} a process; raise the hard limit (ulimit -Hn), or ask for fewer."
        )


def fitting(sizes: Sequence[int]) -> tuple[int, ...]:
    """Those of the sizes that this machine's limit of open files allows."""
    limit = raise_file_limit()
    return tuple(size for size in sizes if size + SPARE <= limit)
