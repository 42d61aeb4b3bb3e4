"""Metrics with labels: right by hand, right by scikit-learn, honest about what is not known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from mlsys.monitoring import labels, performance
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.intervals import bootstrap_mean, difference, wilson

few = hypothesis_settings(max_examples=40)


def scored(n=2_000, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 3, n)
    return (rng.random(n) < score).astype(int), (score > 0.5).astype(int), score


def value(frame, metric):
    return float(frame.set_index("metric").loc[metric, "value"])


def test_metrics_agree_with_scikit_learn():
    truth, predicted, score = scored()
    found = performance.classification(truth, predicted, score, draws=20)
    assert value(found, "accuracy") == pytest.approx(sk.accuracy_score(truth, predicted))
    assert value(found, "recall") == pytest.approx(sk.recall_score(truth, predicted))
    assert value(found, "precision") == pytest.approx(sk.precision_score(truth, predicted))
    assert value(found, "f1") == pytest.approx(sk.f1_score(truth, predicted))
    assert value(found, "roc_auc") == pytest.approx(sk.roc_auc_score(truth, score))
    assert value(found, "brier") == pytest.approx(sk.brier_score_loss(truth, score))
    assert value(found, "log_loss") == pytest.approx(sk.log_loss(truth, score))
    inside = (found["low"] <= found["value"]) & (found["value"] <= found["high"])
    assert inside.all()


def test_regression_metrics_agree_with_scikit_learn():
    rng = np.random.default_rng(1)
    truth = rng.normal(10, 3, 500)
    predicted = truth + rng.normal(0.5, 1, 500)
    found = performance.regression(truth, predicted, draws=50)
    assert value(found, "mae") == pytest.approx(sk.mean_absolute_error(truth, predicted))
    assert value(found, "rmse") == pytest.approx(sk.root_mean_squared_error(truth, predicted))
    assert value(found, "r2") == pytest.approx(sk.r2_score(truth, predicted))
    bias = found.set_index("metric").loc["bias"]
    assert bias["low"] > 0 and bias["low"] <= np.mean(predicted - truth) <= bias["high"]


def test_ndcg_agrees_with_scikit_learn_and_the_rest_with_a_hand():
    rng = np.random.default_rng(2)
    relevance, score = rng.integers(0, 4, (20, 12)), rng.normal(size=(20, 12))
    found = performance.ranking(
        relevance.ravel(), score.ravel(), np.repeat(np.arange(20), 12), k=5, draws=20
    )
    assert value(found, "ndcg") == pytest.approx(sk.ndcg_score(relevance, score, k=5))
    # Shown order: no, yes, no, yes: reciprocal rank 1/2, average precision (1/2 + 2/4) / 2.
    one = performance.ranking([0, 1, 0, 1], [4, 3, 2, 1], ["q"] * 4, draws=5)
    assert value(one, "mrr") == 0.5 and value(one, "map") == 0.5 and value(one, "hit_rate") == 1


def test_a_query_with_nothing_relevant_is_left_out():
    found = performance.ranking([0, 0, 1], [1, 2, 3], ["a", "a", "b"], draws=5)
    assert set(found["n"]) == {1}
    assert value(found, "ndcg") == 1


def test_a_model_that_never_says_yes_has_no_precision_rather_than_a_zero():
    found = performance.classification([1, 0, 1], [0, 0, 0], draws=5).set_index("metric")
    assert np.isnan(found.loc["precision", "value"]) and found.loc["precision", "n"] == 0
    assert found.loc["recall", "value"] == 0


def test_calibration_tells_an_honest_score_from_a_boastful_one():
    truth, _, score = scored(20_000)
    honest = performance.calibration(truth, score)
    inside = (honest["low"] <= honest["score"]) & (honest["score"] <= honest["high"])
    assert inside.mean() >= 0.7  # 95 % each, of ten
    boastful = np.clip(1.5 * score - 0.25, 0, 1)
    worse = performance.expected_calibration_error(truth, boastful)
    assert worse > 5 * performance.expected_calibration_error(truth, score)
    assert honest["n"].sum() == len(truth)


def test_ece_is_the_weighted_gap_of_the_reliability_diagram():
    truth, _, score = scored(3_000)
    bins = performance.calibration(truth, score)
    by_hand = (bins["n"] * (bins["rate"] - bins["score"]).abs()).sum() / bins["n"].sum()
    assert performance.expected_calibration_error(truth, score) == pytest.approx(by_hand)


@few
@given(st.integers(1, 300), st.data())
def test_wilson_holds_its_share_and_stays_in_bounds(n, data):
    k = data.draw(st.integers(0, n))
    one = wilson(k, n)
    assert 0 <= one.low <= k / n <= one.high <= 1
    wider = wilson(k, n, confidence=0.99)
    assert wider.low <= one.low and wider.high >= one.high
    mirror = wilson(n - k, n)
    assert mirror.low == pytest.approx(1 - one.high) and mirror.high == pytest.approx(1 - one.low)


def test_wilson_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    p, n = 0.03, 200
    covered = np.mean([wilson(k, n).holds(p) for k in rng.binomial(n, p, 2_000)])
    assert covered > 0.93  # the plain p ± 1.96 s covers 87 % here


def test_newcombe_reproduces_the_published_example():
    # Newcombe 1998, table II, (a) 56/70 - 48/80, method 10: 0.2000, interval 0.0524 to 0.3339.
    gap = difference(wilson(56, 70), wilson(48, 80))
    assert (round(gap.value, 4), round(gap.low, 4), round(gap.high, 4)) == (0.2, 0.0524, 0.3339)


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says():
    rows = np.random.default_rng(4).normal(0, 2, 1_000)
    one = bootstrap_mean(rows, draws=500)
    assert one.width == pytest.approx(2 * 1.96 * rows.std() / np.sqrt(1_000), rel=0.15)


def test_a_small_slice_is_shown_without_a_number():
    frame = pd.DataFrame({"label": [1, 0] * 50, "prediction": [1, 0] * 45 + [0, 1] * 5})
    frame["country"] = ["fr"] * 90 + ["li"] * 10
    found = performance.by_slice(
        frame,
        ["country"],
        lambda rows: performance.classification(rows["label"], rows["prediction"], draws=5),
    )
    by = found[found["metric"] == "accuracy"].set_index("slice")
    assert by.loc["fr", "value"] == 1 and by.loc["all", "value"] == 0.9
    assert np.isnan(by.loc["li", "value"]) and by.loc["li", "n"] == 10


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: performance.classification([1, 0], [1]), "shape"),
        (lambda: performance.classification([0, 1], [0, 1], [0.1, 7.0]), "probabilities"),
        (lambda: performance.classification([0, 1], [0, 1], [0.1, np.nan]), "missing"),
        (lambda: performance.calibration([0, 2], [0.1, 0.2]), "2"),
        (lambda: performance.regression([0, np.inf], [1, 1]), "infinite"),
        (lambda: performance.ranking([-1, 0], [1, 1], [1, 1]), "negative"),
        (lambda: performance.by_slice(pd.DataFrame({"a": [1]}), ["b"], len), "'b'"),
        (lambda: wilson(3, 2), "3 successes of 2"),
        (lambda: wilson(1, 2, confidence=95), "95"),
    ],
)
def test_bad_input_gets_a_sentence(call, word):
    with pytest.raises(MonitoringError, match=word):
        call()


def late_log(n=400, delay_days=3, seed=5):
    """Right in the first half, wrong in the second; labels come `delay_days` late."""
    rng = np.random.default_rng(seed)
    at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.sort(rng.random(n)) * 8, "D")
    label = rng.integers(0, 2, n)
    wrong = np.arange(n) >= n // 2
    log = pd.DataFrame({"at": at, "label": label, "prediction": np.where(wrong, 1 - label, label)})
    log["label_at"] = log["at"] + pd.Timedelta(days=delay_days)
    return log


def test_a_number_of_tuesday_uses_labels_of_tuesday():
    log = late_log()
    now = pd.Timestamp("2026-01-06", tz="UTC")
    known = labels.known_at(log, now)
    assert (known["label_at"] <= now).all() and len(known) < (log["at"] <= now).sum()
    windows = labels.as_known(log, now)
    assert windows["known"].iloc[0] == 1 and windows["known"].iloc[-1] == 0
    assert np.isnan(windows["value"].iloc[-1])


def test_a_collapse_is_invisible_until_its_labels_arrive():
    log = late_log()
    day_six = labels.as_known(log, pd.Timestamp("2026-01-06 12:00", tz="UTC"))
    assert day_six["value"].dropna().min() == 1  # two days into the collapse
    hindsight = labels.as_known(log, pd.Timestamp("2026-02-01", tz="UTC"))
    assert hindsight["value"].iloc[-1] == 0


@few
@given(st.integers(0, 20), st.integers(0, 20))
def test_what_is_known_only_grows(first, second):
    log = late_log(100)
    start = log["at"].min()
    early, late = sorted((first, second))
    one = labels.known_at(log, start + pd.Timedelta(days=early)).index
    two = labels.known_at(log, start + pd.Timedelta(days=late)).index
    assert set(one) <= set(two)


def test_half_of_the_labels_are_known_when_half_have_come():
    log = late_log()
    log.loc[log.index[::5], "label_at"] = pd.NaT  # a fifth is never told
    windows = labels.knowable(log)
    assert (windows["known"] == 0).all() and windows["at_once"].isna().all()
    assert windows["labelled"].sum() == log["label_at"].notna().sum()
    wait = windows["half_known_at"] - windows["window"]
    assert (wait > pd.Timedelta(days=3)).all() and (wait < pd.Timedelta(days=4.1)).all()


def test_reports_that_come_sooner_for_spam_bias_the_early_number():
    log = late_log(2_000)
    sooner = np.where(log["label"] == 1, 0.1, 5.0)
    log["label_at"] = log["at"] + pd.to_timedelta(sooner, "D")
    bias = labels.early_label_bias(log, log["at"].min() + pd.Timedelta(days=4))
    assert bias.low > 0.3


def test_a_label_older_than_its_prediction_is_refused():
    log = late_log(10)
    log["label_at"] = log["at"] - pd.Timedelta(days=1)
    with pytest.raises(MonitoringError, match="older than its prediction"):
        labels.known_at(log, log["at"].max())
