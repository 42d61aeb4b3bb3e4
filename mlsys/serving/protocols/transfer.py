"""A file over TCP, and over UDP with what UDP leaves out: order, repetition, a checksum, a window.

`transfer` runs both ends at once through a link. Congestion control is left out on purpose: lesson
09 says what that would do to others on the line, and `mathis` what it costs a real TCP.
"""

from __future__ import annotations

import math
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import perf_counter
from typing import Protocol
from zlib import crc32

from mlsys.serving.protocols.messages import (
    HOST,
    ProtocolError,
    receive_exactly,
    receive_message,
    send_message,
)

HEADER = struct.Struct("!III")  # checksum, number, count
ACK = struct.Struct("!II")  # checksum, number
DUPLICATES = 3  # later acknowledgements that count as news of a loss (RFC 5681, section 3.2)
SEGMENT = 1448  # bytes of payload in a TCP segment on Ethernet


class Way(Protocol):
    """Anything with the port to send to, such as a fault proxy's link."""

    port: int


Link = Callable[..., AbstractContextManager[Way]]
"""Called with a port and `udp=`: a way that leads there for the length of a `with`."""


def mathis(loss: float, round_trip: float, *, line: float = math.inf) -> float:
    """Bytes/s that a TCP which halves its window at each loss gets, at most the line's.

    M. Mathis et al., "The Macroscopic Behavior of the TCP Congestion Avoidance Algorithm" (1997),
    equation 3 with C = sqrt(3/2), one acknowledgement for each packet.
    """
    return min(line, SEGMENT / round_trip * math.sqrt(1.5 / loss)) if loss else line


# --- a file over TCP: the stream does the work


def send_by_tcp(port: int, data: bytes, *, timeout: float = 10.0) -> None:
    """Send one message to the port, and wait until the receiver says that it has all of it."""
    with socket.create_connection((HOST, port), timeout=timeout) as conn:
        send_message(conn, data)
        receive_exactly(conn, 1)


def receive_by_tcp(listener: socket.socket, *, timeout: float = 10.0) -> bytes:
    """Take one message from one connection, and say so."""
    listener.settimeout(timeout)
    conn, _ = listener.accept()
    with conn:
        conn.settimeout(timeout)
        data = receive_message(conn)
        conn.sendall(b"+")
    return data


# --- a file over UDP: numbers, acknowledgements, timers and a window of our own


def seal(body: bytes) -> bytes:
    """The body behind its checksum."""
    return crc32(body).to_bytes(4, "big") + body


def is_sound(datagram: bytes, least: int) -> bool:
    """Whether a datagram is long enough and its checksum is that of the rest."""
    return len(datagram) >= least and int.from_bytes(datagram[:4], "big") == crc32(datagram[4:])


@dataclass
class _Flight:
    """A chunk on its way: when it was last sent, as which datagram, and how many overtook it."""

    at: float
    serial: int
    overtaken: int = 0


@dataclass
class _Window:
    """What is on its way, at most `size` chunks of `count`."""

    count: int
    size: int
    flying: dict[int, _Flight] = field(default_factory=dict)
    next: int = 0  # the first chunk never sent
    serial: int = 0

    @property
    def done(self) -> bool:
        return self.next == self.count and not self.flying

    def acknowledge(self, number: int) -> None:
        landed = self.flying.pop(number, None)
        if landed:
            for other in self.flying.values():
                other.overtaken += other.serial < landed.serial

    def due(self, now: float, timer: float) -> list[int]:
        """Chunks to send now: first those to repeat, then new ones as far as there is room."""
        again = [
            number
            for number, flight in self.flying.items()
            if now - flight.at > timer or flight.overtaken >= DUPLICATES
        ]
        room = max(0, self.size - len(self.flying))
        new = range(self.next, min(self.next + room, self.count))
        self.next = new.stop
        for number in (*again, *new):
            self.serial += 1
            self.flying[number] = _Flight(now, self.serial)
        return [*again, *new]


def send_by_udp(
    port: int,
    data: bytes,
    *,
    chunk: int = 1_200,
    window: int = 32,
    timer: float = 0.1,
    timeout: float = 10.0,
) -> int:
    """Send data in datagrams of `chunk` bytes, at most `window` unacknowledged, until all are.

    A datagram is sent again when its acknowledgement does not come within `timer` s, or when three
    later ones have come. Returns how many were. Raises TimeoutError when `timeout` s were not
    enough.
    """
    if not 1 <= chunk <= 60_000:
        raise ProtocolError(f"A chunk of {chunk} bytes fits no datagram; give 1 to 60,000.")
    chunks = [data[i : i + chunk] for i in range(0, len(data), chunk)] or [b""]
    flight, repeats, start = _Window(len(chunks), window), 0, perf_counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((HOST, port))
        while not flight.done:
            now = perf_counter()
            if now - start > timeout:
                left = len(flight.flying) + len(chunks) - flight.next
                raise TimeoutError(f"{left} of {len(chunks)} chunks are unacknowledged.")
            fresh = flight.next
            for number in flight.due(now, timer):
                body = struct.pack("!II", number, len(chunks)) + chunks[number]
                _try_send(sock, seal(body))
                repeats += number < fresh
            for number in _acks(sock, wait=timer / 4):
                flight.acknowledge(number)
    return repeats


def _try_send(sock: socket.socket, datagram: bytes) -> None:
    """Send; a full buffer or a port that nobody has loses the datagram, as a network may."""
    with suppress(OSError):
        sock.send(datagram)


def _acks(sock: socket.socket, *, wait: float) -> list[int]:
    """Numbers acknowledged: waits for the first, takes the rest that is already there."""
    numbers: list[int] = []
    sock.settimeout(wait)
    try:
        while True:
            datagram = sock.recv(64)
            if is_sound(datagram, ACK.size):
                numbers.append(ACK.unpack(datagram[: ACK.size])[1])
            sock.setblocking(False)
    except OSError:  # nothing there: a timeout, or nobody at the port yet
        return numbers


def receive_by_udp(
    sock: socket.socket, sender_is_done: threading.Event, *, timeout: float = 10.0
) -> bytes:
    """Collect chunks until all are there, acknowledging each sound one, also twice.

    Stays until the sender is done, since the last acknowledgement may be lost. On two machines
    nobody could say so, and the receiver would stay for a while (TCP: TIME-WAIT, minutes).
    """
    chunks: dict[int, bytes] = {}
    count, end = None, perf_counter() + timeout
    sock.settimeout(0.02)
    while not sender_is_done.is_set() and perf_counter() < end:
        try:
            datagram, sender = sock.recvfrom(65_535)
        except TimeoutError:
            continue
        if not is_sound(datagram, HEADER.size):
            continue  # damaged: as if lost
        _, number, said = HEADER.unpack(datagram[: HEADER.size])
        if number < said and count in (None, said):
            count = said
            chunks[number] = datagram[HEADER.size :]
            sock.sendto(seal(struct.pack("!I", number)), sender)
    if len(chunks) != count:
        raise TimeoutError(f"{len(chunks)} of {count or 'unknown'} chunks came in time.")
    return b"".join(chunks[i] for i in range(count))


# --- both ends at once, for an experiment


@dataclass(frozen=True)
class Transfer:
    """One file through one link: seconds until the sender knew, and whether it arrived whole."""

    protocol: str
    size: int
    seconds: float
    whole: bool
    repeats: int = 0

    @property
    def goodput(self) -> float:
        """Useful bytes/s; 0 if the file did not arrive."""
        return self.size / self.seconds if self.whole else 0.0


def transfer(
    protocol: str,
    link: Link,
    data: bytes,
    *,
    chunk: int = 1_200,
    window: int = 32,
    timer: float = 0.1,
    timeout: float = 10.0,
) -> Transfer:
    """Send data by "tcp" or "udp" to a receiver in a thread of its own.

    link: leads to the receiver, such as `services.proxy` or one with faults set.
    """
    if protocol not in ("tcp", "udp"):
        raise ProtocolError(f"{protocol!r} is no protocol here; use tcp or udp.")
    udp = protocol == "udp"
    got: list[bytes] = []
    done = threading.Event()
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)

    def run() -> None:
        with suppress(OSError):  # told by what is missing in `got`
            receive = partial(receive_by_udp, sender_is_done=done) if udp else receive_by_tcp
            got.append(receive(end, timeout=timeout))

    with end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        end.bind((HOST, 0))
        if not udp:
            end.listen()
        receiver = threading.Thread(target=run, daemon=True)
        receiver.start()
        with link(end.getsockname()[1], udp=udp) as way:
            start, repeats, arrived = perf_counter(), 0, True
            try:
                if udp:
                    how = {"chunk": chunk, "window": window, "timer": timer}
                    repeats = send_by_udp(way.port, data, timeout=timeout, **how)
                else:
                    send_by_tcp(way.port, data, timeout=timeout)
            except OSError:
                arrived = False
            seconds = perf_counter() - start
            done.set()
            receiver.join(timeout + 1)
    return Transfer(protocol, len(data), seconds, arrived and got == [data], repeats)


def goodputs(
    carry: Callable[..., Transfer], losses: Sequence[float], runs: int
) -> tuple[list[float], list[float]]:
    """Useful bytes/s at each loss, by TCP and by UDP: the median of so many runs, four at a time.

    The runs at one loss are spread over the whole time, so that what else the machine does for a
    moment meets one of them. `carry(protocol, loss, seed=...)` makes one transfer. Raises
    ProtocolError when a file did not arrive whole.
    """

    def middle(protocol: str, loss: float) -> float:
        done = [made[protocol, loss, seed].result() for seed in range(runs)]
        if not all(one.whole for one in done):
            raise ProtocolError(f"A file did not arrive whole by {protocol} at a loss of {loss:g}.")
        return median(one.goodput for one in done)

    with ThreadPoolExecutor(4) as pool:
        made = {
            (protocol, loss, seed): pool.submit(carry, protocol, loss, seed=seed)
            for seed in range(runs)
            for loss in losses
            for protocol in ("tcp", "udp")
        }
        tcp, udp = ([middle(protocol, loss) for loss in losses] for protocol in ("tcp", "udp"))
        return tcp, udp
