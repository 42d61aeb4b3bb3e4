"""The two experiments on a real cluster that the lessons stand on: which acknowledged writes are
gone after a failover, and how many reads at another node miss the write that came before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from mlsys.services.clusters import Cluster, Refused, Unanswered
from mlsys.services.errors import ServiceError

GIVE_UP = 2  # a client stops after so many writes in a row that nobody confirmed


@dataclass(frozen=True)
class Outcome:
    """What became of the writes; the four counts of answers add up to `asked`."""

    asked: int  # writes sent; clients give up on a leader that stays silent
    acknowledged: int
    unanswered: int  # done or not, nobody knows
    refused: int
    lost: tuple[str, ...]  # keys acknowledged and gone
    kept_unanswered: int  # unanswered, and there all the same
    old_leader: int
    new_leader: int

    def __str__(self) -> str:
        return (
            f"{len(self.lost)} of {self.acknowledged} acknowledged writes were lost;"
            f" {self.unanswered} more were never confirmed."
        )


@dataclass(frozen=True)
class StaleReads:
    """Pairs of a write at the leader and a read at `node` right after its acknowledgement."""

    pairs: int
    stale: int
    refused: int  # reads that got no answer
    unconfirmed: int  # writes that got none, and so no read
    node: int

    def __str__(self) -> str:
        return f"{self.stale} of {self.pairs} reads at node {self.node} were stale."


def lost_writes_after_failover(
    cluster: Cluster, *, writes: int = 500, cut_at: float = 0.0, clients: int = 8, **session: Any
) -> Outcome:
    """Write to the leader, cut it off on the way, fail over, heal, and look what is left.

    The leader is cut off (a black hole to its peers, not to its clients) after the share `cut_at`
    of the writes; its clients go on. Then the others get a new leader, the link heals, and every
    write is looked up at the new leader. `session` goes to `cluster.session` (Valkey: `wait=1`).
    """
    if writes < 1 or not 0 <= cut_at <= 1 or clients < 1:
        raise ServiceError(
            f"writes={writes}, cut_at={cut_at}, clients={clients}: give at least one write and one"
            " client, and a share from 0 to 1."
        )
    old = cluster.leader()
    before = round(writes * cut_at)
    keys = [f"write-{number}" for number in range(writes)]
    answers = _write_all(cluster, old, keys[:before], clients, session)
    cluster.isolate(old)
    answers |= _write_all(cluster, old, keys[before:], clients, session)
    new = cluster.failover()
    cluster.heal()
    with closing(cluster.reader()) as reader:
        there = {key for key in answers if reader.read(key) is not None}
    by_kind = {
        kind: [key for key, answer in answers.items() if answer == kind]
        for kind in ("acknowledged", "unanswered", "refused")
    }
    return Outcome(
        asked=len(answers),
        acknowledged=len(by_kind["acknowledged"]),
        unanswered=len(by_kind["unanswered"]),
        refused=len(by_kind["refused"]),
        lost=tuple(key for key in by_kind["acknowledged"] if key not in there),
        kept_unanswered=sum(key in there for key in by_kind["unanswered"]),
        old_leader=old,
        new_leader=new,
    )


def stale_reads(
    cluster: Cluster,
    *,
    pairs: int = 200,
    node: int | None = None,
    isolate: bool = False,
    **session: Any,
) -> StaleReads:
    """Write at the leader, wait for its acknowledgement, read at `node` at once; how often stale?

    `node` is by default one that does not lead. With `isolate` it is cut off from the others
    first (the leader itself may be named: the others then elect another); it stays cut off.
    `session` goes to the writer's `cluster.session`.
    """
    leader = cluster.leader()
    if node is None:
        node = next(each for each in range(len(cluster.nodes)) if each != leader)
    if not 0 <= node < len(cluster.nodes):
        raise ServiceError(f"There is no node {node} among {len(cluster.nodes)}; count from 0.")
    with closing(cluster.session(node)) as reader:
        with closing(cluster.reader()) as patient:
            patient.write("stale", 0)
        if isolate:
            cluster.isolate(node)
            leader = cluster.failover() if node == leader else cluster.leader()
        stale = refused = unconfirmed = 0
        with closing(cluster.session(leader, **session)) as writer:
            for value in range(1, pairs + 1):
                try:
                    writer.write("stale", value)
                except (Unanswered, Refused):
                    unconfirmed += 1
                    continue
                try:
                    stale += reader.read("stale") != value
                except Refused:
                    refused += 1
    return StaleReads(pairs, stale, refused, unconfirmed, node)


def _write_all(
    cluster: Cluster, node: int, keys: Sequence[str], clients: int, options: dict[str, Any]
) -> dict[str, str]:
    """What each write was answered, by key; the keys that no client got to are missing."""

    def write_some(mine: Sequence[str]) -> dict[str, str]:
        answers: dict[str, str] = {}
        silent = 0
        with closing(cluster.session(node, **options)) as session:
            for number, key in enumerate(mine):
                try:
                    session.write(key, number)
                    answers[key], silent = "acknowledged", 0
                except Unanswered:
                    answers[key], silent = "unanswered", silent + 1
                except Refused:
                    answers[key], silent = "refused", silent + 1
                if silent >= GIVE_UP:
                    break
        return answers

    shares = [keys[client::clients] for client in range(min(clients, len(keys)))]
    if not shares:
        return {}
    with ThreadPoolExecutor(len(shares), thread_name_prefix="writer") as pool:
        return {key: said for part in pool.map(write_some, shares) for key, said in part.items()}
