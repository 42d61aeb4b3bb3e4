"""One spam filter put to work in three ways: rows written overnight, a file on a device, a service.

This is the asking side: it turns messages into numbers, scores a table, starts the look-up and the
device processes (`process` is what runs in them), and floods a service. The HTTP app is
`spam_service`; `mlsys.services` starts it; `swapping` asks while a model is replaced. Nothing here
imports scikit-learn: who has a model passes a function.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import perf_counter
from typing import IO, Any
from urllib.parse import urlsplit

import numpy as np

WIDTH = 2048
"""Columns that words are hashed into."""

WORD = re.compile(r"\w+")
ANSWER_WITHIN = 60.0  # seconds that a process of ours may take for one request


class WorkflowError(RuntimeError):
    """A workflow that cannot answer: the message says which and why."""


def queue_wait(busy: float, rate: float) -> float:
    """Mean seconds in the queue of one server that is busy for `busy` seconds a request.

    The M/M/1 queue: busy * load / (1 - load) with load = rate * busy, and infinite from a load of
    1 on (Harchol-Balter, Performance Modeling and Design of Computer Systems, chapter 13).
    """
    load = rate * busy
    return busy * load / (1 - load) if load < 1 else np.inf


@dataclass(frozen=True)
class Point:
    """One workflow: seconds of its median and 99th percentile, share of stale answers."""

    name: str
    p50: float
    p99: float
    stale: float


def in_milliseconds(points: Sequence[Point]) -> list[dict[str, Any]]:
    """One row a point, for a table."""
    return [
        {
            "workflow": point.name,
            "p50, ms": round(1000 * point.p50, 4),
            "p99, ms": round(1000 * point.p99, 4),
            "stale": f"{point.stale:.1%}",
        }
        for point in points
    ]


def at_rate(
    points: Sequence[Point],
    busy: Mapping[str, float],
    *,
    rate: float,
    stale: Mapping[str, float],
) -> list[Point]:
    """The measured points at another rate of requests (1/s), with other shares of stale answers.

    busy: seconds of work a request for whoever all of them ask, 0 where nobody queues.
    """
    waits = {point.name: queue_wait(busy[point.name], rate) for point in points}
    return [
        Point(p.name, p.p50 + waits[p.name], p.p99 + waits[p.name], stale.get(p.name, p.stale))
        for p in points
    ]


def hash_words(text: str, *, width: int = WIDTH) -> np.ndarray:
    """Count each word of a message in the column that its hash names; shape (width,), float32."""
    counts = np.zeros(width, dtype=np.float32)
    for word in WORD.findall(text.lower()):
        counts[zlib.crc32(word.encode()) % width] += 1
    return counts


def hash_all(texts: Sequence[str], *, width: int = WIDTH) -> np.ndarray:
    """One row of `hash_words` a message; shape (len(texts), width)."""
    return np.array([hash_words(text, width=width) for text in texts]).reshape(-1, width)


# --- rows written overnight


def open_table(path: Path) -> sqlite3.Connection:
    """The database, with write-ahead logging so that nobody who reads waits for who writes."""
    table = sqlite3.connect(path, timeout=20)
    table.execute("pragma journal_mode = wal")
    return table


def fill_table(path: Path, messages: Sequence[str]) -> None:
    """A new database with one sender a message; sender i wrote messages[i] last.

    Raises sqlite3.OperationalError when the database exists already.
    """
    with closing(open_table(path)) as table, table:
        table.execute("create table senders (id integer primary key, message text)")
        table.execute(
            "create table scores (sender integer primary key, spam real, version integer)"
        )
        table.executemany("insert into senders values (?, ?)", enumerate(messages))


def receive(path: Path, messages: Mapping[int, str]) -> None:
    """Senders write again: {sender: message}. Their scores stay as they are until the night."""
    with closing(open_table(path)) as table, table:
        table.executemany("insert or replace into senders values (?, ?)", messages.items())


def score_overnight(
    path: Path, spam: Callable[[Sequence[str]], np.ndarray], *, version: int
) -> int:
    """Score each sender's last message; the number of rows written, in one transaction.

    spam: messages to probabilities. Readers see the old rows until all the new ones are there.
    """
    with closing(open_table(path)) as table:
        senders, messages = zip(*table.execute("select id, message from senders"))
        rows = [(i, float(p), version) for i, p in zip(senders, spam(messages))]
        with table:
            table.executemany("insert or replace into scores values (?, ?, ?)", rows)
    return len(rows)


# --- processes that answer


@dataclass(frozen=True)
class Worker:
    """A process that takes one JSON request a line and gives one JSON answer a line."""

    name: str
    process: subprocess.Popen[str]
    errors: IO[str]
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """One request and its answer; WorkflowError when the process is gone or refuses."""
        with self.lock:
            line = self._exchange(json.dumps({"do": do, **request}))
        if not line:
            raise WorkflowError(f"The {self.name} process has ended: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkflowError(answer["error"])
        return answer

    def version(self, **request: Any) -> int:
        """The version of the model that answers this one question."""
        return self.ask("answer", **request)["version"][0]

    def _exchange(self, line: str) -> str:
        # A process that hangs is killed, which ends the readline below with an empty line.
        guard = threading.Timer(ANSWER_WITHIN, self._give_up)
        guard.start()
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return self.process.stdout.readline()
        except (OSError, ValueError):
            return ""
        finally:
            guard.cancel()

    def _give_up(self) -> None:
        self.process.kill()
        self.errors.write(f"it gave no answer within {ANSWER_WITHIN:g} s and was stopped.\n")

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        return said[-1] if said else f"exit code {self.process.poll()}, and it said nothing."


@contextmanager
def _worker(name: str, *arguments: str) -> Iterator[Worker]:
    """Run `workflows.process` until the end of the `with`; it also ends when we are killed,
    because its standard input ends then."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlsys.serving.workflows.process", name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            # One thread is enough for one message, and each thread reserves address space.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        worker = Worker(name, process, errors)
        try:
            worker.ask("hello")
            yield worker
        finally:
            with suppress(OSError):
                process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


@contextmanager
def lookup(table: Path) -> Iterator[Worker]:
    """A process that reads scores: `ask("answer", senders=[...])`.

    The answer has `spam` (a probability, None for a sender without a row), `version` and
    `seconds`, a list each.
    """
    with _worker("lookup", str(table)) as worker:
        yield worker


@contextmanager
def device(model: Path, *, memory_mb: int = 512) -> Iterator[Worker]:
    """A process that runs the ONNX file within a memory limit: `ask("answer", texts=[...])`.

    The answer has `spam`, `version` and `seconds`, a list each. `ask("report")` says what it has
    loaded and whether the limit holds; `ask("reload")` opens the file again.
    """
    with _worker("device", str(model), str(memory_mb)) as worker:
        yield worker


# --- asking over HTTP


def post(url: str, body: Mapping[str, Any], *, timeout: float = 20.0) -> dict[str, Any]:
    """One POST on a connection of its own; WorkflowError when no answer comes."""
    there = urlsplit(url)
    with closing(HTTPConnection(there.hostname, there.port, timeout=timeout)) as connection:
        try:
            connection.request(
                "POST", there.path, json.dumps(body), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            said = response.read()
        except (OSError, HTTPException) as error:
            raise WorkflowError(f"No answer from {url}: {type(error).__name__}.") from error
    if response.status != 200:
        raise WorkflowError(f"{url} answered with status {response.status}: {said[:200]!r}.")
    return json.loads(said)


def or_reason(ask: Callable[..., Mapping[str, Any]], *args: Any, **options: Any) -> Any:
    """What `ask` says of spam; the sentence that says why, when it cannot."""
    try:
        return ask(*args, **options)["spam"]
    except WorkflowError as error:
        return str(error)


def stale_shares(
    reader: Worker,
    phone: Worker,
    url: str,
    *,
    senders: Sequence[int],
    texts: Sequence[str],
    fresh: np.ndarray,
) -> dict[str, float]:
    """The share of answers that differ from `fresh`, the model's verdicts now, in each workflow.

    The look-up is asked about `senders`, the others about the `texts` that these wrote last.
    """
    answers = {
        "look-up": reader.ask("answer", senders=list(senders)),
        "device": phone.ask("answer", texts=list(texts)),
        "service": post(url + "/spam_all", {"texts": list(texts)}),
    }
    return {
        name: float(np.mean((np.array(answer["spam"]) > 0.5) != fresh))
        for name, answer in answers.items()
    }


@dataclass(frozen=True)
class Load:
    """A flood: requests in a round, seconds of the best one, answers in all rounds by process."""

    requests: int
    seconds: float
    by_process: Mapping[int, int]

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def flood(
    url: str,
    body: Mapping[str, Any],
    *,
    requests: int,
    workers: int = 1,
    clients: int = 4,
    rounds: int = 3,
) -> Load:
    """Send the same request many times from several threads, each as soon as its last is done.

    The best round counts, since other programs can only take speed away. The first begins when as
    many processes as there are workers have answered once; WorkflowError when they have not within
    a minute.
    """
    with ThreadPoolExecutor(clients) as pool:

        def send(count: int) -> list[int]:
            return list(pool.map(lambda _: post(url, body)["pid"], range(count)))

        seen, late = set(), perf_counter() + ANSWER_WITHIN
        while len(seen) < workers:
            if perf_counter() > late:
                raise WorkflowError(f"Only {len(seen)} of {workers} workers answer at {url}.")
            seen.update(send(clients))
        seconds, pids = np.inf, []
        for _ in range(rounds):
            start = perf_counter()
            pids += send(requests)
            seconds = min(seconds, perf_counter() - start)
    return Load(requests, seconds, {pid: pids.count(pid) for pid in sorted(set(pids))})
