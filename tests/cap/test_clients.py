"""Clients ask at the rate and in the mix they should, give up in time, keep to their process."""

from collections import Counter

import numpy as np
import pytest

from mlsys.cap.faults import Crash, Heal, IsolateLeader
from mlsys.cap.outcomes import outcomes
from mlsys.cap.runs import run
from mlsys.cap.scenes import Scene


def test_an_open_loop_asks_at_its_rate_even_when_nobody_answers():
    faults = (IsolateLeader(0.0),)
    scene = Scene(store="sync", loop="open", rate=100.0, clients=4, faults=faults, seed=1,
                  duration_ms=10_000)  # fmt: skip
    asked = outcomes(run(scene).history)
    assert len(asked) == pytest.approx(4 * 100 * 10, rel=0.06)  # a Poisson count, 3 sigma is 5 %
    gaps = np.diff([one.start for one in asked])
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.1)  # exponential


def test_a_closed_loop_asks_once_at_a_time_and_slows_down_when_nobody_answers():
    faults = (IsolateLeader(1_000.0), Heal(3_000.0))
    scene = Scene(store="sync", faults=faults, seed=1, duration_ms=3_000)
    played = run(scene)
    before = [o for o in outcomes(played.history) if o.start < 1_000]
    during = [o for o in outcomes(played.history) if o.start >= 1_000]
    assert len(before) > 2.5 * len(during)
    last: dict[int, float] = {}
    for one in outcomes(played.history):
        client = one.process % scene.clients
        assert one.start >= last.get(client, 0.0)
        last[client] = one.end


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_process_that_does_not_know_its_outcome_never_asks_again(loop):
    faults = (IsolateLeader(200.0), Heal(2_000.0))
    scene = Scene(store="sync", loop=loop, faults=faults, seed=3, duration_ms=2_500)
    history = run(scene).history
    retired, busy = set(), set()
    for event in history.events:
        if event.type == "invoke":
            assert event.process not in retired | busy
            busy.add(event.process)
        else:
            busy.remove(event.process)
            if event.type == "info":
                retired.add(event.process)
    assert retired


def test_a_read_that_times_out_failed_and_a_write_is_unknown():
    scene = Scene(store="sync", faults=(IsolateLeader(0.0),), timeout_ms=100, duration_ms=2_000)
    late = [e for e in run(scene).history.events if e.note == "timed out"]
    assert {(event.f, event.type) for event in late} == {("read", "fail"), ("write", "info")}
    for one in outcomes(run(scene).history):
        if one.status != "ok":
            assert one.end - one.start == pytest.approx(100.1)


def test_the_mix_of_operations_is_as_asked():
    scene = Scene(store="raft", read_share=0.6, cas_share=0.25, keys=4, duration_ms=8_000, seed=2)
    asked = outcomes(run(scene).history)
    shares = Counter(one.f for one in asked)
    assert shares["read"] / len(asked) == pytest.approx(0.6, abs=0.05)
    assert shares["cas"] / len(asked) == pytest.approx(0.25, abs=0.05)
    assert sorted({one.key for one in asked}) == ["k0", "k1", "k2", "k3"]


def test_no_two_writes_have_the_same_value():
    asked = outcomes(run(Scene(cas_share=0.2, read_share=0.3, seed=1)).history)
    values = [one.value[1] if one.f == "cas" else one.value for one in asked if one.f != "read"]
    assert len(values) == len(set(values)) > 500


def test_a_compare_and_set_succeeds_sometimes_and_a_refusal_saw_another_value():
    scene = Scene(store="raft", read_share=0.4, cas_share=0.4, duration_ms=4_000, seed=2)
    tries = [event for event in run(scene).history.events if event.f == "cas"]
    kinds = Counter((event.type, event.note) for event in tries)
    assert kinds["fail", "mismatch"] > 20
    assert sum(event.type == "ok" for event in tries) > 20


def test_clients_of_a_node_that_is_down_are_refused_at_once():
    scene = Scene(sites=(1,), faults=(Crash(500.0, 1),), duration_ms=1_000, settle_ms=100.0)
    late = [one for one in outcomes(run(scene).history) if 510 < one.start < 999]
    assert late and {one.status for one in late} == {"fail"}
    assert max(one.end - one.start for one in late) < 1.0


def test_each_client_sits_where_the_scene_says():
    scene = Scene(nodes=3, clients=4, sites=(2, 0))
    assert [scene.site(client) for client in range(4)] == [2, 0, 2, 0]
    assert [Scene(nodes=3, clients=4).site(client) for client in range(4)] == [0, 1, 2, 0]


def test_the_run_stops_asking_at_the_bound_of_operations():
    scene = Scene(think_ms=0.0, latency="constant:0.001", operations=300)
    assert len(outcomes(run(scene).history)) == 300
