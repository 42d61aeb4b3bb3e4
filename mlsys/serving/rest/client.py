"""The clients of the lesson on HTTP services: bytes on a socket, a retry, pages, a load in turns.

Each does to a running service what the lesson talks about, and returns what it saw; pictures are
in `mlsys.serving.rest.figures`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from time import perf_counter
from timeit import repeat
from typing import Any
from urllib.parse import urlsplit

import httpx
import pandas as pd

from mlsys.serving.load.generator import Request, closed_loop, run_now
from mlsys.serving.rest import metrics as rest_metrics
from mlsys.serving.rest.servers import WebServer
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


def statuses(url: str, steps: Sequence[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Send requests (method, path, body, token) one after another: a row each, status and body."""
    answers = [talk(url, compose(*step)) for step in steps]
    table = pd.DataFrame(list(steps), columns=["method", "path", "body", "token"])
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
) -> list[Event]:
    """Send {"title": row} through `wire`, whose way back is cut until the first timeout.

    Asks again while no answer comes. One Event an attempt, "no answer" or "answered"; raises
    TimeoutError when the last try had none either.
    """
    made: list[Event] = []
    headers = {"Authorization": f"Bearer {TOKEN}", **headers}
    wire.cut("to_client")
    try:
        with httpx.Client(timeout=timeout, headers=headers) as client:
            for _ in range(tries):
                begun, kind = perf_counter(), "answered"
                try:
                    url = f"http://{wire.host}:{wire.port}{path}"
                    client.request(method, url, json={"title": row})
                except httpx.TransportError:
                    kind = "no answer"
                made.append(Event(row, begun, perf_counter(), kind))
                if kind == "answered":
                    return made
                wire.heal()
                timeout *= 2  # a busy machine gets the time that it needs
                client.timeout = httpx.Timeout(timeout)
    finally:
        wire.heal()
    raise TimeoutError(f"{tries} times no answer to {method} {path}.")


def write_and_read(url: str, count: int) -> list[int]:
    """Make so many to-dos, then read each again: the statuses of the reads."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=url, headers=headers, timeout=20) as client:
        made = [client.post("/v1/todos", json={"title": f"job {n}"}) for n in range(count)]
        names = [answer.raise_for_status().json()["id"] for answer in made]
        return [client.get(f"/v1/todos/{name}").status_code for name in names]


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


def late_over_early(same: Callable[[bytes, bytes], bool], size: int) -> float:
    """Time to compare a secret with a guess wrong in its last byte, over one wrong in its first."""
    secret = bytes(size)
    late, early = secret[:-1] + b"x", b"x" + secret[1:]
    number = max(20, 200_000 // size)

    def time_of(wrong: bytes) -> float:
        return min(repeat(lambda: same(secret, wrong), number=number, repeat=9))

    return time_of(late) / time_of(early)


def rate(url: str, *, body: object = None, seconds: float = 0.4, clients: int = 8) -> float:
    """Requests answered a second, with so many clients that open a connection for each request."""
    more = {} if body is None else {"method": "POST", "body": body}
    target = Request(url, keep_alive=False, **more)
    return run_now(closed_loop(target, clients=clients, seconds=seconds, warm=4)).achieved


def rates_by_workers(
    server: WebServer,
    kinds: Mapping[str, tuple[str, object]],
    counts: Sequence[int],
    seconds: float,
) -> dict[str, dict[int, float]]:
    """`rate` for each kind (path, body) at each number of workers, which are added as it runs."""
    rates: dict[str, dict[int, float]] = {kind: {} for kind in kinds}
    for count in counts:
        while count > len(server.pids):
            server.add_worker()
        for kind, (path, body) in kinds.items():
            rates[kind][count] = rate(server.url + path, body=body, seconds=seconds)
    return rates
