"""When and on what to retrain: policies lived through, and rows of before and after a change."""

import numpy as np
import pandas as pd
import pytest

from mlsys.monitoring import retraining
from mlsys.monitoring.traffic import traffic


def test_a_policy_learns_only_from_labels_known_on_the_mornings_it_is_due():
    made = traffic("healthy", per_day=30, seed=0)
    mails = pd.concat([made.reference, made.live], ignore_index=True)
    inputs = mails[["links"]].to_numpy()
    asked = []

    class Never:
        def predict(self, rows):
            return np.zeros(len(rows))

    def learn(model, known, now):
        assert (known["label_at"] <= now).all()
        asked.append(now)
        return model, len(known)

    right, cost = retraining.live_through(mails, inputs, Never(), (3, 9), learn)
    assert len(right) == 28 and len(asked) == 2 and cost > 0
    assert np.mean(right) == pytest.approx((made.live["label"] == 0).mean(), abs=0.02)
    assert retraining.live_through(mails, inputs, Never(), (), None) == (right, 0)


def test_a_stateful_model_goes_on_and_a_stateless_one_begins_anew():
    known = traffic("healthy", per_day=40).reference
    now = known["at"].max()
    learn = retraining.stateful(seed=0)
    first, read = learn(None, known, now)
    again, later = learn(first, known, now)
    assert again is first and read == len(known) > later
    fresh, rows = retraining.stateless(days=3)(first, known, now)
    assert fresh is not first and 0 < rows < len(known)


def test_each_way_lives_through_the_same_days_and_a_concept_drift_asks_for_new_rows():
    made, fresh = traffic("concept", per_day=100, seed=1), retraining.stateless
    ways = {"never": ((), None), "weekly, on 7 days": (range(0, 28, 7), fresh(days=7)),
            "weekly, on all": (range(0, 28, 7), fresh(days=99))}  # fmt: skip
    table, days = retraining.compare(made, ways)
    assert list(table.index) == list(days) == list(ways)
    assert list(table["trainings"]) == [0, 4, 4]
    assert table["rows read"]["never"] == 0
    assert table["rows read"]["weekly, on 7 days"] < table["rows read"]["weekly, on all"]
    for name, right in days.items():
        assert len(right) == 28
        assert table["before"][name] == np.mean(right[:14])
        assert table["last week"][name] == np.mean(right[21:])
    # Until the first morning with news nobody has learned anything: the champion answers.
    served = (made.live["prediction"] == made.live["label"]).groupby(made.live["at"].dt.date).mean()
    assert days["never"] == pytest.approx(served.tolist())
    assert table["last week"]["weekly, on 7 days"] > table["last week"]["never"] + 0.02


def test_after_a_change_of_mind_each_world_needs_its_own_model_and_after_a_new_market_one_will_do():
    concept = retraining.crossed("concept", per_day=150, seed=2)
    assert list(concept.index) == ["old", "new", "both"]
    assert list(concept.columns) == ["concept, old", "concept, new"]
    assert concept.loc["old", "concept, old"] > concept.loc["new", "concept, old"] + 2
    assert concept.loc["new", "concept, new"] > concept.loc["old", "concept, new"] + 2
    market = retraining.crossed("covariate", per_day=150, seed=2)["covariate, new"]
    assert np.ptp(market) < 2
