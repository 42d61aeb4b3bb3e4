"""Texts drift by their length, their words, or in a way that only a classifier sees."""

import numpy as np
import pandas as pd
import pytest

from dashboards import monitoring_files, monitoring_story
from mlsys.monitoring import MonitoringError, figures
from mlsys.monitoring.text import measures, text_drift, vocabulary
from mlsys.monitoring.text_measures import are_texts, compared

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


def test_several_words_that_hardly_repeat_are_texts():
    rng = np.random.default_rng(2)
    some = messages(rng, 200)
    assert are_texts(list(set(some)), 200)
    assert not are_texts(some[:50], 200)  # each four times: categories
    assert not are_texts([f"user {i}" for i in range(200)], 200)
    assert not are_texts(some[:20], 20)


def test_what_is_compared_is_bounded_and_the_same_at_each_look():
    rng = np.random.default_rng(3)
    old = np.array(messages(rng, 30_000), dtype=object)
    sides = [compared(old, old[::2]) for _ in range(2)]
    assert [len(side) for side in sides[0]] == [4_000, 4_000]
    for one, other in zip(*sides):
        pd.testing.assert_frame_equal(one, other)
    huge = np.array(["word " * 200_000] * 40, dtype=object)
    before, _ = compared(huge, huge)
    assert before["length"].iloc[0] == 1_000_000 and before["words"].iloc[0] <= 1_000
    with pytest.raises(MonitoringError, match="40 reference and 20 current"):
        compared(old[:30], old)


def test_the_page_judges_and_draws_a_column_of_texts():
    rng = np.random.default_rng(4)

    def file(topic: str, n: int = 900) -> pd.DataFrame:
        return pd.DataFrame({
            "id": [f"u{i}" for i in rng.permutation(10 * n)[:n]],
            "message": [f"{text} {rng.integers(10**9)}" for text in messages(rng, n, topic)],
            "x": rng.normal(size=n),
        })  # fmt: skip

    before, calm, spam = file("office"), file("office"), file("spam")
    assert monitoring_files._key(before["id"]) and not monitoring_files._key(before["message"])
    for now, drifted in ((calm, ()), (spam, ("message",))):
        seen = monitoring_files.of_files(before, now, monitoring_files.guess(before, now))
        assert seen.report.drifted == drifted
        one = seen.report["message"]
        title = monitoring_story.column_title(one)
        assert title.startswith("message") and len(title) < 70
        figure = figures.compare_column(before["message"], now["message"], one, title=title)
        assert figure.data[0].name == f"reference (n = {one.move.n:,})"
        assert "'id' is not judged" in seen.not_shown[0]
    assert "words that the reference has not went from" in one.what
    assert "of a text's words are new" in title
