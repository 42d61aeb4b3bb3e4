"""Label shift, covariate shift and concept drift are told apart as far as the data allow."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlsys.monitoring import MonitoringError
from mlsys.monitoring.shift import diagnose, estimate_label_shift, prediction_drift


def world(rng, n, kind="same"):
    """Two classes of two bell-shaped inputs; P(Y | X) is logistic with log-odds 2 x0."""
    y = (rng.random(n) < (0.75 if kind == "label" else 0.5)).astype(int)
    x = rng.normal(size=(n, 2)) + np.column_stack([2 * y - 1, 0 * y])
    if kind == "covariate":
        x = x + np.array([0.0, 0.8])  # along an input that says nothing of the label
    if kind == "concept":
        y = np.where(rng.random(n) < 0.25, 1 - y, y)
    return x, y


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    model = LogisticRegression().fit(*world(rng, 2000))
    reference, labels = world(rng, 2000)
    return rng, model, reference, labels


def run(scene, kind, *, labelled):
    _, model, reference, labels = scene
    current, now = world(np.random.default_rng(5), 2000, kind)
    p, q = (model.predict_proba(x)[:, 1] for x in (reference, current))
    return diagnose(reference, current, labels=labels, scores=p, scores_now=q,
                    labels_now=now if labelled else None)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("same", "none seen"),
        ("covariate", "covariate shift"),
        ("label", "label shift"),
        ("concept", "concept drift"),
    ],
)
def test_with_labels_every_kind_is_told(scene, kind, change):
    assert run(scene, kind, labelled=True).change == change


@pytest.mark.parametrize(
    ("kind", "change"),
    [("same", "none seen"), ("covariate", "covariate shift"), ("label", "label shift")],
)
def test_without_labels_shifts_of_the_inputs_are_told(scene, kind, change):
    found = run(scene, kind, labelled=False)
    assert found.change == change and "Concept drift" in found.cannot_tell


def test_without_labels_concept_drift_is_not_seen_and_the_diagnosis_says_so(scene):
    found = run(scene, "concept", labelled=False)
    assert found.change == "none seen"
    assert "without labels no data can show" in found.cannot_tell


def test_the_classes_shares_are_found_without_labels(scene):
    rng, model, reference, labels = scene
    current, now = world(rng, 4000, "label")
    found = estimate_label_shift(labels, model.predict(reference), model.predict(current))
    assert found.now.sum() == pytest.approx(1) and found.condition < 3 and found.shifted
    assert found.low[1] <= now.mean() <= found.high[1]
    assert found.now[1] == pytest.approx(now.mean(), abs=0.05)
    assert found.weights @ found.before == pytest.approx(1)
    same = estimate_label_shift(labels, model.predict(reference), model.predict(reference))
    np.testing.assert_allclose(same.weights, 1)


def test_a_model_that_tells_nothing_apart_is_refused():
    y = np.array([0, 1] * 50)
    with pytest.raises(MonitoringError, match="cannot be inverted"):
        estimate_label_shift(y, np.zeros(100, int), np.zeros(100, int))
    with pytest.raises(MonitoringError, match="0 and 1"):
        diagnose(np.zeros((100, 1)), np.zeros((100, 1)), labels=y + 1, scores=y, scores_now=y)


def test_predictions_drift_as_a_column_does(scene):
    rng, model, reference, _ = scene
    moved, _ = world(rng, 2000, "label")
    scores = [model.predict_proba(x)[:, 1] for x in (reference, moved)]
    assert prediction_drift(*scores).drifted == ("prediction",)
    assert prediction_drift(scores[0], scores[0]).drifted == ()
