"""Traffic counted by window: the same numbers as from all rows at once, in bounded memory."""

import math
import shutil
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.monitoring import requests_figures as figures
from mlsys.monitoring import traffic
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.requests import (
    BUCKETS,
    CLASSES,
    ERROR,
    LENGTHS,
    OTHERS,
    PERCENTS,
    WINDOWS,
    LogRequests,
    Requests,
)  # fmt: skip
from mlsys.monitoring.store import Log, Writer

START = pd.Timestamp("2026-03-02", tz="UTC")

rows_of = st.lists(
    st.tuples(
        st.integers(0, 10**8),  # ms after the start: more than a day
        st.sampled_from([0, 1, None]),
        st.sampled_from(["v1", "v2", None]),
        st.one_of(st.none(), st.floats(1e-3, 1e6)),
    ),
    min_size=1, max_size=60,
)  # fmt: skip


def frame(rows):
    made = pd.DataFrame(rows, columns=["ms", "prediction", "version", "took_ms"])
    made.insert(0, "at", START + pd.to_timedelta(made.pop("ms"), unit="ms"))
    made["took_ms"] = made["took_ms"].astype(float)
    return made


def same(one: Requests, other: Requests) -> None:
    assert one.every == other.every and one.changes() == other.changes()
    pd.testing.assert_frame_equal(one.windows(), other.windows())
    pd.testing.assert_frame_equal(one.shares(), other.shares(), check_like=True)
    assert dict(one.by_version()) == dict(other.by_version())


@given(rows_of, st.integers(0, 60), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_rows_in_parts_and_in_any_order_count_as_all_at_once(rows, cut, random):
    whole, parts = Requests(), Requests()
    whole.add(frame(rows))
    random.shuffle(rows)
    for part in (rows[:cut], rows[cut:]):
        parts.add(frame(part))
    same(whole, parts)
    assert len(whole) == len(rows)


@given(rows_of)
@settings(max_examples=20, deadline=None)
def test_each_window_says_what_its_rows_say(rows):
    rows, asked = frame(rows), Requests()
    asked.add(rows)
    table, shares = asked.windows().set_index("at"), asked.shares()
    assert len(table) <= WINDOWS and table["rows"].sum() == len(rows)
    start = rows["at"].dt.floor(asked.every)
    seconds = pd.Timedelta(asked.every).total_seconds()
    for at, window in table.iterrows():
        mine = rows[start == at]
        assert window["rows"] == len(mine)
        if at + pd.Timedelta(asked.every) <= rows["at"].max():
            assert window["rate"] == pytest.approx(len(mine) / seconds)
        else:
            assert math.isnan(window["rate"])
        said = mine["prediction"].dropna()
        if len(said):
            assert shares.loc[at].get("1", 0.0) == pytest.approx((said == 1).mean())
        else:
            assert shares.loc[at].isna().all()
        took = mine["took_ms"].dropna()
        assert window["measured"] == len(took)
        for percent in PERCENTS:
            if not len(took):
                assert math.isnan(window[f"p{percent}"])
                continue
            true = np.percentile(took, percent, method="inverted_cdf")
            assert abs(window[f"p{percent}"] - true) <= 1.0001 * ERROR * true


def test_a_year_of_traffic_takes_no_more_windows_than_an_hour_of_it():
    asked = Requests()
    for day in range(366):
        asked.add(pd.DataFrame({"at": START + pd.to_timedelta([day, day + 0.5], unit="D")}))
        assert len(asked.windows()) <= WINDOWS
    assert asked.every == "7D" and len(asked) == 2 * 366


def test_times_of_a_broken_clock_are_counted_too():
    asked = Requests()
    far = [datetime(1, 1, 2, tzinfo=UTC), datetime(2026, 1, 1), datetime(9999, 12, 31, tzinfo=UTC)]
    asked.add(pd.DataFrame({"at": pd.to_datetime(far, utc=True).as_unit("us")}))
    assert len(asked.windows()) <= WINDOWS and asked.windows()["rows"].sum() == 3


def test_an_hour_in_which_nobody_asked_has_a_rate_of_nothing_and_no_percentile():
    asked = Requests("1h")
    asked.add(frame([(0, 1, "v1", 5.0), (3 * 3_600_000, 0, "v1", 7.0)]))
    table = asked.windows()
    assert list(table["rows"]) == [1, 0, 0, 1] and list(table["rate"][1:3]) == [0, 0]
    assert table["p99"][1:3].isna().all() and asked.shares().iloc[1:3].isna().all(axis=None)
    assert asked.windows(until=START + pd.Timedelta("4h"))["rate"].notna().all()


def test_the_change_of_version_is_told_to_the_moment_and_so_is_the_way_back():
    minutes = range(600)
    named = [(60_000 * m, 0, "v1" if m < 223 or m >= 457 else "v2", 1.0) for m in minutes]
    asked = Requests("1h")
    asked.add(frame(named))
    (first, a), (second, b), (third, c) = asked.changes()
    assert (a, b, c) == ("v1", "v2", "v1")
    assert [at - START for at in (first, second)] == [pd.Timedelta(0), pd.Timedelta("223min")]
    assert abs(third - START - pd.Timedelta("457min")) <= pd.Timedelta("1h")
    assert dict(asked.by_version()) == {"v1": 223 + 600 - 457, "v2": 457 - 223}


def test_a_version_that_answers_the_lesser_part_is_no_change():
    asked = Requests("1min")
    asked.add(frame([(1_000 * s, 0, "canary" if s % 5 == 0 else "v1", 1.0) for s in range(600)]))
    assert [name for _, name in asked.changes()] == ["v1"]


def test_predictions_that_are_numbers_make_few_classes():
    asked = Requests()
    asked.add(pd.DataFrame({"at": START, "prediction": np.linspace(0, 1, 1_000)}))
    asked.add(pd.DataFrame({"at": START, "prediction": ["new"] * 1_000}))
    assert len(asked.shares().columns) == CLASSES + 1
    assert asked.shares().columns[-1] == OTHERS
    assert asked.shares()[OTHERS].iloc[0] == pytest.approx(1 - CLASSES / 2_000)


def test_latencies_that_are_none_are_left_out_and_those_beyond_all_buckets_count():
    asked = Requests()
    odd = [-1.0, np.nan, np.inf, 0.0, 1e-9, 1e12]
    asked.add(pd.DataFrame({"at": START, "took_ms": odd}))
    table = asked.windows()
    assert table["measured"].item() == 3 and 0 < BUCKETS < 2_000
    assert table["p50"].item() == pytest.approx(1e-3, rel=0.02)
    assert table["p99"].item() == pytest.approx(1e8, rel=0.02)


def test_nothing_asked_is_an_empty_table_and_an_odd_length_a_sentence():
    asked = Requests()
    asked.add(pd.DataFrame({"at": pd.to_datetime([], utc=True)}))
    assert not len(asked.windows()) and not len(asked.shares()) and not asked.changes()
    with pytest.raises(MonitoringError, match=r"'5min' cannot be counted; take one of 1s, 10s"):
        Requests("5min")


def test_each_length_holds_a_whole_number_of_the_one_before():
    steps = [pd.Timedelta(one) for one in LENGTHS]
    assert all(big % small == pd.Timedelta(0) for small, big in pairwise(steps))


def test_a_log_that_grows_is_counted_as_a_whole_though_its_old_part_has_no_latency(tmp_path):
    live = traffic.scene_frame("healthy", per_day=40, days=6)[["at", "id", "prediction"]]
    timed = live.assign(version="v2", took_ms=4.0)
    counted = LogRequests(Log(tmp_path))
    assert not len(counted.look())
    # The second half comes first: rows may be late, and segments turn into Parquet meanwhile.
    places = [*range(111, len(live), 37), *range(0, 111, 37)]
    with Writer(tmp_path, durable=False, segment_bytes=4_000) as writer:
        for start in places:
            rows = (live if start < 111 else timed).iloc[start : start + 37]
            writer.append(pa.Table.from_pandas(rows, preserve_index=False))
            asked, whole = counted.look(), Requests()
            whole.add(Log(tmp_path).read().to_pandas())
            same(asked, whole)
    assert len(asked) == len(live) and asked.windows()["measured"].sum() == len(live) - 111
    assert asked.changes() == [(timed["at"].iloc[111], "v2")]


def test_a_log_in_anothers_place_is_counted_anew(tmp_path):
    def write(version):
        with Writer(tmp_path / "log", durable=False) as writer:
            rows = frame([(0, 1, version, 1.0), (1_000, 0, version, 1.0)])
            writer.append(pa.Table.from_pandas(rows, preserve_index=False))

    write("v1")
    counted = LogRequests(Log(tmp_path / "log"))
    before = counted.look()
    shutil.rmtree(tmp_path / "log")
    write("v2")
    assert dict(counted.look().by_version()) == {"v2": 2}
    assert dict(before.by_version()) == {"v1": 2}  # what was seen stays as it was


def test_the_figure_has_a_lane_for_latency_only_where_some_was_measured():
    rows = frame([(1_000 * s, s % 7 == 0, "<b>v1" if s < 90 else "<b>v2", 4.0) for s in range(200)])
    asked, untimed = Requests(), Requests()
    asked.add(rows)
    untimed.add(rows.drop(columns="took_ms"))
    drawn, less = (figures.over_time(one, title="t") for one in (asked, untimed))
    assert [one.name for one in drawn.data if one.type == "scatter"][1:] == ["p50", "p95", "p99"]
    assert [one.type for one in less.data] == ["scatter", "bar", "bar"]
    bare = Requests()
    bare.add(rows[["at"]])
    assert [one.type for one in figures.over_time(bare, title="t").data] == ["scatter"]
    (mark,) = [note for note in drawn.layout.annotations if note.x is not None]
    assert mark.x == rows["at"][90] and mark.text == "&lt;b&gt;v2"


@pytest.mark.parametrize(
    ("rate", "unit"), [(31.0, "s"), (0.5, "min"), (0.006, "h"), (0.0001, "day"), (0, "day")]
)
def test_a_rate_is_given_in_a_unit_that_people_read(rate, unit):
    assert figures.per(rate)[0] == unit
