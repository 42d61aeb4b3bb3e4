"""The distances are what their definitions say, and the laws of metrics hold."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from mlsys.monitoring import MonitoringError, drift, profile
from mlsys.monitoring.drift import chi2_two_sample, measure_tables

values = st.lists(
    st.floats(-1e3, 1e3) | st.integers(-3, 3).map(float), min_size=1, max_size=40
).map(np.array)
counts = st.lists(st.integers(0, 50), min_size=5, max_size=5).filter(any).map(np.array)
METRICS = [drift.jensen_shannon, drift.hellinger, drift.l_infinity]


@pytest.mark.filterwarnings("ignore:divide by zero")  # SciPy's p-value, which is not asked for
@given(values, values)
@settings(max_examples=80)
def test_ks_and_wasserstein_are_those_of_scipy(x, y):
    assert drift.ks(x, y) == pytest.approx(
        stats.ks_2samp(x, y, method="asymp").statistic, abs=1e-12
    )
    expected = stats.wasserstein_distance(x, y)
    assert drift.wasserstein(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(values, values, values)
@settings(max_examples=60)
def test_distances_of_values_are_metrics(x, y, z):
    for distance in (drift.ks, drift.wasserstein):
        assert distance(x, x) == pytest.approx(0, abs=1e-12)
        assert distance(x, y) == pytest.approx(distance(y, x), abs=1e-9)
        assert distance(x, z) <= distance(x, y) + distance(y, z) + 1e-9


@pytest.mark.parametrize("metric", METRICS)
@given(p=counts, q=counts, r=counts)
@settings(max_examples=50)
def test_distances_of_shares_are_metrics(metric, p, q, r):
    assert metric(p, p) == pytest.approx(0, abs=1e-7)
    assert metric(p, q) == pytest.approx(metric(q, p), abs=1e-12)
    assert metric(p, r) <= metric(p, q) + metric(q, r) + 1e-7
    assert 0 <= metric(p, q) <= 1 + 1e-12
    assert (metric(p, q) > 1e-6) == (not np.allclose(drift.shares(p), drift.shares(q)))


@given(counts, counts)
def test_shares_follow_their_definitions(p, q):
    a, b = p / p.sum(), q / q.sum()
    assert drift.jensen_shannon(p, q) == pytest.approx(jensenshannon(a, b, base=2), abs=1e-7)
    hellinger = math.sqrt(max(0.0, 1 - float(np.sqrt(a * b).sum())))
    assert drift.hellinger(p, q) == pytest.approx(hellinger, abs=1e-7)
    assert drift.l_infinity(p, q) == max(abs(a - b))
    a, b = a.clip(1e-4), b.clip(1e-4)
    assert drift.psi(p, q) == pytest.approx(float(((a - b) * np.log(a / b)).sum()), abs=1e-12)
    assert drift.psi(p, q) == pytest.approx(drift.psi(q, p), abs=1e-12)
    assert drift.psi(p, q) >= 0 and drift.psi(p, p) == 0


@given(values, st.floats(0, 100), st.floats(0, 100))
@settings(max_examples=40)
def test_the_farther_a_column_is_shifted_the_farther_it_is(x, step, more):
    near, far = x + step, x + step + more
    assert drift.wasserstein(x, far) == pytest.approx(step + more, abs=1e-6)
    assert drift.wasserstein(x, near) <= drift.wasserstein(x, far) + 1e-6
    assert drift.ks(x, near) <= drift.ks(x, far) + 1e-12


@given(values, st.floats(0.01, 1000))
def test_ks_does_not_know_the_unit_and_wasserstein_has_it(x, unit):
    y = x + 1.5
    assume(len(np.unique(x * unit)) == len(np.unique(x)))
    scaled = drift.wasserstein(x * unit, y * unit)
    assert scaled == pytest.approx(unit * drift.wasserstein(x, y), rel=1e-6)


@pytest.mark.parametrize("share", np.linspace(0, 0.5, 6))
def test_every_statistic_grows_with_the_share_of_rows_that_moved(share):
    base = np.array([400, 300, 200, 100, 0])
    moved, further = (
        base + (part * np.array([-400, 0, 0, 0, 400])) for part in (share, share + 0.1)
    )
    for metric in (*METRICS, drift.psi):
        assert metric(base, moved) < metric(base, further)


def test_the_two_sample_chi_squared_is_that_of_the_contingency_table():
    a, b = np.array([120, 80, 50, 400]), np.array([30, 40, 35, 100])
    made, expected = chi2_two_sample(a, b), stats.chi2_contingency([a, b], correction=False)
    assert made.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert (made.dof, made.p_value) == (3, pytest.approx(expected.pvalue, rel=1e-9))


def test_rare_categories_are_pooled_so_that_the_level_holds():
    a, b = np.array([500, 490, *[1] * 10]), np.array([500, 490, *[0, 2] * 5])
    assert chi2_two_sample(a, b).dof == 2
    assert chi2_two_sample(np.array([3.0]), np.array([9.0])).p_value == 1


def test_the_levels_hold_on_clean_data():
    rng = np.random.default_rng(0)
    found = {"ks": 0, "chi2": 0}
    trials, shares = 1500, np.array([0.5, 0.3, 0.15, 0.04, 0.01])
    for _ in range(trials):
        x, y = rng.normal(size=200), rng.normal(size=150)
        found["ks"] += drift.ks_p_value(drift.ks(x, y), 200, 150) < 0.05
        a, b = rng.multinomial(200, shares), rng.multinomial(150, shares)
        found["chi2"] += chi2_two_sample(a, b).p_value < 0.05
    # The most that a level of 5 % gives in 1,500 trials, but for one run in a million.
    limit = stats.binom.isf(1e-6, trials, 0.05)
    assert max(found.values()) <= limit
    assert min(found.values()) > 20


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 2), (3, 8), (20, 5), (40, 49)])
def test_a_few_values_prove_little(n, m):
    rng = np.random.default_rng(3)
    assert drift.ks_p_value(1.0, n, m) >= 2 / math.comb(n + m, n)  # all of one side above
    for _ in range(20):
        x, y = rng.normal(size=n), rng.normal(0.5, 1, m)
        exact = stats.ks_2samp(x, y, method="exact").pvalue
        assert drift.ks_p_value(drift.ks(x, y), n, m) >= exact * (1 - 1e-9)


def frames(n=20_000):
    rng = np.random.default_rng(1)
    made = []
    for moved in (0, 0.2):
        made.append(
            pd.DataFrame(
                {
                    "normal": rng.normal(moved, 1, n),
                    "heavy": rng.standard_t(2, n) * (1 + moved),
                    "whole": rng.poisson(4, n),
                    "shop": rng.choice([*"abc"], n, p=[0.5 - moved / 4, 0.3, 0.2 + moved / 4]),
                }
            )
        )
    return made


def test_a_profile_of_the_reference_stands_for_its_rows():
    reference, current = frames()
    exact, _ = measure_tables(reference, current)
    stored = profile(reference)
    for against in (current, profile(current, like=stored)):
        binned, _ = measure_tables(stored, against)
        for one, other in zip(exact, binned):
            assert other.exact == (one.kind == "category")
            assert one.distance - 0.002 <= other.distance <= one.distance + 1e-12
            assert other.p_value >= one.p_value * (1 - 1e-9)
            if one.kind == "number":
                assert other.wasserstein == pytest.approx(one.wasserstein, rel=0.02, abs=0.002)
                assert other.spread == pytest.approx(one.spread, rel=1e-6)
                assert other.psi == pytest.approx(one.psi, abs=0.002)


def test_profiles_in_exact_mode_give_what_the_rows_give():
    reference, current = frames(2_000)
    rows, _ = measure_tables(reference, current)
    kept = measure_tables(profile(reference, exact=True), profile(current, exact=True))[0]
    for one, other in zip(rows, kept):
        assert other.exact and other.distance == one.distance and other.psi == one.psi
        if one.kind == "number":
            assert other.wasserstein == one.wasserstein


def test_tails_beyond_the_grid_count_in_wasserstein():
    rng = np.random.default_rng(2)
    reference, current = rng.normal(size=10_000), rng.normal(size=10_000)
    current[:50] = 1e6  # a unit changed in half a per cent of the rows
    move = measure_tables(profile({"x": reference}), {"x": current})[0][0]
    expected = stats.wasserstein_distance(reference, current)
    assert move.wasserstein == pytest.approx(expected, rel=1e-3)


def test_a_column_that_went_empty_is_told_by_its_missing_share():
    move = measure_tables({"x": np.arange(100.0)}, {"x": np.full(100, np.nan)})[0][0]
    assert move.missing == (0, 1) and move.missing_p < 1e-20 and math.isnan(move.distance)


@pytest.mark.parametrize("p", [[], [0, 0], [-1, 2], [math.nan, 1]])
def test_what_are_no_shares_is_refused(p):
    with pytest.raises(MonitoringError, match="not negative"):
        drift.psi(np.array(p, dtype=float), np.ones(len(p)))
