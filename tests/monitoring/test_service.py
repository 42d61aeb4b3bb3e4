"""The real service: asked over HTTP, killed, and its log read while it runs."""

import json
import re
import threading
from datetime import UTC, datetime

import httpx
import numpy as np
import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlsys import services
from mlsys.monitoring import delivery, load, traffic, watch
from mlsys.monitoring.drive import drive
from mlsys.monitoring.errors import MonitoringError
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
    with services.web_app(APP, env={"MONITORED_STORE": str(folder)}) as server:
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


def test_the_live_log_is_watched_as_a_scene_is(driven):
    store, live, _, _ = driven
    made = traffic.traffic("healthy", per_day=100, days=6)
    seen = watch.of_store(store, made.reference).windows
    replayed = watch.watch(made.reference, live).windows
    for name in ("rows", "drifted", "effect", "estimate"):
        assert np.allclose(seen[name], replayed[name])


def scraped(server) -> dict[tuple[str, ...], float]:
    """The samples of the page /metrics by name and labels."""
    text = httpx.get(server.url + "/metrics", timeout=60).text
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {(one.name, *map("=".join, sorted(one.labels.items()))): one.value for one in samples}


def test_metrics_can_be_scraped(driven):
    store, live, _, server = driven
    found = scraped(server)
    assert found["mlsys_service_rows", "log=predictions", "state=safe"] == len(live)
    said = store.predictions.read().column("prediction").to_pylist()
    for one in (0, 1):
        counted = found["mlsys_service_predictions_total", f"class={one}", "version=built in"]
        assert counted == said.count(one) > 0


def test_each_answer_is_timed_in_the_log_and_with_the_disk_in_the_histogram(driven):
    store, live, _, server = driven
    took = store.predictions.read().to_pandas()["took_ms"]
    requests = took.groupby(np.arange(len(live)) // 150)
    assert len(took) == len(live) and (took > 0).all() and (requests.nunique() == 1).all()
    found = scraped(server)
    assert found["mlsys_service_answer_seconds_count",] == requests.ngroups
    assert found["mlsys_service_answer_seconds_bucket", "le=+Inf"] == requests.ngroups
    assert 1_000 * found["mlsys_service_answer_seconds_sum",] > requests.first().sum()


def test_the_grafana_dashboard_asks_the_service_only_for_what_it_shows(driven):
    board = json.loads(delivery.DASHBOARD.read_text("utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    ours = {name for line in asked for name in re.findall(r"mlsys_service_\w+", line)}
    assert len(ours) == 2 and ours <= {name for name, *_ in scraped(driven[3])}


def test_a_log_of_before_the_times_were_kept_goes_on_and_is_read_as_a_whole(driven, tmp_path):
    now = driven[0].predictions.read()
    for table in (now.drop_columns("took_ms").slice(0, 50), now.slice(50, 50)):
        with Writer(tmp_path / "predictions") as log:
            log.append(table)
    read = Store(tmp_path).joined().to_pandas()
    assert list(read["took_ms"].isna()) == [True] * 50 + [False] * 50
    made = traffic.traffic("healthy", per_day=100, days=6)
    assert watch.of_store(Store(tmp_path), made.reference).windows["rows"].sum() == 100


@pytest.mark.parametrize(
    "body",
    [{"rows": []}, {"rows": [{"id": "a", "size": 1}]}, {"rows": [{"id": "a", "links": "x"}]}],
)
def test_a_request_that_makes_no_sense_is_refused_and_not_logged(driven, body):
    store, live, _, server = driven
    before = scraped(server)["mlsys_service_answer_seconds_count",]
    answer = httpx.post(server.url + "/predict", json=body, timeout=60)
    assert answer.status_code == 422
    assert store.predictions.read().num_rows == len(live)
    assert scraped(server)["mlsys_service_answer_seconds_count",] == before


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
