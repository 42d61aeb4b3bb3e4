"""Performance without labels: right under covariate shift, blind to concept drift."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LinearRegression, LogisticRegression

from mlsys.monitoring import estimation
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.performance import brier, roc_auc


def world(n, seed, *, mean=0.0, spread=1.0, flipped=False):
    """Inputs, and labels from p(y | x) = sigmoid(1.5 x₀ + x₁); `flipped` turns the second term."""
    rng = np.random.default_rng(seed)
    x = rng.normal(mean, spread, (n, 2))
    p = expit(1.5 * x[:, 0] + (-1 if flipped else 1) * x[:, 1])
    return x, (rng.random(n) < p).astype(int)


@pytest.fixture(scope="module")
def model():
    return LogisticRegression().fit(*world(20_000, 1))


@pytest.fixture(scope="module")
def calibrator(model):
    x, y = world(20_000, 2)
    return estimation.calibrate(model.predict_proba(x)[:, 1], y)


def estimated(calibrator, model, x):
    found = estimation.estimate_classifier(calibrator, model.predict_proba(x)[:, 1], draws=50)
    return found.set_index("metric")


SHIFTS = [{}, {"mean": 0.7}, {"spread": 0.4}, {"mean": -0.5, "spread": 1.5}]


@pytest.mark.parametrize("shift", SHIFTS)
def test_accuracy_is_estimated_within_a_point_under_covariate_shift(calibrator, model, shift):
    x, y = world(40_000, 3, **shift)
    truth = (model.predict(x) == y).mean()
    found = estimated(calibrator, model, x)
    assert abs(found.loc["accuracy", "value"] - truth) < 0.01
    score = model.predict_proba(x)[:, 1]
    assert abs(found.loc["roc_auc", "value"] - roc_auc(y, score)) < 0.01
    assert abs(found.loc["brier", "value"] - brier(y, score)) < 0.01
    assert abs(found.loc["recall", "value"] - (score[y == 1] >= 0.5).mean()) < 0.02


def test_the_shifts_of_the_last_test_move_the_truth_far_more_than_a_point(model):
    accuracies = []
    for shift in SHIFTS:
        x, y = world(40_000, 3, **shift)
        accuracies.append((model.predict(x) == y).mean())
    assert max(accuracies) - min(accuracies) > 0.1


def test_concept_drift_costs_many_points_and_the_estimate_does_not_move(calibrator, model):
    calm, _ = world(20_000, 4)
    x, y = world(20_000, 5, flipped=True)
    truth = (model.predict(x) == y).mean()
    before = estimated(calibrator, model, calm).loc["accuracy", "value"]
    after = estimated(calibrator, model, x).loc["accuracy"]
    assert abs(after["value"] - before) < 0.01
    assert after["low"] - truth > 0.1  # the truth is far outside the interval
    assert "concept drift" in estimation.CANNOT_SEE


def test_intervals_hold_the_truth_about_as_often_as_they_say(calibrator, model):
    held = closed = 0
    for seed in range(60):
        x, y = world(400, 100 + seed, mean=0.3)
        score = model.predict_proba(x)[:, 1]
        truth = ((score >= 0.5) == y).mean()
        one = estimation.estimate_classifier(calibrator, score, draws=60, seed=seed)
        row = one.set_index("metric").loc["accuracy"]
        held += row["low"] <= truth <= row["high"]
        closed += estimation.estimate_accuracy(calibrator, score).holds(truth)
    assert held >= 51 and closed >= 51  # 57 expected of 60; 51 is 3.5 standard errors below


def test_a_boastful_model_is_corrected_by_its_calibration(model):
    x, y = world(20_000, 6)
    boastful = expit(3 * logit(model.predict_proba(x)[:, 1]))
    calibrator = estimation.calibrate(boastful, y)
    current, truth = world(20_000, 7, mean=0.5)
    score = expit(3 * logit(model.predict_proba(current)[:, 1]))
    claimed = np.where(score >= 0.5, score, 1 - score).mean()
    right = ((score >= 0.5) == truth).mean()
    assert abs(claimed - right) > 0.05
    assert abs(estimation.estimate_accuracy(calibrator, score).value - right) < 0.01


def test_expected_metrics_of_certain_scores_are_the_metrics_themselves():
    found = estimation.expected(np.array([1.0, 0.0, 1.0, 0.0]))
    assert found["accuracy"] == found["recall"] == found["roc_auc"] == 1
    assert found["brier"] == 0


def test_expected_auc_is_the_mean_over_drawn_labels():
    rng = np.random.default_rng(8)
    p = np.round(rng.beta(2, 2, 300), 2)  # with ties
    drawn = [roc_auc((rng.random(300) < p).astype(int), p) for _ in range(500)]
    assert estimation.expected(p)["roc_auc"] == pytest.approx(np.mean(drawn), abs=0.004)


def prices(n, seed, *, mean=0.0, wrong_by=0.0):
    """A price whose noise grows with x; `wrong_by` moves it away from what the model learnt."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"x": rng.normal(mean, 1, n), "z": rng.normal(0, 1, n)})
    noise = rng.normal(0, 0.5 + 0.5 * expit(2 * x["x"].to_numpy()), n)
    return x, (3 * x["x"] + x["z"] + noise + wrong_by).to_numpy()


@pytest.fixture(scope="module")
def regressor():
    return LinearRegression().fit(*prices(3_000, 1))


def test_a_regressors_error_is_estimated_where_the_inputs_move(regressor):
    x, y = prices(2_000, 2)
    loss = estimation.learn_loss(x, regressor.predict(x), y)
    for mean in (-1, 0, 1):
        current, truth = prices(8_000, 3, mean=mean)
        said = regressor.predict(current)
        one = estimation.estimate_regressor(loss, current, said)
        assert one.value == pytest.approx(np.abs(said - truth).mean(), rel=0.06)


def test_a_regressors_error_is_missed_where_the_meaning_moves(regressor):
    x, y = prices(2_000, 2)
    loss = estimation.learn_loss(x, regressor.predict(x), y, squared=True)
    current, truth = prices(4_000, 4, wrong_by=2.0)
    said = regressor.predict(current)
    one = estimation.estimate_regressor(loss, current, said)
    assert one.high < 0.6 * np.sqrt(((said - truth) ** 2).mean())


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: estimation.calibrate([0.1] * 200, [0] * 200), "both"),
        (lambda: estimation.calibrate([0.1] * 20, [0, 1] * 10), "100"),
        (lambda: estimation.calibrate([0.1, np.nan] * 100, [0, 1] * 100), "without gaps"),
        (lambda: estimation.calibrate([], []), "at least one row"),
        (lambda: estimation.calibrate([2.0] * 200, [0, 1] * 100), "0 to 1"),
        (lambda: estimation.learn_loss(pd.DataFrame({"a": [1]}), [1], [1]), "100"),
    ],
)
def test_bad_input_gets_a_sentence(call, word):
    with pytest.raises(MonitoringError, match=word):
        call()
