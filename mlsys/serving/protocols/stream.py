"""A live stream over TCP or UDP: one frame every few milliseconds, each worthless once it is late.

The sender and the player are threads of one process and so share a clock: a frame's delay is what
it says. Which faults are on the way is the caller's business.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter, sleep

import numpy as np

from mlsys.serving.protocols.messages import HOST, ProtocolError, receive_exactly
from mlsys.serving.protocols.transfer import Link

FRAME = struct.Struct("!Id")  # number, time at which it was filmed
GLANCE = 0.05  # s, the unit in which silence is counted: a stalled machine is silent for one
LATER = 0.25  # s of silence after the last frame, for those before it


@dataclass(frozen=True)
class Stream:
    """A stream that was played: the delay of each frame in s, NaN where it never came."""

    protocol: str
    interval: float
    delays: np.ndarray

    def played(self, deadline: float) -> float:
        """Share of frames that came within the deadline, s."""
        return float(np.mean(np.nan_to_num(self.delays, nan=np.inf) <= deadline))


def stream(
    protocol: str,
    link: Link,
    *,
    frames: int = 150,
    interval: float = 0.01,
    size: int = 600,
    repeat: int = 0,
    patience: float = 2.0,
) -> Stream:
    """Send `frames` of `size` bytes, one every `interval` s, by "tcp" or "udp".

    link: leads to the player. repeat: how many of the frames before it each datagram carries again
    (UDP; the idea of RFC 2198). When all are sent and nothing has come for `patience` s, what is
    missing counts as never.
    """
    if protocol not in ("tcp", "udp"):
        raise ProtocolError(f"{protocol!r} is no protocol here; use tcp or udp.")
    delays = np.full(frames, np.nan)
    play = _play_tcp if protocol == "tcp" else _play_udp
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as end:
        end.bind((HOST, 0))
        if protocol == "tcp":
            end.listen()
        end.settimeout(frames * interval + patience)
        over = threading.Event()
        args = (end, size, delays) if protocol == "tcp" else (end, size, delays, over)
        player = threading.Thread(target=play, args=args, daemon=True)
        player.start()
        way = link(end.getsockname()[1], udp=protocol == "udp")
        with way as here, socket.socket(socket.AF_INET, kind) as sender:
            sender.settimeout(5)
            sender.connect((HOST, here.port))
            _film(sender, frames, interval, size, repeat if protocol == "udp" else 0)
            if protocol == "tcp":
                with suppress(OSError):  # a link that lost too often has reset us
                    sender.shutdown(socket.SHUT_WR)
            _await_the_rest(player, delays, patience)
        over.set()
        player.join(patience)
    return Stream(protocol, interval, delays.copy())


def _await_the_rest(player: threading.Thread, delays: np.ndarray, patience: float) -> None:
    """Until the player has ended, or nothing has come for `patience` s, less after the last."""
    seen, silent = -1, 0
    while player.is_alive():
        player.join(GLANCE)
        came = np.count_nonzero(~np.isnan(delays))
        seen, silent = came, silent + 1 if came == seen else 0
        if silent * GLANCE >= (patience if np.isnan(delays[-1]) else min(patience, LATER)):
            return


def _film(sock: socket.socket, frames: int, interval: float, size: int, repeat: int) -> None:
    due = perf_counter()
    before: list[bytes] = []
    for number in range(frames):
        if (early := due - perf_counter()) > 0:
            sleep(early)
        elif early < -interval:  # a camera that stood still makes up for nothing
            due = perf_counter()
        due += interval
        frame = FRAME.pack(number, perf_counter()).ljust(size, b".")
        try:
            sock.sendall(b"".join([frame, *before]))
        except OSError:
            return
        before = [frame, *before][:repeat]


def _note(frame: bytes, delays: np.ndarray) -> None:
    number, filmed = FRAME.unpack(frame[: FRAME.size])
    if number < len(delays) and np.isnan(delays[number]):
        delays[number] = perf_counter() - filmed


def _play_tcp(listener: socket.socket, size: int, delays: np.ndarray) -> None:
    with suppress(OSError):
        conn, _ = listener.accept()
        with conn:
            conn.settimeout(None)  # the link's end is its end
            for _ in range(len(delays)):
                _note(receive_exactly(conn, size), delays)


def _play_udp(sock: socket.socket, size: int, delays: np.ndarray, over: threading.Event) -> None:
    sock.settimeout(GLANCE)
    while not over.is_set():
        with suppress(OSError):  # nothing came in this glance
            datagram = sock.recv(65_535)
            for at in range(0, len(datagram), size):
                _note(datagram[at : at + size], delays)
