"""The measures against histories made by hand, and against what is known of whole runs."""

import math

import pytest

from mlsys.cap.faults import Heal, IsolateLeader
from mlsys.cap.history import Event, History
from mlsys.cap.latency import LNKD_DISK
from mlsys.cap.measures import (
    Availability,
    availability,
    availability_by_side,
    by_second,
    convergence_ms,
    latencies,
    lost_writes,
    percentiles,
    summary,
)
from mlsys.cap.outcomes import outcomes
from mlsys.cap.pbs import wars
from mlsys.cap.runs import run
from mlsys.cap.scenes import Scene, preset
from mlsys.cap.staleness import read_ages, sessions, visibility, within_versions


def history(*rows) -> History:
    """Rows (process, f, value, start, end, status) on the key x; a read's value is what it told."""
    events = []
    for process, f, value, start, end, status in rows:
        asked = None if f == "read" else value
        events.append(Event(start, process, "invoke", f, "x", asked))
        if end is not None:
            told = value if status == "ok" else asked
            events.append(Event(end, process, status, f, "x", told))
    return History(tuple(sorted(events, key=lambda event: event.time)))


THREE_WRITES = (
    (0, "write", 1, 0, 10, "ok"),
    (0, "write", 2, 20, 30, "ok"),
    (0, "write", 3, 40, 50, "ok"),
)


def test_a_read_is_as_stale_as_the_first_write_it_missed():
    ages = read_ages(history(*THREE_WRITES, (1, "read", 1, 60, 61, "ok")))
    assert [(age.behind, age.age, age.since) for age in ages] == [(2, 30.0, 10.0)]
    assert ages[0].stale


def test_a_fresh_read_is_behind_by_nothing():
    (age,) = read_ages(history(*THREE_WRITES, (1, "read", 3, 60, 61, "ok")))
    assert (age.behind, age.age, age.stale) == (0, 0.0, False)


def test_a_read_that_overlaps_a_write_may_tell_either():
    for told in (2, 3):
        (age,) = read_ages(history(*THREE_WRITES, (1, "read", told, 45, 61, "ok")))
        assert not age.stale


def test_nothing_at_all_is_stale_once_something_was_acknowledged():
    ages = read_ages(
        history(*THREE_WRITES, (1, "read", None, 5, 6, "ok"), (2, "read", None, 15, 16, "ok"))
    )
    assert [(age.behind, age.since) for age in ages] == [(0, math.inf), (1, 5.0)]


def test_of_two_writes_at_the_same_time_neither_is_newer():
    both = ((0, "write", 1, 0, 20, "ok"), (1, "write", 2, 10, 30, "ok"))
    for told in (1, 2):
        (age,) = read_ages(history(*both, (2, "read", told, 40, 41, "ok")))
        assert not age.stale


def test_an_unknown_write_may_have_come_late():
    rows = ((5, "write", 9, 0, 15, "info"), (0, "write", 1, 20, 30, "ok"))
    (age,) = read_ages(history(*rows, (1, "read", 9, 40, 41, "ok")))
    assert not age.stale


def test_an_unacknowledged_write_makes_no_read_stale():
    rows = ((0, "write", 1, 0, 10, "ok"), (5, "write", 2, 20, 25, "info"))
    (age,) = read_ages(history(*rows, (1, "read", 1, 40, 41, "ok")))
    assert not age.stale


def test_siblings_are_as_fresh_as_the_freshest():
    ages = read_ages(history(*THREE_WRITES, (1, "read", (1, 3), 60, 61, "ok")))
    assert ages[0].behind == 0


def test_visibility_and_versions_count_the_reads():
    reads = (
        (1, "read", 3, 55, 56, "ok"),
        (1, "read", 2, 60, 61, "ok"),
        (1, "read", 1, 75, 76, "ok"),
    )
    ages = read_ages(history(*THREE_WRITES, *reads))
    assert visibility(ages, [0, 20, 40]) == [(0, 2, 0.5), (20, 1, 0.0)]
    assert [within_versions(ages, k) for k in (1, 2, 3)] == [
        pytest.approx(k / 3) for k in (1, 2, 3)
    ]


def test_broken_sessions_are_counted_per_client():
    rows = (
        *THREE_WRITES,
        (0, "read", 2, 60, 61, "ok"),  # its own write of 3 is gone: not read-your-writes
        (1, "read", 3, 60, 61, "ok"),
        (1, "read", 1, 70, 71, "ok"),  # back in time: not monotonic
        (2, "read", 1, 70, 71, "ok"),  # stale, but it breaks no session
    )
    found = sessions(history(*rows))
    assert (found.reads_after_own_write, found.broke_read_your_writes) == (1, 1)
    assert (found.reads_after_read, found.broke_monotonic_reads) == (1, 1)


def test_a_retired_process_goes_on_as_the_same_client():
    rows = (*THREE_WRITES, (4, "read", 1, 60, 61, "ok"))
    assert sessions(history(*rows), clients=4).broke_read_your_writes == 1
    assert sessions(history(*rows)).reads_after_own_write == 0


def test_availability_counts_what_was_answered_by_group_and_time():
    rows = (
        (0, "write", 1, 0, 1, "ok"), (1, "write", 2, 10, 20, "info"),
        (2, "read", None, 15, 18, "fail"), (2, "read", 1, 30, 31, "ok"),
        (3, "write", 4, 40, None, ""),
    )  # fmt: skip
    assert availability(history(*rows)) == {None: Availability(5, 2)}
    sides = {0: "left", 1: "left", 2: "right"}
    assert availability(history(*rows), sides) == {
        "left": Availability(2, 1), "right": Availability(2, 1),
    }  # fmt: skip
    assert availability(history(*rows), begin=10, end=30) == {None: Availability(2, 0)}
    assert availability(history(*rows), over=18) == {None: Availability(2, 1)}
    assert math.isnan(Availability(0, 0).share)


def test_seconds_without_a_request_are_rows_too():
    rows = ((0, "read", None, 100, 101, "ok"), (0, "read", None, 2_100, 2_900, "fail"))
    seconds = by_second(history(*rows))
    assert [(s.begin, s.ok, s.fail, s.info) for s in seconds] == [
        (0, 1, 0, 0), (1_000, 0, 0, 0), (2_000, 0, 1, 0),
    ]  # fmt: skip
    assert by_second(history()) == []


def test_percentiles_are_of_what_was_answered():
    rows = [(0, "read", None, 100 * i, 100 * i + i, "ok") for i in range(1, 101)]
    rows.append((1, "write", 1, 0, 5_000, "info"))
    assert percentiles(history(*rows), "read", (50, 100)) == {50: 50.5, 100: 100.0}
    assert len(latencies(history(*rows))) == 100
    assert math.isnan(percentiles(history(), "read")[50])


def test_a_register_lost_what_came_after_the_value_that_stayed():
    gone = lost_writes(history(*THREE_WRITES), {"x": 1})
    assert [one.value for one in gone] == [2, 3]
    assert lost_writes(history(*THREE_WRITES), {"x": 3}) == []
    assert [one.value for one in lost_writes(history(*THREE_WRITES), {})] == [1, 2, 3]


def test_a_log_lost_what_is_not_in_it():
    gone = lost_writes(history(*THREE_WRITES), {"x": 3}, trail=[1, 3])
    assert [one.value for one in gone] == [2]


def test_a_set_lost_what_nobody_removed():
    rows = ((0, "add", 1, 0, 1, "ok"), (0, "add", 2, 2, 3, "ok"), (0, "add", 3, 4, 5, "info"),
            (1, "remove", 2, 6, 7, "ok"))  # fmt: skip
    assert [one.value for one in lost_writes(history(*rows), {"x": ()})] == [1]


def test_outcomes_keep_what_failed_and_what_is_open():
    rows = ((0, "read", 1, 0, 1, "ok"), (1, "write", 2, 2, 3, "fail"), (2, "write", 3, 4, None, ""))
    assert [(o.status, o.end) for o in outcomes(history(*rows))] == [
        ("ok", 1), ("fail", 3), ("open", None),
    ]  # fmt: skip


# Whole runs


def test_a_partition_leaves_the_majority_and_stops_the_minority_of_a_cp_store():
    played = run(preset("split brain", store="raft", timeout_ms=200.0, seed=1))
    sides = availability_by_side(played, 3_600.0, 5_700.0)
    assert sides[0].share == 1.0 and sides[1].share == 0.0


def test_a_partition_stops_nobody_of_an_ap_store_who_converges_when_it_heals():
    played = run(preset("split brain", n=5, r=1, w=1, gossip_ms=100.0, seed=1))
    sides = availability_by_side(played, 3_600.0, 5_700.0)
    assert sides[0].share == sides[1].share == 1.0
    assert convergence_ms(played) is not None
    assert any(age.stale for age in read_ages(played.history))


def test_sides_are_by_the_leader_cut_off():
    scene = Scene(store="raft", nodes=3, faults=(IsolateLeader(500.0), Heal(2_000.0)), seed=1,
                  duration_ms=2_500, timeout_ms=200.0)  # fmt: skip
    sides = availability_by_side(run(scene), 1_200.0, 1_800.0)
    assert sides[0].share == 1.0 and sides[1].share == 0.0


def test_the_simulated_quorum_is_as_stale_as_wars_says():
    """R = W = 1 and no repair: reads soon after a write, against WARS at the middle of the bin."""
    scene = Scene(n=3, r=1, w=1, read_repair=False, latency="lnkd-disk", clients=20, loop="open",
                  rate=10.0, read_share=0.5, keys=4, duration_ms=80_000, keep_messages=0,
                  timeout_ms=5_000, seed=1)  # fmt: skip
    measured = visibility(read_ages(run(scene).history), [0.0, 2.0, 5.0, 10.0])
    draws = wars(LNKD_DISK, n=3, trials=40_000, seed=1)
    for (_, reads, fresh), middle in zip(measured, (1.0, 3.5, 7.5)):
        assert reads > 150
        assert fresh == pytest.approx(1 - draws.stale(r=1, w=1, t=middle).mean(), abs=0.05)


def test_a_summary_has_everything_in_one_row():
    row = summary(run(preset("isolated leader", store="async", reads="leader", seed=1)))
    assert row.asked > 500 and 0.9 < row.available <= 1.0
    assert row.lost > 0 and row.stale_share > 0 and row.worst_behind >= 1 and row.worst_age > 0
    assert row.read_p50 <= row.read_p99 and row.converged >= 0
