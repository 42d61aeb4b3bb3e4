"""The clients of the lesson on HTTP services: bytes on a socket, a retry, pages, a load in turns.

Each does to a running service what the lesson talks about, and returns what it saw; pictures are
in `mlsys.serving.rest.figures`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from time import perf_counter, sleep
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pandas as pd

from mlsys.serving.load import LoadResult, Request, closed_loop, run_now
from mlsys.serving.rest import metrics as rest_metrics
from mlsys.serving.rest.servers import WebServer, in_thread, wait_until
from mlsys.serving.timeline import Event

TOKEN = "ada-token"  # the lesson's Ada
LONGEST_ANSWER = 1_000_000  # bytes


def compose(method: str, path: str, body: str = "", token: str = TOKEN) -> bytes:
    """A request of HTTP/1.1 as it goes over the wire; no header for an empty token or body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: todo", "Connection: close"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines.append("Content-Type: application/json")
        lines.append(f"Content-Length: {len(body.encode())}")
    return "\r\n".join([*lines, "", body]).encode()


def talk(url: str, request: bytes, *, timeout: float = 10.0) -> bytes:
    """Send these bytes on a new connection; all that come back until the server closes it.

    Raises OSError when there is no server, ValueError for an answer of over 1 MB.
    """
    at, came = urlsplit(url), b""
    with socket.create_connection((at.hostname, at.port), timeout=timeout) as conn:
        conn.sendall(request)
        while piece := conn.recv(65_536):
            came += piece
            if len(came) > LONGEST_ANSWER:
                raise ValueError(f"The answer is longer than {LONGEST_ANSWER:,} bytes.")
    return came


def statuses(url: str, steps: str, *, token: str = TOKEN) -> pd.DataFrame:
    """Send requests one after another, a line each: method, path, and the body if there is one.

    A row for each with the status, and the body of the answer or its sentence.
    """
    asked = [(*line.split(" ", 2), "")[:3] for line in steps.strip().splitlines()]
    answers = [talk(url, compose(*step, token=token)) for step in asked]
    table = pd.DataFrame(asked, columns=["method", "path", "body"])
    heads = [answer.partition(b"\r\n\r\n") for answer in answers]
    table["status"] = [int(head.split()[1]) for head, _, _ in heads]
    table["answer"] = [_shown(body) for _, _, body in heads]
    return table


def _shown(body: bytes) -> str:
    """The body as text; of a problem (RFC 9457) its sentence."""
    text = body.decode(errors="replace").strip()
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(text)["detail"])
    return text


def until_answered(
    wire: Any,
    row: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    *,
    timeout: float = 0.5,
    tries: int = 5,
    patience: float = 20.0,
) -> list[Event]:
    """Send {"title": row} through `wire`, whose way back is cut once the client is connected.

    The request arrives and the first answer never does; the link is mended when the client has
    timed out and the service has answered, for which it has `patience` seconds, and then it asks
    again. One Event an attempt, "no answer" or "answered"; raises TimeoutError when the last try
    had none either.
    """
    made: list[Event] = []
    back = wire.counts["to_client"]
    opened, taken = wire.connections, back.taken
    headers = {"Authorization": f"Bearer {TOKEN}", **headers}

    def cut(happened: str, _: object) -> None:
        # A cut link lets no new connection through: the proxy must have this one first.
        if happened == "connection.connect_tcp.complete" and not made:
            _wait(lambda: wire.connections > opened, patience)
            wire.cut("to_client")

    try:
        with httpx.Client(timeout=timeout, headers=headers) as client:
            for _ in range(tries):
                begun, kind = perf_counter(), "answered"
                try:
                    url = f"http://{wire.host}:{wire.port}{path}"
                    told = {"title": row}
                    client.request(method, url, json=told, extensions={"trace": cut})
                except httpx.TransportError:
                    kind = "no answer"
                made.append(Event(row, begun, perf_counter(), kind))
                if kind == "answered":
                    return made
                _wait(lambda: back.taken > taken, patience)
                wire.heal()
                timeout *= 2  # a busy machine gets the time that it needs
                client.timeout = httpx.Timeout(timeout)
    finally:
        wire.heal()
    raise TimeoutError(f"{tries} times no answer to {method} {path}.")


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    """Until it holds, or for so long."""
    end = perf_counter() + seconds
    while not condition() and perf_counter() < end:
        sleep(0.005)


def session(url: str, token: str = TOKEN) -> httpx.Client:
    """A client that keeps its connection, has a time limit, and sends this token with each
    request."""
    return httpx.Client(base_url=url, timeout=20, headers={"Authorization": f"Bearer {token}"})


def titles(client: httpx.Client, path: str) -> list[str]:
    """The titles on a page of to-dos."""
    return [row["title"] for row in client.get(path).raise_for_status().json()["items"]]


def write_and_read(url: str, count: int, *, tries: int = 1) -> list[int]:
    """Make so many to-dos, then read each again: the statuses of the reads.

    The whole is done again, `tries` times at most, while every read finds its to-do: of several
    workers one may answer all by chance.
    """
    with session(url) as client:
        for _ in range(tries):
            made = [client.post("/v1/todos", json={"title": f"job {n}"}) for n in range(count)]
            names = [answer.raise_for_status().json()["id"] for answer in made]
            found = [client.get(f"/v1/todos/{name}").status_code for name in names]
            if set(found) != {200}:
                break
    return found


def posts_counted(url: str, looks: int) -> list[int]:
    """How many POSTs its page /metrics counts, look by look."""
    with httpx.Client(base_url=url, timeout=20) as client:
        pages = [client.get("/metrics").raise_for_status().text for _ in range(looks)]
    return [int(rest_metrics.total(page, "todo_requests_total", method="POST")) for page in pages]


def never_shown(client: httpx.Client, second_page: Callable[[str], Iterable[str]]) -> list[str]:
    """Titles that two pages of six miss when two rows of the first are deleted in between.

    `second_page` gets the first page's cursor and returns titles. Every to-do of the client's is
    deleted first; then there are t0 to t11.
    """
    for row in client.get("/v1/todos?limit=100").raise_for_status().json()["items"]:
        client.delete(f"/v1/todos/{row['id']}")
    titles = [f"t{n}" for n in range(12)]
    for title in titles:
        client.put(f"/v1/todos/{title}", json={"title": title}).raise_for_status()
    first = client.get("/v1/todos?limit=6").json()
    client.delete("/v1/todos/t0")
    client.delete("/v1/todos/t1")
    shown = {row["title"] for row in first["items"]} | set(second_page(first["next"]))
    return [title for title in titles if title not in shown]


def busy_then_calm(seed: int = 0) -> np.ndarray:
    """Instants of requests, s: 45 at random, 15 a second, then 12 at two a second."""
    busy, calm = np.random.default_rng(seed).exponential(size=(2, 45))
    return np.cumsum(np.concatenate([busy / 15, calm[:12] / 2]))


def answers_to(apps: Mapping[str, Any], path: str, bodies: Mapping[str, object]) -> pd.DataFrame:
    """Serve each application and POST each body to the path: statuses, a column an application."""
    said = {}
    for name, app in apps.items():
        with in_thread(app) as url, session(url) as client:
            said[name] = {body: client.post(path, json=bodies[body]).status_code for body in bodies}
    return pd.DataFrame(said)


def rate(server: WebServer, path: str, *, seconds: float = 0.4) -> float:
    """Requests answered a second under `best_load`."""
    return best_load(server, path, seconds=seconds).achieved


def best_load(
    server: WebServer, path: str, *, body: object = None, seconds: float = 0.4, clients: int = 8
) -> LoadResult:
    """What so many clients saw that open a connection for each request.

    The best of two tries, or of up to five until the two best are alike: another program can only
    take speed away. The server must answer at /health; it is waited for.
    """
    wait_until(f"{server.url}/health", 200)
    more = {} if body is None else {"method": "POST", "body": body}
    target = Request(server.url + path, keep_alive=False, **more)
    tries: list[LoadResult] = []
    for _ in range(5):
        tries.append(run_now(closed_loop(target, clients=clients, seconds=seconds, warm=4)))
        tries.sort(key=lambda load: load.achieved, reverse=True)
        if len(tries) > 1 and tries[1].achieved > 0.8 * tries[0].achieved:
            break
    return tries[0]


def loads_by_workers(
    server: WebServer,
    kinds: Mapping[str, tuple[str, object]],
    counts: Sequence[int],
    seconds: float,
) -> dict[str, dict[int, LoadResult]]:
    """`best_load` for each kind (path, body) at each number of workers, added as it runs."""
    wait_until(f"{server.url}/health", 200)
    loads: dict[str, dict[int, LoadResult]] = {kind: {} for kind in kinds}
    for count in counts:
        while count > len(server.pids):
            server.add_worker()
        for kind, (path, body) in kinds.items():
            loads[kind][count] = best_load(server, path, body=body, seconds=seconds)
    return loads
