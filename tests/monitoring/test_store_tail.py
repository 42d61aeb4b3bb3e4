"""Reading on in a log: every row once, in order, and whatever happens to the files meanwhile."""

import shutil
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsys.monitoring import segments
from mlsys.monitoring.store import Log, Writer
from mlsys.monitoring.store_tail import LogReplaced, Tail

sys.path.insert(0, str(Path(__file__).parent))
from kill_child import START, batch, write_many


def ids(tail: Tail) -> list[int]:
    return [one for table in tail.new() for one in table.column("id").to_pylist()]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.sampled_from(["append", "append", "read", "compact", "reopen"]),
                     max_size=25))  # fmt: skip
def test_each_row_is_read_once_and_in_order(tmp_path_factory, acts):
    folder = tmp_path_factory.mktemp("log")
    tail, sent, read = Tail(Log(folder)), 0, []
    writer = Writer(folder, durable=False, segment_bytes=4_000, compact=False)
    for act in acts:
        if act == "append":
            writer.append(batch(sent, 1 + sent % 37))
            sent += 1 + sent % 37
        elif act == "read":
            read += ids(tail)
            assert read == list(range(sent))
        elif act == "compact":
            writer.compact()
        else:
            writer.close()
            writer = Writer(folder, durable=False, segment_bytes=4_000, compact=False)
    writer.close()
    assert read + ids(tail) == list(range(sent)) and ids(tail) == []


def test_a_reader_follows_a_writer_that_compacts(tmp_path):
    done, failures, read = threading.Event(), [], []

    def follow():
        tail = Tail(Log(tmp_path))
        try:
            while not done.is_set():
                read.extend(ids(tail))
            read.extend(ids(tail))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    write_many(tmp_path)
    done.set()
    thread.join()
    assert not failures and read == list(range(4_000))


@pytest.mark.parametrize("asked", ["segments", "files"])
def test_a_log_may_begin_while_it_is_looked_at(tmp_path, monkeypatch, asked):
    tail, listed = Tail(Log(tmp_path / "log")), getattr(Log, asked)

    def list_late(log):
        if not tmp_path.joinpath("log").exists():
            with Writer(tmp_path / "log", segment_bytes=4_000, durable=False) as writer:
                for first in range(0, 400, 20):
                    writer.append(batch(first, 20))
        found = listed(log)
        return found[:1] if asked == "files" else found  # as of a writer that goes on writing

    monkeypatch.setattr(Log, asked, list_late)
    read = ids(tail)
    monkeypatch.undo()
    assert read + ids(tail) + ids(tail) == list(range(400))


def test_a_torn_frame_is_read_when_it_is_whole(tmp_path):
    with Writer(tmp_path, durable=False) as writer:
        writer.append(batch(0, 5))
        tail = Tail(Log(tmp_path))
        assert ids(tail) == list(range(5))
        writer.append(batch(5, 5))
    (segment,) = tmp_path.glob("*.log")
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-7])
    assert ids(tail) == []
    segment.write_bytes(whole)
    assert ids(tail) == list(range(5, 10))


def replaced_as_a_whole(folder):
    shutil.rmtree(folder)
    with Writer(folder, segment_bytes=4_000) as writer:
        writer.append(batch(0, 400))


def forgotten_in_part(folder):
    with Writer(folder) as writer:
        assert writer.forget((START + timedelta(days=2)).date()) > 0


def another_parquet_file(folder):
    path = next(folder.glob("day=*/*.parquet"))
    path.write_bytes(path.read_bytes() + b" ")


def another_segment(folder):
    (path,) = [one for one in folder.glob("*.log") if one.stat().st_size]
    path.write_bytes(segments.encode(batch(500, 60)))


@pytest.mark.parametrize(
    "act", [replaced_as_a_whole, forgotten_in_part, another_parquet_file, another_segment]
)
def test_a_log_that_is_not_the_one_that_was_read_is_noticed(tmp_path, act):
    folder = tmp_path / "log"
    with Writer(folder, segment_bytes=4_000) as writer:
        for first in range(0, 200, 20):
            writer.append(batch(first, 20))
        writer.append(batch(200, 1))
    tail = Tail(Log(folder))
    assert ids(tail) == list(range(201))
    act(folder)
    with pytest.raises(LogReplaced):
        ids(tail)
