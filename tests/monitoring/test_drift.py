"""The distances are what their definitions say, and the laws of metrics hold."""

import itertools
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from mlsys.monitoring import MonitoringError, distances, merge, profile, profile_kernels, unseen
from mlsys.monitoring.distances import chi2_two_sample
from mlsys.monitoring.drift import measure_tables
from mlsys.monitoring.label_sample import label_hashes

values = st.lists(
    st.floats(-1e3, 1e3) | st.integers(-3, 3).map(float), min_size=1, max_size=40
).map(np.array)
counts = st.lists(st.integers(0, 50), min_size=5, max_size=5).filter(any).map(np.array)
METRICS = [distances.jensen_shannon, distances.hellinger, distances.l_infinity]


@pytest.mark.filterwarnings("ignore:divide by zero")  # SciPy's p-value, which is not asked for
@given(values, values)
@settings(max_examples=80)
def test_ks_and_wasserstein_are_those_of_scipy(x, y):
    assert distances.ks(x, y) == pytest.approx(
        stats.ks_2samp(x, y, method="asymp").statistic, abs=1e-12
    )
    expected = stats.wasserstein_distance(x, y)
    assert distances.wasserstein(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(values, values, values)
@settings(max_examples=60)
def test_distances_of_values_are_metrics(x, y, z):
    for distance in (distances.ks, distances.wasserstein):
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
    assert (metric(p, q) > 1e-6) == (not np.allclose(distances.shares(p), distances.shares(q)))


@given(counts, counts)
def test_shares_follow_their_definitions(p, q):
    a, b = p / p.sum(), q / q.sum()
    assert distances.jensen_shannon(p, q) == pytest.approx(jensenshannon(a, b, base=2), abs=1e-7)
    hellinger = math.sqrt(max(0.0, 1 - float(np.sqrt(a * b).sum())))
    assert distances.hellinger(p, q) == pytest.approx(hellinger, abs=1e-7)
    assert distances.l_infinity(p, q) == max(abs(a - b))
    a, b = a.clip(1e-4), b.clip(1e-4)
    assert distances.psi(p, q) == pytest.approx(float(((a - b) * np.log(a / b)).sum()), abs=1e-12)
    assert distances.psi(p, q) == pytest.approx(distances.psi(q, p), abs=1e-12)
    assert distances.psi(p, q) >= 0 and distances.psi(p, p) == 0


@given(values, st.floats(0, 100), st.floats(0, 100))
@settings(max_examples=40)
def test_the_farther_a_column_is_shifted_the_farther_it_is(x, step, more):
    near, far = x + step, x + step + more
    assert distances.wasserstein(x, far) == pytest.approx(step + more, abs=1e-6)
    assert distances.wasserstein(x, near) <= distances.wasserstein(x, far) + 1e-6
    assert distances.ks(x, near) <= distances.ks(x, far) + 1e-12


@given(values, st.floats(0.01, 1000))
def test_ks_does_not_know_the_unit_and_wasserstein_has_it(x, unit):
    y = x + 1.5
    assume(len(np.unique(x * unit)) == len(np.unique(x)))
    scaled = distances.wasserstein(x * unit, y * unit)
    assert scaled == pytest.approx(unit * distances.wasserstein(x, y), rel=1e-6)


@pytest.mark.parametrize("share", np.linspace(0, 0.5, 6))
def test_every_statistic_grows_with_the_share_of_rows_that_moved(share):
    base = np.array([400, 300, 200, 100, 0])
    moved, further = (
        base + (part * np.array([-400, 0, 0, 0, 400])) for part in (share, share + 0.1)
    )
    for metric in (*METRICS, distances.psi):
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
        found["ks"] += distances.ks_p_value(distances.ks(x, y), 200, 150) < 0.05
        a, b = rng.multinomial(200, shares), rng.multinomial(150, shares)
        found["chi2"] += chi2_two_sample(a, b).p_value < 0.05
    # The most that a level of 5 % gives in 1,500 trials, but for one run in a million.
    limit = stats.binom.isf(1e-6, trials, 0.05)
    assert max(found.values()) <= limit
    assert min(found.values()) > 20


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 2), (3, 8), (20, 5), (40, 49)])
def test_a_few_values_prove_little(n, m):
    rng = np.random.default_rng(3)
    assert distances.ks_p_value(1.0, n, m) >= 2 / math.comb(n + m, n)  # all of one side above
    for _ in range(20):
        x, y = rng.normal(size=n), rng.normal(0.5, 1, m)
        exact = stats.ks_2samp(x, y, method="exact").pvalue
        assert distances.ks_p_value(distances.ks(x, y), n, m) >= exact * (1 - 1e-9)


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
        distances.psi(np.array(p, dtype=float), np.ones(len(p)))


def draws(totals, n):
    """Every way in which a draw of n rows may fall, with its chance, as counts by value."""
    rows = np.repeat(np.arange(len(totals)), totals)
    for drawn in itertools.combinations(range(len(rows)), n):
        yield np.bincount(rows[list(drawn)], minlength=len(totals))


@pytest.mark.parametrize(("totals", "n"), [((1, 1, 2, 3), 3), ((4, 1, 1), 2), ((2, 2, 2, 2), 5)])
def test_what_chance_leaves_unseen_is_that_of_every_draw(totals, n):
    totals = np.array(totals)
    m = int(totals.sum()) - n
    every = [(a, totals - a) for a in draws(totals, n)]
    alone = np.array([b[a == 0].sum() for a, b in every])
    assert unseen.absent_share(totals.astype(float), n, m) == pytest.approx(alone.mean() / m)
    for a, b in every:
        exact = (alone >= b[a == 0].sum()).mean()
        assert unseen.absent_p_value(a, b, n, m) >= exact * (1 - 1e-9)
    for k in range(5):  # 3 of 7 are drawn as the reference: the k largest are all left
        exact = np.mean([not any(i >= 7 - k for i in drawn)
                         for drawn in itertools.combinations(range(7), 3)])  # fmt: skip
        assert unseen.beyond_p_value(k, 3, 4) == pytest.approx(exact)


def test_the_total_variation_that_chance_gives_is_that_of_clean_draws():
    rng = np.random.default_rng(11)
    p = 1 / np.arange(1, 401) ** 0.8
    found = []
    for _ in range(200):
        a, b = rng.multinomial(500, p / p.sum()), rng.multinomial(900, p / p.sum())
        apart = np.abs(a / 500 - b / 900).sum() / 2
        found.append(apart - unseen.moved_share(a + b, 500, 900))
    assert abs(np.mean(found)) < 0.004 < np.std(found)


def test_unseen_values_keep_their_level_where_hardly_a_value_repeats():
    rng = np.random.default_rng(12)
    wrong = 0
    for _ in range(300):
        a, b = (np.bincount(rng.zipf(1.4, n).clip(max=3_000), minlength=3_001) for n in (400, 300))
        wrong += unseen.absent_p_value(a, b, 400, 300) < 0.05
    assert wrong <= stats.binom.isf(1e-6, 300, 0.05)


@given(values, values)
@settings(max_examples=60)
def test_a_profile_never_counts_more_rows_beyond_the_reference_than_there_are(x, y):
    stored = profile({"x": x})
    now = profile({"x": y}, like=stored)
    under, over = unseen.rows_beyond(stored["x"], now["x"])
    assert 0 <= under <= (y < x.min()).sum() and 0 <= over <= (y > x.max()).sum()
    assert (under > 0) <= (y.min() < x.min())


def test_few_rows_far_beyond_a_reference_with_tails_are_counted():
    rng = np.random.default_rng(13)
    x, y = rng.normal(size=50_000), rng.normal(size=50_000)
    x[:3] = -40.0  # beyond the grid, so that both have a tail there
    y[:100] = -999.0
    stored = profile({"x": x})
    assert stored["x"].below.count == 3
    assert unseen.rows_beyond(stored["x"], profile({"x": y}, like=stored)["x"])[0] == 100


def test_profiles_keep_a_fair_sample_of_the_labels_with_exact_counts():
    rng = np.random.default_rng(14)
    labels = np.char.mod("v%d", rng.zipf(1.2, 60_000).clip(max=30_000))
    truth = pd.Series(labels).value_counts()
    parts = [profile({"c": part}) for part in np.array_split(labels, 4)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merge(merged, part)
    stepwise = profile(pa.RecordBatchReader.from_batches(
        pa.schema([("c", pa.string())]),
        [pa.record_batch({"c": pa.array(part)}) for part in np.array_split(labels, 7)],
    ))  # fmt: skip
    hashes = label_hashes(list(truth.index))
    order = np.argsort(hashes)[: profile_kernels.KEPT]
    for column in (profile({"c": labels})["c"], merged["c"], stepwise["c"]):
        assert column.slack
        np.testing.assert_array_equal(column.sample[0], hashes[order])
        np.testing.assert_array_equal(column.sample[1], truth.to_numpy()[order])


@pytest.mark.parametrize(
    ("values", "skew", "n", "m"), [(5_000, 0.0, 60_000, 2_000), (8_000, 0.7, 20_000, 30_000)]
)
def test_profiles_that_dropped_labels_prove_nothing_on_clean_data(values, skew, n, m):
    rng = np.random.default_rng(15)
    weights = 1 / np.arange(1, values + 1) ** skew
    labels = np.char.mod("v%d", np.arange(values))
    for _ in range(6):
        sides = [
            pd.Categorical.from_codes(rng.choice(values, rows, p=weights / weights.sum()), labels)
            for rows in (n, m)
        ]
        stored = profile({"c": sides[0]})
        assert stored["c"].slack
        for now in ({"c": sides[1]}, profile({"c": sides[1]}, like=stored)):
            assert measure_tables(stored, now)[0][0].p_value > 0.001
