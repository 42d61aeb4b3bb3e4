"""Quorum formulas against enumeration of every set of replicas."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.cap.quorums import (
    QuorumError,
    availability,
    choices,
    downtime_minutes,
    majority,
    overlaps,
    weighted_availability,
)

probabilities = st.floats(0, 1)


def by_enumeration(votes, quorum, up):
    total = 0.0
    for alive in itertools.product([False, True], repeat=len(votes)):
        if sum(itertools.compress(votes, alive)) >= quorum:
            chance = 1.0
            for p, is_up in zip(up, alive):
                chance *= p if is_up else 1 - p
            total += chance
    return total


@pytest.mark.parametrize(
    ("n", "quorum", "up", "published"),
    [
        (3, 1, 0.99, 0.999999),
        (3, 2, 0.99, 0.999702),
        (3, 3, 0.99, 0.970299),
        (5, 3, 0.99, 0.99999),
    ],
)
def test_majority_availability_is_the_published_one(n, quorum, up, published):
    assert availability(n, quorum, up) == pytest.approx(published, abs=5e-7)


@given(st.integers(1, 6), st.data())
@settings(max_examples=60, deadline=None)
def test_the_formula_counts_every_set_of_replicas_that_holds_a_quorum(n, data):
    quorum, up = data.draw(st.integers(1, n)), data.draw(probabilities)
    expected = by_enumeration([1] * n, quorum, [up] * n)
    assert availability(n, quorum, up) == pytest.approx(expected, abs=1e-12)
    assert weighted_availability([1] * n, quorum, [up] * n) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 4), probabilities), min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_weighted_votes_count_every_set_that_holds_the_votes(replicas, data):
    votes, up = zip(*replicas)
    if sum(votes):
        quorum = data.draw(st.integers(1, sum(votes)))
        expected = by_enumeration(votes, quorum, up)
        assert weighted_availability(votes, quorum, up) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 7), st.data())
@settings(max_examples=60, deadline=None)
def test_quorums_overlap_exactly_when_no_two_can_be_apart(n, data):
    r, w = data.draw(st.integers(1, n)), data.draw(st.integers(1, n))
    apart = any(
        not set(readers) & set(writers)
        for readers in itertools.combinations(range(n), r)
        for writers in itertools.combinations(range(n), w)
    )
    assert overlaps(n, r, w) is not apart
    assert overlaps(n, majority(n), majority(n))


def test_every_choice_of_r_and_w_is_listed_with_its_availability():
    table = {(c.r, c.w): c for c in choices(3, 0.9)}
    assert len(table) == 9
    assert table[2, 2].overlaps and not table[1, 2].overlaps
    assert table[1, 3].read == pytest.approx(0.999)
    assert table[1, 3].write == pytest.approx(0.729)


def test_three_nines_are_nearly_nine_hours_a_year():
    assert downtime_minutes(0.999) == pytest.approx(525.6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: availability(3, 4, 0.9), "1 to 3 members, not 4"),
        (lambda: availability(0, 1, 0.9), "1 to 1,000 replicas, not 0"),
        (lambda: availability(3, 2, 1.1), "between 0 and 1, not 1.1"),
        (lambda: availability(3, 2, float("nan")), "between 0 and 1, not nan"),
        (lambda: overlaps(3, True, 2), "not True"),
        (lambda: weighted_availability([1, 1], 3, [0.9, 0.9]), "1 to 2, not 3"),
        (lambda: weighted_availability([1], 1, []), "got 1 and 0"),
        (lambda: weighted_availability([-1, 3], 1, [0.9, 0.9]), "Votes are whole numbers"),
    ],
)
def test_an_impossible_quorum_is_refused_with_a_sentence(call, says):
    with pytest.raises(QuorumError, match=says):
        call()
