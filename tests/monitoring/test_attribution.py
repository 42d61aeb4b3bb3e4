"""Attributions: exact where they can be, and their order compared."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.monitoring import attribution
from mlsys.monitoring.errors import MonitoringError


def frame(n, seed):
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 3)), columns=list("abc"))


def linear(rows):
    return 3 * rows["a"].to_numpy() - 2 * rows["b"].to_numpy()


def test_shares_of_a_linear_model_are_its_coefficients_times_the_distance():
    rows, background = frame(30, 0), pd.DataFrame({"a": [1.0], "b": [0.5], "c": [0.0]})
    found = attribution.shapley(linear, rows, background, permutations=1)
    assert np.allclose(found["a"], 3 * (rows["a"] - 1))
    assert np.allclose(found["b"], -2 * (rows["b"] - 0.5))
    assert np.allclose(found["c"], 0)


def test_shares_sum_to_the_prediction_minus_the_background():
    def tangled(rows):
        return rows["a"].to_numpy() * rows["b"].to_numpy() + np.sin(rows["c"].to_numpy())

    rows, background = frame(20, 1), frame(1, 2)
    found = attribution.shapley(tangled, rows, background, permutations=3)
    assert np.allclose(found.sum(axis=1), tangled(rows) - tangled(background)[0])


def test_two_features_that_only_work_together_share_equally():
    def both(rows):
        return (rows["a"] * rows["b"]).to_numpy()

    rows = pd.DataFrame({"a": [1.0], "b": [1.0]})
    found = attribution.shapley(both, rows, rows * 0, permutations=4)
    assert found.iloc[0].tolist() == [0.5, 0.5]


weights = st.lists(st.floats(0.01, 10), min_size=3, max_size=6)


@settings(max_examples=60)
@given(weights, st.randoms(use_true_random=False))
def test_the_score_is_one_for_the_same_order_and_less_for_another(values, random):
    reference = pd.Series(values, index=[f"f{i}" for i in range(len(values))])
    assert attribution.ranking_score(reference, 2 * reference) == pytest.approx(1)
    shuffled = values.copy()
    random.shuffle(shuffled)
    score = attribution.ranking_score(reference, pd.Series(shuffled, index=reference.index))
    assert 0 < score <= 1 + 1e-12


def test_a_swap_at_the_top_costs_more_than_one_at_the_bottom():
    reference = pd.Series({"a": 8.0, "b": 4.0, "c": 2.0, "d": 1.0})
    top = pd.Series({"a": 4.0, "b": 8.0, "c": 2.0, "d": 1.0})
    bottom = pd.Series({"a": 8.0, "b": 4.0, "c": 1.0, "d": 2.0})
    score = attribution.ranking_score
    assert score(reference, top) < score(reference, bottom) < 1


def test_a_model_that_leans_elsewhere_is_found_and_named():
    reference = pd.Series({"a": 8.0, "b": 1.0, "c": 0.5})
    found = attribution.attribution_drift(reference, pd.Series({"a": 0.2, "b": 1.0, "c": 6.0}))
    assert found.drifted and found.score < 0.9
    assert "other features" in found.sentence and list(found.table.index) == ["a", "b", "c"]
    assert not attribution.attribution_drift(reference, reference * 1.1).drifted


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: attribution.ranking_score(pd.Series({"a": 1.0}), pd.Series({"b": 1.0})), "'a'"),
        (lambda: attribution.ranking_score(pd.Series({"a": -1.0}), pd.Series({"a": 1.0})), "0 or"),
        (lambda: attribution.shapley(linear, frame(2, 0), frame(2, 0)[["a"]]), "same columns"),
        (lambda: attribution.shapley(linear, frame(0, 0), frame(2, 0)), "at least one"),
    ],
)
def test_bad_input_gets_a_sentence(call, word):
    with pytest.raises(MonitoringError, match=word):
        call()
