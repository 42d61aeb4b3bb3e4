"""Checks on data: suggested, edited as a file, and failing with a sentence."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.monitoring import quality, traffic
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.quality import Checks, ColumnCheck, TableCheck

COLUMNS = ["id", "at", *traffic.FEATURES]


@pytest.fixture(scope="module")
def reference():
    return traffic.traffic("healthy", per_day=300).reference[COLUMNS]


@pytest.fixture(scope="module")
def checks(reference):
    return quality.suggest(reference, key=("id",), time="at")


def day(scene, number=20):
    rows = traffic.scene_frame(scene, per_day=300)[COLUMNS]
    start = traffic.START + pd.Timedelta(days=number)
    return rows[(rows["at"] >= start) & (rows["at"] < start + pd.Timedelta(days=1))]


def found(frame, checks):
    return {(one.check, one.column) for one in quality.check(frame, checks, now=frame["at"].max())}


def test_a_reference_passes_the_checks_that_it_suggests(reference, checks):
    columns = Checks(TableCheck(key=("id",), duplicates=0.0), checks.columns)
    assert quality.check(reference, columns) == []


def test_a_healthy_day_passes_and_a_broken_one_names_its_column(checks):
    assert found(day("healthy"), checks) == set()
    assert ("range", "size_kb") in found(day("units"), checks)
    assert ("missing", "sender_age_days") in found(day("null_column"), checks)
    assert ("unseen", "client") in found(day("renamed"), checks)


@pytest.mark.parametrize(("values", "skew"), [(60, 0.0), (200, 0.0), (2_000, 1.0), (3_000, 0.0)])
def test_new_categories_are_named_however_many_there_are(values, skew):
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, values + 1) ** skew
    draw = [rng.choice(values, n, p=weights / weights.sum()) for n in (20_000, 5_000, 200)]
    before, now, few = (pd.DataFrame({"shop": np.char.mod("s%d", codes)}) for codes in draw)
    checks = quality.suggest(before)
    assert quality.check(now, checks) == quality.check(few, checks) == []
    new = now.assign(shop=np.where(rng.random(5_000) < 0.4, "new " + now["shop"], now["shop"]))
    (told,) = quality.check(new, checks)
    assert told.check == "unseen" and told.share > 0.35
    assert quality.from_toml(quality.to_toml(checks)) == checks


def test_free_text_and_keys_have_no_list_of_values():
    names = [f"{word} {i}" for i in range(2_000) for word in ("one", "two")]
    checks = quality.suggest(pd.DataFrame({"note": names, "id": range(4_000)}))
    assert checks.columns["note"] == ColumnCheck("text", missing=0.01)
    assert quality.check(pd.DataFrame({"note": ["other"] * 9, "id": range(9)}), checks) == []


def test_concept_drift_passes_every_check(checks):
    assert found(day("concept"), checks) == set()


def test_the_worst_comes_first_and_every_finding_is_a_sentence(checks):
    frame = day("renamed").assign(size_kb=lambda rows: rows["size_kb"] * 1024)
    findings = quality.check(frame, checks, now=frame["at"].max())
    shares = [one.share for one in findings]
    assert shares == sorted(shares, reverse=True)
    assert all(one.sentence.endswith(".") for one in findings)
    assert "'mobile'" in next(one.sentence for one in findings if one.check == "unseen")


def test_volume_age_doubles_and_columns_are_checked(checks):
    rows = day("healthy")
    assert ("volume", "") in found(rows.head(10), checks)
    assert ("volume", "") in found(pd.concat([rows] * 5), checks)
    assert ("duplicates", "") in found(pd.concat([rows, rows.head(3)]), checks)
    assert ("column", "links") in found(rows.drop(columns="links"), checks)
    assert ("column", "surprise") in found(rows.assign(surprise=1), checks)
    late = quality.check(rows, checks, now=rows["at"].max() + pd.Timedelta("3D"))
    assert any(one.check == "freshness" and "72.0 hours" in one.sentence for one in late)


def test_a_column_of_another_type_is_said_once(checks):
    rows = day("healthy")
    findings = quality.check(rows.assign(links=rows["links"].astype(str)), checks, now=None)
    (one,) = [one for one in findings if one.column == "links"]
    assert one.check == "type" and "should hold number" in one.sentence


def test_infinite_numbers_lie_outside_every_range():
    checks = Checks(columns={"x": ColumnCheck("number")})
    (one,) = quality.check(pd.DataFrame({"x": [1.0, np.inf]}), checks)
    assert one.check == "range" and one.share == 0.5


def test_an_empty_window_says_only_that_it_is_empty(checks):
    empty = day("healthy").head(0)
    assert {one.check for one in quality.check(empty, checks)} == {"volume"}


share = st.floats(0, 1)
name = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=10)
number = st.none() | st.floats(-1e12, 1e12)
column = st.builds(
    lambda kind, missing, bounds, outside, allowed, required: ColumnCheck(
        kind, required, missing, *bounds, outside, allowed, 0.0
    ),
    st.sampled_from(quality.KINDS),
    share,
    st.tuples(number, number).map(lambda pair: pair if None in pair else (min(pair), max(pair))),
    share,
    st.none() | st.lists(name, max_size=3).map(tuple),
    st.booleans(),
)


@settings(max_examples=60)
@given(
    st.dictionaries(name, column, max_size=3),
    st.none() | st.integers(0, 10**9),
    st.lists(name, max_size=2).map(tuple),
    share,
)
def test_checks_come_back_from_their_file(columns, rows, key, duplicates):
    checks = Checks(TableCheck(rows_low=rows, key=key, duplicates=duplicates), columns)
    assert quality.from_toml(quality.to_toml(checks)) == checks


def test_suggested_checks_come_back_from_their_file(checks):
    assert quality.from_toml(quality.to_toml(checks)) == checks


@pytest.mark.parametrize(
    "file, line, word",
    [
        ('[columns.age]\nkind = "number"\nmaximum = 3\n', 3, "maximum"),
        ('[table]\n[columns.age]\nkind = "numeric"\n', 2, "numeric"),
        ('[columns.age]\nkind = "number"\nlow = "a"\n', 3, "'a'"),
        ('[columns.age]\nkind = "number"\nlow = 3\nhigh = 1\n', 1, "above high"),
        ('[columns."a b"]\nkind = "number"\nmissing = true\n', 3, "True"),
        ("[columns.age]\nlow = 3\n", 1, "'kind'"),
        ("[table]\nkey = 3\n", 2, "key"),
        ("[tabel]\nkey = []\n", 1, "tabel"),
        ("[table]\nkey = [\n", 2, "TOML"),
    ],
)
def test_a_bad_file_gets_one_sentence_with_its_line(file, line, word):
    with pytest.raises(MonitoringError, match=word) as error:
        quality.from_toml(file)
    said = str(error.value)
    assert "\n" not in said
    assert f"line {line}" in said.lower() or "end of document" in said


def test_an_empty_reference_suggests_nothing():
    with pytest.raises(MonitoringError, match="some rows"):
        quality.suggest(pd.DataFrame({"a": []}))
