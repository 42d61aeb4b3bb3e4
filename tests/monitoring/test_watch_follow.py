"""A live log looked at again and again, what is told of it, and two lessons' comparisons."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlsys.monitoring import comparisons, lesson_figures, traffic, watch
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.store import Store, Writer


def test_a_clock_that_stops_before_the_first_look_gets_a_sentence(tmp_path):
    reference = traffic.traffic("healthy", per_day=50).reference
    with pytest.raises(MonitoringError, match="nobody has looked"):
        watch.follow([], Store(tmp_path), reference, tell=print, start=traffic.START)


def test_each_notice_is_told_once_however_often_one_looks(tmp_path):
    made = traffic.traffic("covariate", per_day=200, days=20)
    known = made.live.dropna(subset="label_at")
    labels = known[["label_at", "id", "label"]].rename(columns={"label_at": "at"})
    predictions = made.live.drop(columns=["label", "label_at"])
    for name, rows in (("predictions", predictions), ("labels", labels)):
        with Writer(tmp_path / name) as writer:
            writer.append(pa.Table.from_pandas(rows, preserve_index=False))
    days = [traffic.START + pd.Timedelta(days=day) for day in range(21)]
    told = []
    look = {"tell": told.append, "start": days[14], "every": "3D"}
    last = watch.follow(days, Store(tmp_path), made.reference, **look)
    assert told == list(last.notices) and len(told) >= 1
    assert last.windows["at"].iloc[-1] == days[20]


def test_a_watch_says_how_late_the_first_real_incident_was():
    assert watch.replay("covariate", per_day=200).told.startswith("0 false alarms, told after ")
    assert watch.replay("healthy", per_day=200).told == "0 false alarms"


def test_only_this_courses_monitor_finds_all_and_nothing_else():
    counted = comparisons.found_and_false(["this course's", "evidently"], days=1, seed=7)
    assert counted.loc["this course's"].tolist() == [len(lesson_figures.SPOILED), 0]
    assert counted.loc["evidently", "found"] < len(lesson_figures.SPOILED)


def test_only_labels_tell_a_concept_drift():
    old, worlds = lesson_figures.three_worlds(per_day=120, seed=7)
    drifted = worlds["concept drift"]
    assert comparisons.diagnosed(old, drifted).change == "none seen"
    assert comparisons.diagnosed(old, drifted, labelled=True).change == "concept drift"


def test_a_longer_or_slower_trip_takes_longer_and_the_promise_knows_the_distance_only():
    near, slow = comparisons.trips(0, 10, seed=1), comparisons.trips(0, 10, pace=4.0, seed=1)
    assert np.array_equal(near[1], slow[1]) and slow[2].mean() > near[2].mean() + 4
    assert comparisons.trips(6, 10)[1].min() >= 5 + 3 * 6
