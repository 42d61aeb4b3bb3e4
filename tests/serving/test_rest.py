import math
import os

import httpx
import numpy as np
import pandas as pd
import psutil
import pytest
from fastapi import FastAPI
from flask import Flask, request
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import measured
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from mlsys import services
from mlsys.serving.rest import client as rest_client
from mlsys.serving.rest import figures as rest_figures
from mlsys.serving.rest import metrics as rest_metrics
from mlsys.serving.rest import model as rest_model
from mlsys.serving.rest import servers as rest_servers
from mlsys.serving.rest.contract import contract
from mlsys.serving.rest.flawed import HEADERS, fresh
from mlsys.serving.rest.servers import ServerError, in_thread, served, wait_until
from mlsys.serving.timeline import Event
from mlsys.serving.todo.document import small

BUCKETS = (0.01, 0.02, 0.05, 0.1, 1)
APP = "mlsys.serving.todo.service:create_app()"
ADA = {"TODO_CLIENTS": '[["ada", "ada-token"]]'}
posix = pytest.mark.skipif(os.name == "nt", reason="gunicorn needs a Unix")


# --- metrics


def metrics_page(times, **labels):
    registry = CollectorRegistry()
    timed = Histogram("took", "s", list(labels), buckets=BUCKETS, registry=registry)
    for seconds in times:
        (timed.labels(**labels) if labels else timed).observe(seconds)
    return generate_latest(registry).decode()


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.floats(0.0001, 0.99), min_size=1, max_size=60),
    percent=st.sampled_from([1, 25, 50, 90, 99, 100]),
)
def test_a_percentile_from_the_buckets_lies_in_the_bucket_of_the_true_one(times, percent):
    table = rest_metrics.histogram(metrics_page(times), "took")
    true = np.percentile(times, percent, method="inverted_cdf")
    upper = next(edge for edge in BUCKETS if true <= edge)
    lower = max((edge for edge in BUCKETS if edge < true), default=0)
    assert lower <= rest_metrics.percentile(table, percent) <= upper
    assert table.in_bucket.sum() == len(times)


def test_histograms_of_two_labels_add_up():
    text = metrics_page([0.015] * 3, route="/a") + metrics_page([0.5] * 2, route="/b")
    both = rest_metrics.histogram(text, "took")
    assert both.within.iloc[-1] == 5
    assert rest_metrics.histogram(text, "took", route="/b").within.iloc[-1] == 2


def test_what_is_beyond_the_last_bucket_is_told_as_its_end():
    table = rest_metrics.histogram(metrics_page([5.0]), "took")
    assert rest_metrics.percentile(table, 50) == 1
    none = rest_metrics.histogram(metrics_page([]), "took")
    assert math.isnan(rest_metrics.percentile(none, 50))


@pytest.mark.parametrize("text", ["", "<html>", "took_bucket{le=", "other_total 3"])
def test_a_page_without_the_histogram_is_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match=r"histogram|metrics"):
        rest_metrics.histogram(text, "took")


# --- contract


def drifting():
    app, kept = Flask("drifting"), {}

    @app.post("/v1/todos")
    def make():
        kept["1"] = {"id": "1", "title": request.json["title"], "done": False}
        return kept["1"], 201

    return app


def test_a_contract_finds_the_path_that_drifted_and_then_the_fault_behind_it():
    drifted = contract(drifting(), small("post", path="/v1/todo"), examples=5)
    assert "404" in set(drifted.findings.status)
    mended = contract(drifting(), small("post"), examples=5)
    assert "the server broke" in set(mended.findings.finding)
    assert "ways to break" in mended.describe() and "<table" in mended._repr_html_()


def test_a_contract_is_the_same_each_time_and_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = (contract(drifting(), small("post"), examples=5) for _ in range(2))
    pd.testing.assert_frame_equal(first.findings, second.findings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("document", [{}, {"paths": {}}, {"openapi": "3.0.3", "paths": {}}])
def test_what_is_no_document_is_refused_in_a_sentence(document):
    with pytest.raises(ValueError, match="document"):
        contract(drifting(), document)


# --- servers


@posix
def test_two_workers_forget_what_the_other_was_told_and_a_killed_one_is_replaced():
    with served(services.worker, "gunicorn", APP, workers=2, env=ADA) as server:
        for _ in range(10):
            if 404 in (statuses := rest_client.write_and_read(server.url, 20)):
                break
        assert {200, 404} == set(statuses)
        before = set(server.pids)
        killed = server.kill_worker()
        wait_until(f"{server.url}/live", 200)
        assert server.add_worker() >= 2
        assert killed in before and killed not in server.pids
        family = [psutil.Process(pid) for pid in (*server.pids, *server.group.pids)]
    left = psutil.wait_procs(family, timeout=20)[1]
    assert not [one for one in left if one.status() != psutil.STATUS_ZOMBIE]


def test_flasks_own_server_shows_secrets_in_debug_mode(tmp_path):
    committee().save(tmp_path / "model.json")
    env = {"REST_MODEL": str(tmp_path / "model.json")}
    app = "mlsys.serving.rest.model:flask_app()"
    with served(services.worker, "flask", app, env=env, debug=True) as server:
        assert "correct horse" in httpx.get(f"{server.url}/crash", timeout=20).text
        assert len(server.pids) == 1


@pytest.mark.parametrize(
    ("kind", "app", "says"),
    [("apache", APP, "there are flask"), ("flask", "no_name", "write module:name")],
)
def test_a_server_that_is_none_is_refused_in_a_sentence(kind, app, says):
    with pytest.raises(ServerError, match=says), served(services.worker, kind, app):
        pass


def test_an_application_that_does_not_load_is_told_with_the_logs_end():
    nowhere = served(services.worker, "uvicorn", "mlsys.serving.nowhere:app")
    with nowhere as server, pytest.raises(ServerError, match="did not come up"):
        _ = server.url


def test_wsgi_and_asgi_are_served_from_a_thread():
    flask, fastapi = Flask("one"), FastAPI()
    flask.get("/hi")(lambda: "hi")
    fastapi.get("/hi")(lambda: "hi")
    for app in (flask, fastapi):
        with in_thread(app) as url:
            assert "hi" in httpx.get(f"{url}/hi", timeout=20).text
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/hi")


def test_waiting_for_nobody_ends():
    with pytest.raises(ServerError, match="did not answer 200"):
        wait_until("http://127.0.0.1:1/", 200, seconds=0.1)


# --- the model


def committee():
    rng = np.random.default_rng(0)
    digits = np.arange(200) % 10
    pixels = np.clip(
        rng.normal(4, 1, (200, 64)) + 8 * (np.arange(64) % 10 == digits[:, None]), 0, 16
    )
    return rest_model.fit(pixels, digits, members=3)


def test_a_committee_comes_back_as_it_was_saved(tmp_path):
    model = committee()
    model.save(tmp_path / "model.json")
    assert rest_model.load(tmp_path / "model.json") == model
    with model.as_file() as path:
        assert rest_model.load(rest_model.Path(path)) == model


def test_a_committee_reads_what_it_was_shown():
    picture = [12.0 if place % 10 == 3 else 4.0 for place in range(64)]
    assert committee().predict(picture)["digit"] == 3


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "x", "members": [[[1, 2]]]}'])
def test_a_file_that_holds_no_committee_is_refused_in_a_sentence(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match="holds no committee"):
        rest_model.load(tmp_path / "model.json")


def test_flask_and_fastapi_take_and_refuse_the_same(tmp_path, monkeypatch):
    committee().save(tmp_path / "model.json")
    monkeypatch.setenv("REST_MODEL", str(tmp_path / "model.json"))
    monkeypatch.setenv("REST_LOOKUP_MS", "1")
    good = {"pixels": [3] * 64}
    bodies = [
        good,
        {"pixels": [3] * 63},
        {"pixels": ["x"] * 64},
        {},
        {"pixels": [99] * 64},
        {"pixels": [True] * 64},
    ]
    seen = []
    for app in (rest_model.flask_app(), rest_model.fastapi_app()):
        with in_thread(app) as url, rest_client.session(url) as client:
            answers = [client.post("/v1/predictions", json=body) for body in bodies]
            seen.append([one.status_code for one in answers])
            stored = client.get("/v1/pictures/3/prediction").json()
            assert answers[0].json()["version"] == stored["version"] == "committee-0"
    assert seen[0] == seen[1] == [200] + 5 * [422]


def test_small_pictures_keep_their_greys():
    pictures = np.full((2, 784), 255)
    assert (rest_model.shrink(pictures) == 16).all()
    assert rest_model.shrink(pictures).shape == (2, 64)


@posix
@measured
def test_workers_that_wait_answer_as_many_as_their_waiting_allows():
    env = {"REST_LOOKUP_MS": "40"}
    app = "mlsys.serving.rest.model:flask_app()"
    with committee().as_file() as path:
        env["REST_MODEL"] = path
        with served(services.worker, "gunicorn", app, env=env) as server:
            kinds = {"waits": ("/v1/pictures/3/prediction", None)}
            loads = rest_client.loads_by_workers(server, kinds, (1, 3), 0.2)["waits"]
            assert len(server.pids) == 3
    rates = {workers: load.achieved for workers, load in loads.items()}
    assert rates[1] <= 25 and rates[3] <= 75
    assert rates[3] > 1.5 * rates[1]
    assert loads[1].latency.p50 > 1.5 * loads[3].latency.p50 > 0.06


# --- the parcels


def test_the_parcels_break_the_promises_that_the_exercise_names():
    ask, to = fresh(), {"to": "Ada"}
    assert ask("POST", "/v1/parcels", to, headers={}).status_code == 401
    assert ask("DELETE", "/v1/parcels/a", headers={}).status_code == 404  # asks no token
    assert ask("GET", "/v1/parcels/none").status_code == 200
    first, second = (ask("PUT", "/v1/parcels/a", to).json for _ in range(2))
    assert first != second
    assert ask("POST", "/v1/parcels", {**to, "colour": "red"}).status_code == 201
    assert ask("POST", "/v1/parcels", data='{"to: "A"}').status_code == 400
    key = {**HEADERS, "Idempotency-Key": "k"}
    made = [ask("POST", "/v1/parcels", to, headers=key).json["name"] for _ in range(2)]
    assert made[0] == made[1]
    refused = [ask("GET", "/v1/limited") for _ in range(101)][-1]
    assert refused.status_code == 429 and "Retry-After" not in refused.headers


# --- figures


def test_figures_name_their_axes_and_hold_what_they_are_given():
    found = rest_figures.answers({"a": [200, 404], "b": [200]}, title="t")
    assert sum(len(trace.x) for trace in found.data) == 3
    table = rest_metrics.histogram(metrics_page([0.015, 0.03, 5.0]), "took")
    bars = rest_figures.histogram(table, title="t")
    assert sum(bars.data[0].y) == 3
    lines = rest_figures.workers(
        {"waits": {1: 40, 2: 80}}, others={"x": 100}, bound={1: 50, 2: 100}, title="t"
    )
    events = [Event("a", 5.0, 5.5, "no answer"), Event("a", 5.5, 5.6, "answered")]
    moved = rest_figures.attempts(events, title="t")
    for figure in (found, bars, lines, moved):
        assert figure.layout.title.text == "t" and figure.layout.xaxis.title.text
    empty = rest_metrics.histogram(metrics_page([]), "took")
    assert "Nothing" in rest_figures.histogram(empty, title="t").layout.annotations[0].text


@settings(max_examples=20, deadline=None)
@given(gaps=st.lists(st.floats(0.01, 3), min_size=1, max_size=30))
def test_the_drawn_level_of_a_bucket_never_leaves_it(gaps):
    class Bucket:
        rate, burst, tokens, at = 2.0, 4, 4.0, 0.0

        def take(self, now):
            self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
            self.at = now
            if self.tokens < 1:
                return (1 - self.tokens) / self.rate
            self.tokens -= 1
            return 0

    figure = rest_figures.ask_bucket(Bucket(), np.cumsum(gaps), title="{n} of {all}")
    assert all(-1e-9 <= level <= 4 + 1e-9 for level in figure.data[0].y)
    assert figure.layout.title.text.endswith(f"of {len(gaps)}")


def test_each_server_says_its_address_in_its_own_words():
    assert rest_servers.ADDRESS.search("Listening at: http://127.0.0.1:80 (1)")[1].endswith(":80")
    assert rest_servers.ADDRESS.search(" * Running on http://127.0.0.1:81")[1].endswith(":81")
    assert rest_servers.ADDRESS.search("Uvicorn running on http://127.0.0.1:82")[1].endswith(":82")
