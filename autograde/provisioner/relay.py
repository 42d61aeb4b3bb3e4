"""Carries bytes between the grader's Unix sockets and a kernel's ports. It stands in the kernel's
network and outside its sandbox, opens connections inwards only, reads nothing of what it carries,
and counts what comes out.
"""

import contextlib
import selectors
import socket
from collections.abc import Callable, Iterator, Sequence

_ONE_READ = 1 << 16
_MOST_WAITING = 1 << 20  # bytes for a reader that is slow


class _End:
    """One end of a connection, and what waits to be written to it."""

    def __init__(self, sock: socket.socket, *, inside: bool) -> None:
        sock.setblocking(False)
        self.sock, self.inside = sock, inside
        self.waiting = bytearray()
        self.other: _End
        self.heard_all = False


class Relay:
    """`sent` is the number of bytes that the kernel has sent so far."""

    def __init__(self, listeners: Sequence[socket.socket], ports: Sequence[int]) -> None:
        self.selector = selectors.DefaultSelector()
        self.ends: set[_End] = set()
        self.sent = 0
        for listener, port in zip(listeners, ports):
            listener.setblocking(False)
            self.selector.register(listener, selectors.EVENT_READ, port)

    def watch(self, file: object, name: str) -> None:
        """Have `turn` yield `name` whenever this file has something to read."""
        self.selector.register(file, selectors.EVENT_READ, name)

    def turn(self, seconds: float) -> Iterator[str]:
        """Carry what is there; wait no longer than this for it. Yields names of watched files."""
        for key, events in self.selector.select(seconds):
            if isinstance(key.data, str):
                yield key.data
            elif isinstance(key.data, int):
                self._accept(key.fileobj, key.data)
            elif key.data in self.ends:
                self._carry(key.data, events)

    def _accept(self, listener: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError):
            outer, _ = listener.accept()
            try:
                inner = socket.create_connection(("127.0.0.1", port), 1)
                inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                outer.close()  # the kernel does not listen yet: the client will try again
                return
            pair = _End(outer, inside=False), _End(inner, inside=True)
            pair[0].other, pair[1].other = pair[1], pair[0]
            for end in pair:
                self.ends.add(end)
                self.selector.register(end.sock, selectors.EVENT_READ, end)

    def _carry(self, end: _End, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                del end.waiting[: end.sock.send(end.waiting)]
            if events & selectors.EVENT_READ:
                part = end.sock.recv(_ONE_READ)
                end.heard_all = not part
                end.other.waiting += part
                self.sent += len(part) if end.inside else 0
        except BlockingIOError:
            return
        except OSError:
            end.heard_all, end.waiting[:] = True, b""
            end.other.waiting[:] = b""
        if (end.heard_all and not end.other.waiting) or (end.other.heard_all and not end.waiting):
            self._drop(end)
            self._drop(end.other)
            return
        self._listen_for(end)
        self._listen_for(end.other)

    def _listen_for(self, end: _End) -> None:
        full = len(end.other.waiting) >= _MOST_WAITING
        events = 0 if full or end.heard_all else selectors.EVENT_READ
        events |= selectors.EVENT_WRITE if end.waiting else 0
        self._change(end, events)

    def _change(self, end: _End, events: int) -> None:
        registered = end.sock in self.selector.get_map()
        change: Callable = self.selector.modify if registered else self.selector.register
        if events:
            change(end.sock, events, end)
        elif registered:
            self.selector.unregister(end.sock)

    def _drop(self, end: _End) -> None:
        self._change(end, 0)
        self.ends.discard(end)
        end.sock.close()
