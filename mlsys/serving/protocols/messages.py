"""Messages over TCP, framed as lesson 09 does by hand, and small tools for its experiments.

Files over UDP are in `protocols.transfer`, live streams in `protocols.stream`, a swarm of peers in
`protocols.swarm`, formats in `protocols.formats`. Faults on the way are the caller's business:
functions take a port, or a link that leads to one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from random import Random
from time import perf_counter, sleep
from typing import Any

HOST = "127.0.0.1"
MAX_MESSAGE = 16_000_000  # bytes; a longer length is a broken or a foreign peer


class ProtocolError(ValueError):
    """A peer said what the protocol does not allow; the message is one sentence."""


def send_message(conn: socket.socket, payload: bytes) -> None:
    """Four bytes of length, most significant first, then the payload."""
    conn.sendall(len(payload).to_bytes(4, "big") + payload)


def receive_exactly(conn: socket.socket, count: int) -> bytes:
    """The next `count` bytes, however they arrive. ConnectionError if the peer ends before."""
    data = bytearray()
    while len(data) < count:
        piece = conn.recv(min(count - len(data), 65_536))
        if not piece:
            raise ConnectionError(f"the peer closed after {len(data)} of {count} bytes")
        data += piece
    return bytes(data)


def receive_message(conn: socket.socket) -> bytes:
    """The payload of the next message. ProtocolError for a length over MAX_MESSAGE."""
    size = int.from_bytes(receive_exactly(conn, 4), "big")
    if size > MAX_MESSAGE:
        raise ProtocolError(f"A message of {size:,} bytes: more than {MAX_MESSAGE:,} is refused.")
    return receive_exactly(conn, size)


# --- what a test of framing feeds: any messages, in any pieces


def framed(messages: Iterable[bytes]) -> bytes:
    """The messages one after another, each with its length in front."""
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


def payloads(dice: Random) -> list[bytes]:
    """Up to six messages, some of them empty, some shorter than a length."""
    sizes = dice.choices([0, 1, 3, 4, 5, 80, 700], k=dice.randint(0, 6))
    return [dice.randbytes(size) for size in sizes]


def pieces_of(data: bytes, dice: Random) -> Iterator[bytes]:
    """The bytes in pieces as a network may deliver them; some pieces are empty."""
    while data:
        size = dice.choice([0, 1, 2, 3, 4, 5, 64, 1448])
        yield data[:size]
        data = data[size:]


# --- both ends in one thread: the operating system holds what is on the way


def connect(
    listener: socket.socket, port: int, *, timeout: float = 5.0
) -> tuple[socket.socket, socket.socket]:
    """A new connection through the port to the listener: the client's end, the server's end."""
    client = socket.create_connection((HOST, port), timeout=timeout)
    listener.settimeout(timeout)
    server, _ = listener.accept()
    server.settimeout(timeout)
    return client, server


def until_there(conn: socket.socket, count: int) -> None:
    """Wait until the next `count` bytes lie at this end (at most 5 s), and read none of them."""
    end = perf_counter() + 5
    while len(conn.recv(count, socket.MSG_PEEK)) < count and perf_counter() < end:
        sleep(0.001)


def understood(
    read: Callable[[socket.socket], Any],
    message: bytes,
    listener: socket.socket,
    port: int,
    *,
    tries: int = 20,
) -> int:
    """How often `read` makes something of the message, each time on a new connection."""
    count = 0
    for _ in range(tries):
        client, server = connect(listener, port)
        with client, server, suppress(ValueError):
            client.sendall(message)
            read(server)
            count += 1
    return count


def or_error(do: Callable[..., Any], *arguments: Any) -> Any:
    """What the call returns, or the error that it raised, in words."""
    try:
        return do(*arguments)
    except (ValueError, OSError) as error:
        return f"{type(error).__name__}: {error}"


def send_speed(chunk: int, *, most: int = 20_000_000) -> float:
    """Bytes/s from one socket to another on this machine when each send is given `chunk` bytes.

    Each piece goes at once (TCP_NODELAY); a thread reads. At most 20,000 sends and `most` bytes.
    """
    total = min(20_000, max(1, most // chunk)) * chunk
    with socket.create_server((HOST, 0)) as listener:
        client, server = connect(listener, listener.getsockname()[1])
        with client, server:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = threading.Thread(target=_drain, args=(server, total), daemon=True)
            reader.start()
            piece, start = bytes(chunk), perf_counter()
            for _ in range(total // chunk):
                client.sendall(piece)
            reader.join()
            return total / (perf_counter() - start)


def _drain(conn: socket.socket, count: int) -> None:
    with suppress(OSError):
        while count > 0:
            piece = conn.recv(65_536)
            if not piece:
                return
            count -= len(piece)
