"""Bad input gets one clear sentence or an honest number, never a wrong one."""

import datetime
import gzip
import io
import math
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlsys.monitoring import MonitoringError, judge, profile, read_upload
from mlsys.monitoring.drift import measure_tables
from mlsys.monitoring.verdict_report import safe_cell


def refused(act, *words: str) -> None:
    """Raises MonitoringError with one sentence that has those words."""
    with pytest.raises(MonitoringError) as caught:
        act()
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".") and len(text) < 400
    for word in words:
        assert word in text, text


# --- columns --------------------------------------------------------------------------------------


def test_nan_and_infinities_are_counted_apart_and_spoil_nothing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=5_000)
    spoiled = np.concatenate([x, [np.nan] * 30, [np.inf] * 20, [-np.inf] * 10])
    made = profile({"x": rng.permutation(spoiled)})["x"]
    assert (made.count, made.missing, made.infinite) == (5_000, 30, (10, 20))
    assert made.mean == pytest.approx(x.mean()) and made.high == x.max()
    move = measure_tables({"x": x}, {"x": spoiled})[0][0]
    assert (move.distance, move.wasserstein) == (0, 0)
    assert move.missing == (0, pytest.approx(60 / 5_060))


@pytest.mark.parametrize("value", [0.0, 3.7, -1e300, 1e-300, 5e-324, 2.0**52])
def test_a_constant_column_is_at_no_distance_from_itself_and_far_from_another(value):
    column = {"x": np.full(500, value)}
    for reference in (column, profile(column)):
        assert judge(reference, column)["x"].move.distance == 0
        moved = judge(reference, {"x": np.full(500, value + max(abs(value), 1.0))})["x"]
        assert moved.drifted and moved.move.distance == 1


def test_empty_windows_are_refused():
    full, empty = {"x": np.arange(9.0)}, {"x": np.zeros(0)}
    refused(lambda: judge(full, empty), "no rows in the current data")
    refused(lambda: judge(empty, full), "no rows in the reference")
    refused(lambda: judge({"x": [None, None]}, full), "no value in the reference")
    refused(lambda: judge(full, []), "no window")
    refused(lambda: judge(full, {}), "not in the current data")
    assert profile(empty)["x"].rows == 0


def test_a_million_categories_stay_small_and_are_named_a_key():
    codes = np.random.default_rng(1).permutation(1_000_000)
    one = pd.DataFrame({"id": pd.Categorical.from_codes(codes, np.arange(1_000_000).astype(str))})
    stored = profile(one)
    made = stored["id"]
    assert len(made.top) <= 4096 and made.rest + sum(made.top.values()) == 1_000_000
    assert made.distinct == pytest.approx(1e6, rel=0.15)
    refused(lambda: judge(stored, stored), "'id'", "a value of its own", "not from profiles")
    half = [one.iloc[:50_000], one.iloc[50_000:100_000]]
    refused(lambda: judge(*half), "'id'", "keys say nothing of drift")
    holes = half[1].copy()
    holes.iloc[::10] = None
    gaps = judge(half[0], holes)["id"]
    assert gaps.drifted and "missing values went from 0.0% to 10.0%" in gaps.sentence
    constant = pd.DataFrame({"id": ["none"] * 50_000})
    assert judge(half[0], constant).drifted == judge(stored, constant).drifted == ("id",)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.Series([1, "a", 2.5], dtype=object), "mixes"),
        (pd.Series([{"a": 1}, {"b": 2}], dtype=object), "mixes or nests"),
        (pd.Series([b"\xff", b"a"], dtype=object), "mixes or nests"),
        (pd.Series([2**53 + 1, 5]), "2^53"),
        (pd.Series([2**70, 5], dtype=object), "2^53"),
        (np.array([2**64 - 1], dtype=np.uint64), "18446744073709551615"),
        (pd.Series([-(2**60), None], dtype="Int64"), "2^53"),
        (pa.array([2**55, None]), "2^53"),
        (pa.array([[1, 2], [3]]), "has no distribution"),
        (np.array([1 + 2j]), "complex"),
    ],
    ids=str,
)
def test_a_column_that_no_number_can_be_trusted_of_is_set_aside(values, words):
    made = profile({"x": values, "fine": np.arange(float(len(values)))})
    assert list(made.columns) == ["fine"] and words in made.unread["x"]
    refused(lambda: made["x"], "'x'", words)


def test_integers_up_to_2_to_the_53_are_exact():
    near = {"x": np.array([2**53, 2**53 - 1, 2**53 - 2])}
    assert profile(near)["x"].distinct == 3
    assert judge(near, {"x": near["x"] - 1})["x"].move.wasserstein == 1


def test_times_are_compared_in_utc_and_never_across_unknown_zones():
    naive = pd.Series(pd.date_range("2026-03-28", periods=100, freq="h"))
    tehran = naive.dt.tz_localize("UTC").dt.tz_convert("Asia/Tehran")
    moves, _ = measure_tables({"t": naive.dt.tz_localize("UTC")}, {"t": tehran})
    assert moves[0].kind == "time" and moves[0].wasserstein == 0
    refused(lambda: judge({"t": naive}, {"t": tehran}), "time zone on one side")
    refused(lambda: judge(profile({"t": naive}), {"t": tehran}), "time zone")
    zone = datetime.UTC
    mixed = [datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 1, tzinfo=zone)]
    assert "time zone" in profile({"t": pd.Series(mixed, dtype=object)}).unread["t"]


def test_what_is_no_table_is_refused():
    refused(lambda: profile(3), "cannot be read as a table")
    refused(lambda: profile({"x": [1, 2], "y": [1]}), "differ in length")
    refused(lambda: profile("nowhere.parquet"), "no file")
    refused(lambda: profile(np.zeros((2, 2, 2))), "dimensions")


# --- uploads --------------------------------------------------------------------------------------


def parquet(table: pa.Table, **options) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def test_csv_gzip_and_parquet_come_back_as_the_frame_they_hold(tmp_path):
    frame = pd.DataFrame({"x": [1.5, math.nan, 3], "word": ["a", "=cmd()", "é"], "n": [1, 2, 3]})
    text = frame.to_csv(index=False).encode()
    path = tmp_path / "a.csv"
    path.write_bytes(text)
    for made in (
        read_upload(text, "a.csv"),
        read_upload(gzip.compress(text), "a.csv.gz"),
        read_upload(path),
        read_upload(parquet(pa.Table.from_pandas(frame)), "wrongly-named.csv"),
    ):
        assert made["x"].tolist()[::2] == [1.5, 3] and made["n"].tolist() == [1, 2, 3]
        assert made["word"].astype(str).tolist() == frame["word"].tolist()
        assert judge(frame, made).drifted == ()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "is empty"),
        (b"x,y\n", "no rows"),
        (b"x,y\n1,2\n1,2,3\n", "not a sound CSV"),
        ("x\nnaïve\n".encode("latin-1"), "UTF-8"),
        ("x\n1\n".encode("utf-16"), "not text"),
        (b"x,x\n1,2\n", "more than once"),
        (b"MZ\x00\x00\x00", "not text"),
        (b'x,y\n"never closed,2\n', "UP.CSV"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00", "UP.CSV"),
        (gzip.compress(b"x\n" + b"1\n" * 5000, mtime=0)[:-20], "UP.CSV"),
        (b"\x1f\x8b\x08\x00garbage", "UP.CSV"),
        (b"PAR1 and then nothing sound PAR1", "not a sound Parquet"),
    ],
    ids=str,
)
def test_a_broken_file_gets_a_sentence(data, word):
    refused(lambda: read_upload(data, "somewhere/UP.CSV"), "UP.CSV", word)


def test_a_truncated_parquet_file_gets_a_sentence():
    whole = parquet(pa.table({"x": np.arange(10_000.0)}))
    refused(lambda: read_upload(whole[: len(whole) // 2], "x.parquet"), "not a sound Parquet")
    spoiled = bytearray(whole)
    spoiled[200:400] = bytes(200)
    try:
        made = read_upload(bytes(spoiled), "x.parquet")
        assert len(made) == 10_000
    except MonitoringError as error:
        assert "sound Parquet" in str(error)


def test_a_spreadsheet_or_zip_gets_a_sentence():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x.csv", "x\n1\n")
    refused(lambda: read_upload(out.getvalue(), "x.xlsx"), "ZIP archive or a spreadsheet")


def test_a_file_over_the_bound_is_not_opened(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(201 * 2**20)  # sparse
    refused(lambda: read_upload(path), "201 MB", "200 MB")
    refused(lambda: read_upload(tmp_path / "none.csv"), "cannot be opened")


def test_a_parquet_bomb_is_refused_before_it_unpacks():
    rows = 30_000_000
    table = pa.table({f"x{i}": pa.array(np.zeros(rows, np.int8)) for i in range(2)})
    bomb = parquet(table, compression="zstd")
    del table
    assert len(bomb) < 300_000
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    refused(lambda: read_upload(bomb, "b.parquet", unpacked=200 * 2**20), "unpacks to more")
    refused(lambda: read_upload(bomb, "b.parquet", rows=10**6), "30,000,000 rows")
    assert pa.total_allocated_bytes() - before < 2**20
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_long_string_repeated_is_held_once():
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), ["x" * 10_000])
    bomb = parquet(pa.table({"word": long.cast(pa.string())}))
    assert len(bomb) < 500_000
    made = read_upload(bomb, "b.parquet", unpacked=64 * 2**20, rows=10**6)
    assert len(made) == 20_000


def test_a_gzip_bomb_is_refused_as_it_unpacks():
    bomb = gzip.compress(b"x\n" + b"1\n" * 10_000_000)
    assert len(bomb) < 50_000
    refused(lambda: read_upload(bomb, "b.csv.gz", unpacked=8 * 2**20), "unpacks to more")


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =cmd()"])
def test_text_that_a_spreadsheet_would_run_is_made_harmless(text):
    assert safe_cell(text) == "'" + text
    assert safe_cell("plain") == "plain" and safe_cell(-1.5) == -1.5
