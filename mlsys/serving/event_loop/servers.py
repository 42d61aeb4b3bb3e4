"""One protocol served in four ways, each in a process of its own: what lesson 12 puts under load.

A line is answered by a line. `wait 50` is answered after 50 ms of waiting; `block 200` after the
server has called `time.sleep(0.2)` where it stands; `thread 200` after it has left that call to a
thread; `compute 200` is 200 ms of Python in a thread; other lines come back in capitals. Waiting
without blocking is a coroutine's art: elsewhere all four hold the thread that serves the line.

    python -m mlsys.serving.event_loop.servers KIND...     (serves the one at the place WORKER)
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil

HOST = "127.0.0.1"
LONGEST_LINE = 1000  # bytes; who sends more without an end is told so and cut off
LONGEST_MS = 5000  # that a line may ask for
PATIENCE = 30.0  # s for which a connection may be silent
MOST_SOCKETS = 1000  # select() of most systems knows the numbers under 1,024 only
BACKLOG = 1024  # connections that the system completes before they are accepted
TOO_LONG = b"error: a line has at most %d bytes\n" % LONGEST_LINE


@dataclass(frozen=True)
class Running:
    """A server that has been started: its kind, its port, its process."""

    kind: str
    port: int
    process: Any  # mlsys.services' Process

    @property
    def threads(self) -> int:
        """Threads of the process now."""
        return psutil.Process(self.process.pid).num_threads()

    @property
    def memory(self) -> float:
        """Resident memory, MB."""
        return self.process.memory


@contextmanager
def servers(
    kinds: Sequence[str], start_worker: Callable[..., AbstractContextManager[Any]]
) -> Iterator[tuple[Running, ...]]:
    """Serve each of the kinds in a process of its own until the end of the `with`.

    The kinds are of KINDS and may repeat; `start_worker` is `mlsys.services.worker`. Raises
    ValueError.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of server; take one of {', '.join(KINDS)}.")
    with start_worker(MODULE, *kinds, count=len(kinds), ready="\n") as group:
        yield tuple(
            Running(kind, int(process.log.split()[1]), process)
            for kind, process in zip(kinds, group.members, strict=True)
        )


# --- what is answered


def order(line: bytes) -> tuple[str, float]:
    """The word of a line and its seconds; ("", 0.0) when it orders nothing."""
    word, _, number = line.decode(errors="replace").strip().partition(" ")
    try:
        ms = float(number)
    except ValueError:
        return "", 0.0
    if word not in ("wait", "block", "thread", "compute") or not 0 <= ms <= LONGEST_MS:
        return "", 0.0
    return word, ms / 1000


def answer(line: bytes) -> bytes:
    """The reply of a server that knows no waiting but blocking."""
    word, seconds = order(line)
    (compute if word == "compute" else time.sleep)(seconds)
    return line.upper()


async def answer_soon(line: bytes) -> bytes:
    """The reply of a coroutine, which waits as it was told to."""
    word, seconds = order(line)
    if word == "block":
        time.sleep(seconds)
    elif word in ("thread", "compute"):
        await asyncio.to_thread(time.sleep if word == "thread" else compute, seconds)
    elif word == "wait":
        await asyncio.sleep(seconds)
    return line.upper()


def compute(seconds: float) -> None:
    """So many seconds of this thread's CPU, in bytecode that holds the GIL."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))


# --- four ways to serve


def serve_one(listener: socket.socket) -> None:
    """One connection after another."""
    while True:
        _serve(listener.accept()[0])


def serve_threads(listener: socket.socket) -> None:
    """A thread for each connection."""
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=_serve, args=(conn,), daemon=True).start()


def _serve(conn: socket.socket) -> None:
    with conn, suppress(OSError):
        conn.settimeout(PATIENCE)
        lines = conn.makefile("rb")
        while (line := lines.readline(LONGEST_LINE + 1)).endswith(b"\n"):
            conn.sendall(answer(line))
        if len(line) > LONGEST_LINE:
            conn.sendall(TOO_LONG)


def serve_select(listener: socket.socket) -> None:
    """One thread that asks the system which of all connections has something to do."""
    listener.setblocking(False)
    inbox: dict[socket.socket, bytes] = {}
    outbox: dict[socket.socket, bytes] = {}
    heard: dict[socket.socket, float] = {}

    def forget(conn: socket.socket) -> None:
        for table in (inbox, outbox, heard):
            table.pop(conn, None)
        conn.close()

    while True:
        # What is full, of peers that do not read, is not read from either.
        readers = [conn for conn in inbox if len(outbox[conn]) <= LONGEST_LINE]
        writers = [conn for conn in outbox if outbox[conn]]
        ready, free, _ = select.select([listener, *readers], writers, [], 1.0)
        now = time.monotonic()
        for conn in ready:
            if conn is listener:
                with suppress(OSError):  # the client has left again
                    new, _ = listener.accept()
                    new.setblocking(False)
                    inbox[new], outbox[new], heard[new] = b"", b"", now
                    if len(inbox) > MOST_SOCKETS:
                        forget(new)
                continue
            try:
                data = conn.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            *lines, rest = (inbox[conn] + data).split(b"\n")
            for line in lines:
                outbox[conn] += answer(line + b"\n")
            inbox[conn], heard[conn] = rest, now
            if len(rest) > LONGEST_LINE:
                with suppress(OSError):
                    conn.send(TOO_LONG)
            if not data or len(rest) > LONGEST_LINE:
                forget(conn)
        for conn in free:
            if conn in outbox:
                try:
                    outbox[conn] = outbox[conn][conn.send(outbox[conn]) :]
                except BlockingIOError:
                    continue
                except OSError:
                    forget(conn)
        for conn in [c for c, last in heard.items() if now - last > PATIENCE]:
            forget(conn)


def serve_asyncio(listener: socket.socket) -> None:
    """A coroutine for each connection, all in one thread."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError):
            try:
                while True:
                    async with asyncio.timeout(PATIENCE):
                        line = await reader.readline()
                    if not line.endswith(b"\n"):
                        break
                    writer.write(await answer_soon(line))
                    async with asyncio.timeout(PATIENCE):
                        await writer.drain()
            except ValueError:  # what readline raises over its limit
                writer.write(TOO_LONG)
            finally:
                writer.close()

    async def forever() -> None:
        made = await asyncio.start_server(serve, sock=listener, limit=LONGEST_LINE, backlog=BACKLOG)
        await made.serve_forever()

    asyncio.run(forever())


KINDS: dict[str, Callable[[socket.socket], None]] = {
    "one by one": serve_one,
    "threads": serve_threads,
    "select": serve_select,
    "asyncio": serve_asyncio,
}
MODULE = "mlsys.serving.event_loop.servers"


def main(kind: str) -> None:
    """Serve until the process is stopped."""
    with socket.create_server((HOST, 0), backlog=BACKLOG) as listener:
        print("port", listener.getsockname()[1], flush=True)
        with suppress(KeyboardInterrupt):
            KINDS[kind](listener)


if __name__ == "__main__":
    if not sys.argv[1:] or not set(sys.argv[1:]) <= set(KINDS):
        sys.exit(f"usage: python -m {MODULE} KIND..., each one of {', '.join(KINDS)}")
    main(sys.argv[1:][int(os.environ.get("WORKER", "0"))])
