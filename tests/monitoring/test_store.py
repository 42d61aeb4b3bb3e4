"""The log: nothing acknowledged is lost or doubled, readers never stand in the way."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsys.monitoring import segments
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.store import Log, Store, Writer

sys.path.insert(0, str(Path(__file__).parent))
from kill_child import START, batch, write_many

KILLS = int(os.environ.get("MLSYS_KILLS") or (40 if os.environ.get("MLSYS_EXHAUSTIVE") else 15))


def ids(log: Log, **where) -> list[int]:
    table = log.read(**where)
    return table.column("id").to_pylist() if table.num_rows else []


def test_rows_come_back_in_order_from_segments_and_from_parquet(tmp_path):
    with Writer(tmp_path, segment_bytes=5_000) as writer:
        for first in range(0, 300, 10):
            writer.append(batch(first, 10))
    log = Log(tmp_path)
    assert ids(log) == list(range(300))
    assert list(tmp_path.glob("day=2026-01-0*/*.parquet")) and list(tmp_path.glob("*.log"))


def test_a_day_can_be_read_alone(tmp_path):
    with Writer(tmp_path, segment_bytes=5_000) as writer:
        for first in range(0, 300, 10):
            writer.append(batch(first, 10))
    day = START + timedelta(days=3)
    found = ids(Log(tmp_path), since=day, until=day + timedelta(days=1))
    assert found == list(range(3 * 36, 4 * 36))  # 36 rows a day, 40 minutes apart


def test_a_log_that_nobody_has_written_is_empty(tmp_path):
    assert Log(tmp_path / "none").read().num_rows == 0
    assert Log(tmp_path / "none").read(columns=["id"]).column_names == ["id"]
    assert Store(tmp_path / "none").joined().num_rows == 0


def test_a_column_that_no_row_has_gets_a_sentence(tmp_path):
    with Writer(tmp_path) as writer:
        writer.append(batch(0, 5))
    assert Log(tmp_path).read(columns=["id"]).column_names == ["id"]
    with pytest.raises(MonitoringError, match="'nothing'; it has at, id, text"):
        Log(tmp_path).read(columns=["nothing"])


def test_duckdb_reads_the_days(tmp_path):
    with Writer(tmp_path, segment_bytes=100) as writer:
        writer.append(batch(0, 100))
    paths = [str(path) for path in Log(tmp_path).files()]
    found = duckdb.sql("select count(*), max(id) from read_parquet(?)", params=[paths]).fetchall()
    assert found == [(100, 99)]


@pytest.fixture
def nursery():
    """A process that has imported the store and forks a writer in milliseconds."""
    program = [sys.executable, str(Path(__file__).parent / "kill_child.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.stdin.close()
        process.wait(120)


def ask(nursery, *words) -> int:
    nursery.stdin.write(" ".join(map(str, words)) + "\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_minus_nine_at_any_instant_loses_nothing_acknowledged(tmp_path, nursery):
    rng = random.Random(0)
    folder, notes = tmp_path / "log", tmp_path / "acknowledged"
    notes.touch()
    first = 0
    for _ in range(KILLS):
        wanted = len(notes.read_bytes().split()) + rng.randint(1, 8)
        child = ask(nursery, folder, notes, first)
        deadline = time.monotonic() + 120
        while len(notes.read_bytes().split()) < wanted:
            assert time.monotonic() < deadline, "the writer stands still"
            time.sleep(0.001)
        time.sleep(rng.random() * 0.02)  # the instant of the kill is what is tried
        os.kill(child, signal.SIGKILL)
        assert ask(nursery) == signal.SIGKILL, "the writer ended by itself"
        acknowledged = int(notes.read_text().rsplit("\n", 2)[-2])
        found = ids(Log(folder))
        # Each once and in order; at most one batch was written whole but not yet acknowledged.
        assert found == list(range(len(found)))
        assert acknowledged <= len(found) <= acknowledged + 37
        first = len(found)
    assert len(list(folder.glob("day=*/*.parquet"))) > 3  # kills fell among compactions too
    with Writer(folder) as writer:
        writer.compact()
    assert ids(Log(folder)) == list(range(first))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_power_cut_at_any_byte_keeps_every_whole_frame(data):
    parts = [segments.encode(batch(5 * i, 5)) for i in range(4)]
    file = b"".join(parts)
    cut = data.draw(st.integers(0, len(file)))
    found = [i for table in segments.frames(file[:cut]) for i in table.column("id").to_pylist()]
    whole = sum(cut >= sum(map(len, parts[: k + 1])) for k in range(4))
    assert found == list(range(5 * whole))
    assert segments.damaged_bytes(file[:cut]) == cut - sum(map(len, parts[:whole]))


@settings(max_examples=60)
@given(st.data())
def test_a_flipped_bit_costs_one_frame_and_is_counted(data):
    parts = [segments.encode(batch(5 * i, 5)) for i in range(4)]
    file = bytearray(b"".join(parts))
    place = data.draw(st.integers(0, len(file) - 1))
    file[place] ^= 1 << data.draw(st.integers(0, 7))
    tables = list(segments.frames(bytes(file)))
    assert len(tables) == 3
    assert segments.damaged_bytes(bytes(file)) >= min(map(len, parts))
    for table in tables:  # what is left is what was written
        first = table.column("id")[0].as_py()
        assert table.equals(batch(first, 5).cast(table.schema))


def test_a_crash_between_parquet_and_deletion_doubles_nothing(tmp_path):
    with Writer(tmp_path, compact=False) as writer:
        writer.append(batch(0, 50))
    (segment,) = tmp_path.glob("*.log")
    kept = segment.read_bytes()
    with Writer(tmp_path) as writer:
        writer.compact()
    assert not segment.exists()
    segment.write_bytes(kept)  # as if the process had died before it could delete
    assert ids(Log(tmp_path)) == list(range(50))
    with Writer(tmp_path) as writer:
        writer.compact()
    assert ids(Log(tmp_path)) == list(range(50))


def test_a_reader_sees_a_beginning_without_gaps_while_the_writer_compacts(tmp_path):
    done = threading.Event()
    seen = []

    def read():
        while not done.is_set():
            found = ids(Log(tmp_path))
            assert found == list(range(len(found)))
            seen.append(len(found))

    failures = []
    thread = threading.Thread(target=lambda: _catch(read, failures))
    thread.start()
    write_many(tmp_path)
    done.set()
    thread.join()
    assert not failures and seen == sorted(seen)
    assert ids(Log(tmp_path)) == list(range(4_000))


def _catch(work, failures):
    try:
        work()
    except BaseException as error:
        failures.append(error)


def test_old_days_go_and_young_ones_stay(tmp_path):
    with Writer(tmp_path, segment_bytes=100) as writer:
        writer.append(batch(0, 360))
        assert writer.forget(date(2026, 1, 4)) == 3 * 36
    assert ids(Log(tmp_path)) == list(range(3 * 36, 360))


def test_two_writers_are_one_too_many(tmp_path):
    with Writer(tmp_path), pytest.raises(MonitoringError, match="one log has one writer"):
        Writer(tmp_path)
    Writer(tmp_path).close()


def test_a_column_that_turns_into_text_is_read_as_text_from_its_first_row(tmp_path):
    at = pa.array([datetime(2026, 1, 1, tzinfo=UTC)])
    with Writer(tmp_path) as writer:
        writer.append(pa.table({"at": at, "x": [1.5]}))
        writer.append(pa.table({"at": at, "x": ["1,5"], "new": [True]}))
    table = Log(tmp_path).read()
    assert table.column("x").to_pylist() == ["1.5", "1,5"]
    assert table.column("new").to_pylist() == [None, True]


@pytest.mark.parametrize(
    "columns, word",
    [
        ({"id": [1]}, "'at'"),
        ({"at": [1.0]}, "double"),
        ({"at": pa.array([None], pa.timestamp("us"))}, "no time"),
    ],
)
def test_rows_without_a_time_are_refused(tmp_path, columns, word):
    with Writer(tmp_path) as writer, pytest.raises(MonitoringError, match=word):
        writer.append(pa.table(columns))


def test_times_in_nanoseconds_are_kept_to_the_microsecond(tmp_path):
    at = pa.array([1_000_001_999], pa.timestamp("ns", tz="UTC"))
    with Writer(tmp_path) as writer:
        writer.append(pa.table({"id": ["a"], "at": at}))
    assert Log(tmp_path).read().column("at").cast(pa.int64()).to_pylist() == [1_000_001]


def test_a_full_disk_gets_a_sentence_and_leaves_no_half_row(tmp_path, monkeypatch):
    writer = Writer(tmp_path)
    writer.append(batch(0, 5))

    def full(stream):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segments, "sync", full)
    with pytest.raises(MonitoringError, match="No space left"):
        writer.append(batch(5, 5))
    with pytest.raises(MonitoringError, match="closed"):
        writer.append(batch(5, 5))
    writer.close()
    assert ids(Log(tmp_path)) == list(range(5))


def test_labels_join_their_predictions_and_the_first_one_counts(tmp_path):
    store = Store(tmp_path)
    late = START + timedelta(days=2)
    with Writer(tmp_path / "predictions") as writer:
        writer.append(batch(0, 3))
    assert store.joined().column("label").null_count == 3
    with Writer(tmp_path / "labels") as writer:
        times = pa.array([late, late + timedelta(hours=1), late])
        writer.append(pa.table({"at": times, "id": [1, 1, 2], "label": [1, 0, 0]}))
    table = store.joined()
    assert table.column("id").to_pylist() == [0, 1, 2]
    assert table.column("label").to_pylist() == [None, 1, 0]
    assert table.column("label_at")[1].as_py() == late
