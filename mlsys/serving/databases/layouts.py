"""The same orders in four layouts, and the same four questions to each.

Rows in PostgreSQL, documents in PostgreSQL (jsonb), values under a key in Valkey, columns in
DuckDB: real stores, each asked in its own language, each with the index that it would have. What
is compared is the shape of the result, which layout does what well; the servers differ too, and
DuckDB alone runs inside our process, without a socket.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import psycopg
import redis

QUESTIONS = ("read one by its key", "change one field", "one person's orders", "mean of a column")
LAYOUTS = ("rows", "documents", "key-value", "columns")
MOST_ROWS = 1_000_000
Store = dict[str, Callable[[int], Any]]


def orders(rows: int, *, seed: int = 0) -> pd.DataFrame:
    """Orders with eight fields; 1 person has about 10 of them."""
    if not 100 <= rows <= MOST_ROWS:
        raise ValueError(f"{rows} orders are no workload; take 100 to {MOST_ROWS:,}")
    draws = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "person": draws.integers(0, rows // 10, rows),
            "price": draws.gamma(2, 20, rows).round(2),
            "items": draws.integers(1, 9, rows),
            "country": draws.choice(["CN", "DE", "IN", "US"], rows),
            "status": draws.choice(["new", "paid", "sent"], rows),
            "note": [f"leave it at door {i % 97}" for i in range(rows)],
            "model": draws.choice(["m1", "m2"], rows),
        }
    )


def compare(
    postgres_url: str, valkey_url: str, *, rows: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Shortest ms of each question (rows of the frame) in each layout (columns), and the MB kept.

    The shortest of several times: what it takes when no other program has the machine. Answers are
    checked against one another: ValueError when two layouts disagree.
    """
    frame = orders(rows, seed=seed)
    draws = np.random.default_rng(seed + 1)
    with ExitStack() as stack:
        session = stack.enter_context(psycopg.connect(postgres_url, autocommit=True))
        client = redis.Redis.from_url(
            valkey_url.replace("valkey:", "redis:", 1), decode_responses=True
        )
        stack.callback(client.close)
        inside = stack.enter_context(duckdb.connect())
        stores = {
            "rows": _rows(session, frame),
            "documents": _documents(session, frame),
            "key-value": _key_value(client, frame),
            "columns": _columns(inside, frame),
        }
        table = {}
        for question, times in zip(QUESTIONS, (40, 40, 5, 5), strict=True):
            keys = draws.integers(0, rows // 10, times).tolist()
            asked = {name: _ask(store[question], keys) for name, store in stores.items()}
            _agree(question, {name: answers for name, (_, answers) in asked.items()})
            table[question] = {name: 1000 * seconds for name, (seconds, _) in asked.items()}
        table["MB kept"] = {name: store["bytes"](0) / 1e6 for name, store in stores.items()}
    return pd.DataFrame(table).T[list(LAYOUTS)]


def _ask(question: Callable[[int], Any], keys: list[int]) -> tuple[float, list[Any]]:
    took, answers = [], []
    for key in keys:
        start = time.perf_counter()
        answers.append(question(key))
        took.append(time.perf_counter() - start)
    return min(took), answers


def _agree(question: str, answers: dict[str, list[Any]]) -> None:
    first = answers["rows"]
    for layout, those in answers.items():
        if not np.allclose(np.array(those, float), np.array(first, float)):
            raise ValueError(f"{layout} and rows disagree about {question!r}: a bug of the lesson")


def _rows(session: psycopg.Connection, frame: pd.DataFrame) -> Store:
    session.execute("drop table if exists orders")
    session.execute(
        "create table orders (id int primary key, person int, price float8, items int,"
        " country text, status text, note text, model text)"
    )
    with session.cursor().copy("copy orders from stdin") as copy:
        for row in frame.itertuples(index=False):
            copy.write_row(row)
    session.execute("create index on orders (person)")
    session.execute("vacuum analyze orders")
    one = session.execute
    return {
        QUESTIONS[0]: lambda k: one("select * from orders where id = %s", (k,)).fetchone()[2],
        QUESTIONS[1]: lambda k: one(
            "update orders set items = 9 where id = %s returning items", (k,)
        ).fetchone()[0],
        QUESTIONS[2]: lambda k: one(
            "select count(*) from orders where person = %s", (k,)
        ).fetchone()[0],
        QUESTIONS[3]: lambda k: one("select avg(price) from orders").fetchone()[0],
        "bytes": lambda k: one("select pg_total_relation_size('orders')").fetchone()[0],
    }


def _documents(session: psycopg.Connection, frame: pd.DataFrame) -> Store:
    session.execute("drop table if exists documents")
    session.execute("create table documents (id int primary key, body jsonb)")
    with session.cursor().copy("copy documents from stdin") as copy:
        for number, body in _bodies(frame):
            copy.write_row((number, body))
    session.execute("create index on documents (((body->>'person')::int))")
    session.execute("vacuum analyze documents")
    one = session.execute
    return {
        QUESTIONS[0]: lambda k: one(
            "select body from documents where id = %s", (k,)
        ).fetchone()[0]["price"],
        QUESTIONS[1]: lambda k: one(
            "update documents set body = jsonb_set(body, '{items}', '9') where id = %s"
            " returning (body->>'items')::int", (k,)
        ).fetchone()[0],
        QUESTIONS[2]: lambda k: one(
            "select count(*) from documents where (body->>'person')::int = %s", (k,)
        ).fetchone()[0],
        QUESTIONS[3]: lambda k: one(
            "select avg((body->>'price')::float8) from documents"
        ).fetchone()[0],
        "bytes": lambda k: one("select pg_total_relation_size('documents')").fetchone()[0],
    }  # fmt: skip


def _key_value(client: redis.Redis, frame: pd.DataFrame) -> Store:
    before = client.info("memory")["used_memory"]
    with client.pipeline(transaction=False) as pipe:
        for number, body in _bodies(frame):
            pipe.set(f"order:{number}", body)
        pipe.execute()
    size = len(frame)

    def change(key: int) -> int:
        body = json.loads(client.get(f"order:{key}"))
        body["items"] = 9
        client.set(f"order:{key}", json.dumps(body))
        return body["items"]

    def everything() -> list[dict[str, Any]]:
        """A store that knows keys only must hand out all of it for any other question."""
        found = []
        for start in range(0, size, 5_000):
            names = [f"order:{i}" for i in range(start, min(size, start + 5_000))]
            found += [json.loads(body) for body in client.mget(names)]
        return found

    return {
        QUESTIONS[0]: lambda k: json.loads(client.get(f"order:{k}"))["price"],
        QUESTIONS[1]: change,
        QUESTIONS[2]: lambda k: sum(body["person"] == k for body in everything()),
        QUESTIONS[3]: lambda k: float(np.mean([body["price"] for body in everything()])),
        "bytes": lambda k: client.info("memory")["used_memory"] - before,
    }


def _columns(inside: duckdb.DuckDBPyConnection, frame: pd.DataFrame) -> Store:
    inside.execute("set threads = 1")
    inside.register("frame", frame)
    inside.execute("create table orders as select * from frame")
    one = inside.execute
    return {
        QUESTIONS[0]: lambda k: one("select * from orders where id = ?", [k]).fetchone()[2],
        QUESTIONS[1]: lambda k: one(
            "update orders set items = 9 where id = ? returning items", [k]
        ).fetchone()[0],
        QUESTIONS[2]: lambda k: one("select count(*) from orders where person = ?", [k]).fetchone()[
            0
        ],
        QUESTIONS[3]: lambda k: one("select avg(price) from orders").fetchone()[0],
        "bytes": lambda k: len(frame) * _bytes_a_row(frame),
    }


def _bytes_a_row(frame: pd.DataFrame) -> float:
    """What the values themselves take, compressed column by column as Parquet."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.tell() / len(frame)


def _bodies(frame: pd.DataFrame) -> Iterator[tuple[int, str]]:
    for number, body in enumerate(frame.to_dict("records")):
        yield number, json.dumps(body)
