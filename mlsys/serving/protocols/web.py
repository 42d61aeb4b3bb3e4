"""The smallest web server of the standard library, to be spoken to by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from mlsys.serving.protocols.messages import HOST


class Shop(BaseHTTPRequestHandler):
    """Answers each GET with the path that was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"you asked for {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """No line in the notebook for each request."""


@contextmanager
def shop() -> Iterator[int]:
    """Serve on a free port in threads until the end of the `with`; yields the port."""
    with ThreadingHTTPServer((HOST, 0), Shop) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(2)
