"""A profile tells what its rows were, and two profiles add up to the profile of both."""

import math
from itertools import pairwise

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlsys.monitoring
from mlsys.monitoring import Grid, MonitoringError, Profile, merge, profile, profiles, sources
from mlsys.monitoring import profile_kernels as kernels
from mlsys.monitoring.profile_build import Builder
from mlsys.monitoring.profile_grid import of_sample

finite = st.floats(-1e9, 1e9, allow_subnormal=False) | st.integers(-50, 50).map(float)
anything = finite | st.just(math.nan) | st.just(math.inf) | st.just(-math.inf) | st.floats()
numbers = st.lists(anything, max_size=60).map(lambda rows: np.array(rows, dtype=float))
words = st.lists(st.sampled_from([*"abcdef", "", "=cmd()", "é", None]), max_size=60)
frames = st.lists(st.tuples(anything, st.sampled_from([*"abc", None])), max_size=40).map(
    lambda rows: pd.DataFrame(
        {"x": pd.Series([x for x, _ in rows], dtype=float),
         "word": pd.Series([word for _, word in rows], dtype="str")}
    )
)  # fmt: skip


def same(a: Profile, b: Profile) -> None:
    """Equal to the last bit, moments and the sums of tails to rounding."""
    assert a.rows == b.rows and set(a.columns) == set(b.columns)
    for name, one in a.columns.items():
        other = b.columns[name]
        for part in ("kind", "count", "missing", "infinite", "grid", "slack"):
            assert getattr(one, part) == getattr(other, part), part
        assert dict(one.top) == dict(other.top)
        np.testing.assert_array_equal(one.bins, other.bins)
        np.testing.assert_array_equal(one.smallest_hashes, other.smallest_hashes)
        assert (one.below.count, one.above.count) == (other.below.count, other.above.count)
        np.testing.assert_array_equal([one.low, one.high], [other.low, other.high])
        if not one.count or one.kind == "category":
            continue
        span = max(abs(one.low), abs(one.high))
        if not 1e-60 < span < 1e150:
            continue  # squares and cubes leave the range of floats; the counts above still agree
        assert one.mean == pytest.approx(other.mean, rel=1e-9, abs=1e-9 * span)
        assert one.m2 == pytest.approx(other.m2, rel=1e-6, abs=1e-9 * one.count * span**2)
        assert one.below.sum == pytest.approx(other.below.sum, rel=1e-9, abs=1e-9 * span)


REFERENCE = profile({"x": np.random.default_rng(0).normal(size=5_000)})


@given(frames, frames)
@settings(max_examples=60)
def test_merging_two_profiles_gives_the_profile_of_all_rows(a, b):
    like = profile(pd.DataFrame({"x": [0.0, 1.0, 100.0], "word": ["a", "b", "c"]}))
    both = profile(pd.concat([a, b]), like=like)
    same(merge(profile(a, like=like), profile(b, like=like)), both)


@given(numbers, numbers, numbers)
@settings(max_examples=50)
def test_the_order_of_merging_does_not_matter(a, b, c):
    one, two, three = (profile({"x": values}, like=REFERENCE) for values in (a, b, c))
    same(merge(merge(one, two), three), merge(one, merge(two, three)))
    same(merge(one, two), merge(two, one))


@given(st.lists(finite, min_size=2, max_size=50), st.lists(finite, min_size=2, max_size=50))
@settings(max_examples=60)
def test_profiles_on_different_grids_merge_without_a_value_in_the_wrong_bin(a, b):
    one, two = profile({"x": np.array(a)}), profile({"x": np.array(b)})
    made = merge(one, two)["x"]
    values = np.array(a + b)
    edges = made.grid.edges
    expected = [((values >= low) & (values < high)).sum() for low, high in pairwise(edges)]
    np.testing.assert_array_equal(made.bins, expected)
    assert made.count == len(values) == made.bins.sum() + made.below.count + made.above.count


@given(st.lists(finite, min_size=1, max_size=200))
@settings(max_examples=60)
def test_a_profile_tells_count_range_mean_and_bins(rows):
    values = np.array(rows)
    made = profile({"x": values})["x"]
    assert (made.count, made.low, made.high) == (len(values), values.min(), values.max())
    scale = max(np.abs(values).max(), 1e-300)
    assert made.mean == pytest.approx(values.mean(), abs=1e-12 * scale)
    assert made.std == pytest.approx(values.std(), rel=1e-6, abs=1e-6 * scale)
    assert made.distinct == len(np.unique(values + 0.0))
    inside = values[(values >= made.grid.low) & (values < made.grid.high)]
    expected = np.histogram(inside, made.grid.edges)[0]
    np.testing.assert_array_equal(made.bins, expected)


def test_a_week_is_its_days():
    rng = np.random.default_rng(1)
    days = [pd.DataFrame({"x": rng.lognormal(size=2_000), "shop": rng.choice([*"abcd"], 2_000)})
            for _ in range(7)]  # fmt: skip
    first = profile(days[0])
    week = first
    for day in days[1:]:
        week = merge(week, profile(day, like=first))
    same(week, profile(pd.concat(days), like=first))


def test_a_builder_gives_a_profile_a_window_without_keeping_rows():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(10, 500))
    builder = Builder(like=REFERENCE)
    for window in values:
        builder.add({"x": window})
    same(builder.done(), profile({"x": values.ravel()}, like=REFERENCE))


def test_every_source_gives_the_same_profile(tmp_path):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "x": np.where(rng.random(5_000) < 0.1, np.nan, rng.normal(size=5_000)),
            "n": rng.integers(0, 1000, 5_000),
            "shop": pd.Series(rng.choice([*"abcd", None], 5_000), dtype="str"),
            "open": rng.random(5_000) < 0.5,
            "at": pd.Timestamp("2026-03-01") + pd.to_timedelta(rng.integers(0, 10**6, 5_000), "s"),
        }
    )
    made = profile(frame)
    path = tmp_path / "day.parquet"
    frame.to_parquet(path, row_group_size=700)
    arrow = pa.Table.from_pandas(frame)
    con = duckdb.connect()
    for source in (
        arrow,
        path,
        tmp_path,
        con.from_arrow(arrow),
        arrow.to_reader(900),
        {name: frame[name].array for name in frame},
    ):
        same(profile(source, like=made), made)
    assert made["x"].missing == frame["x"].isna().sum()
    assert made["shop"].top == frame["shop"].value_counts().to_dict()
    assert made["n"].grid.width >= 1


def test_a_stored_profile_comes_back_as_it_was():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"x": [*rng.normal(size=50), np.nan, np.inf], "c": [*"ab"] * 26})
    for exact in (False, True):
        made = profile(frame, exact=exact)
        again = Profile.from_json(made.to_json())
        same(again, made)
        assert again.to_json() == made.to_json()
    np.testing.assert_array_equal(again["x"].values, np.sort(frame["x"][:50]))
    assert len(profile(frame).to_json()) < 10_000


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format": 1}', b"\x80\x04.", b"[1, 2]"])
def test_what_is_no_stored_profile_is_refused_in_a_sentence(text):
    with pytest.raises(MonitoringError, match="not a stored profile"):
        Profile.from_json(text)


def test_a_stored_profile_that_does_not_add_up_is_refused():
    text = profile({"x": np.arange(100.0)}).to_json()
    with pytest.raises(MonitoringError, match="does not add up"):
        Profile.from_json(text.replace(b'"count":100', b'"count":99'))
    with pytest.raises(MonitoringError, match="format 9"):
        Profile.from_json(text.replace(b'"format":1', b'"format":9'))


def test_many_categories_keep_a_bound_on_their_error(monkeypatch):
    monkeypatch.setattr(profiles, "TOP", 20)
    rng = np.random.default_rng(5)
    labels = np.char.mod("v%d", rng.zipf(1.3, 20_000).clip(max=10_000))
    truth = pd.Series(labels).value_counts().to_dict()
    parts = [profile({"c": pd.Series(part)}) for part in np.array_split(labels, 8)]
    made = parts[0]
    for part in parts[1:]:
        made = merge(made, part)
    column = made["c"]
    assert 0 < column.slack <= 20_000 / 21
    assert len(column.top) <= 20
    for label, count in truth.items():
        assert column.top.get(label, 0) <= count <= column.top.get(label, 0) + column.slack
    assert column.rest == 20_000 - sum(column.top.values())


def test_distinct_is_exact_when_few_and_close_when_many():
    rng = np.random.default_rng(6)
    few = profile(
        {"x": rng.integers(0, 900, 50_000), "c": rng.integers(0, 900, 50_000).astype(str)}
    )
    assert few["x"].distinct == few["c"].distinct == 900
    many = profile({"x": rng.permutation(200_000).astype(float)})
    assert many["x"].distinct == pytest.approx(200_000, rel=0.12)  # four sigma


def test_a_grid_resolves_a_reference_far_from_zero_and_one_with_heavy_tails():
    rng = np.random.default_rng(7)
    stamps = 1.7e9 + rng.normal(size=10_000)
    assert of_sample(stamps).width < 0.01
    heavy = rng.standard_cauchy(100_000)
    grid = of_sample(heavy)
    assert isinstance(grid, Grid) and grid.width < 3
    constant = profile({"x": np.full(100, 3.7)})["x"]
    assert (constant.mean, constant.std, constant.bins.max()) == (3.7, 0.0, 100)


def test_grids_too_far_apart_are_refused_in_a_sentence():
    rng = np.random.default_rng(8)
    a, b = rng.standard_cauchy(9_999), 1e9 + rng.standard_cauchy(9_999)
    with pytest.raises(MonitoringError, match="like="):
        merge(profile({"x": a}), profile({"x": b}))


def test_a_column_that_one_side_lacks_counts_as_missing():
    made = merge(profile({"x": np.arange(3.0)}), profile({"y": np.arange(5.0)}))
    assert (made["x"].missing, made["y"].missing, made.rows) == (5, 3, 8)


def test_a_parquet_file_is_read_by_batches_and_leaves_no_rows_behind(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": np.arange(300_000.0)}), path, row_group_size=50_000)
    made = profile(path)["x"]
    assert (made.count, made.mean, made.values) == (300_000, 149_999.5, None)


@given(st.lists(st.sampled_from([0.0, -0.0, 5e-324, -1e300, 1e300, 1.5, math.nan, -math.nan,
                                 math.inf, -math.inf]), min_size=1, max_size=300))  # fmt: skip
@settings(max_examples=60)
def test_special_values_are_counted_apart_and_never_take_part_in_range_or_sums(rows):
    values = np.array(rows)
    made = profile({"x": values}, like=REFERENCE)["x"]
    finite = values[np.isfinite(values)]
    assert made.missing == np.isnan(values).sum()
    assert made.infinite == ((values == -np.inf).sum(), (values == np.inf).sum())
    assert made.count == len(finite)
    assert made.distinct == len(np.unique(finite + 0.0))
    if len(finite):
        assert (made.low, made.high) == (finite.min(), finite.max())
    low, high = finite[finite < made.grid.low], finite[finite >= made.grid.high]
    assert (made.below.count, made.above.count) == (len(low), len(high))
    assert made.below.sum == pytest.approx(low.sum()) and made.above.sum == pytest.approx(
        high.sum()
    )


@given(st.integers(0, 1_000), st.sampled_from([5, 900, 3_000, 50_000]))
@settings(max_examples=20)
def test_the_sketch_keeps_the_smallest_hashes_of_all_values(seed, different):
    values = np.random.default_rng(seed).integers(0, different, 20_000).astype(np.uint64)
    hashes, marks, seen = kernels.new_sketch()
    for part in np.array_split(values, 7):
        kernels.add_hashes(part, hashes, marks, seen)
    kernels.shrink(hashes, marks)
    every = np.sort([kernels._hash(np.uint64(one)) for one in np.unique(values)])
    np.testing.assert_array_equal(hashes[: int(marks[0])], every[: kernels.KEPT])


def test_a_table_of_many_columns_comes_by_fewer_rows(tmp_path, monkeypatch):
    path = tmp_path / "wide.parquet"
    pq.write_table(pa.table({f"x{i}": np.arange(5_000.0) for i in range(10)}), path)
    monkeypatch.setattr(sources, "CELLS", 20_000)
    lengths = [len(batch["x0"]) for batch in sources.batches(path)]
    assert lengths == [2_000, 2_000, 1_000]
    assert profile(path)["x9"].count == 5_000


def test_every_name_of_the_package_is_there_at_first_use():
    for name in mlsys.monitoring.__all__:
        assert getattr(mlsys.monitoring, name) is not None
    with pytest.raises(AttributeError, match="it has Alert"):
        mlsys.monitoring.cusum  # noqa: B018
