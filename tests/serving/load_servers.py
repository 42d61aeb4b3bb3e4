"""Servers whose every answer is scripted, and what holds of every result of a load on them."""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mlsys.serving.load import LoadResult


class PatientServer(ThreadingHTTPServer):
    """It takes a client that leaves before its answer for what it is: no traceback is printed, for
    which Python 3.11 would parse source, beside another thread that may be parsing.
    """

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Scripted:
    """An HTTP server that serves one request at a time, each for a known time."""

    def __init__(self, services: Sequence[float], body: bytes = b"ok") -> None:
        self.services, self.body = list(services), body
        self.seen: list[tuple[str, str, bytes]] = []
        self.one_at_a_time = threading.Lock()
        self.asked = threading.Event()
        self.url = ""


@contextmanager
def scripted(services: Sequence[float] = (), **more) -> Iterator[Scripted]:
    """Serve /status/N with that status, anything else with the scripted sleep and 200."""
    script = Scripted(services, **more)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with script.one_at_a_time:
                number = len(script.seen)
                script.seen.append((self.command, self.path, sent))
                script.asked.set()
                if number < len(script.services):
                    time.sleep(script.services[number])
            status = int(self.path.split("/")[2]) if self.path.startswith("/status/") else 200
            self.send_response(status)
            self.send_header("Content-Length", str(len(script.body)))
            self.send_header("X-Number", str(number % 2))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(script.body)

        do_GET = do_POST = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    server = PatientServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def raw(answers: Sequence[Sequence[bytes]]) -> Iterator[int]:
    """A TCP server: to question n of a connection it writes the pieces of answers[n], then ends."""
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for pieces in answers:
                await reader.readuntil(b"\n\n" if b"\r" not in b"".join(pieces) else b"\r\n\r\n")
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()


def accounted(result: LoadResult) -> None:
    """What holds of every result."""
    assert result.ok + sum(result.errors.values()) == result.planned
    events = result.events.dropna()
    assert (events["sent"] >= events["intended"]).all()
    assert (events["done"] >= events["sent"]).all()
    assert result.describe().endswith(".")
