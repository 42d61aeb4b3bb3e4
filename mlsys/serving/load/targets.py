"""What is asked: an HTTP request or an exchange over TCP as plain values, on this machine only.

Values, so that they can travel to a process of the generator's own; how they are sent is in
`load.http` and `load.senders`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mlsys.serving.load.arrivals import LoadError

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True)
class Request:
    """One HTTP/1.1 request. `body`: bytes, text, or anything that JSON can say.

    `label` names a response header whose value is noted with the answer, such as "X-Upstream".
    Without `keep_alive` every request pays for a connection of its own.
    """

    url: str
    method: str = "GET"
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    keep_alive: bool = True

    def __post_init__(self) -> None:
        parts = _split(self.url)
        check_loopback(parts.hostname or "")
        if self.method not in _METHODS:
            raise LoadError(f"{self.method!r} is no method; take one of {', '.join(_METHODS)}.")
        if any(c in f"{k}{v}" for k, v in self.headers.items() for c in "\r\n"):
            raise LoadError("A header must not contain a line break.")
        self.encoded()  # what cannot be written is refused here, not once for each send

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = _split(self.url)
        return parts.hostname or "", parts.port or 80

    def encoded(self) -> bytes:
        """The bytes that go over the wire."""
        parts = _split(self.url)
        headers = {"Host": parts.netloc.rpartition("@")[2], "Accept": "*/*"}
        body = self.body
        if body is not None and not isinstance(body, (bytes, str)):
            try:
                body = json.dumps(body, separators=(",", ":"))
            except (TypeError, ValueError) as error:
                raise LoadError(f"JSON cannot say this body: {error}.") from None
            headers["Content-Type"] = "application/json"
        if body is not None or self.method in ("POST", "PUT", "PATCH"):
            body = (body or b"") if isinstance(body, (bytes, type(None))) else body.encode()
            headers["Content-Length"] = str(len(body))
        if not self.keep_alive:
            headers["Connection"] = "close"
        given = {name.lower() for name in self.headers}
        headers = {k: v for k, v in headers.items() if k.lower() not in given} | {**self.headers}
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{self.method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        try:
            head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        except UnicodeEncodeError:
            raise LoadError(
                f"{self.url!r} or a header has letters that HTTP cannot carry; percent-encode them."
            ) from None
        return head + (body or b"")


@dataclass(frozen=True)
class Tcp:
    """One message and one reply over TCP.

    The reply ends at the bytes `until`, or after `size` bytes. Without `keep` every exchange
    opens a connection of its own.
    """

    port: int
    message: bytes
    until: bytes = b""
    size: int = 0
    host: str = "127.0.0.1"
    keep: bool = True

    def __post_init__(self) -> None:
        check_loopback(self.host)
        if not 0 < self.port < 65536:
            raise LoadError(f"{self.port} is no port; take the one on which the server listens.")
        if bool(self.until) == bool(self.size > 0):
            raise LoadError("Say how the reply ends: until=b'...' or size=bytes, one of the two.")


def check_loopback(host: str) -> None:
    """LoadError unless the host is this machine itself."""
    try:
        own = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = False
    if not own:
        raise LoadError(
            f"{host!r} is not this machine: load is sent to 127.0.0.1, ::1 or localhost only."
        )


def to_plain(target: Any) -> dict[str, Any]:
    """A target as values for JSON; bytes as Latin-1 text."""
    if isinstance(target, Request):
        body, kind = target.body, "json"
        if isinstance(body, bytes):
            body, kind = body.decode("latin-1"), "bytes"
        elif isinstance(body, str):
            kind = "text"
        return {
            "what": "request", "url": target.url, "method": target.method, "body": body,
            "kind": kind, "headers": dict(target.headers), "label": target.label,
            "keep_alive": target.keep_alive,
        }  # fmt: skip
    return {
        "what": "tcp", "port": target.port, "message": target.message.decode("latin-1"),
        "until": target.until.decode("latin-1"), "size": target.size, "host": target.host,
        "keep": target.keep,
    }  # fmt: skip


def from_plain(plain: Mapping[str, Any]) -> Request | Tcp:
    """What `to_plain` gave, back again."""
    values = dict(plain)
    if values.pop("what") == "tcp":
        for name in ("message", "until"):
            values[name] = values[name].encode("latin-1")
        return Tcp(**values)
    if values.pop("kind") == "bytes":
        values["body"] = values["body"].encode("latin-1")
    return Request(**values)


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port != 0
    except ValueError:
        parts, port_is_fine = None, False
    if parts is None or parts.scheme != "http" or not parts.hostname or not port_is_fine:
        raise LoadError(f"{url!r} is no address; write it as http://127.0.0.1:8000/path.")
    if any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise LoadError(f"{url!r} has a space or a control character; percent-encode it.")
    return parts
