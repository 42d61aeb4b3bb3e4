"""Histories: pairing, three notations, and sentences for what cannot be read."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.cap.history import MISMATCH, Event, History, HistoryError

DATA = Path(__file__).parent / "data"

words = st.text(max_size=8)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words
values = plain | st.lists(plain, max_size=3).map(tuple) | st.frozensets(words, max_size=3)
# Whole nanoseconds, up to some months: what EDN keeps.
times = st.integers(0, 10**16).map(lambda ns: ns / 1e6)


@st.composite
def events(draw):
    f = draw(st.sampled_from(["read", "write", "cas", "append", "add"]))
    kind = draw(st.sampled_from(["invoke", "ok", "fail", "info"]))
    value = draw(values)
    if f == "cas":
        value = (draw(plain), draw(plain))
    if f == "read" and kind != "ok":
        value = None
    note = draw(words) if kind in ("fail", "info") else ""
    if f == "read" and isinstance(value, str) and kind != "ok":
        value = None
    key = draw(st.none() | words)
    return Event(draw(times), draw(st.integers(0, 9)), kind, f, key, value, note)


histories = st.lists(events(), max_size=6).map(lambda made: History(tuple(made)))


@given(histories)
@settings(max_examples=80, deadline=None)
def test_a_history_goes_through_edn_and_comes_back_equal(history):
    text = history.to_edn()
    assert History.from_edn(text) == history
    assert text.count("\n") == len(history)


@given(histories)
@settings(max_examples=80, deadline=None)
def test_a_history_goes_through_json_and_comes_back_equal(history):
    text = history.to_json()
    assert History.from_json(text) == history
    assert History.from_text(text) == history
    assert json.loads(text)["events"] is not None


def test_jepsens_edn_is_read_without_its_nemesis():
    history = History.from_text((DATA / "stale_after_failover.edn").read_text())
    assert len(history) == 8
    assert history.keys() == ["x", "y"]
    first, second, read, absent = history.operations()
    assert (first.start, first.end, first.argument) == (0, 4, 1)
    assert (second.start, second.end) == (5, 9)
    assert (read.f, read.result, read.start, read.end, read.process) == ("read", 1, 12, 13, 1)
    assert absent.result is None and absent.key == "y"


def test_one_vector_of_maps_reads_like_one_map_a_line():
    lines = (DATA / "stale_after_failover.edn").read_text()
    assert History.from_edn(f"[\n{lines}\n]") == History.from_edn(lines)


def test_an_etcd_log_is_read_with_its_timeouts_and_refusals():
    history = History.from_text((DATA / "etcd_style.log").read_text())
    shapes = [(op.f, op.argument, op.result, op.status) for op in history.operations()]
    assert shapes == [
        ("read", None, None, "ok"),
        ("write", 4, None, "ok"),
        ("cas", (3, 1), False, "ok"),
        ("cas", (4, 2), True, "ok"),
        ("write", 0, None, "info"),
        ("read", None, 2, "ok"),
    ]
    unknown = history.operations()[4]
    assert unknown.end == math.inf and unknown.returned == -1
    assert any(event.note == "timed-out" for event in history.events)


def test_porcupines_gets_and_puts_are_reads_and_writes():
    text = (
        '{:process 0, :type :invoke, :f :put, :key "3", :value "a"}\n'
        '{:process 1, :type :invoke, :f :get, :key "3", :value nil}\n'
        '{:process 1, :type :ok, :f :get, :key "3", :value ""}\n'
        '{:process 0, :type :ok, :f :put, :key "3", :value "a"}\n'
    )
    write, read = History.from_text(text).operations()
    assert (write.f, read.f, read.result) == ("write", "read", "")
    assert (write.index, write.returned, read.index, read.returned) == (0, 3, 1, 2)


def test_a_failed_operation_is_none_unless_it_saw_another_value():
    def cas(note):
        return History(
            (
                Event(0, 0, "invoke", "cas", "x", (1, 2)),
                Event(1, 0, "fail", "cas", "x", (1, 2), note),
            )
        )

    assert cas("no quorum").operations() == []
    assert [op.result for op in cas(MISMATCH).operations()] == [False]


def test_an_operation_that_nobody_answered_may_happen_any_time_later():
    history = History((Event(2.5, 7, "invoke", "write", "x", 1),))
    (operation,) = history.operations()
    assert operation.status == "info" and operation.end == math.inf
    assert "process 7 write x 1, outcome unknown" in str(operation)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([("ok", 3)], "process 3 is answered (ok read) but had asked nothing"),
        ([("invoke", 3), ("invoke", 3)], "asks again before it was answered"),
    ],
)
def test_a_history_that_makes_no_sense_is_refused(events, says):
    made = tuple(
        Event(n, process, kind, "read", "x", None) for n, (kind, process) in enumerate(events)
    )
    with pytest.raises(HistoryError) as caught:
        History(made).operations()
    assert says in str(caught.value)


GOOD = "{:process 0, :type :invoke, :f :read, :value nil}\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (GOOD + "{:process 0, :type :ok, :f :read, :value", 2, "never closed"),
        (GOOD + GOOD + "[1 2]", 3, "must be a map"),
        (GOOD + "{:type :ok, :f :read}", 2, "no numbered :process"),
        (GOOD + "{:process 1.5, :type :ok, :f :read}", 2, "no numbered :process"),
        (GOOD + "{:process 1, :type :done, :f :read}", 2, "'done' is none of"),
        (GOOD + "{:process 1, :type :ok}", 2, "has no name"),
        (GOOD + "{:process 1, :type :invoke, :f :cas, :value 3}", 2, "a cas needs [old new]"),
        (GOOD + '{:process 1, :type :ok, :f :read, :time "now"}', 2, "is not a number"),
        (GOOD + "{:process 1, :type :ok, :f :read, :time ##Inf}", 2, "is not a number"),
    ],
)
def test_malformed_edn_is_refused_with_its_line(text, line, says):
    with pytest.raises(HistoryError) as caught:
        History.from_edn(text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"Line {line}: ") and says in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"events": [', "Line 1"),
        ("[1]", '"events"'),
        ('{"events": [3]}', "Event 1: an event must be an object"),
        ('{"events": [{"process": true}]}', "process True is not a whole number"),
        ('{"events": [{"process": 1, "time": "x"}]}', "is not a number"),
        ('{"events": [{"process": 1, "type": "ok", "f": 3}]}', "has no name"),
        ("[" * 100_000, "nested too deep"),
        (
            '{"events": [{"process": 1, "type": "ok", "f": "read", "value": '
            + ("[" * 400 + "]" * 400)
            + "}]}",
            "nested too deep",
        ),
    ],
)
def test_malformed_json_is_refused_with_a_sentence(text, says):
    with pytest.raises(HistoryError) as caught:
        History.from_json(text)
    assert says in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["", "  \n", "\ufeff"])
def test_an_empty_text_is_no_history(text):
    with pytest.raises(HistoryError, match="empty"):
        History.from_text(text)


def test_a_log_line_of_a_client_that_cannot_be_read_names_its_line():
    text = "INFO  jepsen.util - 0 :invoke :read nil\nINFO  jepsen.util - 0 :ok :read [1\n"
    with pytest.raises(HistoryError) as caught:
        History.from_text(text)
    assert caught.value.line == 2


@given(st.text(alphabet='{}[]":,\n processtyfokvalue01', max_size=80))
@settings(max_examples=80, deadline=None)
def test_any_text_is_read_or_refused_by_a_sentence(text):
    try:
        History.from_text(text)
    except HistoryError as error:
        assert "\n" not in str(error)
