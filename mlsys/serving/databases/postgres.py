"""PostgreSQL asked what it really does: which anomalies each isolation level lets through, and how
it means to answer a query with and without an index.

An anomaly is two sessions whose statements are interleaved by hand; nothing is left to luck. A
statement that has to wait for the other session's lock runs in a thread until that one commits.
Functions take the address of a server (`services.postgres().url`). Layouts of data are in
`databases.layouts`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import pandas as pd
import psycopg

LEVELS = ("read committed", "repeatable read", "serializable")
HAPPENED, REFUSED, ABSENT = "happens", "refused with an error", "does not happen"
PATIENCE_S = 10  # a statement that waits longer for a lock is a bug of ours


class Session:
    """One connection in its own transaction; `later` runs a statement that may have to wait."""

    def __init__(self, url: str, level: str) -> None:
        self.connection = psycopg.connect(url, connect_timeout=10)
        self.connection.execute(f"set lock_timeout = '{PATIENCE_S}s'")
        self.connection.commit()
        self.connection.isolation_level = psycopg.IsolationLevel[level.upper().replace(" ", "_")]
        self._thread = ThreadPoolExecutor(1)

    def ask(self, statement: str, *values: Any) -> Any:
        """The first column of the first row; None when the statement returns no rows."""
        cursor = self.connection.execute(statement, values or None)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def later(self, statement: str, *values: Any) -> Future:
        return self._thread.submit(self.ask, statement, *values)

    def commit(self) -> None:
        self.connection.commit()

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        with suppress(psycopg.Error):
            self.connection.rollback()  # over there too, before anything else begins
        self.connection.close()


# --- anomalies: each returns whether the wrong thing is there at the end


def dirty_read(a: Session, b: Session) -> bool:
    b.ask("update account set money = 0 where owner = 'ann'")
    seen = a.ask("select money from account where owner = 'ann'")
    b.commit()
    a.commit()
    return seen == 0


def unrepeatable_read(a: Session, b: Session) -> bool:
    first = a.ask("select money from account where owner = 'ann'")
    b.ask("update account set money = 0 where owner = 'ann'")
    b.commit()
    again = a.ask("select money from account where owner = 'ann'")
    a.commit()
    return first != again


def phantom(a: Session, b: Session) -> bool:
    first = a.ask("select count(*) from account where money > 50")
    b.ask("insert into account values ('eve', 100)")
    b.commit()
    again = a.ask("select count(*) from account where money > 50")
    a.commit()
    return first != again


def lost_update(a: Session, b: Session) -> bool:
    """Both read 100, both write what they read plus 10: one of the two deposits is gone."""
    read = "select money from account where owner = 'ann'"
    write = "update account set money = %s where owner = 'ann'"
    before_a, before_b = a.ask(read), b.ask(read)
    a.ask(write, before_a + 10)
    waiting = b.later(write, before_b + 10)
    a.commit()
    waiting.result(PATIENCE_S)
    b.commit()
    return _after(a, read) != 120


def write_skew(a: Session, b: Session) -> bool:
    """Ann and Bob may be overdrawn one by one as long as the two together are not. Each session
    sees 200 in all and takes 150 from another account: no row is written twice."""
    total = "select sum(money) from account where owner in ('ann', 'bob')"
    if a.ask(total) >= 150:
        a.ask("update account set money = money - 150 where owner = 'ann'")
    if b.ask(total) >= 150:
        b.ask("update account set money = money - 150 where owner = 'bob'")
    a.commit()
    b.commit()
    return _after(a, total) < 0


ANOMALIES: dict[str, Callable[[Session, Session], bool]] = {
    "dirty read": dirty_read,
    "unrepeatable read": unrepeatable_read,
    "phantom": phantom,
    "lost update": lost_update,
    "write skew": write_skew,
}


def _after(session: Session, statement: str) -> Any:
    value = session.ask(statement)
    session.commit()
    return value


def anomalies(url: str, levels: tuple[str, ...] = LEVELS) -> pd.DataFrame:
    """What happens: a row for each anomaly, a column for each level."""
    return pd.DataFrame(
        {level: {name: outcome(url, run, level) for name, run in ANOMALIES.items()}
         for level in levels}
    )  # fmt: skip


def outcome(url: str, run: Callable[[Session, Session], bool], level: str) -> str:
    """Try one anomaly at one level on a table of its own making."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as setup:
        setup.execute("drop table if exists account")
        setup.execute("create table account (owner text primary key, money int)")
        setup.execute("insert into account values ('ann', 100), ('bob', 100)")
    with two_sessions(url, level) as (a, b):
        try:
            return HAPPENED if run(a, b) else ABSENT
        except psycopg.errors.SerializationFailure:
            return REFUSED


@contextmanager
def two_sessions(url: str, level: str) -> Iterator[tuple[Session, Session]]:
    """Two connections at this isolation level."""
    a = Session(url, level)
    try:
        b = Session(url, level)
        try:
            yield a, b
        finally:
            b.close()
    finally:
        a.close()


# --- replication


class Cluster(Protocol):
    """A primary (0) and its replica (1), as `services.postgres_cluster` gives them."""

    def session(self, node: int) -> Any: ...

    def isolate(self, node: int) -> None: ...

    def heal(self) -> None: ...


def cut_off(cluster: Cluster) -> dict[str, int | None]:
    """What primary and replica say of a key that was changed from 1 to 0 while the link was cut.
    The link is whole again afterwards. TimeoutError if the replica never had the 1."""
    primary, replica = cluster.session(0), cluster.session(1)
    try:
        primary.write("stock", 1)
        end = time.monotonic() + PATIENCE_S
        while replica.read("stock") != 1:
            if time.monotonic() > end:
                raise TimeoutError(f"The replica has not followed within {PATIENCE_S} s.")
            time.sleep(0.01)
        cluster.isolate(1)
        primary.write("stock", 0)
        return {"primary": primary.read("stock"), "replica": replica.read("stock")}
    finally:
        cluster.heal()
        primary.close()
        replica.close()


# --- plans


def fill_ratings(url: str, rows: int = 50_000) -> None:
    """A table of ratings: each person has ten, one in five has five stars."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as setup:
        setup.execute("drop table if exists ratings")
        setup.execute(
            "create table ratings as select i as id, (i * 7919) %% (%s / 10) as person,"
            " 1 + (i * 31) %% 5 as stars, md5(i::text) as note from generate_series(1, %s) i",
            (rows, rows),
        )
        setup.execute("vacuum analyze ratings")


QUERIES = {
    "one person's ratings": "select * from ratings where person = 77",
    "the same, by a function of it": "select * from ratings where person + 0 = 77",
    "how many of one person": "select count(*) from ratings where person = 77",
    "all with five stars": "select * from ratings where stars = 5",
    "the last ten": "select * from ratings order by id desc limit 10",
}
INDEXES = (
    "create index on ratings (person)",
    "create index on ratings (stars)",
    "create index on ratings (id)",
)


def plan(url: str, query: str) -> tuple[str, int]:
    """How PostgreSQL reads the table for this query, and how many pages of 8 kB it touched."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as session:
        session.execute("set max_parallel_workers_per_gather = 0")
        told = session.execute(f"explain (analyze, buffers, format json) {query}").fetchone()[0]
    top = (json.loads(told) if isinstance(told, str) else told)[0]["Plan"]
    pages = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    return _way_in(top), pages


def _way_in(node: dict[str, Any]) -> str:
    """The node that reads the table."""
    while "Relation Name" not in node and node.get("Plans"):
        node = node["Plans"][0]
    return node["Node Type"]


def plans(url: str, queries: dict[str, str] = QUERIES) -> pd.DataFrame:
    """Way and pages of each query on fresh `fill_ratings`, before and after INDEXES are made."""
    fill_ratings(url)
    before = {name: plan(url, query) for name, query in queries.items()}
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as session:
        for statement in INDEXES:
            session.execute(statement)
        session.execute("vacuum analyze ratings")
    after = {name: plan(url, query) for name, query in queries.items()}
    columns = ["without an index", "pages", "with an index", "pages then"]
    rows = {name: [*before[name], *after[name]] for name in queries}
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
