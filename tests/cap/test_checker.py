"""The linearizability checker: against the definition, on known histories, within its budget.

`test_checker_brute_force.py` holds the complete enumeration. MLSYS_HISTORIES names a folder that
holds Porcupine's `test_data` and its `porcupine_test.go`, which states the verdicts; without it
the public histories are left out.
"""

import itertools
import os
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.cap.checker import LINEARIZABLE, NOT_LINEARIZABLE, UNKNOWN, check
from mlsys.cap.history import MISMATCH, Event, History, HistoryError, Operation
from mlsys.cap.models import ILLEGAL, cas_register, find_model, key_value, log, register

DATA = Path(__file__).parent / "data"


REGISTER = [
    ("write", 1, None),
    ("write", 2, None),
    ("read", None, None),
    ("read", None, 1),
    ("read", None, 2),
]
CAS = [
    *REGISTER,
    ("cas", (1, 2), True),
    ("cas", (2, 1), True),
    ("cas", (1, 2), False),
    ("cas", (2, 1), False),
]


def is_explained(model, operations):
    """By definition: some order of all answered and any of the unknown operations."""
    sure = [op for op in operations if op.returned >= 0]
    maybe = [op for op in operations if op.returned < 0]
    for size in range(len(maybe) + 1):
        for taken in itertools.combinations(maybe, size):
            for order in itertools.permutations([*sure, *taken]):
                if all(
                    not 0 <= later.returned < earlier.index
                    for earlier, later in itertools.combinations(order, 2)
                ) and _runs(model, order):
                    return True
    return False


def _runs(model, order):
    state = model.initial
    for op in order:
        state = model.step(state, op)
        if state is ILLEGAL:
            return False
    return True


@st.composite
def small_histories(draw, labels):
    """Up to five operations in any overlap; some never answered."""
    n = draw(st.integers(1, 5))
    places = draw(st.permutations([i for i in range(n) for _ in range(2)]))
    events, open_ = [], set()
    for at, process in enumerate(places):
        f, argument, result = draw(st.shared(st.sampled_from(labels), key=f"label {process}"))
        if process not in open_:
            open_.add(process)
            events.append(Event(float(at), process, "invoke", f, None, argument))
        elif result is False:
            events.append(Event(float(at), process, "fail", f, None, argument, MISMATCH))
        elif draw(st.integers(0, 3)):
            value = result if f == "read" else argument
            events.append(Event(float(at), process, "ok", f, None, value))
        else:
            events.append(Event(float(at), process, "info", f, None, argument))
    return History(tuple(events))


LOG = [
    ("append", 1, None),
    ("append", 2, None),
    ("read", None, ()),
    ("read", None, (1,)),
    ("read", None, (2,)),
    ("read", None, (1, 2)),
    ("read", None, (2, 1)),
]
STRINGS = [
    ("append", "a", None),
    ("append", "b", None),
    ("write", "ab", None),
    ("read", None, ""),
    ("read", None, "ab"),
    ("read", None, "b"),
]


@pytest.mark.parametrize(
    ("labels", "model"),
    [(REGISTER, register()), (CAS, cas_register()), (LOG, log()), (STRINGS, key_value())],
    ids=["register", "cas-register", "log", "key-value"],
)
def test_verdict_and_witness_agree_with_the_definition(labels, model):
    @given(small_histories(labels))
    @settings(max_examples=120, deadline=None)
    def agree(history):
        operations = [op for op in history.operations() if op.status == "ok" or op.f != "read"]
        verdict = check(history, model=model)
        assert verdict.linearizable is is_explained(model, operations)
        if verdict.witness is not None:
            check_witness(model, verdict, operations)

    agree()


def check_witness(model, verdict, operations):
    witness = verdict.witness
    assert set(witness.operations) <= set(operations)
    assert witness.culprit in witness.operations and witness.smallest
    assert witness.culprit.f == "read" or witness.culprit.f == "cas"
    assert witness.end == witness.culprit.end
    assert witness.reason.startswith(str(witness.culprit)) and witness.reason.endswith(".")
    if model.name != "log":  # of a log, reads are cut down together with the elements left out
        assert not is_explained(model, witness.operations)
    # Without the culprit, and with what returned after it as still running, it makes sense again.
    rest = [
        op if op.returned < witness.culprit.returned else replace(op, status="info", returned=-1)
        for op in witness.operations
        if op is not witness.culprit
    ]
    assert model.name == "log" or is_explained(model, rest)


# --- larger histories --------------------------------------------------------------------------


def recorded(seed, model, *, operations=60, processes=5, keys=3):
    """A history that is linearizable because a single copy made it: each operation takes effect
    at one instant between its two events."""
    rng = random.Random(seed)
    states, free = {}, [0.0] * processes
    events = []
    for number in range(operations):
        process = min(range(processes), key=free.__getitem__)
        start = free[process] + rng.random()
        instant = start + rng.random() * 5
        free[process] = instant + rng.random() * 5
        events.append((instant, start, free[process], process, number))
    rows = []
    for _, start, end, process, number in sorted(events):
        key = f"k{rng.randrange(keys)}"
        state = states.get(key, model.initial)
        f = rng.choice(sorted(model.operations))
        argument = {
            "read": None,
            "cas": (state if rng.random() < 0.5 else -1, number),
            "append": f"<{number}>" if model.name == "key-value" else number,
        }.get(f, f"<{number}>" if model.name == "key-value" else number)
        kind, value, note = "ok", argument, ""
        if f == "read":
            value = state
        elif f == "cas" and argument[0] != state:
            kind, note = "fail", MISMATCH
        else:
            done = Operation(process, f, key, argument, True, start, end, "ok", 0, 1)
            states[key] = model.step(state, done)
        rows.append(Event(start, process, "invoke", f, key, argument))
        rows.append(Event(end, process, kind, f, key, value, note))
    return History(tuple(sorted(rows, key=lambda event: event.time)))


MODELS = [register(), cas_register(), key_value(), log()]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_what_a_single_copy_answered_is_linearizable(model):
    for seed in range(15):
        verdict = check(recorded(seed, model), model=model.name)
        assert verdict.answer == LINEARIZABLE and verdict.linearizable is True
        assert verdict.operations == 60
        assert "one order of all 60 operations" in str(verdict)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_one_false_answer_among_many_is_found_and_shown(model):
    history = recorded(3, model)
    last = max(
        n for n, event in enumerate(history.events) if event.f == "read" and event.type == "ok"
    )
    false = history.events[last]
    wrong = Event(
        false.time, false.process, "ok", "read", false.key, ("no",) if model == log() else "no"
    )
    events = (*history.events[:last], wrong, *history.events[last + 1 :])
    verdict = check(History(events), model=model)
    assert verdict.answer == NOT_LINEARIZABLE
    assert verdict.witness.culprit.end == false.time
    assert len(verdict.witness.operations) <= 4 or model == key_value()


def test_a_stale_read_after_failover_is_explained_by_three_operations():
    verdict = check(History.from_text((DATA / "stale_after_failover.edn").read_text()))
    assert verdict.answer == NOT_LINEARIZABLE and verdict.linearizable is False
    assert [op.describe() for op in verdict.witness.operations] == [
        "write x ← 1",
        "write x ← 2",
        "read x → 1",
    ]
    assert str(verdict) == (
        "Not linearizable: process 1 read x → 1 (12–13 ms) is impossible: 2 had replaced 1, 3 ms"
        " before it began (process 0, acknowledged at 9 ms)."
    )
    assert (verdict.witness.start, verdict.witness.end) == (0, 13)


def lines(text):
    """`PROCESS TYPE F VALUE` a line, one object, 1 ms apart."""
    return History.from_log(
        "\n".join(
            "INFO jepsen.util - {} :{} :{} {}".format(*line.split(maxsplit=3))
            for line in text.strip().splitlines()
        )
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 invoke read nil\n0 ok read 7", "nobody had written 7 before it ended"),
        (
            "0 invoke write 1\n1 invoke read nil\n1 ok read 1\n2 invoke read nil\n2 ok read nil"
            "\n0 ok write 1",
            "process 1 had already read 1 by 2 ms",
        ),
        (
            "0 invoke write 1\n0 ok write 1\n1 invoke cas [1 2]\n1 fail cas [1 2]",
            "the value was 1 all the while",
        ),
        (
            "0 invoke append 1\n0 ok append 1\n1 invoke read nil\n1 ok read []",
            "1 is missing, whose append was acknowledged at 1 ms, 1 ms before it began",
        ),
    ],
)
def test_the_reason_names_what_makes_the_answer_impossible(text, says):
    verdict = check(lines(text))
    assert verdict.answer == NOT_LINEARIZABLE
    assert says in verdict.witness.reason


def test_an_unknown_write_may_take_effect_late_or_never():
    late = "0 invoke write 1\n0 info write :timed-out\n1 invoke read nil\n1 ok read nil\n"
    assert check(lines(late + "1 invoke read nil\n1 ok read 1")).linearizable
    assert check(lines(late + "1 invoke read nil\n1 ok read nil")).linearizable
    back = late + "1 invoke read nil\n1 ok read 1\n1 invoke read nil\n1 ok read nil"
    assert check(lines(back)).linearizable is False


def test_the_etcd_log_of_our_own_is_linearizable_with_its_refused_compare_and_set():
    text = (DATA / "etcd_style.log").read_text()
    assert check(History.from_text(text)).answer == LINEARIZABLE
    refused = text.replace("[3 1]", "[4 1]").replace(":read\t2", ":read\t0")
    verdict = check(History.from_text(refused))
    assert verdict.linearizable is False and verdict.witness.culprit.result is False


def hard(appends=14, key="hard"):
    """All appends overlap, and the only read of all of them holds one twice: every order of the
    appends has to be tried before the read is found impossible."""
    begun = [Event(0.0, n, "invoke", "append", key, n) for n in range(appends)]
    ended = [Event(1.0, n, "ok", "append", key, n) for n in range(appends)]
    seen = (*range(1, appends), 1)
    read = [
        Event(2.0, 0, "invoke", "read", key, None),
        Event(3.0, 0, "ok", "read", key, seen),
    ]
    return [*begun, *ended, *read]


@pytest.mark.parametrize("steps", [1, 1_000, 30_000])
def test_a_hard_history_ends_as_unknown_within_its_budget(steps):
    verdict = check(History(tuple(hard())), steps=steps)
    assert verdict.answer == UNKNOWN and verdict.linearizable is None
    assert verdict.steps == steps
    assert str(verdict).startswith("Unknown")


def test_a_hard_key_does_not_hide_an_easy_violation_on_another():
    easy = [
        Event(4.0, 0, "invoke", "append", "easy", 1),
        Event(5.0, 0, "ok", "append", "easy", 1),
        Event(6.0, 0, "invoke", "read", "easy", None),
        Event(7.0, 0, "ok", "read", "easy", ()),
    ]
    verdict = check(History((*hard(), *easy)), steps=30_000)
    assert verdict.answer == NOT_LINEARIZABLE
    assert verdict.witness.culprit.key == "easy" and verdict.steps < 10_000


def test_the_steps_of_a_long_history_on_one_key_grow_with_its_length_only():
    for operations in (500, 5_000):
        verdict = check(recorded(1, register(), operations=operations, processes=8, keys=1))
        assert verdict.answer == LINEARIZABLE
        assert verdict.steps < 100 * operations


def test_an_empty_history_is_linearizable():
    assert check(History(())).answer == LINEARIZABLE


def test_values_that_cannot_be_hashed_are_compared_as_they_are():
    history = History(
        (
            Event(0, 0, "invoke", "write", "x", [1, {"a": [2]}]),
            Event(1, 0, "ok", "write", "x", [1, {"a": [2]}]),
            Event(2, 0, "invoke", "read", "x", None),
            Event(3, 0, "ok", "read", "x", [1, {"a": [2]}]),
        )
    )
    assert check(history).answer == LINEARIZABLE


def test_a_model_that_does_not_know_an_operation_says_so():
    history = lines("0 invoke cas [1 2]\n0 ok cas [1 2]")
    assert find_model(None, history).name == "cas-register"
    with pytest.raises(HistoryError, match="register knows no 'cas'"):
        check(history, model="register")
    with pytest.raises(HistoryError, match="No model is called 'queue'"):
        check(history, model="queue")
    with pytest.raises(HistoryError, match="No model knows the operation 'pop'"):
        check(lines("0 invoke pop nil\n0 ok pop 1"))


# --- public histories, where a folder of them is named ------------------------------------------


@pytest.mark.skipif(
    not os.environ.get("MLSYS_HISTORIES"), reason="MLSYS_HISTORIES names no folder of histories"
)
def test_the_published_verdicts_of_public_histories_agree():
    folder = Path(os.environ["MLSYS_HISTORIES"])
    stated = (folder / "porcupine_test.go").read_text(encoding="utf-8")
    etcd = re.findall(r"checkJepsen\(t, (\d+), (true|false)\)", stated)
    pairs = [(f"jepsen/etcd_{int(n):03d}.log", answer, "cas-register") for n, answer in etcd]
    stores = re.findall(r'checkKv\(t, "([^"]+)", (true|false), true\)', stated)
    pairs += [(f"kv/{name}.txt", answer, "key-value") for name, answer in stores]
    assert len(pairs) >= 100
    for name, answer, model in pairs:
        text = (folder / "test_data" / name).read_text(encoding="utf-8")
        assert check(History.from_text(text), model=model).linearizable is (answer == "true"), name
