"""The histogram of latencies: as good as the times themselves, and it adds up."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.serving.latency import RELATIVE_ERROR, Histogram

TIMES = st.lists(st.floats(min_value=1e-6, max_value=4000), min_size=1, max_size=200)
FEW = settings(max_examples=60, deadline=None)


@FEW
@given(times=TIMES, percent=st.floats(0, 100))
def test_a_percentile_is_numpys_to_within_the_histograms_error(times, percent):
    ours = Histogram.of(times).percentile(percent)
    # Two ranks apart by rounding of percent * n are both right: NumPy rounds in its own way.
    low, high = (
        np.quantile(times, min(1, max(0, percent / 100 + nudge)), method="inverted_cdf")
        for nudge in (-1e-9, 1e-9)
    )
    assert low * (1 - RELATIVE_ERROR) <= ours <= high * (1 + RELATIVE_ERROR)


@FEW
@given(one=TIMES, other=TIMES, third=TIMES)
def test_histograms_add_up_to_the_histogram_of_all_in_any_order(one, other, third):
    a, b, c = (Histogram.of(times) for times in (one, other, third))
    assert (a + b) + c == a + (b + c) == c + b + a == Histogram.of(one + other + third)


@FEW
@given(times=TIMES)
def test_nothing_is_lost_through_json(times):
    histogram = Histogram.of(times)
    assert Histogram.from_dict(json.loads(json.dumps(histogram.to_dict()))) == histogram


@FEW
@given(times=TIMES)
def test_percentiles_never_fall_and_end_at_the_longest_time(times):
    found = list(Histogram.of(times).percentiles((0, 10, 50, 90, 99, 100)).values())
    assert found == sorted(found)
    assert found[-1] == pytest.approx(max(times), rel=2 * RELATIVE_ERROR)
    assert min(times) <= found[0] and found[-1] <= max(times)


def test_the_empty_histogram_changes_nothing_and_has_no_percentile():
    times = Histogram.of([0.1, 0.2])
    assert times + Histogram() == times
    assert math.isnan(Histogram().p99) and Histogram().count == 0
    assert repr(Histogram()) == "<no times>"


def test_its_size_does_not_grow_with_what_it_counts():
    assert Histogram.of(np.full(100_000, 0.01)).counts.nbytes == Histogram().counts.nbytes


def test_times_out_of_range_are_counted_at_the_edges():
    histogram = Histogram.of([0.0, 1e-9, 1e6])
    assert histogram.count == 3
    assert (histogram.low, histogram.high) == (0.0, 1e6)


def test_the_share_over_a_limit_counts_what_is_longer():
    assert Histogram.of([0.01] * 90 + [0.5] * 10).share_over(0.1) == 0.1


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="finite time of at least 0 s"):
        Histogram.of([0.1, bad])


def test_a_percentage_over_a_hundred_is_refused():
    with pytest.raises(ValueError, match="between 0 and 100, not at 101"):
        Histogram.of([1.0]).percentile(101)
