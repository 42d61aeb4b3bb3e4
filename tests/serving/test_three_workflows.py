import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from mlsys import services
from mlsys.serving.workflows import cases as workflow_cases
from mlsys.serving.workflows import compare as ways
from mlsys.serving.workflows import figures, swapping
from mlsys.serving.workflows import process as workflow_process

HAM = ["see you at home", "are you coming to the lecture", "call me when you can"]
SPAM = ["claim your prize now", "urgent cash award, reply now", "you won a mobile, claim it"]
TEXTS = HAM + SPAM


@pytest.fixture(scope="module")
def model() -> LogisticRegression:
    return LogisticRegression(C=10).fit(ways.hash_all(TEXTS), [False] * 3 + [True] * 3)


def export(model, path, version):
    graph = to_onnx(model, ways.hash_all(["a row"]), options={"zipmap": False})
    graph.model_version = version
    path.write_bytes(graph.SerializeToString())
    return path


@pytest.fixture(scope="module")
def model_file(model, tmp_path_factory):
    return export(model, tmp_path_factory.mktemp("model") / "spam.onnx", 3)


@pytest.fixture(scope="module")
def phone(model_file):
    with ways.device(model_file) as process:
        yield process


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "scores.db"
    ways.fill_table(path, TEXTS)
    return path


def always(probability):
    return lambda texts: np.full(len(texts), probability)


# --- features


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_hashing_counts_every_word_once_and_ignores_case(text):
    row = ways.hash_words(text)
    assert row.sum() == len(ways.WORD.findall(text.lower()))
    assert np.array_equal(ways.hash_all([text])[0], row)


def test_hashing_is_the_same_in_every_process():
    # str's own hash differs from one process to the next, which would break each deployed model.
    program = (
        "from mlsys.serving.workflows.compare import hash_words as h; print(h('a prize').nonzero())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert told == {f"{ways.hash_words('a prize').nonzero()}\n"}


def test_no_message_gives_no_rows():
    assert ways.hash_all([]).shape == (0, ways.WIDTH)


# --- look-up


def test_a_row_stays_as_the_night_left_it_until_the_next_night(table):
    ways.score_overnight(table, always(0.25), version=1)
    ways.receive(table, {0: "another message"})
    with ways.lookup(table) as reader:
        assert reader.ask("answer", senders=[0])["spam"] == [0.25]
        assert ways.score_overnight(table, always(0.75), version=2) == len(TEXTS)
        answer = reader.ask("answer", senders=[0])
    assert (answer["spam"], answer["version"]) == ([0.75], [2])


def test_a_sender_who_came_after_the_night_has_no_row(table):
    ways.score_overnight(table, always(0.25), version=1)
    ways.receive(table, {99: "hello, I am new"})
    with ways.lookup(table) as reader:
        assert reader.ask("answer", senders=[99, 1])["spam"] == [None, 0.25]


def test_a_night_that_fails_leaves_all_rows_as_they_were(table):
    ways.score_overnight(table, always(0.25), version=1)

    def half(texts):
        return [0.9, 0.9, "no number", *[0.9] * (len(texts) - 3)]

    with pytest.raises(ValueError):
        ways.score_overnight(table, half, version=2)
    with closing(sqlite3.connect(table)) as rows:
        assert rows.execute("select distinct version, spam from scores").fetchall() == [(1, 0.25)]


def test_nobody_who_reads_waits_for_the_night_or_sees_half_of_it(table):
    ways.score_overnight(table, always(0.25), version=1)
    with ways.lookup(table) as reader, closing(ways.open_table(table)) as night, night:
        night.execute("update scores set spam = 0.75, version = 2")
        during = reader.ask("answer", senders=list(range(len(TEXTS))))
        assert during["version"] == [1] * len(TEXTS)


# --- device


def test_the_device_gives_the_answers_of_scikit_learn_without_loading_it(phone, model):
    answer = phone.ask("answer", texts=TEXTS)
    expected = model.predict_proba(ways.hash_all(TEXTS))[:, 1]
    assert np.allclose(answer["spam"], expected, atol=1e-5)
    assert answer["version"] == [3] * len(TEXTS)
    report = phone.ask("report")
    assert report["sklearn"] is False and "onnxruntime" in report["modules"]
    assert "sklearn" in workflow_process.loaded()  # of this process the report would say so


def test_the_device_is_held_to_its_memory_limit_or_says_that_it_is_not(phone):
    report = phone.ask("report")
    assert report["limit_holds"] == (not report["note"])
    if sys.platform == "linux":
        assert report["limit_holds"] and not workflow_process.is_refused(512)  # we have no limit


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds to RLIMIT_AS")
def test_a_device_with_too_little_memory_says_so_in_one_line(model_file):
    with (
        pytest.raises(ways.WorkflowError, match="device process has ended"),
        ways.device(model_file, memory_mb=100),
    ):
        pass


def test_a_device_goes_on_with_its_model_when_the_new_file_is_broken(model, model_file, tmp_path):
    path = tmp_path / "spam.onnx"
    whole = model_file.read_bytes()
    path.write_bytes(whole)
    with ways.device(path) as process:
        for broken in (whole[: len(whole) // 2], b"", b"not a model"):
            path.write_bytes(broken)
            with pytest.raises(ways.WorkflowError, match=r"spam\.onnx.*version 3"):
                process.ask("reload")
        path.unlink()
        with pytest.raises(ways.WorkflowError, match="no model to read"):
            process.ask("reload")
        assert process.version(texts=["hello"]) == 3
        export(model, path, 4)
        assert process.ask("reload") == {"version": 4}
        assert process.version(texts=["hello"]) == 4


def test_no_process_is_left_at_the_end_nor_when_the_owner_is_killed(model_file):
    with ways.device(model_file) as process:
        pid = process.pid
    assert not psutil.pid_exists(pid)
    program = (
        "import sys, pathlib\nfrom mlsys.serving.workflows.compare import device\n"
        "with device(pathlib.Path(sys.argv[1])) as p:\n"
        "    print(p.pid, flush=True)\n    sys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(model_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    orphan = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.communicate()
    left = psutil.wait_procs([orphan], timeout=20)[1]
    assert not [one for one in left if one.status() != psutil.STATUS_ZOMBIE]


def test_asking_a_dead_process_gives_a_sentence(table):
    with ways.lookup(table) as reader:
        reader.process.kill()
        with pytest.raises(ways.WorkflowError, match="lookup process has ended"):
            reader.ask("answer", senders=[0])
        assert "has ended" in ways.or_reason(reader.ask, "answer", senders=[0])


# --- service


def test_the_app_answers_with_probability_version_and_process(model, model_file):
    expected = model.predict_proba(ways.hash_all(TEXTS))[:, 1]
    env = {"SPAM_MODEL": str(model_file)}
    with services.web_app("mlsys.serving.workflows.spam_service:app", env=env) as server:
        one = ways.post(server.url + "/spam", {"text": TEXTS[0]})
        assert one["spam"] == pytest.approx(expected[0], abs=1e-5)
        assert (one["version"], one["pid"]) == (3, server.pid) and one["seconds"] > 0
        many = ways.post(server.url + "/spam_all", {"texts": TEXTS})
        assert np.allclose(many["spam"], expected, atol=1e-5)
        for path, body in [
            ("/spam", {}),
            ("/spam", {"text": 7}),
            ("/spam", {"text": "x" * 100_001}),
            ("/spam_all", {"texts": []}),
        ]:
            with pytest.raises(ways.WorkflowError, match="status 422"):
                ways.post(server.url + path, body)


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if self.path == "/ok" else 500)
        said = json.dumps({"spam": json.loads(body)["text"], "pid": 1}).encode()
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *words):
        pass


@pytest.fixture
def echo():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_post_gives_the_answer_or_a_sentence(echo):
    assert ways.post(echo + "/ok", {"text": "hello"})["spam"] == "hello"
    with pytest.raises(ways.WorkflowError, match="status 500"):
        ways.post(echo + "/broken", {"text": "hello"})
    with pytest.raises(ways.WorkflowError, match="No answer"):
        ways.post("http://127.0.0.1:9/spam", {"text": "hello"}, timeout=5)


def test_a_flood_counts_every_answer(echo):
    load = ways.flood(echo + "/ok", {"text": "hello"}, requests=10, rounds=2)
    assert load.by_process == {1: 20} and load.requests == 10 and load.per_second > 0


# --- swaps


def test_steady_calls_note_each_version_and_each_failure():
    state = {"version": 1}

    def ask():
        if state["version"] is None:
            raise ways.WorkflowError("down")
        return state["version"]

    with swapping.steady_calls(ask, pause=0.001) as calls:
        state["version"] = None
        calls.settle(3)
        state["version"] = 2
    versions = [call.version for call in calls.timeline()]
    assert [versions[0], versions[-1]] == [1, 2] and calls.failed == versions.count(None) >= 1
    assert calls.first(2) > 0 > calls.timeline()[0].at
    (row,) = swapping.summary({"service": calls}, version=2)
    assert row["asked"] == len(calls.made) and row["failed"] == calls.failed
    with pytest.raises(ways.WorkflowError, match="Version 9"):
        calls.first(9)


def test_a_mistake_in_the_asking_itself_is_not_hidden():
    with pytest.raises(ZeroDivisionError), swapping.steady_calls(lambda: 1 // 0):
        pass


# --- arithmetic and figures


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-6, 1), st.floats(0, 0.98), st.floats(0.001, 0.01))
def test_the_wait_grows_with_the_load_and_is_infinite_from_full_load_on(busy, load, more):
    assert ways.queue_wait(busy, load / busy) <= ways.queue_wait(busy, (load + more) / busy)
    assert ways.queue_wait(busy, 1.0001 / busy) == np.inf
    assert ways.queue_wait(0.0, 1e9) == 0


def test_points_at_another_rate_keep_what_nobody_queues_for():
    points = [ways.Point("device", 0.1, 0.2, 0.0), ways.Point("service", 0.1, 0.2, 0.0)]
    device, service = ways.at_rate(
        points, {"device": 0.0, "service": 0.01}, rate=50, stale={"device": 0.3}
    )
    assert device == ways.Point("device", 0.1, 0.2, 0.3)
    assert service.p50 == pytest.approx(0.11) and service.p99 == pytest.approx(0.21)


def test_figures_say_what_is_overloaded_and_draw_failures():
    points = [ways.Point("look-up", 1e-6, 2e-6, 0.1), ways.Point("service", np.inf, np.inf, 0.0)]
    chart = figures.latency_and_staleness(points, chosen="service")
    assert "more work" in chart.layout.title.text
    assert chart.data[1].x[0] < np.inf
    made = [swapping.Call(i / 10, None if i == 2 else 1 + i // 5, "") for i in range(10)]
    swap = figures.answers_during_a_swap({"service": swapping.Calls(made, 0.0)}, title="t")
    assert [len(trace.x) for trace in swap.data] == [4, 5, 1]
    crowd = swapping.Calls([swapping.Call(i / 10, 1, "") for i in range(9_000)], 0.0)
    crowded = figures.answers_during_a_swap({"a": crowd, "b": crowd}, title="t")
    assert sum(len(trace.x) for trace in crowded.data) <= 2_000
    day = figures.stale_by_hour({"look-up": [0, 0.1]}, lambda h: 0.1 * h, title="t")
    assert list(day.data[1].y) == [0, 0.1]
    curve = figures.latency_curves({"device": [0.001, 0.002, 0.003]}, title="t")
    assert curve.data[0].x[0] == pytest.approx(1.0)


# --- the exercise's cases


def test_each_case_has_a_workflow_that_fits_and_a_reason_against_each_other():
    assert len(workflow_cases.CASES) == 8
    for case, against in workflow_cases.CASES.items():
        fits = [w for w in workflow_cases.WORKFLOWS if not workflow_cases.objection(case, w)]
        assert len(fits) == 3 - len(against) >= 1, case
    assert "does not fit" in workflow_cases.objection("drone", "service")


@pytest.mark.parametrize("case, workflow", [("drone", None), ("drone", "cloud"), ("car", "device")])
def test_an_unknown_case_or_workflow_is_named(case, workflow):
    with pytest.raises(ValueError, match=r"There is no case|is no workflow"):
        workflow_cases.objection(case, workflow)
