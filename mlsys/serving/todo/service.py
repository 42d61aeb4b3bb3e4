"""The to-do service: REST on Flask, state in a store, metrics, a log line for each request.

    TODO_DATABASE=postgresql://... TODO_CLIENTS='[["ada", "her-token", 100, 100]]' \\
        gunicorn --workers 2 "mlsys.serving.todo.service:create_app()"

Without TODO_DATABASE it keeps everything in its own memory. TODO_CLIENTS lists owner, token,
requests a second and burst. With PROMETHEUS_MULTIPROC_DIR the workers' metrics are added up.
Rebuilt after the course example of MSOE CS4981 (Flask, PostgreSQL, Prometheus).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from flask import Blueprint, Flask, Response, current_app, g, request, url_for
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from werkzeug.exceptions import HTTPException

from mlsys.serving.todo import document as todo_document
from mlsys.serving.todo.store import (
    KeyReused,
    MemoryStore,
    PostgresStore,
    Store,
    StoreDown,
    Todo,
)

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)  # s
ID, KEY = re.compile(todo_document.ID_PATTERN), re.compile(todo_document.KEY_PATTERN)
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
OPEN_DOORS = ("live", "health", "metrics", "openapi", "docs", "static")  # no token asked
api = Blueprint("api", __name__)


@dataclass(frozen=True)
class Client:
    """Somebody with a token, of which only the hash is kept, and a limit."""

    owner: str
    token_hash: bytes
    rate: float
    burst: int

    @classmethod
    def of(cls, owner: str, token: str, rate: float = 1000, burst: int = 1000) -> Client:
        return cls(owner, _hash(token), rate, burst)


class Problem(Exception):
    """A request that is refused: status and one sentence (RFC 9457), perhaps with headers."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def create_app(
    store: Store | str | None = None,
    clients: Sequence[Client] | None = None,
    *,
    quiet: bool = False,
) -> Flask:
    """The application; what is not given comes from the environment.

    `store` may be the address of a PostgreSQL. `quiet`: no log line for each request.
    """
    app = Flask("todo")
    store = store or os.environ.get("TODO_DATABASE") or MemoryStore()
    app.extensions["store"] = PostgresStore(store) if isinstance(store, str) else store
    named = json.loads(os.environ.get("TODO_CLIENTS", "[]"))
    app.extensions["clients"] = clients or [Client.of(*each) for each in named]
    app.extensions["quiet"] = quiet
    registry = CollectorRegistry()
    app.extensions["registry"] = registry
    app.extensions["counted"] = Counter(
        "todo_requests", "Requests answered", ["method", "route", "status"], registry=registry
    )
    app.extensions["timed"] = Histogram(
        "todo_request_seconds", "Time to answer", ["route"], buckets=BUCKETS, registry=registry
    )
    app.config["MAX_CONTENT_LENGTH"] = todo_document.LARGEST_BODY
    app.json.sort_keys = False
    app.register_blueprint(api)
    app.before_request(_begin)
    app.after_request(_finish)
    app.register_error_handler(Exception, refuse)
    return app


# --- before and after each request


def _begin() -> None:
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex[:12]
    g.owner = None
    if (request.endpoint or "").removeprefix("api.") in OPEN_DOORS:
        return
    client = authenticate(
        request.headers.get("Authorization", ""), current_app.extensions["clients"]
    )
    g.owner = client.owner
    wait = _store().take(client.owner, rate=client.rate, burst=client.burst)
    if wait:
        seconds = math.ceil(wait)  # Retry-After counts whole seconds (RFC 9110, 10.2.3)
        detail = f"{client.rate:g} requests a second are yours; ask again in {seconds} s."
        raise Problem(429, detail, **{"Retry-After": str(seconds)})


def authenticate(header: str, clients: Sequence[Client]) -> Client:
    """Whose token the header Authorization carries; Problem 401 when nobody's."""
    scheme, _, token = header.partition(" ")
    given, found = _hash(token), None
    for client in clients:  # every one is compared, and each comparison takes the same time
        if hmac.compare_digest(given, client.token_hash):
            found = client
    if found is None or scheme.lower() != "bearer":
        detail = "Send 'Authorization: Bearer' and a token that is known here."
        raise Problem(401, detail, **{"WWW-Authenticate": "Bearer"})
    return found


def _finish(response: Response) -> Response:
    seconds = time.perf_counter() - g.started
    # The route's pattern, never the path: one series for each to-do would fill the memory.
    route = str(request.url_rule) if request.url_rule else "none"
    known = request.method.lower() in todo_document.METHODS
    method, status = request.method if known else "OTHER", response.status_code
    extensions = current_app.extensions
    extensions["counted"].labels(method, route, status).inc()
    extensions["timed"].labels(route).observe(seconds)
    response.headers["X-Request-Id"] = g.request_id
    response.headers["X-Worker"] = str(os.getpid())
    line = {"at": round(time.time(), 3), "request": g.request_id, "owner": g.owner,
            "method": method, "route": route, "status": status,
            "ms": round(1000 * seconds, 2), "worker": os.getpid()}  # fmt: skip
    if error := g.get("error"):
        line["error"] = error
    if not extensions["quiet"]:
        print(json.dumps(line), file=sys.stdout, flush=True)  # no token, no title
    return response


def refuse(error: Exception) -> Response:
    """What the client is told of an error: status, a sentence, and nothing of our code."""
    match error:
        case Problem():
            status, detail, headers = error.status, str(error.detail), error.headers
        case StoreDown():
            status, detail, headers = 503, f"{error}; ask again later.", {"Retry-After": "1"}
        case KeyReused():
            status, detail, headers = 409, str(error), {}
        case HTTPException() if error.code is not None and error.code >= 400:
            status, detail = error.code, error.description or error.name
            headers = {k: v for k, v in error.get_headers() if k == "Allow"}
        case HTTPException():  # a redirect
            return error.get_response()
        case _:
            # The reason goes to the log; the client gets no traceback of ours.
            g.error = f"{type(error).__name__}: {error}"[:500]
            status, detail, headers = (
                500,
                f"A fault of ours; tell us {g.get('request_id', 'when')}.",
                {},
            )
    title = Response(status=status).status.partition(" ")[2].title()
    said = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(said), status, headers, mimetype="application/problem+json")


# --- what is asked for


@api.get("/v1/todos")
def list_todos() -> dict[str, Any]:
    if unknown := sorted(set(request.args) - {"limit", "after"}):  # limt=5 is no wish for 20
        raise Problem(400, f"Unknown: {unknown[0][:50]!r}. There are limit and after.")
    limit = _number("limit", 20, 1, todo_document.LARGEST_PAGE)
    page = _store().page(g.owner, limit=limit, after=_number("after", 0, 0, 10**18 - 1))
    return {
        "items": [asdict(todo) for todo in page.items],
        "next": None if page.next is None else str(page.next),
    }


@api.post("/v1/todos")
def make_todo() -> tuple[dict[str, Any], int, dict[str, str]]:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not KEY.fullmatch(key):
        raise Problem(400, "An Idempotency-Key has 1 to 64 letters, digits, - or _.")
    todo = _store().add(g.owner, **draft(), key=key)
    return asdict(todo), 201, {"Location": url_for("api.get_todo", id=todo.id)}


@api.get("/v1/todos/<id>")
def get_todo(id: str) -> dict[str, Any]:
    return asdict(_found(id))


@api.put("/v1/todos/<id>")
def put_todo(id: str) -> tuple[dict[str, Any], int]:
    if not ID.fullmatch(id):
        raise Problem(404, "A name has up to 36 of a-z, 0-9 and -, and does not begin with -.")
    todo = Todo(id=id, **draft())
    new = _store().put(g.owner, todo)
    return asdict(todo), 201 if new else 200


@api.delete("/v1/todos/<id>")
def delete_todo(id: str) -> tuple[str, int]:
    if not ID.fullmatch(id) or not _store().delete(g.owner, id):
        raise Problem(404, "There is no such to-do.")
    return "", 204


@api.get("/v2/todos/<id>")
def get_todo_v2(id: str) -> dict[str, Any]:
    """Version 2: `done` has become `state`, which leaves room for more than two."""
    todo = _found(id)
    return {"id": todo.id, "title": todo.title, "state": "done" if todo.done else "open"}


# --- about the service itself


@api.get("/live")
def live() -> dict[str, Any]:
    """This process runs; whoever restarts processes asks here."""
    return {"alive": True, "worker": os.getpid()}


@api.get("/health")
def health() -> dict[str, str]:
    """It can do its work now; whoever routes traffic asks here. 503 while the store is down."""
    _store().check()
    return {"store": "ok"}


@api.get("/metrics")
def metrics() -> Response:
    registry = current_app.extensions["registry"]
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return Response(generate_latest(registry), mimetype="text/plain")


@api.get("/openapi.json")
def openapi() -> dict[str, Any]:
    return todo_document.document()


@api.get("/docs")
def docs() -> str:
    return todo_document.page(todo_document.document())


# --- parts


def draft() -> dict[str, Any]:
    """Title and done of the request's body; Problem 400, 413, 415 or 422 says what is wrong."""
    if not request.is_json:
        raise Problem(415, "Send JSON, and say so: 'Content-Type: application/json'.")
    try:
        data = json.loads(request.get_data().decode())
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON in UTF-8.") from None
    if not isinstance(data, dict):
        raise Problem(422, "The body must be an object with a title.")
    if unknown := sorted(set(data) - {"title", "done"}):
        raise Problem(422, f"Unknown: {', '.join(unknown)[:100]!r}. There are title and done.")
    title, done = data.get("title"), data.get("done", False)
    if not isinstance(title, str) or not 1 <= len(title) <= todo_document.TITLE_LENGTH:
        longest = todo_document.TITLE_LENGTH
        raise Problem(422, f"The title must be a text of 1 to {longest} characters.")
    if "\0" in title or any("\ud800" <= letter <= "\udfff" for letter in title):
        raise Problem(422, "The title holds a character that no text has (U+0000, a surrogate).")
    if not isinstance(done, bool):
        raise Problem(422, "done must be true or false.")
    return {"title": title, "done": done}


def _number(name: str, default: int, low: int, high: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,18}", text) or not low <= int(text) <= high:
        raise Problem(400, f"{name} must be a whole number from {low} to {high}.")
    return int(text)


def _found(id: str) -> Todo:
    todo = _store().get(g.owner, id) if ID.fullmatch(id) else None
    if todo is None:
        raise Problem(404, "There is no such to-do.")
    return todo


def _store() -> Store:
    return current_app.extensions["store"]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
