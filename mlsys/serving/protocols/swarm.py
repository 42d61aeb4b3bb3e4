"""A file-sharing swarm: peers that trade the pieces of one file, and the tracker that joins them.

    python -m mlsys.serving.protocols.swarm TRACKER_PORT NAME [FILE] [--liar]

A peer with a FILE is the seed. Peers speak length-prefixed messages (`protocols.send_message`): a
number asks for a piece, an empty message for the list of pieces held. A piece counts only if its
SHA-256 is the one that the tracker gave out, so a liar can waste time and do no more. Who learns
whom is the tracker's part, as in BitTorrent (BEP 3); the tracker carries no byte of the file.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from mlsys.serving.protocols.messages import HOST, receive_message, send_message

PIECE = 16_384  # bytes
PATIENCE = 60.0  # s that a peer or the tracker waits for anybody
NOBODY = b""


@dataclass(frozen=True)
class Report:
    """What one peer says at the end."""

    name: str
    digest: str  # SHA-256 of the whole file as this peer has it
    sources: dict[str, int]  # pieces by the peer that they came from
    refused: int  # pieces that failed their checksum


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def cut(data: bytes, size: int) -> list[bytes]:
    """The pieces of a file; the last may be shorter."""
    return [data[i : i + size] for i in range(0, len(data), size)]


# --- the tracker


@dataclass
class Tracker:
    """The meeting point: hands every peer the addresses of all and the checksums of the pieces."""

    port: int
    reports: dict[str, Report]
    done: threading.Event

    def wait(self, timeout: float = PATIENCE) -> dict[str, Report]:
        """Reports of all peers by name. TimeoutError if not all are in after `timeout` s."""
        if not self.done.wait(timeout):
            raise TimeoutError(f"Only {sorted(self.reports)} have reported.")
        return dict(self.reports)


@contextmanager
def tracker(data: bytes, *, peers: int) -> Iterator[Tracker]:
    """Wait in a thread for so many peers, introduce them, collect their reports."""
    listener = socket.create_server((HOST, 0))
    over = threading.Event()
    here = Tracker(listener.getsockname()[1], {}, threading.Event())
    digests = [digest(part) for part in cut(data, PIECE)]
    thread = threading.Thread(
        target=_introduce, args=(arrivals(listener, over), here, digests, peers), daemon=True
    )
    thread.start()
    try:
        yield here
    finally:
        over.set()
        thread.join(PATIENCE)


def arrivals(
    listener: socket.socket, over: threading.Event
) -> Generator[socket.socket, None, None]:
    """Connections as they come, until it is over; then the listener is closed, and only here.

    To close it under a thread that waits in `accept` is a race: the number of its file may already
    be that of another listener, whose connections the thread then takes.
    """
    with listener:
        listener.settimeout(0.1)
        while not over.is_set():
            with suppress(TimeoutError, ConnectionError):
                yield listener.accept()[0]


def _introduce(
    coming: Generator[socket.socket, None, None], here: Tracker, digests: list[str], peers: int
) -> None:
    conns, members = [], {}
    try:
        with closing(coming):
            for conn in islice(coming, peers):
                conn.settimeout(PATIENCE)
                conns.append(conn)
                member = json.loads(receive_message(conn))
                members[member["name"]] = member["port"]
        if len(conns) < peers:
            return  # the one who waits is told by `Tracker.wait`
        welcome = {"peers": members, "digests": digests}
        for conn in conns:
            send_message(conn, json.dumps(welcome).encode())
        for conn in conns:
            report = Report(**json.loads(receive_message(conn)))
            here.reports[report.name] = report
        here.done.set()
    except (OSError, ValueError, KeyError, TypeError):
        return  # told by the same
    finally:
        for conn in conns:  # a peer serves the others until its tracker hangs up
            conn.close()


def run(
    data: bytes,
    start: Callable[..., AbstractContextManager],
    *,
    names: tuple[str, ...] = ("anna", "ben", "carl"),
    liar: str | None = None,
) -> dict[str, Report]:
    """Let peers, a process each, share the data that the first has; what they report.

    start: called with a module and its arguments, such as `services.worker`. liar: who gives away
    zeros instead of what was asked for.
    """
    with ExitStack() as stack:
        file = Path(stack.enter_context(TemporaryDirectory())) / "file"
        file.write_bytes(data)
        meeting = stack.enter_context(tracker(data, peers=len(names)))
        for name in names:
            flags = [str(file)] if name == names[0] else []
            flags += ["--liar"] if name == liar else []
            module = "mlsys.serving.protocols.swarm"
            stack.enter_context(start(module, str(meeting.port), name, *flags))
        return meeting.wait()


# --- a peer


class Peer:
    """Serves the pieces that it has, in threads, and fetches the others."""

    def __init__(self, name: str, pieces: dict[int, bytes], *, liar: bool = False) -> None:
        self.name, self.pieces, self.liar = name, pieces, liar
        self.sources: Counter[str] = Counter()
        self.refused = 0
        self.ready = threading.Event()  # nobody is told what we have before we know it
        listener = socket.create_server((HOST, 0))
        self.port = listener.getsockname()[1]
        self._over = threading.Event()
        self._door = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        self._door.start()

    def close(self) -> None:
        """Let nobody in any more."""
        self._over.set()
        self._door.join()

    def _accept(self, listener: socket.socket) -> None:
        for conn in arrivals(listener, self._over):
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        with conn, suppress(OSError, ValueError):
            conn.settimeout(PATIENCE)
            while self.ready.wait(PATIENCE):
                asked = receive_message(conn)
                if not asked:
                    held = NOBODY.join(i.to_bytes(4, "big") for i in list(self.pieces))
                    send_message(conn, held)
                else:
                    part = self.pieces.get(int.from_bytes(asked, "big"), b"")
                    send_message(conn, bytes(len(part)) if self.liar else part)

    def fetch(self, peers: dict[str, int], digests: list[str]) -> None:
        """Get every missing piece: the rarest first, from the owner who gave us the fewest."""
        others = {}
        for name, port in peers.items():
            if name != self.name:
                others[name] = socket.create_connection((HOST, port), timeout=PATIENCE)
        dice, proven_liars = Random(self.name), set()
        try:
            while missing := [i for i in range(len(digests)) if i not in self.pieces]:
                owners = _owners(others, proven_liars)
                wanted = [i for i in missing if owners.get(i)]
                if not wanted:
                    raise ConnectionError("no honest peer has the pieces that are missing")
                dice.shuffle(wanted)
                number = min(wanted, key=lambda i: len(owners[i]))
                giver = min(owners[number], key=lambda name: (self.sources[name], name))
                part = _ask(others[giver], number.to_bytes(4, "big"))
                if digest(part) == digests[number]:
                    self.pieces[number] = part
                    self.sources[giver] += 1
                else:
                    self.refused += 1
                    proven_liars.add(giver)
        finally:
            for conn in others.values():
                conn.close()


def _ask(conn: socket.socket, question: bytes) -> bytes:
    send_message(conn, question)
    return receive_message(conn)


def _owners(others: dict[str, socket.socket], but: set[str]) -> dict[int, list[str]]:
    owners: dict[int, list[str]] = {}
    for name, conn in others.items():
        if name in but:
            continue
        held = _ask(conn, NOBODY)
        for at in range(0, len(held), 4):
            owners.setdefault(int.from_bytes(held[at : at + 4], "big"), []).append(name)
    return owners


def main(arguments: list[str]) -> None:
    """Join the swarm, fetch, report, and serve until the tracker hangs up."""
    liar = "--liar" in arguments
    port, name, *file = [each for each in arguments if each != "--liar"]
    with socket.create_connection((HOST, int(port)), timeout=PATIENCE) as tracker_conn:
        peer = Peer(name, {}, liar=liar)
        mine = {"name": name, "port": peer.port}
        send_message(tracker_conn, json.dumps(mine).encode())
        welcome = json.loads(receive_message(tracker_conn))
        if file:
            peer.pieces.update(enumerate(cut(Path(file[0]).read_bytes(), PIECE)))
        peer.ready.set()
        peer.fetch(welcome["peers"], welcome["digests"])
        whole = b"".join(peer.pieces[i] for i in range(len(welcome["digests"])))
        report = Report(name, digest(whole), dict(peer.sources), peer.refused)
        send_message(tracker_conn, json.dumps(report.__dict__).encode())
        tracker_conn.settimeout(None)
        tracker_conn.recv(1)


if __name__ == "__main__":
    main(sys.argv[1:])
