"""Latency distributions: one draw and many are the same law, and the paper's fits are its own."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys.cap.latency import PROFILES, YMMR, YMMR_PRINTED, LatencyError, profile

KINDS = ("write", "ack", "read", "response")


@pytest.mark.parametrize("name", [*PROFILES, "constant:3", "exponential:4"])
@pytest.mark.parametrize("kind", KINDS)
def test_single_draws_and_samples_follow_the_same_law(name, kind):
    distribution = getattr(profile(name), kind)
    rng = random.Random(1)
    drawn = np.sort([distribution.draw(rng) for _ in range(20_000)])
    sampled = np.sort(distribution.sample(np.random.default_rng(2), 20_000))
    ranks = [5, 25, 50, 75, 90]
    assert np.percentile(drawn, ranks) == pytest.approx(np.percentile(sampled, ranks), rel=0.1)


@pytest.mark.parametrize("name", [*PROFILES, "constant:3"])
def test_a_drawer_gives_the_very_draws(name):
    distribution = profile(name).write
    one, other = random.Random(7), random.Random(7)
    drawer = distribution.drawer(one)
    assert [drawer() for _ in range(200)] == [distribution.draw(other) for _ in range(200)]


def test_the_ssd_fit_has_the_median_and_tail_of_its_formula():
    found = profile("lnkd-ssd").read.sample(np.random.default_rng(0), 400_000)
    # P(X > x) = .9122 (.235 / x)^10 + .0878 e^(-1.66 x), from table 3 of the paper
    for x in (0.25, 0.3, 1.0, 2.0):
        expected = 0.9122 * (0.235 / x) ** 10 + 0.0878 * np.exp(-1.66 * x)
        assert (found > x).mean() == pytest.approx(expected, abs=0.003)


def test_both_readings_of_the_ymmr_table_are_there():
    assert YMMR.write.body.alpha == 3.5
    assert YMMR_PRINTED.write.body.alpha == 3.35
    assert YMMR.read == YMMR_PRINTED.read


@given(st.text(max_size=30))
def test_any_text_is_a_profile_or_one_sentence(text):
    try:
        assert profile(text).write.draw(random.Random(0)) > 0
    except LatencyError as error:
        assert str(error).endswith(".") and "\n" not in str(error)


@pytest.mark.parametrize("text", ["constant:0", "constant:nan", "exponential:1e9", "exponential:"])
def test_a_latency_without_a_usable_number_is_refused(text):
    with pytest.raises(LatencyError):
        profile(text)
