"""Texts drift by their length, their words, or in a way that only a classifier sees."""

import numpy as np
import pytest

from mlsys.monitoring import MonitoringError
from mlsys.monitoring.text import measures, text_drift, vocabulary

TOPICS = {
    "office": "meeting report minutes budget office agenda call review project team".split(),
    "spam": "winner prize claim free cash urgent offer click viagra lottery".split(),
    "plain": "the a to of and in is it for on with you that be at".split(),
}


def messages(rng, n, topic="office", length=8):
    pool = TOPICS["plain"] + TOPICS[topic]
    return [" ".join(rng.choice(pool, rng.poisson(length) + 1)) for _ in range(n)]


def test_measures_count_characters_words_and_unknown_words():
    made = measures(["One two", "", "three, ONE"], vocabulary(["one two"]))
    assert made["length"].tolist() == [7, 0, 10]
    assert made["words"].tolist() == [2, 0, 2]
    assert made["unknown"].tolist() == [0, 0, 0.5]


def test_the_same_kind_of_text_does_not_drift():
    rng = np.random.default_rng(0)
    found = text_drift(messages(rng, 400), messages(rng, 300))
    assert not found.drifted and "did not drift" in found.sentence


def test_new_words_longer_texts_and_known_words_in_new_shares_are_found():
    rng = np.random.default_rng(1)
    old = messages(rng, 400)
    spam = text_drift(old, messages(rng, 300, "spam"))
    assert spam.drifted and "unknown" in spam.report.drifted and spam.separation.auc > 0.9
    longer = text_drift(old, messages(rng, 300, length=16))
    assert {"length", "words"} <= set(longer.report.drifted)
    skewed = [" ".join(rng.choice(TOPICS["plain"], rng.poisson(8) + 1)) for _ in range(300)]
    found = text_drift(old, skewed)
    assert found.drifted and "unknown" not in found.report.drifted and found.separation.auc > 0.6


def test_what_is_not_text_is_refused():
    with pytest.raises(MonitoringError, match="40 reference"):
        text_drift(["a"] * 10, ["b"] * 30)
    with pytest.raises(MonitoringError, match="not float"):
        text_drift(["a"] * 50, ["b"] * 29 + [1.5])
    with pytest.raises(MonitoringError, match="not NoneType"):
        text_drift(["a"] * 50, ["b"] * 29 + [None])
