"""Sequential and causal consistency against their definitions, and stale reads counted by hand."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.cap.checker import check
from mlsys.cap.consistency import check_causal, check_sequential, stale_reads
from mlsys.cap.history import Event, History, HistoryError
from mlsys.cap.models import ILLEGAL, register

DATA = Path(__file__).parent / "data"


def lines(text):
    """`PROCESS TYPE F KEY VALUE` a line, 1 ms apart; nil and whole numbers as values."""
    events = []
    for time, line in enumerate(text.strip().splitlines()):
        process, kind, f, key, value = line.split(maxsplit=4)
        value = None if value == "nil" else int(value) if value.isdigit() else value
        events.append(Event(float(time), int(process), kind, f, key, value))
    return History(tuple(events))


def done(*operations):
    """(process, f, key, value) one after another, none overlapping."""
    events = []
    for n, (process, f, key, value) in enumerate(operations):
        asked = None if f == "read" else value
        events.append(Event(2.0 * n, process, "invoke", f, key, asked))
        events.append(Event(2.0 * n + 1, process, "ok", f, key, value))
    return History(tuple(events))


@st.composite
def histories(draw):
    """Up to five operations of up to three processes on two keys; values written once."""
    events = []
    n = draw(st.integers(1, 5))
    for number in range(n):
        process, key = draw(st.integers(0, 2)), draw(st.sampled_from("xy"))
        if draw(st.booleans()):
            kind = draw(st.sampled_from(["ok", "ok", "ok", "info"]))
            events.append((process, "write", key, number, kind))
        else:
            seen = draw(st.none() | st.integers(0, n - 1))
            events.append((process, "read", key, seen, "ok"))
    rows = []
    for number, (process, f, key, value, kind) in enumerate(events):
        rows.append(Event(2.0 * number, process, "invoke", f, key, None if f == "read" else value))
        rows.append(Event(2.0 * number + 1, process, kind, f, key, value))
    return History(tuple(rows))


def sequential_by_definition(history):
    operations = history.operations()
    sure = [op for op in operations if op.status == "ok"]
    maybe = [op for op in operations if op.status == "info"]
    for size in range(len(maybe) + 1):
        for taken in itertools.combinations(maybe, size):
            if any(map(_keeps_program_order_and_answers, itertools.permutations([*sure, *taken]))):
                return True
    return False


def _keeps_program_order_and_answers(order):
    states = {}
    for place, op in enumerate(order):
        for later in order[place + 1 :]:
            # An operation of unknown outcome holds up nothing that its process did later.
            if later.process == op.process and later.index < op.index and later.status == "ok":
                return False
        after = register().step(states.get(op.key), op)
        if after is ILLEGAL:
            return False
        states[op.key] = after
    return True


@given(histories())
@settings(max_examples=300, deadline=None)
def test_the_sequential_check_agrees_with_the_definition(history):
    assert check_sequential(history).holds is sequential_by_definition(history)


@given(histories())
@settings(max_examples=300, deadline=None)
def test_each_promise_implies_the_weaker_one(history):
    if check(history).linearizable:
        assert check_sequential(history).holds
        assert not stale_reads(history).stale and not stale_reads(history).unwritten
    if check_sequential(history).holds:
        assert check_causal(history).holds


def test_a_stale_read_of_another_process_is_sequential_but_not_linearizable():
    history = done((0, "write", "x", 1), (1, "read", "x", None))
    assert check(history, model="register").linearizable is False
    assert check_sequential(history).holds and check_causal(history).holds


def test_sequential_consistency_does_not_compose_over_keys():
    crossed = (
        (0, "write", "x", 1), (0, "read", "y", None),
        (1, "write", "y", 2), (1, "read", "x", None),
    )  # fmt: skip
    history = done(*crossed)
    assert check_sequential(history).holds is False
    for key in "xy":
        assert check_sequential(done(*(op for op in crossed if op[2] == key))).holds


def test_two_readers_who_disagree_on_the_order_are_causal_but_not_sequential():
    history = done(
        (0, "write", "x", 1), (1, "write", "x", 2),
        (2, "read", "x", 1), (2, "read", "x", 2),
        (3, "read", "x", 2), (3, "read", "x", 1),
    )  # fmt: skip
    finding = check_sequential(history)
    assert finding.holds is False and "No order" in finding.reason
    assert check_causal(history).holds


def test_an_answer_seen_before_its_question_breaks_causality():
    history = done(
        (0, "write", "question", 1),
        (1, "read", "question", 1),
        (1, "write", "answer", 2),
        (2, "read", "answer", 2),
        (2, "read", "question", None),
    )
    finding = check_causal(history)
    assert finding.holds is False
    assert [op.describe() for op in finding.operations] == [
        "write question ← 1",
        "read question → None",
    ]
    assert "process 2 read question → None" in finding.reason


def test_causality_is_broken_by_going_back_by_inventing_and_by_circles():
    back = done((0, "write", "x", 1), (0, "write", "x", 2), (1, "read", "x", 2),
                (1, "read", "x", 1))  # fmt: skip
    assert "2 had replaced" in check_causal(back).reason
    assert "nobody wrote 9" in check_causal(done((0, "read", "x", 9))).reason
    circle = done((0, "read", "x", 1), (0, "write", "y", 2), (1, "read", "y", 2),
                  (1, "write", "x", 1))  # fmt: skip
    assert "circle" in check_causal(circle).reason


def test_a_hard_sequential_history_ends_within_its_steps():
    writes = [(p, "write", "x", 10 * p + n) for p in range(6) for n in range(6)]
    history = done(*writes, (7, "read", "x", 99))
    finding = check_sequential(history, steps=500)
    assert finding.holds is None and "500 steps" in finding.reason


def test_checks_for_small_histories_refuse_large_ones_and_repeated_values():
    large = done(*((0, "write", "x", n) for n in range(2_001)))
    for judge in (check_sequential, check_causal):
        with pytest.raises(HistoryError, match="at most 2,000 operations"):
            judge(large)
    with pytest.raises(HistoryError, match="written once; 5 was written again by process 1"):
        check_causal(done((0, "write", "x", 5), (1, "write", "x", 5)))


# --- stale reads ----------------------------------------------------------------------------------


def test_a_stale_read_is_counted_by_time_and_by_versions():
    staleness = stale_reads(History.from_text((DATA / "stale_after_failover.edn").read_text()))
    assert staleness.reads == 2 and staleness.share == 0.5
    (stale,) = staleness.stale
    assert (stale.ms, stale.versions) == (3, 1)
    assert staleness.older_than(2.9) == 1 and staleness.older_than(3) == 0


def test_the_age_runs_from_the_first_write_missed():
    history = done(
        *((0, "write", "x", n) for n in range(4)),
        (1, "read", "x", 0),
        (1, "read", "x", 3),
        (1, "read", "x", None),
    )
    staleness = stale_reads(history)
    assert [(s.ms, s.versions) for s in staleness.stale] == [(8 - 3, 3), (12 - 1, 4)]
    assert staleness.by_versions() == {3: 1, 4: 1}


def test_writes_that_overlap_make_no_read_stale_for_certain():
    history = lines(
        "0 invoke write x 1\n1 invoke write x 2\n0 ok write x 1\n1 ok write x 2\n"
        "2 invoke read x nil\n2 ok read x 1\n2 invoke read x nil\n2 ok read x 2"
    )
    assert stale_reads(history).stale == ()


def test_a_value_that_nobody_wrote_is_no_stale_read():
    staleness = stale_reads(done((0, "write", "x", 1), (1, "read", "x", 9)))
    assert [op.result for op in staleness.unwritten] == [9] and staleness.stale == ()


def test_siblings_are_as_fresh_as_the_freshest_of_them():
    both = done((0, "write", "x", 1), (1, "write", "x", 2), (2, "read", "x", (1, 2)))
    assert stale_reads(both).stale == () and stale_reads(both).unwritten == ()
    old = done((0, "write", "x", 1), (1, "write", "x", 2), (2, "read", "x", (1,)))
    assert [stale.versions for stale in stale_reads(old).stale] == [1]


@pytest.mark.parametrize("whole", [(1, 3), "1-3-"])
def test_an_acknowledged_append_that_is_missing_is_a_version_missed(whole):
    elements = (1, 2, 3) if isinstance(whole, tuple) else ("1-", "2-", "3-")
    history = done(*((0, "append", "x", e) for e in elements), (1, "read", "x", whole))
    (stale,) = stale_reads(history).stale
    assert (stale.ms, stale.versions) == (6 - 3, 1)


def test_an_empty_history_has_no_share_of_stale_reads():
    assert stale_reads(History(())).share == 0
