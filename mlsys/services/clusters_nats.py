"""Three NATS servers with JetStream and a key-value bucket that Raft keeps on all of them: a store
that gives up availability on the minority side of a partition (CP).

Every route between two servers runs through a fault proxy. Clients reach each node directly, so a
client can sit with the minority.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from typing import Any, TypeVar

import nats as nats_client
from nats.aio.client import Client
from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import Error as NatsError
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import (
    KeyNotFoundError,
    NoStreamResponseError,
    ServiceUnavailableError,
)
from nats.js.kv import KeyValue

from mlsys.services.clusters import (
    ANSWER_IN_TIME,
    IN_TIME,
    Links,
    Refused,
    Sides,
    Unanswered,
    cluster_facts,
)
from mlsys.services.errors import ServiceError
from mlsys.services.faults import Link, proxy
from mlsys.services.nats_server import Nats, find, greeting, serve
from mlsys.services.process import HOST, first_that_binds, folder, free_ports, wait_ready
from mlsys.services.server import as_table

BUCKET = "course"
NOWHERE = f"{HOST}:1"  # what nodes tell each other as their address: only our links lead to them

NOT_SENT = (
    NoRespondersError,
    NoStreamResponseError,
    ServiceUnavailableError,
    ConnectionClosedError,
)

T = TypeVar("T")


class _Loop:
    """An event loop in a thread of its own, so that sessions work in a notebook and in threads."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True, name="nats-loop")
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T], *, timeout: float = IN_TIME) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def close(self) -> None:
        async def end_all() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        with suppress(TimeoutError):
            self.run(end_all(), timeout=5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


@dataclass(frozen=True)
class NatsSession:
    """A client at one node of the cluster."""

    loop: _Loop
    client: Client
    bucket: KeyValue
    node: int

    def read(self, key: str) -> int | None:
        """Raises Refused when no answer came: a read that failed changed nothing."""
        try:
            return int(self.loop.run(self.bucket.get(key)).value)
        except KeyNotFoundError:
            return None
        except (NatsError, OSError) as error:  # OSError: a TimeoutError is one
            raise Refused(f"Node {self.node} did not answer the read ({_words(error)}).") from None

    def write(self, key: str, value: int) -> None:
        """Raises Refused when it was certainly not done, Unanswered when nobody knows."""
        try:
            self.loop.run(self.bucket.put(key, str(value).encode()))
        except NOT_SENT as error:
            raise Refused(f"Node {self.node} took no write ({_words(error)}).") from None
        except (NatsError, OSError) as error:
            raise Unanswered(f"Node {self.node} did not confirm ({_words(error)}).") from None

    def close(self) -> None:
        with suppress(NatsError, OSError):
            self.loop.run(self.client.close(), timeout=5)


@dataclass(frozen=True, repr=False)
class NatsCluster:
    """A running cluster of three."""

    nodes: tuple[Nats, ...]
    links: Links
    monitors: tuple[int, ...]  # each node's monitoring port
    direct: bool  # whether any replica answers reads
    ready_in: float  # s
    _loop: _Loop
    _cut: set[int] = field(default_factory=set)

    def leader(self) -> int:
        """The bucket's Raft leader, as two nodes see it that are neither cut off nor dead.

        Waits for an election under way; ServiceError when there is none within a minute.
        """
        end = time.monotonic() + IN_TIME
        while time.monotonic() < end:
            side = [n for n, node in enumerate(self.nodes) if n not in self._cut and node.alive]
            seen = [self.leader_seen_by(node) for node in side]
            for candidate in side:
                if 2 * seen.count(candidate) > len(self.nodes):
                    return candidate
            time.sleep(0.05)
        raise ServiceError(
            f"No two of the three nodes agreed on a leader within {IN_TIME:g} s"
            f" (nodes {side} see {seen})."
        )

    def leader_seen_by(self, node: int) -> int | None:
        """Whom this node takes for the leader now; None when it knows none or does not answer."""
        try:
            with closing(HTTPConnection(HOST, self.monitors[node], timeout=1)) as connection:
                connection.request("GET", "/jsz?streams=1")
                found = json.load(connection.getresponse())
        except (OSError, HTTPException, ValueError):
            return None
        for account in found.get("account_details") or []:
            for stream in account.get("stream_detail") or []:
                name = (stream.get("cluster") or {}).get("leader")
                if stream["name"] == f"KV_{BUCKET}" and name:
                    return int(name.removeprefix("n"))
        return None

    def session(self, node: int, *, timeout: float = 1.0) -> NatsSession:
        """A client at this node; an operation is given up after `timeout` s."""
        return self._session(node, timeout, self.direct)

    def _session(self, node: int, timeout: float, direct: bool) -> NatsSession:
        async def connect() -> Client:
            return await nats_client.connect(
                self.nodes[node].url,
                connect_timeout=ANSWER_IN_TIME,
                max_reconnect_attempts=2,
                error_cb=_quiet,
            )

        try:
            client = self._loop.run(connect())
        except (NatsError, OSError) as error:
            raise Refused(f"Node {node} takes no client ({_words(error)}).") from None
        # made here rather than looked up: the minority could not answer the look-up
        bucket = KeyValue(
            name=BUCKET,
            stream=f"KV_{BUCKET}",
            pre=f"$KV.{BUCKET}.",
            js=client.jetstream(timeout=timeout),
            direct=direct,
        )
        return NatsSession(self._loop, client, bucket, node)

    def reader(self) -> NatsSession:
        """A client that reads what the leader has, not what the nearest replica has."""
        return self._session(self.leader(), ANSWER_IN_TIME, False)

    def isolate(self, node: int, direction: str = "both") -> None:
        """Cut the node off from the two others: a black hole "both" ways, "in" or "out"."""
        self.links.isolate(node, direction)
        self._cut.add(node)

    def heal(self) -> None:
        """Let every link pass again."""
        self.links.heal()
        self._cut.clear()

    def failover(self) -> int:
        """Wait until those that can still talk to each other have elected a leader; its number."""
        return self.leader()

    def __repr__(self) -> str:
        facts = cluster_facts(self.nodes)
        return "<NATS cluster: " + "; ".join(f"{k} {v}" for k, v in facts.items()) + ">"

    def _repr_html_(self) -> str:
        return as_table("NATS cluster, one bucket on three nodes", cluster_facts(self.nodes))


@contextmanager
def nats_cluster(*, direct: bool = True, seed: int = 0) -> Iterator[NatsCluster]:
    """Three NATS servers and a replicated bucket until the end of the `with`.

    `direct` is the bucket's "allow direct": any replica answers reads at once, which is quick and
    may be stale; without it only the leader does. Raises ServiceError when it does not come up.
    """
    with first_that_binds(lambda: _cluster(direct, seed)) as cluster:
        yield cluster


@contextmanager
def _cluster(direct: bool, seed: int) -> Iterator[NatsCluster]:
    started = time.perf_counter()
    found = find()
    count = 3
    with ExitStack() as stack:
        ports = free_ports(3 * count)
        clients, routes, monitors = ports[:count], ports[count : 2 * count], ports[2 * count :]
        # each server names both others, so each pair has two links; the servers keep one of them
        pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
        links: dict[Sides, Link] = {
            (a, b): stack.enter_context(proxy(routes[b], seed=seed + 10 * a + b)) for a, b in pairs
        }
        nodes = []
        for node in range(count):
            others = [link.port for (connects, _), link in links.items() if connects == node]
            text = _cluster_config(node, routes[node], monitors[node], others)
            path = stack.enter_context(folder(f"nats-{node}"))
            running = serve(found, path, clients[node], f"NATS node {node}", text, wait=False)
            nodes.append(stack.enter_context(running))
        for node in nodes:
            wait_ready(node.process, node.port, lambda port=node.port: greeting(HOST, port))
        version = greeting(HOST, clients[0])["version"]
        loop = _Loop()
        stack.callback(loop.close)
        loop.run(_make_bucket(nodes[0].url, count, direct), timeout=2 * IN_TIME)
        cluster = NatsCluster(
            tuple(_with_version(node, version) for node in nodes),
            Links(links),
            tuple(monitors),
            direct,
            time.perf_counter() - started,
            loop,
        )
        cluster.leader()
        yield cluster


def _cluster_config(node: int, route: int, monitor: int, others: list[int]) -> str:
    urls = ", ".join(f'"nats://{HOST}:{port}"' for port in others)
    return f"""
server_name: n{node}
ping_interval: "1s"
ping_max: 2
http: "{HOST}:{monitor}"
cluster {{
  name: course
  listen: "{HOST}:{route}"
  advertise: "{NOWHERE}"
  no_advertise: true
  pool_size: -1
  ping_interval: "1s"
  routes: [{urls}]
}}"""


async def _make_bucket(url: str, replicas: int, direct: bool) -> None:
    """Create the bucket, as soon as the servers have found one another."""
    client = await nats_client.connect(url, connect_timeout=ANSWER_IN_TIME, error_cb=_quiet)
    config = KeyValueConfig(
        bucket=BUCKET, replicas=replicas, storage=StorageType.MEMORY, direct=direct, history=1
    )
    end = time.monotonic() + IN_TIME
    try:
        while True:
            try:
                await client.jetstream(timeout=1).create_key_value(config)
                return
            except (TimeoutError, NatsError) as error:
                if time.monotonic() > end:
                    raise ServiceError(
                        f"The NATS cluster made no bucket within {IN_TIME:g} s ({_words(error)})."
                    ) from None
            await asyncio.sleep(0.05)
    finally:
        await client.close()


def _with_version(node: Nats, version: str) -> Nats:
    return replace(node, version=version)


async def _quiet(_: Exception) -> None:
    """The client reports every lost connection on standard error otherwise."""


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
