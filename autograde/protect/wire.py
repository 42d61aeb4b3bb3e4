"""Messages over a Unix socket: four bytes of length, then the bytes. A reader never allocates more
than the limit, and never waits beyond its deadline, however slowly the other side sends.
"""

import array
import select
import socket
import struct
import time

_LENGTH = struct.Struct("<I")
LARGEST = 128_000_000


class Closed(ConnectionError):
    """The other side is gone, or sends what is no message."""


class Overdue(TimeoutError):
    """The other side has not answered by the deadline."""


class Wire:
    """One end of a socket pair. A deadline is a time of `time.monotonic`, or None."""

    def __init__(self, sock: socket.socket, *, largest: int = LARGEST) -> None:
        sock.setblocking(True)
        self.sock, self.largest = sock, largest
        self.pending = bytearray()  # what came of a message whose reader was interrupted

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: bytes, deadline: float | None = None) -> None:
        if len(message) > self.largest:
            raise Closed(f"a message of {len(message):,} bytes was to be sent")
        head = _LENGTH.pack(len(message))
        if len(message) < 65536:
            self._send(head + message, deadline)
        else:
            self._send(head, deadline)
            self._send(message, deadline)

    def _send(self, data: bytes, deadline: float | None) -> None:
        view = memoryview(data)
        while view:
            self._wait(deadline, writing=True)
            flags = 0 if deadline is None else socket.MSG_DONTWAIT
            try:
                view = view[self.sock.send(view, flags) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Closed(str(error)) from None

    def receive(self, deadline: float | None = None) -> bytes:
        self._fill(4, deadline)
        (length,) = _LENGTH.unpack_from(self.pending)
        if length > self.largest:
            raise Closed(f"a message of {length:,} bytes; {self.largest:,} is the limit")
        self._fill(4 + length, deadline)
        message = bytes(memoryview(self.pending)[4:])
        self.pending = bytearray()
        return message

    def _fill(self, count: int, deadline: float | None) -> None:
        while (left := count - len(self.pending)) > 0:
            self._wait(deadline, writing=False)
            try:
                part = self.sock.recv(min(left, 1 << 20))
            except OSError as error:
                raise Closed(str(error)) from None
            if not part:
                raise Closed("the other side is gone")
            self.pending += part

    def _wait(self, deadline: float | None, *, writing: bool) -> None:
        if deadline is None:
            return
        left = deadline - time.monotonic()
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT if writing else select.POLLIN)
        if left <= 0 or not poll.poll(left * 1000):
            raise Overdue("no answer by the deadline")

    def close(self) -> None:
        self.sock.close()


def send_sockets(sock: socket.socket, message: bytes, sockets: list[socket.socket]) -> None:
    """One short message with open sockets handed over beside it."""
    numbers = array.array("i", [s.fileno() for s in sockets])
    sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])


def receive_sockets(sock: socket.socket, count: int = 4) -> tuple[bytes, list[socket.socket]]:
    """What `send_sockets` sent; empty bytes when the other side is gone."""
    message, descriptors, _, _ = socket.recv_fds(sock, 1 << 16, count)
    return message, [socket.socket(fileno=number) for number in descriptors]
