"""A register on a few replicas whose clients are small programs: to try a rule under many orders.

A client's operation is a generator. `yield version` tells a version to all replicas; each keeps the
newer of that and its own and answers with what it now holds; the program goes on with the list of
answers when a majority has come. Every message is delivered at a random moment, in any order, after
the majority too. What comes out is a history for the checker. It is a tool for designing protocols
(Attiya, Bar-Noy and Dolev, "Sharing Memory Robustly in Message-Passing Systems", JACM 1995, is the
classic one); for time, loss and real stores see `simulation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from random import Random
from typing import Any

from mlsys.cap.history import Event, History

Version = tuple[int, int, Any]  # (number, writer, value): the larger is the newer
Program = Generator[Version, list[Version], Any]
NOTHING: Version = (0, 0, None)  # the lowest version: telling it is asking
CLIENTS = 3


class RoundError(ValueError):
    """A program that is none; the message is one sentence."""


def play(
    read: Callable[[], Program],
    write: Callable[[int, int], Program],
    seed: int,
    *,
    steps: int = 250,
    replicas: int = 3,
    down: Collection[int] = (),
) -> History:
    """Let three clients read and write for so many steps; the same seed gives the same history.

    `read()` and `write(client, value)` make the programs, `down` are the replicas that never
    answer. A step begins an operation or delivers one message; times are the events' numbers, and
    what has not finished stays open. Raises RoundError for a program that yields no version.
    """
    rng = Random(seed)
    held = [NOTHING] * replicas
    events: list[Event] = []
    bag: list[tuple[int, int, Version, list[Version]]] = []
    busy: dict[int, tuple[str, Any, Program]] = {}

    def note(client: int, kind: str, f: str, value: Any) -> None:
        events.append(Event(len(events), client, kind, f, "x", value))

    def go_on(client: int, answers: list[Version] | None) -> None:
        """Run a client's program to its next round or to its end."""
        f, value, program = busy[client]
        try:
            told = _version(program.send(answers), f)
        except StopIteration as end:
            del busy[client]
            note(client, "ok", f, end.value if f == "read" else value)
            return
        got: list[Version] = []
        bag.extend((client, node, told, got) for node in range(replicas) if node not in down)

    for step in range(steps):
        client = rng.randrange(CLIENTS)
        if client not in busy:
            f, value = rng.choice((("read", None), ("write", step)))
            program = read() if f == "read" else write(client, step)
            if not isinstance(program, Generator):
                raise RoundError(f"{f} must be a generator: it yields the versions that it tells.")
            busy[client] = (f, value, program)
            note(client, "invoke", f, value)
            go_on(client, None)
        elif bag:
            client, node, told, got = bag.pop(rng.randrange(len(bag)))
            held[node] = max(held[node], told)
            got.append(held[node])
            if len(got) == replicas // 2 + 1:
                go_on(client, list(got))
    return History(tuple(events))


def _version(told: Any, f: str) -> Version:
    if not (isinstance(told, tuple) and len(told) == 3 and isinstance(told[0], int)):
        raise RoundError(
            f"{f} told {told!r:.60}; tell a version (number, writer, value), or NOTHING to ask."
        )
    return told
