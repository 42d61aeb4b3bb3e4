"""A philosopher that is a process and asks the fork server; and a table of such, from outside.

    python -m mlsys.serving.philosophers.guest PORT GUESTS THINK EAT

The variable WORKER says which guest it is. It takes the lower-numbered fork first, so the guests
by themselves cannot wait in a circle; what a frozen or dead one does to the rest is the lesson.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import psutil

from mlsys.serving.philosophers.server import HOST, READY

PATIENCE = 60.0  # s that a guest waits for a fork, and the lesson for what must come
SERVER = "mlsys.serving.philosophers.server"
GUEST = "mlsys.serving.philosophers.guest"


class Connection:
    """One connection to the fork server: a request, its answer."""

    def __init__(self, port: int, *, timeout: float = PATIENCE) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=timeout)
        self.lines = self.socket.makefile("rb")

    def ask(self, do: str, **request: Any) -> dict:
        """ValueError with the server's sentence when it refuses; ConnectionError: it is gone."""
        self.socket.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
        line = self.lines.readline()
        if not line:
            raise ConnectionError("The fork server has closed the connection.")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"The fork server refused: {answer['error']}.")
        return answer

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


def dine(server: Connection, me: int, guests: int, think: float, eat: float) -> None:
    """Think, take the lower fork, then the other, eat, put them back; for ever."""
    forks, dice = sorted((me, (me + 1) % guests)), Random(me)
    while True:
        time.sleep(dice.expovariate(1 / think))
        tokens = {k: server.ask("take", guest=me, fork=k)["token"] for k in forks}
        time.sleep(dice.expovariate(1 / eat))
        server.ask("eat", guest=me, tokens=tokens)
        for k in forks:
            server.ask("put", fork=k, token=tokens[k])


# --- the table as the lesson holds it


@dataclass(frozen=True)
class Look:
    """What the server knew `seconds` after its start.

    holder, wants, meals: as in `Snapshot` of `philosophers.table`. fresh: of each fork, whether it
    is lent and nobody has eaten with it since. expired: leases that ran out. refused:
    meals with an old token that the fence kept out. unsafe: such meals that nobody kept out.
    """

    seconds: float
    meals: tuple[int, ...]
    holder: tuple[int | None, ...]
    fresh: tuple[bool, ...]
    wants: tuple[int | None, ...]
    expired: int
    refused: int
    unsafe: int

    def since(self, before: Look) -> tuple[int, ...]:
        """Meals of each guest between an earlier look and this one."""
        return tuple(now - then for then, now in zip(before.meals, self.meals))


@dataclass(frozen=True)
class RemoteTable:
    """A fork server and its guests, all processes. `guests` is the group that runs them."""

    port: int
    guests: Any
    connection: Connection

    def look(self) -> Look:
        seen = self.connection.ask("look")
        return Look(**{k: tuple(v) if isinstance(v, list) else v for k, v in seen.items()})

    def watch(self, seconds: float, *, every: float = 0.05) -> list[Look]:
        """Look again and again for so long."""
        end, seen = time.monotonic() + seconds, [self.look()]
        while time.monotonic() < end:
            time.sleep(every)
            seen.append(self.look())
        return seen

    def freeze(self, i: int) -> Look:
        """Stop guest i's process in the middle of a meal, with both forks, as a long pause would.

        TimeoutError when it was never met so. Needs a system with SIGSTOP.
        """
        forks = {i, (i + 1) % len(self.guests.pids)}
        process = psutil.Process(self.guests.pids[i])
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.guests.pause(i)
            # It ends the call that it is in first, such as a send.
            while process.status() != psutil.STATUS_STOPPED and time.monotonic() < end:
                time.sleep(0.001)
            self.look()  # what the guest had sent before is read by the next look at the latest
            seen = self.look()
            if all(seen.holder[k] == i and seen.fresh[k] for k in forks):
                return seen
            self.guests.resume(i)
            time.sleep(0.003)
        raise TimeoutError(f"Guest {i} was never in the middle of a meal when it was stopped.")

    def still(self, seconds: float = 0.4) -> list[Look]:
        """Watch until nobody has eaten for so long; the looks of that stretch.

        TimeoutError when somebody still eats after a minute.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            looks = self.watch(seconds)
            if looks[0].meals == looks[-1].meals:
                return looks
        raise TimeoutError(f"After {PATIENCE:g} s somebody still eats: {looks[-1]}.")

    def until(self, met: Callable[[Look], bool]) -> Look:
        """Look until `met`; TimeoutError with the last look after a minute."""
        end = time.monotonic() + PATIENCE
        while not met(seen := self.look()):
            if time.monotonic() > end:
                raise TimeoutError(f"After {PATIENCE:g} s the table was still {seen}.")
            time.sleep(0.02)
        return seen


@contextmanager
def table_of_processes(
    start: Callable[..., AbstractContextManager],
    *,
    guests: int = 5,
    think: float = 0.005,
    eat: float = 0.01,
    lease: float | None = None,
    fence: bool = True,
) -> Iterator[RemoteTable]:
    """A fork server and its guests until the end of the `with`.

    start: `services.worker`, which runs a module in processes. think, eat: mean times, s. lease:
    s after which a fork comes back by itself; None: never. fence: refuse meals with old tokens.
    """
    flags = [] if lease is None else ["--lease", str(lease)]
    flags += [] if fence else ["--no-fence"]
    with start(SERVER, str(guests), *flags, ready=READY) as server:
        port = int(server.log(0).split(READY)[1].split()[0])
        connection = Connection(port)
        try:
            arguments = [str(value) for value in (port, guests, think, eat)]
            with start(GUEST, *arguments, count=guests, ready="seated") as group:
                yield RemoteTable(port, group, connection)
        finally:
            connection.close()


@dataclass(frozen=True)
class Frozen:
    """What happened when a guest froze: all looks, and when it froze and went on (server's s)."""

    looks: list[Look]
    froze: float
    went_on: float

    @property
    def last(self) -> Look:
        return self.looks[-1]

    @property
    def meals_meanwhile(self) -> int:
        """Meals of all guests while the one was frozen."""
        meals = [sum(k.meals) for k in self.looks if self.froze <= k.seconds <= self.went_on]
        return meals[-1] - meals[0]


def freeze_one(
    start: Callable[..., AbstractContextManager],
    *,
    lease: float,
    fence: bool = True,
    asleep: float = 0.6,
    who: int = 2,
) -> Frozen:
    """Freeze guest `who` with both of its forks, and let it go on after `asleep` s.

    start, lease, fence: as of `table_of_processes`. Where the lease ends earlier than that, the
    guest sleeps on until a neighbour has eaten, with one of its forks. Ends 0.2 s after the guest's
    next meal.
    """
    with table_of_processes(start, lease=lease, fence=fence) as table:
        table.until(lambda look: min(look.meals) >= 2)
        before = table.watch(0.2)
        frozen = table.freeze(who)
        meanwhile = table.watch(asleep)
        if lease < asleep:
            beside = [(who + side) % len(frozen.meals) for side in (-1, 1)]
            ate = table.until(lambda look: any(look.since(frozen)[i] for i in beside))
            meanwhile.append(ate)
        table.guests.resume(who)
        table.until(lambda look: look.meals[who] > frozen.meals[who])
        looks = [*before, frozen, *meanwhile, *table.watch(0.2)]
    return Frozen(looks, frozen.seconds, meanwhile[-1].seconds)


def main(arguments: list[str]) -> None:
    port, guests, think, eat = arguments
    me = int(os.environ.get("WORKER", "0"))
    server = Connection(int(port))
    print("seated", flush=True)
    with suppress(ConnectionError, TimeoutError):  # the server has gone: so does the guest
        dine(server, me, int(guests), float(think), float(eat))


if __name__ == "__main__":
    main(sys.argv[1:])
