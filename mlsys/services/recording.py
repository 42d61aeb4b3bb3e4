"""Real histories: clients in threads read and write a cluster while faults come and go, and every
invocation and outcome is noted as `mlsys.cap.history.Event` takes it.

The events are plain dictionaries (`Event(**event)`), so that neither side needs the other.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from mlsys.services.clusters import Cluster, Refused, Session, Unanswered

Fault = tuple[float, Callable[[], Any]]  # (ms after the start, what to do)

KEY = "x"
FEWEST = 5  # operations that each client has ended before the next fault, and the end, may come
PATIENCE = 10.0  # s that a fault waits for them, beyond its time


@dataclass
class _Tape:
    """Events in the order in which they happened, whichever thread they come from."""

    started: float
    events: list[dict[str, Any]] = field(default_factory=list)
    ended: Counter[int] = field(default_factory=Counter)  # operations, by client
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def note(self, process: int, type_: str, f: str, value: Any, note: str = "") -> None:
        with self.lock:  # the time is taken inside, so the order of times is that of the list
            self.events.append(
                {
                    "time": 1000 * (time.perf_counter() - self.started),
                    "process": process,
                    "type": type_,
                    "f": f,
                    "key": KEY,
                    "value": value,
                    "note": note,
                }
            )


def record(
    cluster: Cluster,
    *,
    clients: Sequence[int] = (0, 1),
    duration: float = 2.0,
    pause: float = 0.01,
    faults: Sequence[Fault] = (),
    seed: int = 0,
    started: float | None = None,
    **session: Any,
) -> list[dict[str, Any]]:
    """Drive the cluster for `duration` s and return what its clients saw.

    One client sits at each node named in `clients`, reads or writes one key every `pause` s and
    waits for the answer. Written values are all different. `faults` are done at their times, in
    this thread: `[(500, lambda: cluster.isolate(0)), (1500, cluster.heal)]`. `started` is the
    moment (`time.perf_counter()`) from which times count, by default now. More options go to
    `cluster.session`.

    On a machine that stalls, what would come too early waits: a fault that is late makes all that
    follows late, the end as well, and none comes before each client has ended a few operations
    since the last one. So every phase of a recording holds operations of every client.

    An outcome that nobody knows is an event of type "info", after which the client goes on under
    a new process number, as Jepsen does.
    """
    tape = _Tape(time.perf_counter() if started is None else started)
    values = count(1)

    def drive(index: int) -> None:
        random = Random(f"{seed}/{index}")
        process = index
        with closing(cluster.session(clients[index], **session)) as asked:
            while not tape.over.is_set():
                f = "read" if random.random() < 0.5 else "write"
                value = None if f == "read" else next(values)
                if not _one(tape, process, asked, f, value):
                    process += len(clients)
                tape.ended[index] += 1
                tape.over.wait(pause)

    with ThreadPoolExecutor(len(clients), thread_name_prefix="client") as pool:
        running = [pool.submit(drive, index) for index in range(len(clients))]
        before, began = 0.0, tape.started
        try:
            for at_ms, action in sorted(faults, key=lambda fault: fault[0]):
                _wait(tape, began + (at_ms - before) / 1000, running)
                before, began = at_ms, time.perf_counter()
                action()
            _wait(tape, began + duration - before / 1000, running)
        finally:
            tape.over.set()
        for each in running:
            each.result()
    return tape.events


def _wait(tape: _Tape, until: float, running: Sequence[Future[None]]) -> None:
    """Until that moment, and until each client has ended `FEWEST` operations from now on."""
    wanted = {index: tape.ended[index] + FEWEST for index in range(len(running))}
    time.sleep(max(0.0, until - time.perf_counter()))
    while time.perf_counter() < until + PATIENCE:
        if any(client.done() for client in running):  # one has failed: its error is told below
            return
        if all(tape.ended[index] >= goal for index, goal in wanted.items()):
            return
        time.sleep(0.005)


def _one(tape: _Tape, process: int, session: Session, f: str, value: int | None) -> bool:
    """One operation with its two events; False when its outcome is unknown."""
    tape.note(process, "invoke", f, value)
    try:
        if f == "read":
            tape.note(process, "ok", f, session.read(KEY))
        else:
            session.write(KEY, value)
            tape.note(process, "ok", f, value)
    except Refused as refusal:
        tape.note(process, "fail", f, value, str(refusal))
    except Unanswered as silence:
        tape.note(process, "info", f, value, str(silence))
        return False
    return True
