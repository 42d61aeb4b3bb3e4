"""Gaps between groups: found when real, quiet when chance."""

import numpy as np
import pandas as pd
import pytest

from mlsys.monitoring import fairness
from mlsys.monitoring.errors import MonitoringError


def people(n, seed, *, unfair=0.0, groups=4):
    """Everybody is 1 with one half; the model finds 80 % of them, `unfair` fewer in group g0."""
    rng = np.random.default_rng(seed)
    group = np.array([f"g{i}" for i in range(groups)])[rng.integers(0, groups, n)]
    truth = rng.integers(0, 2, n)
    recall = np.where(group == "g0", 0.8 - unfair, 0.8)
    said = (rng.random(n) < np.where(truth == 1, recall, 0.1)).astype(int)
    return said, group, truth


def test_a_real_gap_comes_first_and_matters():
    found = fairness.gaps(*people(8_000, 0, unfair=0.2))
    first = found[0]
    assert (first.group, first.metric) == ("g0", "recall") and first.matters
    assert first.gap.holds(-0.2)


def test_chance_gaps_do_not_matter():
    wrong = 0
    for seed in range(40):
        wrong += any(gap.matters for gap in fairness.gaps(*people(1_000, seed, groups=8), floor=0))
    assert wrong <= 6  # at most 5 % of 40 in the mean; 6 is three standard errors above


def test_every_metric_is_the_one_of_its_definition():
    said, group, truth = people(2_000, 1)
    table = fairness.table(fairness.gaps(said, group, truth)).set_index(["group", "metric"])
    one = group == "g2"
    assert table.loc[("g2", "recall"), "value"] == pytest.approx(said[one & (truth == 1)].mean())
    assert table.loc[("g2", "false_alarm"), "value"] == pytest.approx(
        said[one & (truth == 0)].mean()
    )
    assert table.loc[("g2", "precision"), "value"] == pytest.approx(truth[one & (said == 1)].mean())
    assert table.loc[("g2", "selection"), "others"] == pytest.approx(said[~one].mean())
    assert table.loc[("g2", "accuracy"), "n"] == one.sum()


def test_without_labels_only_selection_is_known():
    said, group, _ = people(500, 2)
    assert {gap.metric for gap in fairness.gaps(said, group)} == {"selection"}


def test_the_four_fifths_rule_compares_with_the_highest_rate():
    ratio = fairness.four_fifths([1] * 8 + [0] * 2 + [1] * 6 + [0] * 4, ["a"] * 10 + ["b"] * 10)
    assert ratio["a"] == 1 and ratio["b"] == pytest.approx(0.75)


def test_a_small_group_is_left_out_and_one_group_cannot_be_compared():
    said, group, truth = people(400, 3)
    group[:10] = "tiny"
    assert "tiny" not in {gap.group for gap in fairness.gaps(said, group, truth)}
    with pytest.raises(MonitoringError, match="two groups"):
        fairness.gaps(said, ["a"] * 400, truth)
    with pytest.raises(MonitoringError, match="0 or 1"):
        fairness.gaps(said * 2, group, truth)
    with pytest.raises(MonitoringError, match="same number"):
        fairness.gaps(said, pd.Series(group[:5]), truth)
