"""Where the to-do service keeps its state: in PostgreSQL, or in the memory of one process.

Both stores answer the same calls, so that a lesson can put one in the other's place and see what
two workers make of it. Requests, tokens and status codes are left to `mlsys.serving.todo.service`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from queue import Empty, LifoQueue
from threading import Lock
from typing import Any, Protocol
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

CONNECTIONS = 8  # idle ones kept by a process
CREATE = """
create table if not exists todos (
    n bigserial primary key, owner text not null, id text not null,
    title text not null, done boolean not null, unique (owner, id));
create index if not exists todos_pages on todos (owner, n);
create table if not exists answers (
    owner text, key text, fingerprint text not null, todo jsonb, primary key (owner, key));
create table if not exists buckets (
    owner text primary key, tokens double precision not null, at double precision not null);
"""
# One statement decides and takes, so two workers never take the same token. The database's clock
# is the only one: the workers' may differ.
TAKE = """
insert into buckets as b values (
    %(owner)s, %(burst)s - 1, extract(epoch from clock_timestamp()))
on conflict (owner) do update set
    tokens = least(%(burst)s, b.tokens + greatest(0, excluded.at - b.at) * %(rate)s) - 1,
    at = greatest(b.at, excluded.at)
where least(%(burst)s, b.tokens + greatest(0, excluded.at - b.at) * %(rate)s) >= 1
returning tokens
"""
MISSING = """
select (1 - least(%(burst)s, tokens
    + greatest(0, extract(epoch from clock_timestamp()) - at) * %(rate)s)) / %(rate)s as wait
from buckets where owner = %(owner)s
"""


class StoreDown(Exception):
    """The store cannot be asked now; the same request may succeed later."""


class KeyReused(Exception):
    """An idempotency key came again with another request."""


@dataclass(frozen=True)
class Todo:
    """One to-do; `id` is unique among those of its owner."""

    id: str
    title: str
    done: bool = False


@dataclass(frozen=True)
class Page:
    """Some to-dos, oldest first; `next` is the place to go on from, None at the end."""

    items: tuple[Todo, ...]
    next: int | None


class Store(Protocol):
    """What the service asks of a store."""

    def add(self, owner: str, title: str, done: bool, *, key: str | None = None) -> Todo:
        """A new to-do; the one of the first call when the key has been seen (else KeyReused)."""

    def put(self, owner: str, todo: Todo) -> bool:
        """Make it so; True when there was none of this id."""

    def get(self, owner: str, id: str) -> Todo | None:
        """The to-do, or None."""

    def delete(self, owner: str, id: str) -> bool:
        """Take it away; False when there was none."""

    def page(self, owner: str, *, limit: int, after: int = 0) -> Page:
        """At most `limit` to-dos behind the place `after`."""

    def take(self, owner: str, *, rate: float, burst: int) -> float:
        """Take a token of the owner's bucket: 0.0, or the seconds until there is one."""

    def check(self) -> None:
        """StoreDown unless the store answers."""


class MemoryStore:
    """Everything in dictionaries of this process: gone with it, and unknown to its siblings."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._todos: dict[str, dict[str, tuple[int, Todo]]] = {}
        self._answers: dict[tuple[str, str], tuple[str, Todo]] = {}
        self._buckets: dict[str, tuple[float, float]] = {}
        self._last = 0

    def add(self, owner: str, title: str, done: bool, *, key: str | None = None) -> Todo:
        with self._lock:
            if key is not None and (owner, key) in self._answers:
                fingerprint, todo = self._answers[owner, key]
                return _same_request(fingerprint, title, done, todo, key)
            todo = Todo(str(uuid4()), title, done)
            self._put(owner, todo)
            if key is not None:
                self._answers[owner, key] = (_fingerprint(title, done), todo)
            return todo

    def put(self, owner: str, todo: Todo) -> bool:
        with self._lock:
            return self._put(owner, todo)

    def _put(self, owner: str, todo: Todo) -> bool:
        own = self._todos.setdefault(owner, {})
        new = todo.id not in own
        if new:
            self._last += 1
        own[todo.id] = (self._last if new else own[todo.id][0], todo)
        return new

    def get(self, owner: str, id: str) -> Todo | None:
        return self._todos.get(owner, {}).get(id, (0, None))[1]

    def delete(self, owner: str, id: str) -> bool:
        with self._lock:
            return self._todos.get(owner, {}).pop(id, None) is not None

    def page(self, owner: str, *, limit: int, after: int = 0) -> Page:
        with self._lock:
            rows = sorted(self._todos.get(owner, {}).values(), key=lambda row: row[0])
        return _page([row for row in rows if row[0] > after][: limit + 1], limit)

    def take(self, owner: str, *, rate: float, burst: int) -> float:
        with self._lock:
            now = time.monotonic()
            tokens, at = self._buckets.get(owner, (float(burst), now))
            tokens = min(burst, tokens + (now - at) * rate)
            self._buckets[owner] = (tokens - 1 if tokens >= 1 else tokens, now)
        return 0.0 if tokens >= 1 else (1 - tokens) / rate

    def check(self) -> None:
        """A dictionary always answers."""


class PostgresStore:
    """Everything in PostgreSQL: workers on any machine see the same. Connects at the first use."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._idle: LifoQueue[psycopg.Connection] = LifoQueue(CONNECTIONS)
        self._ready = False
        self._lock = Lock()

    def add(self, owner: str, title: str, done: bool, *, key: str | None = None) -> Todo:
        todo = Todo(str(uuid4()), title, done)
        with self._connection() as db, db.transaction():
            if key is not None:
                # A second request with this key waits here until the first has committed.
                fresh = db.execute(
                    "insert into answers values (%s, %s, %s, %s)"
                    " on conflict do nothing returning key",
                    (owner, key, _fingerprint(title, done), json.dumps(asdict(todo))),
                ).fetchone()
                if fresh is None:
                    seen = db.execute(
                        "select fingerprint, todo from answers where owner = %s and key = %s",
                        (owner, key),
                    ).fetchone()
                    first = Todo(**seen["todo"])
                    return _same_request(seen["fingerprint"], title, done, first, key)
            self._upsert(db, owner, todo)
        return todo

    def put(self, owner: str, todo: Todo) -> bool:
        with self._connection() as db:
            return self._upsert(db, owner, todo)

    @staticmethod
    def _upsert(db: psycopg.Connection, owner: str, todo: Todo) -> bool:
        return db.execute(
            "insert into todos (owner, id, title, done) values (%s, %s, %s, %s)"
            " on conflict (owner, id) do update set title = excluded.title, done = excluded.done"
            " returning xmax = 0 as new",  # xmax is 0 in a row that was not there before
            (owner, todo.id, todo.title, todo.done),
        ).fetchone()["new"]

    def get(self, owner: str, id: str) -> Todo | None:
        with self._connection() as db:
            row = db.execute(
                "select id, title, done from todos where owner = %s and id = %s", (owner, id)
            ).fetchone()
        return Todo(**row) if row else None

    def delete(self, owner: str, id: str) -> bool:
        with self._connection() as db:
            gone = db.execute("delete from todos where owner = %s and id = %s", (owner, id))
            return gone.rowcount > 0

    def page(self, owner: str, *, limit: int, after: int = 0) -> Page:
        with self._connection() as db:
            rows = db.execute(
                "select n, id, title, done from todos where owner = %s and n > %s"
                " order by n limit %s",
                (owner, after, limit + 1),
            ).fetchall()
        return _page([(r["n"], Todo(r["id"], r["title"], r["done"])) for r in rows], limit)

    def take(self, owner: str, *, rate: float, burst: int) -> float:
        wanted = {"owner": owner, "rate": rate, "burst": burst}
        with self._connection() as db:
            if db.execute(TAKE, wanted).fetchone() is not None:
                return 0.0
            row = db.execute(MISSING, wanted).fetchone()
        return max(0.0, row["wait"]) or 1e-3

    def check(self) -> None:
        with self._connection() as db:
            db.execute("select 1")

    def close(self) -> None:
        """Close the idle connections."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        """A connection of this thread's own for the length of the `with`."""
        try:
            db = self._take_idle()
            try:
                self._create(db)
                yield db
            except (psycopg.OperationalError, psycopg.InterfaceError):
                db.close()
                self.close()  # the others were made to the same server
                raise
            except BaseException:
                self._give_back(db)
                raise
            self._give_back(db)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise StoreDown(f"PostgreSQL does not answer ({type(error).__name__})") from error

    def _take_idle(self) -> psycopg.Connection:
        with suppress(Empty):
            return self._idle.get_nowait()
        options = "-c statement_timeout=5000"
        return psycopg.connect(
            self.url, autocommit=True, connect_timeout=5, row_factory=dict_row, options=options
        )

    def _give_back(self, db: psycopg.Connection) -> None:
        if db.closed or self._idle.full():
            db.close()
        else:
            self._idle.put(db)

    def _create(self, db: psycopg.Connection) -> None:
        if self._ready:
            return
        with self._lock, db.transaction():
            # "if not exists" alone is no lock: two workers that start together would collide.
            db.execute("select pg_advisory_xact_lock(13)")
            db.execute(CREATE)
        self._ready = True


def _page(rows: list[tuple[int, Todo]], limit: int) -> Page:
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(tuple(todo for _, todo in shown), shown[-1][0] if more else None)


def _fingerprint(title: str, done: bool) -> str:
    return json.dumps([title, done])


def _same_request(fingerprint: str, title: str, done: bool, todo: Todo, key: str) -> Any:
    if fingerprint != _fingerprint(title, done):
        raise KeyReused(f"The key {key!r} was used for another request; take a new one.")
    return todo
