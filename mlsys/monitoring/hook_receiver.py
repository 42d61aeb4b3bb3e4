"""The other end of a web hook: a small server that keeps what is posted to it.

What a chat room, a pager or a bot does with a notice is theirs; this one only remembers, so that a
lesson or a test can show what arrived.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

LARGEST = 1_000_000  # bytes of one notice


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict]]]:
    """(address, what was posted so far) of a server on a free loopback port.

    What comes again with the same `Idempotency-Key`, since its answer was late, is kept once. A
    body that is no JSON object is answered with 400, a larger one than `LARGEST` with 413, and not
    kept.
    """
    got: list[dict] = []
    keys: set[str] = set()

    class Hook(BaseHTTPRequestHandler):
        timeout = 10  # seconds for a sender that stalls

        def do_POST(self) -> None:
            self.send_response(self._status())
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _status(self) -> int:
            size = self.headers.get("Content-Length", "")
            if not size.isdecimal():
                return 411
            if int(size) > LARGEST:
                self.close_connection = True
                return 413
            try:
                posted = json.loads(self.rfile.read(int(size)))
            except (ValueError, RecursionError):
                return 400
            if not isinstance(posted, dict):
                return 400
            key = self.headers.get("Idempotency-Key")
            if key is None or key not in keys:
                got.append(posted)
            if key is not None:
                keys.add(key)
            return 204

        def log_message(self, *_: object) -> None:
            """Say nothing: a server writes to nobody's notebook."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        server.daemon_threads = True
        serving = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/alerts", got
        finally:
            server.shutdown()
            serving.join()
