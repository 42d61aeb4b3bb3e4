"""Digits classified over TCP by six designs of server: one idea each, as short as it can be shown.

A request is a picture of 64 bytes (8 by 8 pixels, 0 to 16), the answer one byte: the digit, or `?`
for what is no picture. A connection may ask as often as it likes; a process that serves one at a
time closes it after an answer. `serving` runs a design in a process of its own; who asks is
`mlsys.serving.load`, who only holds connections is `concurrency.crowd`. Lesson 10 prints designs
from here.

    python -m mlsys.serving.concurrency.servers DESIGN SIZE MODEL
"""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from operator import mul
from pathlib import Path
from typing import Any

import numpy as np

from mlsys.serving.concurrency.work import ConcurrencyError
from mlsys.serving.protocols.messages import receive_exactly

HOST = "127.0.0.1"
PICTURE = 64  # bytes
BACKLOG = 4096  # connections that may wait at the door
EXAMPLES = 600  # pictures that a new one is compared with
# A planted fault: this picture ends the process, as a fault in a library written in C would.
FATAL = bytes([255]) * PICTURE
Answer = Callable[[bytes], bytes]


# --- the models


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 pictures of scikit-learn's digits, bytes of shape (1797, 64), and their labels.

    Read from its wheel without importing it, which would cost each server a second and 100 MB.
    """
    found = find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise ConcurrencyError("scikit-learn is not installed, and the digits come with it.")
    file = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(file, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",").astype(np.uint8)
    return table[:, :-1], table[:, -1]


def nearest_in_python() -> Answer:
    """The label of the most alike of 600 examples, computed in bytecode: it keeps the GIL."""
    pictures, labels = digits()
    examples = [[int(pixel) for pixel in one] for one in pictures[:EXAMPLES]]
    halves = [sum(map(mul, one, one)) / 2 for one in examples]

    def answer(picture: bytes) -> bytes:
        if not _is_picture(picture):
            return b"?"
        scores = [sum(map(mul, one, picture)) - h for one, h in zip(examples, halves)]
        return b"%d" % labels[scores.index(max(scores))]

    return answer


def nearest_in_numpy() -> Answer:
    """The same, computed by NumPy."""
    pictures, labels = digits()
    examples = pictures[:EXAMPLES].astype(np.float64)
    halves = (examples**2).sum(axis=1) / 2

    def answer(picture: bytes) -> bytes:
        if not _is_picture(picture):
            return b"?"
        scores = examples @ np.frombuffer(picture, np.uint8).astype(np.float64) - halves
        return b"%d" % labels[scores.argmax()]

    return answer


def next_to_nothing() -> Answer:
    """No model: the answer costs nothing, so that what is measured is the server."""
    return lambda picture: b"%d" % (picture[0] % 10)


MODELS = {"python": nearest_in_python, "numpy": nearest_in_numpy, "none": next_to_nothing}


def _is_picture(picture: bytes) -> bool:
    if picture == FATAL:
        os.abort()
    return max(picture) <= 16


# --- the designs


def serve(conn: socket.socket, answer: Answer, most: int = sys.maxsize) -> None:
    """Answer a connection until its peer is gone; a peer that breaks off hurts nobody else."""
    with conn, suppress(OSError):
        for _ in range(most):
            conn.sendall(answer(receive_exactly(conn, PICTURE)))


def one_by_one(door: socket.socket, answer: Answer) -> None:
    if hasattr(socket, "TCP_DEFER_ACCEPT"):  # Linux: a peer that says nothing yet is not let in
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    for conn in arrivals(door):
        serve(conn, answer, most=1)  # then the next: nobody else is served meanwhile


def thread_each(door: socket.socket, answer: Answer) -> None:
    for conn in arrivals(door):
        threading.Thread(target=serve, args=(conn, answer), daemon=True).start()


def pool(door: socket.socket, answer: Answer, size: int) -> None:
    with ThreadPoolExecutor(size) as workers:
        for conn in arrivals(door):
            workers.submit(serve, conn, answer)


def selector_loop(door: socket.socket, answer: Answer) -> None:
    door.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(door, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is door:
                welcome(door, selector)
            elif not read_and_answer(key.fileobj, key.data, answer):
                selector.unregister(key.fileobj)
                key.fileobj.close()


def welcome(door: socket.socket, selector: selectors.BaseSelector) -> None:
    with suppress(BlockingIOError):
        conn = next(arrivals(door))
        conn.setblocking(False)
        selector.register(conn, selectors.EVENT_READ, bytearray())


def read_and_answer(conn: socket.socket, held: bytearray, answer: Answer) -> bool:
    """Take what is there and answer what is whole; False when the connection is over."""
    try:
        data = conn.recv(4096)
        held += data
        while len(held) >= PICTURE:
            conn.send(answer(bytes(held[:PICTURE])))
            del held[:PICTURE]
        return bool(data)
    except BlockingIOError:
        return len(held) < PICTURE  # a peer that asks and never reads is dropped
    except OSError:
        return False


async def event_loop(door: socket.socket, answer: Answer) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                writer.write(answer(await reader.readexactly(PICTURE)))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, sock=door, backlog=BACKLOG)
    await server.serve_forever()


def prefork(door: socket.socket, answer: Answer, size: int) -> None:
    """Fork `size` copies that share the door, and another whenever one has died."""
    here, workers = os.getpid(), set()
    try:
        while True:
            while len(workers) < size:
                workers.add(os.fork() or _work(door, answer, here))
            workers.discard(os.wait()[0])
    finally:
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def _work(door: socket.socket, answer: Answer, parent: int) -> int:
    """In the child: serve until the parent is gone. Never returns."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
        one_by_one(door, answer)
    finally:
        os._exit(1)


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def arrivals(door: socket.socket) -> Iterator[socket.socket]:
    """Connections as they come; BlockingIOError when none is there and the door does not block."""
    while True:
        try:
            conn, _ = door.accept()
        except BlockingIOError:
            raise
        except OSError:  # the peer has gone again, or no descriptor is free: others may end
            time.sleep(0.01)
            continue
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield conn


DESIGNS: dict[str, Callable[..., Any]] = {
    "one by one": one_by_one,
    "thread each": thread_each,
    "pool": pool,
    "selector": selector_loop,
    "asyncio": event_loop,
    "pre-fork": prefork,
}
SIZED = ("pool", "pre-fork")  # these serve `size` connections at a time, and let others wait


# --- running one


@dataclass(frozen=True)
class Serving:
    """A server that runs: its design, its port, how many connections it serves at a time."""

    design: str
    size: int | None  # None: as many as come
    port: int
    group: Any  # mlsys.services' Group of one

    @property
    def memory(self) -> float:
        """Resident memory of all its processes, MB."""
        return self.group.memory

    @property
    def processes(self) -> list[int]:
        """Those that answer."""
        first, *others = (p.pid for p in self.group.members[0].family())
        return others if self.design == "pre-fork" else [first]


@contextmanager
def serving(
    design: str,
    start_worker: Callable[..., AbstractContextManager],
    *,
    size: int = 8,
    model: str = "none",
) -> Iterator[Serving]:
    """Run a design in a process of its own; `start_worker` is `mlsys.services.worker`.

    Raises ConcurrencyError for an unknown design or model, and for pre-fork without `os.fork`.
    """
    check(design, size, model)
    args = (design, str(size), model)
    env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with start_worker(__name__, *args, ready="ready at", env=env) as group:
        port = int(re.search(r"ready at (\d+)", group.log(0))[1])
        yield Serving(design, size if design in SIZED else None, port, group)


def call(port: int, *, timeout: float = 10.0) -> Callable[[bytes], bytes | None]:
    """A connection as a function from a picture to its digit; None when the server has gone."""
    conn = socket.create_connection((HOST, port), timeout=timeout)

    def ask(picture: bytes) -> bytes | None:
        try:
            conn.sendall(picture)
            return conn.recv(1) or None
        except OSError:
            return None

    return ask


def possible(designs: Mapping[str, tuple[str, int, str]]) -> dict[str, tuple[str, int, str]]:
    """Those of the designs (design, size, model) that this system can run: Windows cannot fork."""
    forks = hasattr(os, "fork")
    return {name: way for name, way in designs.items() if forks or way[0] != "pre-fork"}


def check(design: str, size: int, model: str) -> None:
    if design not in DESIGNS:
        raise ConcurrencyError(f"{design!r} is no design; take one of {', '.join(DESIGNS)}.")
    if model not in MODELS:
        raise ConcurrencyError(f"{model!r} is no model; take one of {', '.join(MODELS)}.")
    if not 1 <= size <= 1000:
        raise ConcurrencyError(f"A server of {size} workers cannot be; take 1 to 1,000.")
    if design == "pre-fork" and not hasattr(os, "fork"):
        raise ConcurrencyError("Windows cannot fork; take 'thread each', or run this in WSL.")


def raise_file_limit() -> int:
    """Let this process open as many files as it may without asking anybody; the new limit.

    RLIMIT_NOFILE has a soft value, often 1,024 (macOS: 256), which a process may raise to the hard
    one by itself. A socket is a file.
    """
    try:
        import resource  # not on Windows
    except ImportError:
        return 8192
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 60_000 if hard == resource.RLIM_INFINITY else min(hard, 60_000)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    with suppress(ValueError, OSError):  # macOS refuses more than kern.maxfilesperproc
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return soft


def main(design: str, size: str, model: str) -> None:
    """Serve until SIGTERM."""
    check(design, int(size), model)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    raise_file_limit()
    answer = MODELS[model]()
    with socket.create_server((HOST, 0), backlog=BACKLOG) as door:
        # One text: of several, who waits for the first might read before the port is there.
        print(f"ready at {door.getsockname()[1]}", flush=True)
        run = DESIGNS[design]
        running = run(door, answer, int(size)) if design in SIZED else run(door, answer)
        if asyncio.iscoroutine(running):
            asyncio.run(running)


if __name__ == "__main__":
    main(*sys.argv[1:])
