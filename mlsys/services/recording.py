"""Real histories: clients in threads read and write a cluster while faults come and go, and every
invocation and outcome is noted as `mlsys.cap.history.Event` takes it.

The events are plain dictionaries (`Event(**event)`), so that neither side needs the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from mlsys.services.clusters import Cluster, Refused, Session, Unanswered
from mlsys.services.errors import ServiceError

Fault = tuple[float, Callable[[], Any]]  # (ms after the start, what to do)


@dataclass
class _Tape:
    """Events in the order in which they happened, whichever thread they come from."""

    started: float = field(default_factory=time.perf_counter)
    events: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, process: int, type_: str, f: str, key: str, value: Any, note: str = "") -> None:
        with self.lock:  # the time is taken inside, so the order of times is that of the list
            self.events.append(
                {
                    "time": 1000 * (time.perf_counter() - self.started),
                    "process": process,
                    "type": type_,
                    "f": f,
                    "key": key,
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
    keys: Sequence[str] = ("x",),
    reads: float = 0.5,
    writes_at: Literal["own", "leader"] = "own",
    faults: Sequence[Fault] = (),
    seed: int = 0,
    **session: Any,
) -> list[dict[str, Any]]:
    """Drive the cluster for `duration` s and return what its clients saw.

    One client sits at each node named in `clients`, asks every `pause` s and waits for the
    answer; a share `reads` of its operations are reads. Written values are all different. With
    `writes_at="leader"` it reads at its own node and writes at the leader, as an application with
    read replicas does. `faults` are done at their times: `[(500, lambda: cluster.isolate(0)),
    (1500, cluster.heal)]`. More options go to `cluster.session`.

    An outcome that nobody knows is an event of type "info", after which the client goes on under
    a new process number, as Jepsen does.
    """
    if writes_at not in ("own", "leader"):
        raise ServiceError(f"writes_at={writes_at!r} is unknown; use own or leader.")
    tape = _Tape()
    values = iter(range(1, 10_000_000))

    def drive(index: int) -> None:
        random = Random(f"{seed}/{index}")
        process = index
        end = tape.started + duration
        with ExitStack() as stack:
            sessions: dict[int, Session] = {}

            def at(node: int) -> Session:
                if node not in sessions:
                    opened = cluster.session(node, **session)
                    sessions[node] = stack.enter_context(closing(opened))
                return sessions[node]

            while time.perf_counter() < end:
                key = random.choice(keys)
                if random.random() < reads:
                    work = ("read", key, None, lambda: clients[index])
                else:
                    own = writes_at == "own"
                    place = (lambda: clients[index]) if own else cluster.leader
                    work = ("write", key, next(values), place)
                if not _one(tape, process, work, at):
                    process += len(clients)
                time.sleep(pause)

    with ThreadPoolExecutor(len(clients), thread_name_prefix="client") as pool:
        running = [pool.submit(drive, index) for index in range(len(clients))]
        for at_ms, action in sorted(faults, key=lambda fault: fault[0]):
            time.sleep(max(0.0, tape.started + at_ms / 1000 - time.perf_counter()))
            action()
        for each in running:
            each.result()
    return tape.events


def _one(
    tape: _Tape,
    process: int,
    work: tuple[str, str, int | None, Callable[[], int]],
    at: Callable[[int], Session],
) -> bool:
    """One operation with its two events; False when its outcome is unknown."""
    f, key, value, place = work
    tape.note(process, "invoke", f, key, value)
    try:
        session = at(place())
        if f == "read":
            tape.note(process, "ok", f, key, session.read(key))
        else:
            session.write(key, value)
            tape.note(process, "ok", f, key, value)
    except Refused as refusal:
        tape.note(process, "fail", f, key, value, str(refusal))
    except Unanswered as silence:
        tape.note(process, "info", f, key, value, str(silence))
        return False
    return True
