"""The to-do service in processes of its own: gunicorn, two workers, its settings as environment.

The lesson starts it with a database and without one. Ada and Bob are its clients; their names are
new in each notebook, since a database may have been there before and keeps its rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from mlsys.serving.rest.servers import Start, WebServer, served

APP = "mlsys.serving.todo.service:create_app()"
ADA, BOB = (f"{name}-{uuid4().hex[:8]}" for name in ("ada", "bob"))
CLIENTS = ((ADA, "ada-token", 1000, 1000), (BOB, "bob-token", 1, 5))  # requests/s, burst


class Link(Protocol):
    """A way to a port, such as `services.proxy`."""

    host: str
    port: int


@contextmanager
def todo_service(
    start: Start, database: str = "", *, via: Link | None = None
) -> Iterator[WebServer]:
    """Two workers; `start` is `services.worker`. Without a database they keep to-dos in memory.

    `database` is PostgreSQL's address; the workers reach it `via` a link to it, where one is given.
    """
    env = {"TODO_CLIENTS": json.dumps(CLIENTS)}
    if database:
        env["TODO_DATABASE"] = through(database, via) if via else database
    kept = bool(database)
    with served(start, "gunicorn", APP, workers=2, env=env, share_metrics=kept) as server:
        yield server


def through(url: str, link: Link) -> str:
    """The address with the link's host and port in the place of its own."""
    parts = urlsplit(url)
    who, _, _ = parts.netloc.rpartition("@")
    place = f"{link.host}:{link.port}"
    return parts._replace(netloc=f"{who}@{place}" if who else place).geturl()


def rows_titled(database: Any, title: str) -> int:
    """How many of Ada's rows have this title; `database` is what `services.postgres` gives."""
    sql = "select count(*) from todos where owner = %s and title = %s"
    with database.connect() as connection:
        return connection.execute(sql, [ADA, title]).fetchone()[0]


def page_by_offset(database: Any, offset: int, limit: int) -> list[str]:
    """Titles of Ada's to-dos, by LIMIT and OFFSET."""
    sql = "select title from todos where owner = %s order by n limit %s offset %s"
    with database.connect() as connection:
        return [title for (title,) in connection.execute(sql, [ADA, limit, offset])]
