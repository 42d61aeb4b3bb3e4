"""A small HTTP/1.1 client for load: keep-alive connections over asyncio, no more than is counted.

It writes requests that were encoded beforehand, finds the end of each answer (length, chunks or
the connection's end), and reports the status and one header. Bodies are counted, not kept. Ready
libraries do far more for each request and reach a fraction of the rate.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence

from mlsys.serving.load.targets import Request

# status (0 for none), label, error ("" for none)
Told = Callable[[int, int, str, str], None]
_MOST_HEAD = 64 * 1024


def error_kind(error: BaseException) -> str:
    """What went wrong with a connection, in a word or a few."""
    kinds = {
        ConnectionRefusedError: "refused",
        ConnectionResetError: "reset",
        BrokenPipeError: "reset",
        asyncio.IncompleteReadError: "closed",
        TimeoutError: "timeout",
    }
    for kind, word in kinds.items():
        if isinstance(error, kind):
            return word
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()  # "too many open files", for one
    return type(error).__name__


class HttpSender:
    """Sends request i of a cycle of requests; calls `told` once for each when it has ended."""

    def __init__(self, requests: Sequence[Request], timeout: float, told: Told) -> None:
        self._requests = [(r.encoded(), r.address, r) for r in requests]
        self._timeout = timeout
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._idle: dict[tuple[str, int], list[_Connection]] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._active: dict[int, _Connection | asyncio.Task] = {}
        self._sweep = self._loop.call_later(self._grain, self._time_out)

    @property
    def _grain(self) -> float:
        return min(0.1, max(0.005, self._timeout / 10))

    def send(self, index: int) -> None:
        data, address, request = self._requests[index % len(self._requests)]
        idle = self._idle.get(address)
        if idle and request.keep_alive:
            connection = self._active[index] = idle.pop()
            connection.ask(index, data, request)
        else:
            connect = self._connect(index, data, address, request)
            self._active[index] = self._loop.create_task(connect)
        self._deadlines.append((self._loop.time() + self._timeout, index))

    def close(self) -> None:
        self._sweep.cancel()
        for one in list(self._active.values()):
            one.cancel()
        for connections in self._idle.values():
            for connection in connections:
                connection.cancel()

    async def _connect(
        self, index: int, data: bytes, address: tuple[str, int], request: Request
    ) -> None:
        try:
            _, connection = await self._loop.create_connection(lambda: _Connection(self), *address)
        except OSError as error:
            self._end(index, 0, "", error_kind(error))
            return
        connection.address = address
        if index not in self._active:  # it was given up in the same instant
            connection.cancel()
            return
        self._active[index] = connection
        connection.ask(index, data, request)

    def _end(self, index: int, status: int, label: str, error: str) -> None:
        if self._active.pop(index, None) is not None:
            self._told(index, status, label, error)

    def answered(self, connection: _Connection, status: int, label: str, keep: bool) -> None:
        index = connection.index
        connection.index = -1
        if keep:
            self._idle.setdefault(connection.address, []).append(connection)
        else:
            connection.cancel()
        self._end(index, status, label, "")

    def broken(self, connection: _Connection, error: str) -> None:
        """The connection has ended: an idle one is forgotten, one with a question has failed."""
        idle = self._idle.get(connection.address, [])
        if connection.index < 0:
            if connection in idle:
                idle.remove(connection)
            return
        index, connection.index = connection.index, -1
        unheard = connection.used and not connection.heard and error in ("closed", "reset")
        if unheard and connection.request.method in ("GET", "HEAD") and index in self._active:
            # The server let an idle connection go as we took it: ask again, as any client does
            # with a request that is safe to repeat (RFC 9110, section 9.2.2).
            data, address, request = self._requests[index % len(self._requests)]
            task = self._loop.create_task(self._connect(index, data, address, request))
            self._active[index] = task
            return
        self._end(index, 0, "", error)

    def _time_out(self) -> None:
        now = self._loop.time()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, index = self._deadlines.popleft()
            doing = self._active.get(index)
            if doing is not None:
                self._end(index, 0, "", "timeout")
                if isinstance(doing, _Connection):
                    doing.index = -1
                doing.cancel()
        self._sweep = self._loop.call_later(self._grain, self._time_out)


class _Connection(asyncio.Protocol):
    """One connection with at most one question under way."""

    def __init__(self, sender: HttpSender) -> None:
        self._sender = sender
        self.address: tuple[str, int] = ("", 0)
        self.index = -1
        self.used = False
        self.heard = False
        self.request: Request | None = None
        self._transport: asyncio.Transport | None = None
        self._head = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, index: int, data: bytes, request: Request) -> None:
        self.index, self.request = index, request
        self.heard = False
        self._head.clear()
        self._body: _Length | _Chunks | _UntilEnd | None = None
        self._transport.write(data)

    def cancel(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self.index >= 0 and isinstance(self._body, _UntilEnd) and error is None:
            self._sender.answered(self, self._status, self._label, False)
            return
        self._sender.broken(self, error_kind(error) if error else "closed")

    def data_received(self, data: bytes) -> None:
        if self.index < 0:  # an answer that nobody asked for, or one given up
            self.cancel()
            return
        self.heard = True
        try:
            if self._body is None:
                self._head += data
                data = self._read_head()
            if self._body is not None and self._body.feed(data):
                self.used = True
                self._sender.answered(self, self._status, self._label, self._keep)
        except (ValueError, IndexError):
            self._sender.broken(self, "bad reply")
            self.cancel()

    def _read_head(self) -> bytes:
        """Parse the head when it is whole; what follows it belongs to the body."""
        while (end := self._head.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._head[: end + 2])
            rest = bytes(self._head[end + 4 :])
            if head[:7] != b"HTTP/1.":
                raise ValueError
            self._status = int(head[9:12])
            if 100 <= self._status < 200 and self._status != 101:  # to be continued
                self._head = bytearray(rest)
                continue
            self._open_body(head)
            return rest
        if len(self._head) > _MOST_HEAD:
            raise ValueError
        return b""

    def _open_body(self, head: bytes) -> None:
        low = head.lower()
        connection = _header(low, b"connection")
        self._keep = self.request.keep_alive and (
            b"close" not in connection if head[7:8] == b"1" else b"keep-alive" in connection
        )
        self._label = ""
        if self.request.label:
            place = low.find(b"\r\n" + self.request.label.lower().encode("latin-1") + b":")
            if place >= 0:
                line = head[place + 2 : head.index(b"\r\n", place + 2)]
                self._label = line.partition(b":")[2].strip().decode("latin-1")
        if self.request.method == "HEAD" or self._status in (204, 304):
            self._body = _Length(0)
        elif b"chunked" in _header(low, b"transfer-encoding"):
            self._body = _Chunks()
        elif length := _header(low, b"content-length"):
            self._body = _Length(int(length))
        else:
            self._body, self._keep = _UntilEnd(), False


def _header(low: bytes, name: bytes) -> bytes:
    place = low.find(b"\r\n" + name + b":")
    if place < 0:
        return b""
    begin = place + len(name) + 3
    return low[begin : low.index(b"\r\n", begin)].strip()


class _Length:
    """A body of known length."""

    def __init__(self, length: int) -> None:
        if length < 0:
            raise ValueError
        self._left = length

    def feed(self, data: bytes) -> bool:
        """Take what came; True when the body has ended. ValueError for more than was announced."""
        self._left -= len(data)
        if self._left < 0:
            raise ValueError
        return self._left == 0


class _UntilEnd:
    """A body that ends with its connection."""

    def feed(self, data: bytes) -> bool:
        return False


class _Chunks:
    """A body in chunks, each after its length in hexadecimal (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0  # bytes of the chunk, with its line end, still to come
        self._trailer = False

    def feed(self, data: bytes) -> bool:
        self._buffer += data
        while True:
            if self._skip:
                taken = min(self._skip, len(self._buffer))
                del self._buffer[:taken]
                self._skip -= taken
                if self._skip:
                    return False
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > _MOST_HEAD:
                    raise ValueError
                return False
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            if self._trailer:
                if not line:
                    return True
                continue
            size = int(line.partition(b";")[0], 16)
            if size < 0:
                raise ValueError
            self._trailer = size == 0
            self._skip = size + 2 if size else 0
