"""What lesson 35 takes from the package: its spoiled data, its experiments and its figures."""

import numpy as np
import pandas as pd
import pytest

from mlsys.monitoring import lesson_figures as lesson
from mlsys.monitoring import verdict_power, watch
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.scenes import SCENES

SETTING = {"hours": 24, "floor": 0.05, "alpha": 0.01, "k": 1, "n": 1}


def test_the_spoiled_columns_are_found_and_no_other():
    rng = np.random.default_rng(0)
    before = pd.DataFrame(verdict_power.clean_table(rng, 10_000))
    now = lesson.spoiled_table(rng, 10_000)
    assert list(now) == list(before)
    assert lesson.raised("this course's", before, now) == set(lesson.SPOILED)
    assert "category of 50" not in lesson.raised("evidently", before, now)


def test_the_three_worlds_share_their_columns_and_only_labels_tell_the_last_from_the_reference():
    old, worlds = lesson.three_worlds(per_day=100, seed=0)
    assert {tuple(rows) for rows in worlds.values()} == {tuple(old)}
    wrong = {k: (x["label"] != x["prediction"]).mean() for k, x in worlds.items()}
    assert wrong["concept drift"] > (old["label"] != old["prediction"]).mean() + 0.05
    assert worlds["label shift"]["label"].mean() > 1.5 * old["label"].mean()


def test_renaming_drifts_without_harm_and_concept_drift_harms_without_moving_an_input():
    _, _, moved, lost = lesson.harm("renamed")
    assert moved > 5 and lost < 2
    _, _, moved, lost = lesson.harm("concept")
    assert moved < 2 and lost > 5


def test_a_trial_counts_hours_from_the_change_on():
    told = lesson.trial(SETTING, 2.0, seed=0)
    assert 24 in told and (told <= 24).all()


def test_a_trial_says_what_is_wrong_with_a_setting():
    with pytest.raises(MonitoringError, match="k of n"):
        lesson.trial(SETTING | {"k": 3}, 1.0, seed=0)


def test_the_time_axis_shows_three_accuracies_the_bars_and_each_notice_that_is_no_end():
    seen = watch.replay("units", per_day=100)
    fig = lesson.one_axis(seen, title="t")
    assert fig.layout.title.text == "t"
    assert [len(trace.x) for trace in fig.data[:4]] == [len(seen.windows)] * 4
    told = [n for n in seen.notices if n.event != "resolved"]
    assert sum(len(trace.x) for trace in fig.data[4:]) == len(told) > 0


def test_every_figure_draws_a_small_frame():
    scenes = pd.DataFrame(
        {"scene": list(SCENES), "effect": np.arange(len(SCENES)) + 0.5, "loss": 1.0}
    )
    assert len(lesson.harm_by_drift(scenes, title="t").data[0].x) == len(SCENES)
    found = pd.DataFrame(
        {"detector": ["ADWIN"], "false_alarms": [0.0], "detected": [1.0], "delay": [150.0]}
    )
    assert lesson.detectors(found, title="t").data[0].x[0] > 0
    alarms = pd.DataFrame({"rows": [100, 200], "threshold": "0.1", "alarms": [0.8, 0.3]})
    assert list(lesson.psi_alarms(alarms, title="t").data[0].y) == [80, 30]
    power = pd.DataFrame({"monitor": "evidently", "shift": [0, 0.1], "found": [0, 1]})
    assert len(lesson.power_curves({"a": power, "b": power}, title="t").data) == 2
    assert lesson.by_day({"never": [0.9, 0.8]}, change=1, title="t").data[0].y[0] == 90
    assert lesson.rounds({"a": [0.1], "b": [0.2]}, title="t").data[1].y[0] == 20
