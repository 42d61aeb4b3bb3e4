"""The real service: asked over HTTP, killed, and its log read while it runs."""

import threading
import time
from datetime import UTC, datetime

import httpx
import numpy as np
import pyarrow as pa
import pytest

from mlsys import services
from mlsys.monitoring import load, traffic, watch
from mlsys.monitoring.drive import drive
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.profiles import Profile
from mlsys.monitoring.recorder import Recorder
from mlsys.monitoring.store import Log, Store, Writer

APP = "mlsys.monitoring.service:app"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rows(first, n=1):
    return pa.record_batch({"at": pa.array([NOW] * n), "id": list(range(first, first + n))})


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """A running service that was sent six days of mail; its store, rows and last answer."""
    folder = tmp_path_factory.mktemp("store")
    live = traffic.scene_frame("healthy", per_day=100, days=6)
    env = {"MONITORED_STORE": str(folder), "MONITORED_WINDOW": "200"}
    with services.web_app(APP, env=env) as server:
        *_, sent = drive(server.url, live, batch=150)
        yield Store(folder), live, sent, server


def test_all_predictions_and_the_due_labels_are_in_the_log_while_the_service_runs(driven):
    store, live, sent, server = driven
    table = store.joined().to_pandas()
    assert sent.predictions == len(live) == len(table) and sent.refused == 0
    due = live["label_at"] <= live["at"].iloc[-1]
    assert sent.labels == due.sum() == table["label"].notna().sum()
    table, live = table.set_index("id"), live.set_index("id").loc[table["id"]]
    assert np.allclose(table["score"], live["score"])
    for name in traffic.FEATURES:
        assert (
            table[name].equals(live[name])
            or ((table[name] == live[name]) | (table[name].isna() & live[name].isna())).all()
        )
    told = table["label"].notna()
    assert (table.loc[told, "label"] == live.loc[told, "label"]).all()
    assert httpx.get(server.url + "/stats", timeout=60).json()["predictions"]["safe"] == len(live)


def test_windows_are_profiled_as_they_come(driven):
    store, live, _, _ = driven
    # A window is profiled after its rows are answered: nobody waits for a profile.
    deadline = time.monotonic() + 60
    while (table := store.profiles.read()).num_rows < len(live) // 200:
        assert time.monotonic() < deadline, f"only {table.num_rows} windows were profiled"
        time.sleep(0.01)
    assert table.num_rows == len(live) // 200
    first = Profile.from_json(table.column("profile")[0].as_py())
    assert first.rows == 200
    assert first["links"].mean == pytest.approx(live["links"].iloc[:200].mean())


def test_the_live_log_is_watched_as_a_scene_is(driven):
    store, live, _, _ = driven
    made = traffic.traffic("healthy", per_day=100, days=6)
    seen = watch.of_store(store, made.reference).windows
    replayed = watch.watch(made.reference, live).windows
    for name in ("rows", "drifted", "effect", "estimate"):
        assert np.allclose(seen[name], replayed[name])


def test_metrics_can_be_scraped(driven):
    text = httpx.get(driven[3].url + "/metrics", timeout=60).text
    assert f'mlsys_service_rows{{log="predictions",state="safe"}} {len(driven[1])}' in text


@pytest.mark.parametrize(
    "body",
    [{"rows": []}, {"rows": [{"id": "a", "size": 1}]}, {"rows": [{"id": "a", "links": "x"}]}],
)
def test_a_request_that_makes_no_sense_is_refused_and_not_logged(driven, body):
    store, live, _, server = driven
    answer = httpx.post(server.url + "/predict", json=body, timeout=60)
    assert answer.status_code == 422
    assert store.predictions.read().num_rows == len(live)


class Held(Writer):
    """A writer whose disk stands still until it is told to go on."""

    def __init__(self, folder):
        super().__init__(folder)
        self.stuck, self.go = threading.Event(), threading.Event()

    def append(self, table):
        self.stuck.set()
        assert self.go.wait(60)
        super().append(table)


def test_what_comes_while_the_disk_works_shares_the_next_append(tmp_path):
    with Held(tmp_path) as writer:
        with Recorder(writer) as recorder:
            futures = [recorder.put(rows(0))]
            assert writer.stuck.wait(60)
            futures += [recorder.put(rows(i)) for i in range(1, 500)]
            writer.go.set()
            for future in futures:
                future.result(60)
            assert recorder.counts.safe == 500
        (segment,) = tmp_path.glob("*.log")
        assert segment.read_bytes().count(b"MLSEG1\r\n") == 2
    assert Log(tmp_path).read().column("id").to_pylist() == list(range(500))


def test_overload_is_refused_and_counted_rather_than_lost_in_silence(tmp_path):
    with Held(tmp_path) as writer, Recorder(writer, capacity=10) as recorder:
        first = recorder.put(rows(0, 5))
        assert writer.stuck.wait(60)
        second, third = recorder.put(rows(5, 5)), recorder.put(rows(10, 5))
        assert third is None and recorder.counts.dropped == 5 and recorder.counts.waiting == 10
        writer.go.set()
        first.result(60)
        second.result(60)
    assert Log(tmp_path).read().num_rows == 10


def test_a_disk_that_refuses_is_told_to_who_waits(tmp_path):
    writer = Writer(tmp_path)
    writer.close()
    with Recorder(writer) as recorder:
        with pytest.raises(MonitoringError, match="closed"):
            recorder.put(rows(0)).result(60)
        assert recorder.counts.failed == 1


def test_a_profile_that_fails_does_not_stop_the_log(tmp_path):
    def broken(table):
        raise RuntimeError("no profile today")

    with Writer(tmp_path) as writer:
        with Recorder(writer, then=broken) as recorder:
            recorder.put(rows(0)).result(60)
            recorder.put(rows(1)).result(60)
        assert recorder.counts.unwatched == 2 and recorder.counts.safe == 2


def test_what_is_offered_is_safe_or_counted_as_dropped(tmp_path):
    calm = load.offer(tmp_path / "calm", rate=2_000, seconds=0.5)
    assert calm.offered == 1_000 == calm.counts.safe and calm.cpu > 0
    flood = load.offer(tmp_path / "flood", rate=1e6, seconds=0.01, capacity=500)
    assert flood.counts.dropped > 0
    assert flood.counts.safe + flood.counts.dropped == flood.offered == 10_000
    assert Store(tmp_path / "flood").predictions.read().num_rows == flood.counts.safe
    with pytest.raises(MonitoringError, match="million"):
        load.offer(tmp_path, rate=0)


def test_a_service_killed_between_two_requests_has_lost_nothing_it_answered(driven):
    """The last test: it ends the service that the others ask."""
    store, live, _, server = driven
    more = traffic.scene_frame("units", per_day=100, days=3).assign(
        id=lambda rows: "x" + rows["id"]
    )
    sending = drive(server.url, more, batch=20)
    answered = [next(sending).predictions for _ in range(4)][-1]
    server.process.signal("SIGKILL")
    with pytest.raises(MonitoringError, match="does not answer"):
        list(sending)
    assert store.predictions.read().num_rows >= len(live) + answered == len(live) + 80
