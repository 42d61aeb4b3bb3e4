"""The clients of the lesson on HTTP: what they send, lose, ask again and measure."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest
from flask import Flask, request
from load_servers import PatientServer

from mlsys import services
from mlsys.serving.rest import client as rest_client
from mlsys.serving.rest.servers import in_thread
from mlsys.serving.todo.service import Client, create_app
from mlsys.serving.todo.store import MemoryStore


def test_a_request_says_how_long_its_body_is_in_bytes():
    raw = rest_client.compose("PUT", "/v1/todos/tea", '{"title": "thé"}')
    head, _, body = raw.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert rest_client.compose("GET", "/", token="").count(b"Authorization") == 0


def test_an_answer_is_lost_and_not_the_request_however_slow_the_service_is():
    began, answered = [], []

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self):
            began.append(time.monotonic())
            time.sleep(0.3)
            answered.append(time.monotonic())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with PatientServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever).start()
        with services.proxy(server.server_port) as wire:
            made = rest_client.until_answered(wire, "t", "POST", "/", {}, timeout=0.1)
        server.shutdown()
    assert (made[0].kind, made[-1].kind) == ("no answer", "answered")
    assert len(began) >= 2  # the first request came as well
    assert began[1] >= answered[0]


def test_who_gets_no_answer_asks_again_and_gives_up_in_the_end():
    deaf = socket.create_server(("127.0.0.1", 0))
    link = services.proxy(deaf.getsockname()[1])
    with deaf, link as wire, pytest.raises(TimeoutError, match="2 times no answer"):
        rest_client.until_answered(wire, "t", "PUT", "/t", {}, timeout=0.01, tries=2, patience=0.1)


def test_an_answer_without_end_is_not_read_to_its_end():
    listener = socket.create_server(("127.0.0.1", 0))

    def flood():
        conn, _ = listener.accept()
        with conn:
            try:
                while True:
                    conn.sendall(bytes(100_000))
            except OSError:
                pass

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    with listener, pytest.raises(ValueError, match="longer than"):
        rest_client.talk(f"http://127.0.0.1:{listener.getsockname()[1]}", b"GET")
    thread.join(20)
    assert not thread.is_alive()


def test_requests_are_sent_line_by_line_and_told_as_a_table():
    app = Flask("one")
    app.post("/here")(lambda: (request.get_json(), 201))
    with in_thread(app) as url:
        table = rest_client.statuses(url, 'POST /here {"a b": 1}\nGET /nowhere\n')
    assert table.status.tolist() == [201, 404]
    assert table.body.tolist() == ['{"a b": 1}', ""]


def test_what_applications_answer_is_a_column_each():
    yes, no = Flask("yes"), Flask("no")
    yes.post("/")(lambda: "")
    no.post("/")(lambda: ("", 422))
    said = rest_client.answers_to({"yes": yes, "no": no}, "/", {"a": 1, "b": None})
    assert said.yes.tolist() == [200, 200] and said.no["b"] == 422


def test_rows_slide_past_an_offset_and_not_past_a_cursor():
    app = create_app(MemoryStore(), [Client.of("ada", rest_client.TOKEN)], quiet=True)
    with in_thread(app) as url, rest_client.session(url) as ada:

        def by_cursor(after):
            return rest_client.titles(ada, f"/v1/todos?limit=6&after={after}")

        def by_offset(_):
            return rest_client.titles(ada, "/v1/todos?limit=12")[6:]

        assert rest_client.never_shown(ada, by_cursor) == []
        assert rest_client.never_shown(ada, by_offset) == ["t6", "t7"]


def test_instants_of_the_bucket_grow_and_slow_down():
    times = rest_client.busy_then_calm(3)
    gaps = np.diff(times)
    assert (gaps >= 0).all() and gaps[:44].mean() < gaps[45:].mean()
