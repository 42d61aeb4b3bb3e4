"""Scenes: the same for a seed, true to their story, and told apart by what they move."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from mlsys.monitoring import estimation, traffic
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.scenes import SCENES


@pytest.fixture(scope="module")
def made():
    return {name: traffic.traffic(name) for name in SCENES}


def split(one):
    """Live rows before the change and after it is complete."""
    moment = one.change_at if one.change_at is not None else traffic.START
    after = one.live["at"] >= moment + pd.Timedelta(days=one.scene.ramp_days)
    return one.live[one.live["at"] < moment], one.live[after]


def accuracy(rows):
    return (rows["label"] == rows["prediction"]).mean()


def estimate(one, rows):
    calibrator = estimation.calibrate(one.reference["score"], one.reference["label"])
    return estimation.estimate_accuracy(calibrator, rows["score"]).value


def test_a_scene_is_the_same_for_the_same_seed_and_another_for_another():
    first, again = traffic.traffic("gradual", per_day=50), traffic.traffic("gradual", per_day=50)
    pd.testing.assert_frame_equal(first.live, again.live)
    other = traffic.traffic("gradual", per_day=50, seed=1)
    assert not first.live["links"].equals(other.live["links"])


@pytest.mark.parametrize("name", list(SCENES))
def test_rows_are_in_order_and_labels_come_after_their_predictions(made, name):
    live = made[name].live
    assert live["at"].is_monotonic_increasing and live["id"].is_unique
    assert (live["label_at"].dropna() >= live.loc[live["label_at"].notna(), "at"]).all()
    assert 0.85 < live["label_at"].notna().mean() < 0.95
    assert live["score"].between(0, 1).all()


@pytest.mark.parametrize("name", [name for name in SCENES if SCENES[name].change_day is not None])
def test_nothing_moves_before_the_moment_of_change(made, name):
    before, _ = split(made[name])
    calm = made["healthy"].live
    for column in (*traffic.NUMBERS, "score"):
        assert ks_2samp(before[column].dropna(), calm[column].dropna()).pvalue > 1e-4, column
    assert abs(accuracy(before) - accuracy(calm)) < 0.02


@pytest.mark.parametrize("name", ["covariate", "gradual", "units", "null_column", "adversarial"])
def test_the_columns_of_the_story_move(made, name):
    before, after = split(made[name])
    for column in set(SCENES[name].columns) & set(traffic.NUMBERS):
        gone = after[column].isna().all()
        assert gone or ks_2samp(before[column].dropna(), after[column].dropna()).statistic > 0.05


@pytest.mark.parametrize("name", ["healthy", "covariate", "gradual"])
def test_the_estimate_is_within_a_point_where_only_inputs_move(name):
    one = traffic.traffic(name, per_day=2_000)
    _, after = split(one)
    assert abs(estimate(one, after) - accuracy(after)) < 0.01


def test_concept_drift_moves_labels_and_nothing_else(made):
    before, after = split(made["concept"])
    for column in (*traffic.NUMBERS, "score"):
        assert ks_2samp(before[column].dropna(), after[column].dropna()).pvalue > 1e-4
    assert accuracy(before) - accuracy(after) > 0.07
    assert estimate(made["concept"], after) - accuracy(after) > 0.07


def test_a_broken_pipeline_makes_the_estimate_lie_too(made):
    _, after = split(made["units"])
    assert estimate(made["units"], after) > accuracy(after) + 0.1


def test_a_wave_of_spam_doubles_spam_and_leaves_each_spam_as_it_was(made):
    before, after = split(made["label_shift"])
    assert after["label"].mean() == pytest.approx(2 * before["label"].mean(), rel=0.12)
    for column in traffic.NUMBERS:
        spam = [rows.loc[rows["label"] == 1, column].dropna() for rows in (before, after)]
        assert ks_2samp(*spam).pvalue > 1e-4


def test_spam_that_learns_gets_through(made):
    before, after = split(made["adversarial"])
    recall = [rows.loc[rows["label"] == 1, "prediction"].mean() for rows in (before, after)]
    assert recall[1] < recall[0] / 2


def test_a_renamed_category_is_new_and_the_old_one_is_gone(made):
    before, after = split(made["renamed"])
    assert "mobile" not in set(before["client"]) and "phone" not in set(after["client"])


def test_a_weekend_looks_different_and_is_in_the_reference(made):
    for rows in (made["seasonal"].live, made["seasonal"].reference):
        weekend = rows["at"].dt.day_of_week >= 5
        share = (rows["client"] == "phone").groupby(weekend).mean()
        assert share[True] > share[False] + 0.2


def test_the_model_answers_whatever_a_broken_pipeline_sends():
    mail = traffic.scene_frame("healthy", per_day=10, days=1)
    mail["size_kb"], mail["links"] = np.nan, -np.inf
    mail["client"], mail["country"] = None, "??"
    assert np.isfinite(traffic.predict(mail)).all()
    assert len(traffic.predict(mail.iloc[:0])) == 0


def test_a_scene_that_is_not_there_gets_a_sentence():
    with pytest.raises(MonitoringError, match="there are healthy"):
        traffic.traffic("sunny")
    with pytest.raises(MonitoringError, match="5 million"):
        traffic.traffic("healthy", per_day=10**7)
