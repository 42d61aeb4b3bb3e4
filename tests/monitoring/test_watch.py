"""All views together: each scene is seen by the views that its story names, and by no others."""

import pandas as pd
import pytest

from mlsys.monitoring import traffic, watch
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.store import Store


@pytest.fixture(scope="module")
def watched():
    names = ("healthy", "covariate", "concept", "units", "null_column", "renamed", "label_shift")
    return {name: watch.replay(name) for name in names}


def opened(one):
    return [notice for notice in one.notices if notice.event == "opened"]


def rules(one):
    return {alert.rule for notice in one.notices for alert in notice.alerts}


def test_four_healthy_weeks_tell_nobody_anything(watched):
    assert watched["healthy"].notices == ()
    assert watched["healthy"].windows["drifted"].sum() == 0


@pytest.mark.parametrize("name", ["covariate", "units", "null_column", "renamed", "label_shift"])
def test_a_change_of_the_inputs_is_told_once_within_three_days_and_never_before(watched, name):
    one = watched[name]
    first = opened(one)[0]
    assert one.change_at < first.at <= one.change_at + pd.Timedelta(days=3)
    assert len(opened(one)) == 1
    report = one.reports[-1]
    assert set(traffic.SCENES[name].columns) & set(report.drifted)


@pytest.mark.parametrize("name", ["units", "null_column", "renamed"])
def test_a_broken_pipeline_is_named_by_the_quality_checks(watched, name):
    assert "broken data" in rules(watched[name])
    assert watched[name].findings[-1][0].column == traffic.SCENES[name].columns[0]


def test_concept_drift_is_told_by_labels_alone_and_days_late(watched):
    one = watched["concept"]
    assert rules(one) == {"accuracy is low"}
    assert one.windows["drifted"].sum() == 0
    assert opened(one)[0].at > one.change_at + pd.Timedelta(days=2)
    after = one.windows[one.windows["at"] > one.change_at + pd.Timedelta(days=1)]
    assert (after["estimate_low"] > after["truth"]).mean() > 0.8
    assert "concept drift" in one.cannot_see


def test_the_estimate_follows_the_truth_where_only_inputs_move(watched):
    after = watched["covariate"].windows.tail(13)
    assert abs((after["estimate"] - after["truth"]).mean()) < 0.015


def test_no_window_uses_what_came_after_it():
    made = traffic.traffic("concept", per_day=200)
    whole = watch.replay(made).windows
    cut = made.live["at"] < traffic.START + pd.Timedelta(days=20)
    past = made.live[cut].copy()
    late = past["label_at"] > traffic.START + pd.Timedelta(days=20)
    past.loc[late, ["label", "label_at"]] = [pd.NA, pd.NaT]
    then = watch.watch(made.reference, past).windows
    same = ["at", "drifted", "effect", "estimate", "known", "labelled"]
    pd.testing.assert_frame_equal(whole[same].head(20), then[same])


def test_the_sentence_names_the_broken_column_first(watched):
    said = watched["null_column"].sentence
    assert said.startswith("100.0% of 'sender_age_days' is missing")
    assert "is estimated at" in said and "newest labels" in said


def test_an_empty_log_gets_a_sentence(tmp_path):
    reference = traffic.traffic("healthy", per_day=50).reference
    with pytest.raises(MonitoringError, match="no predictions yet"):
        watch.of_store(Store(tmp_path), reference)
    with pytest.raises(MonitoringError, match="no rows"):
        watch.watch(reference, reference.head(0))
