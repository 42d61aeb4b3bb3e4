"""A Valkey primary and its replica, asynchronous: a store that answers on both sides of a partition
(AP-leaning) and may lose what it has acknowledged. `WAIT` makes a client wait for the replica.

The replica follows the primary through a fault proxy; a second one waits for the roles to swap.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import redis

from mlsys.services.clusters import (
    ANSWER_IN_TIME,
    IN_TIME,
    Links,
    Refused,
    Unanswered,
    cluster_facts,
)
from mlsys.services.errors import ServiceError
from mlsys.services.faults import proxy
from mlsys.services.process import HOST
from mlsys.services.server import as_table
from mlsys.services.valkey_server import Valkey, find, run_one

# replicate at once, not after the five seconds that a busy primary gathers replicas
SETTINGS = {
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-diskless-load": "flush-before-load",
    "repl-ping-replica-period": "1",
}
NOT_SENT = (redis.exceptions.ReadOnlyError, redis.exceptions.BusyLoadingError)


@dataclass(frozen=True)
class ValkeySession:
    """A client at one node; `wait` replicas must confirm each write."""

    client: redis.Redis
    node: int
    wait: int
    timeout: float

    def read(self, key: str) -> int | None:
        """Raises Refused when no answer came: a read that failed changed nothing."""
        try:
            value = self.client.get(key)
        except redis.RedisError as error:
            raise Refused(f"Node {self.node} did not answer the read ({error}).") from None
        return None if value is None else int(value)

    def write(self, key: str, value: int) -> None:
        """Raises Refused when it was certainly not done, Unanswered when nobody knows."""
        try:
            with self.client.pipeline(transaction=False) as both:
                both.set(key, value)
                if self.wait:
                    both.execute_command("WAIT", self.wait, int(1000 * self.timeout))
                answers = both.execute()
        except NOT_SENT as error:
            raise Refused(f"Node {self.node} took no write ({error}).") from None
        except redis.RedisError as error:
            raise Unanswered(f"Node {self.node} did not confirm ({error}).") from None
        if self.wait and answers[1] < self.wait:
            raise Unanswered(
                f"{answers[1]} of {self.wait} replicas confirmed within {self.timeout:g} s;"
                " the primary has the write, the replica may not."
            )

    def close(self) -> None:
        self.client.close()


@dataclass(repr=False)
class ValkeyCluster:
    """A running primary and replica; who is which changes at a failover."""

    nodes: tuple[Valkey, Valkey]
    links: Links
    ready_in: float  # s
    primary: int = field(default=0, init=False)

    def leader(self) -> int:
        """The node that we have made the primary."""
        return self.primary

    def session(self, node: int, *, wait: int = 0, timeout: float = 0.5) -> ValkeySession:
        """A client at this node; with `wait=1` a write counts only when the replica has it."""
        # nobody cuts a client off from its node: however late, the answer comes
        options = {"socket_timeout": timeout + ANSWER_IN_TIME, "retry": None}
        return ValkeySession(self.nodes[node].client(**options), node, wait, timeout)

    def reader(self) -> ValkeySession:
        """A client that reads what the leader has."""
        return self.session(self.primary)

    def isolate(self, node: int, direction: str = "both") -> None:
        """Cut the two apart: a black hole "both" ways, or what comes "in" or goes "out" there."""
        self.links.isolate(node, direction)

    def failover(self) -> int:
        """Make the other node the primary, as Sentinel would once it has given up on the first.

        Nobody tells the old primary: until `heal()` it goes on taking writes (split brain).
        """
        self.primary = 1 - self.primary
        with self.nodes[self.primary].client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        return self.primary

    def heal(self) -> None:
        """Let the link pass again, and have the other node follow the primary.

        After a failover the old primary throws its own writes away to do so. Waits until it has
        caught up; ServiceError when it does not.
        """
        self.links.heal()
        follower = 1 - self.primary
        if not self.nodes[follower].alive:
            return
        follow(self.nodes[follower], self.links.between[follower, self.primary].port)
        await_sync(self.nodes[self.primary], self.nodes[follower])

    def __repr__(self) -> str:
        facts = cluster_facts(self.nodes)
        return "<Valkey cluster: " + "; ".join(f"{k} {v}" for k, v in facts.items()) + ">"

    def _repr_html_(self) -> str:
        caption = f"Valkey, node {self.primary} the primary, the other its replica"
        return as_table(caption, cluster_facts(self.nodes))


@contextmanager
def valkey_cluster(*, seed: int = 0) -> Iterator[ValkeyCluster]:
    """A primary and a replica in step until the end of the `with`."""
    started = time.perf_counter()
    found = find()
    with ExitStack() as stack:
        nodes = tuple(stack.enter_context(run_one(found, SETTINGS)) for _ in range(2))
        links = Links(
            {
                (1 - node, node): stack.enter_context(proxy(nodes[node].port, seed=seed + node))
                for node in range(2)
            }
        )
        follow(nodes[1], links.between[1, 0].port)
        await_sync(*nodes)
        yield ValkeyCluster(nodes, links, time.perf_counter() - started)


def follow(node: Valkey, port: int) -> None:
    """Make the node a replica of what is behind the port."""
    with node.client() as client:
        replication = client.info("replication")
        if replication["role"] == "slave" and replication["master_port"] == port:
            return
        client.execute_command("REPLICAOF", HOST, port)


def await_sync(primary: Valkey, replica: Valkey) -> None:
    """Wait until what is written at the primary shows at the replica.

    INFO is not enough to know: after a full copy the replica calls its link "up", and the primary
    calls the replica "online", up to a second before it sends the first new write.
    """
    probe = f"probe-{secrets.token_hex(8)}"
    end = time.monotonic() + IN_TIME
    with primary.client() as leads, replica.client() as follows:
        sent = False
        while time.monotonic() < end:
            with suppress(redis.RedisError):  # a replica that loads a copy answers no reads
                if not sent and follows.info("replication").get("master_link_status") == "up":
                    sent = leads.set(probe, "")  # now, so that it comes by the stream, not the copy
                if follows.exists(probe):
                    leads.delete(probe)
                    return
            time.sleep(0.005)
    raise ServiceError(f"The replica at port {replica.port} did not catch up within {IN_TIME:g} s.")
