"""What the part Traffic of the page Model monitoring says, for logs with and without latencies."""

import json

import pandas as pd
import pyarrow as pa
import pytest
from pages import charts, open_page

from dashboards import monitoring_requests as page
from mlsys.monitoring import traffic
from mlsys.monitoring.requests import LENGTHS, Requests
from mlsys.monitoring.store import Writer

START = pd.Timestamp("2026-03-02 14:00", tz="UTC")


def told(rows: pd.DataFrame, **settings) -> page.Traffic:
    asked = Requests()
    asked.add(rows)
    return page.Traffic(asked, **settings)


@pytest.fixture
def rows() -> pd.DataFrame:
    """Ten minutes of 31 predictions a second, one of eight spam, 4 ms each; version 2 at 14:05."""
    n = 31 * 600
    at = START + pd.to_timedelta([k / 31 for k in range(n)], unit="s")
    version = ["1" if one < START + pd.Timedelta("5min") else "2" for one in at]
    made = pd.DataFrame({"at": at, "version": version, "took_ms": 4.0})
    return made.assign(prediction=[int(k % 8 == 0) for k in range(n)])


def test_the_newest_full_window_is_said_in_a_sentence(rows):
    seen = told(rows, names=page.MAIL)
    assert page.sentence(seen) == (
        "Newest full 10 seconds: 31 predictions/s, p99 4 ms, 13% spam, version 2 since 14:05."
    )
    assert page.latency(seen).startswith("Latency is the log's column took_ms.")
    assert "Versions: 1 from 02 March 14:00; 2 from 02 March 14:05." in page.alt(seen)


def test_what_was_not_measured_is_said_and_no_number_stands_for_it(rows):
    seen = told(rows[["at", "prediction"]], names=page.MAIL, unmeasured=page.REPLAYED)
    assert page.sentence(seen) == "Newest full 10 seconds: 31 predictions/s, 13% spam."
    assert page.latency(seen) == f"Latency is not shown: {page.REPLAYED}."
    assert "latency" not in page.alt(seen) and "ms" not in page.numbers(seen)


def test_few_latencies_have_a_slowest_one_and_no_percentile(rows):
    assert "slowest 4 ms" in page.numbers(told(rows.head(50)))
    assert page.sentence(told(rows.head(20))).startswith("So far: 20 predictions, slowest 4 ms")


def test_classes_that_are_no_spam_are_called_by_their_own_names(rows):
    letters = rows.assign(prediction=[f"letter {'aab'[k % 3]}" for k in range(len(rows))])
    assert "67% class letter a" in page.numbers(told(letters))
    assert "13% class 1" in page.numbers(told(rows))


def test_each_length_of_a_window_has_its_word():
    assert set(page.WORDS) == set(LENGTHS)


def test_a_log_of_times_alone_is_counted_and_nothing_else_is_said_of_it(rows):
    seen = told(rows[["at"]])
    assert page.sentence(seen) == "Newest full 10 seconds: 31 predictions/s."
    assert page.UNLOGGED in page.latency(seen) and not page.version(seen)


def said(opened) -> str:
    assert not opened.exception, opened.exception[0].message
    return " ".join(one.value for one in opened.markdown).replace("\\", "")


def drawn(opened) -> str:
    return next(alt for alt in charts(opened) if alt.startswith("Traffic from"))


def test_a_scene_shows_rate_and_classes_on_the_axis_of_the_rest_and_says_why_no_latency():
    opened = open_page("monitoring", scene="label_shift")
    assert f"Latency is not shown: {page.REPLAYED}." in said(opened)
    assert "Newest full day: 21 predictions/h, " in said(opened)
    layouts = {alt: json.loads(spec)["layout"] for alt, spec in charts(opened).items()}
    beside = next(one for alt, one in layouts.items() if alt.startswith("Accuracy from"))
    assert layouts[drawn(opened)]["xaxis"]["range"] == beside["xaxis3"]["range"]


def test_an_earlier_day_has_the_traffic_of_the_days_before_it():
    assert "to 29 March" in drawn(open_page("monitoring", day="28"))
    assert "to 04 March" in drawn(open_page("monitoring", day="3"))


def test_a_services_log_shows_its_latencies_and_its_version(tmp_path, monkeypatch):
    live = traffic.scene_frame("healthy", per_day=60, days=9).drop(columns=["label", "label_at"])
    logged = live.assign(version="v1", took_ms=4.0)
    with Writer(tmp_path / "predictions", durable=False) as log:
        log.append(pa.Table.from_pandas(logged, preserve_index=False))
    monkeypatch.setenv("MONITORED_STORE", str(tmp_path))
    opened = open_page("monitoring", source="live")
    assert "slowest 4 ms" in said(opened) and "% spam, version v1 since 00:" in said(opened)
    assert "percentiles of latency" in drawn(opened)
