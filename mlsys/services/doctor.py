"""A look at every server: found where, ready after how long, how big; or why not and what to do.

For `mlsys doctor` and the first lesson. Each is started, asked and stopped; nothing is raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mlsys.services.nats_server import nats
from mlsys.services.nginx_server import nginx
from mlsys.services.postgres_server import postgres
from mlsys.services.s3_server import s3
from mlsys.services.server import Server
from mlsys.services.valkey_server import valkey

SERVICES: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "Valkey": valkey,
    "PostgreSQL": postgres,
    "NATS": nats,
    "nginx": nginx,
    "S3": s3,
}


@dataclass(frozen=True)
class Check:
    """One server's state of health."""

    name: str
    ok: bool
    found: str = ""  # a variable of the environment, "PATH", or the wheel's name
    version: str = ""
    seconds: float = 0.0  # until it was ready, its preparation included
    memory: float | None = None  # MB
    problem: str = ""  # one sentence: what is wrong and what to do


def check() -> list[Check]:
    """Start and stop every server, one after the other."""
    return [_check(name, service) for name, service in SERVICES.items()]


def _check(name: str, service: Callable[[], AbstractContextManager[Server]]) -> Check:
    started = time.perf_counter()
    try:
        with service() as server:
            seconds = time.perf_counter() - started
            return Check(name, True, server.found, server.version, round(seconds, 3), server.memory)
    except Exception as error:  # a doctor reports; whatever is wrong with one, the rest is told
        seconds = round(time.perf_counter() - started, 3)
        return Check(name, False, seconds=seconds, problem=str(error) or type(error).__name__)
