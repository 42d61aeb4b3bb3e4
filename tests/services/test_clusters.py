"""Replicated stores of real servers: what a partition and a failover do to each."""

import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from leftovers import await_gone

from mlsys import services
from mlsys.cap.checker import check
from mlsys.cap.history import Event, History


def eventually(question: Callable[[], bool], *, within: float = 30.0) -> None:
    """Ask until it is so; refusals on the way count as not yet."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            if question():
                return
        except services.ServiceError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"did not become so within {within} s")


def test_an_asynchronous_failover_loses_every_write_that_was_acknowledged_behind_the_cut() -> None:
    with services.valkey_cluster() as cluster:
        assert "node 1" in repr(cluster) and "the primary" in cluster._repr_html_()
        outcome = services.lost_writes_after_failover(cluster, writes=500)
        assert (outcome.acknowledged, len(outcome.lost)) == (500, 500)
        assert (outcome.old_leader, outcome.new_leader, cluster.leader()) == (0, 1, 1)
        assert "500 of 500" in str(outcome)
        # the roles swap back, and what the replica had confirmed before the cut is there
        patient = {"wait": 1, "timeout": 20.0}
        again = services.lost_writes_after_failover(cluster, writes=100, cut_at=1.0, **patient)
        assert again.acknowledged == 100 and not again.lost and cluster.leader() == 0


def test_waiting_for_the_replica_loses_nothing_that_was_acknowledged() -> None:
    with services.valkey_cluster() as cluster:
        outcome = services.lost_writes_after_failover(
            cluster, writes=100, cut_at=0.5, wait=1, timeout=0.5
        )
        assert 0 < outcome.acknowledged <= 50 and outcome.lost == ()
        assert outcome.unanswered > 0
        assert outcome.asked == outcome.acknowledged + outcome.unanswered + outcome.refused


def test_a_slow_link_makes_most_reads_at_the_replica_stale_and_wait_none() -> None:
    with services.valkey_cluster() as cluster:
        cluster.links.delay(40)
        stale = services.stale_reads(cluster, pairs=20)
        assert stale.stale > 10 and stale.node == 1  # the reader may stall for longer than the link
        fresh = services.stale_reads(cluster, pairs=20, wait=1, timeout=20.0)
        assert (fresh.stale, fresh.unconfirmed) == (0, 0)


def test_a_replica_refuses_writes_and_a_crashed_node_is_seen_to_be_dead() -> None:
    with services.valkey_cluster() as cluster:
        with pytest.raises(services.Refused):
            cluster.session(1).write("x", 1)
        cluster.nodes[0].kill()
        assert cluster.failover() == 1
        cluster.session(1).write("x", 1)
        assert cluster.reader().read("x") == 1
        assert "dead" in repr(cluster)
        with pytest.raises(services.Refused):
            cluster.session(0).read("x")


def test_an_asynchronous_standby_of_postgres_loses_and_a_synchronous_one_does_not() -> None:
    with services.postgres_cluster(commit="local") as cluster:
        outcome = services.lost_writes_after_failover(cluster, writes=60, clients=3, timeout=20.0)
        assert (outcome.acknowledged, len(outcome.lost)) == (60, 60)
    with services.postgres_cluster(commit="remote_apply") as cluster:
        assert services.stale_reads(cluster, pairs=50).stale == 0
        outcome = services.lost_writes_after_failover(
            cluster, writes=60, cut_at=0.5, clients=3, timeout=1.0
        )
        assert 0 < outcome.acknowledged <= 30 and outcome.lost == () and outcome.unanswered > 0
        # the old primary shows what it never acknowledged: committed there, and only there
        assert cluster.session(0, timeout=20.0).read("write-30") is not None
        family = [member for node in cluster.nodes for member in node.process.family()]
    await_gone(family)


def test_a_standby_of_postgres_refuses_writes_and_catches_up_after_a_cut() -> None:
    with services.postgres_cluster() as cluster:
        primary, standby = (cluster.session(node, timeout=20.0) for node in range(2))
        with pytest.raises(services.Refused):
            standby.write("x", 1)
        cluster.isolate(0, "out")
        primary.write("x", 1)
        assert standby.read("x") is None
        cluster.heal()
        eventually(lambda: standby.read("x") == 1)
    with (
        pytest.raises(services.ServiceError, match="commit='maybe'"),
        services.postgres_cluster(commit="maybe"),
    ):
        pass


def test_a_majority_keeps_what_it_acknowledged_and_the_minority_serves_stale_reads() -> None:
    with services.nats_cluster() as cluster:
        first = cluster.leader()
        with_majority = next(node for node in range(3) if node != first)
        eventually(lambda: cluster.session(with_majority).read("none") is None)

        outcome = services.lost_writes_after_failover(
            cluster, writes=60, cut_at=0.5, clients=3, timeout=1.0
        )
        assert outcome.old_leader == first != outcome.new_leader
        assert 0 < outcome.acknowledged <= 30 and outcome.lost == ()
        assert outcome.unanswered + outcome.refused > 0

        cut_off = outcome.old_leader
        there = cluster.session(cut_off)
        eventually(lambda: there.read("none") is None)  # back, it answers reads again
        minority = services.stale_reads(cluster, pairs=20, node=cut_off, isolate=True)
        assert minority.stale > 0
        assert minority.stale + minority.refused + minority.unconfirmed == 20
        with pytest.raises((services.Unanswered, services.Refused)):
            cluster.session(minority.node, timeout=0.3).write("stale", 999)
        cluster.heal()
        # that last write may still arrive: nobody knew what became of it
        truth = cluster.reader()
        eventually(lambda: there.read("stale") == truth.read("stale"))


def test_without_direct_reads_the_minority_refuses_rather_than_lies() -> None:
    with services.nats_cluster(direct=False) as cluster:
        leader = cluster.leader()
        follower = (leader + 1) % 3
        reader = cluster.session(follower, timeout=0.3)
        cluster.session(leader, timeout=20.0).write("x", 1)
        eventually(lambda: reader.read("x") == 1)
        cluster.isolate(follower)
        with pytest.raises(services.Refused):
            reader.read("x")
        assert cluster.leader() == leader
        family = [member for node in cluster.nodes for member in node.process.family()]
    await_gone(family)


def test_a_recorded_history_of_two_primaries_is_not_linearizable() -> None:
    with services.valkey_cluster() as cluster:
        cut = [(100, lambda: cluster.isolate(0)), (200, cluster.failover)]
        events = services.record(cluster, clients=(0, 0, 1, 1), duration=1.0, faults=cut)
    history = History(tuple(Event(**event) for event in events))
    assert check(history).linearizable is False
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


def test_a_recorded_history_through_the_leader_is_linearizable_whatever_is_cut() -> None:
    with services.valkey_cluster() as cluster:
        events = services.record(
            cluster,
            clients=(0, 0, 0),
            duration=1.0,
            faults=[(200, lambda: cluster.isolate(0)), (600, cluster.heal)],
            wait=1,
            timeout=0.05,
        )
    history = History(tuple(Event(**event) for event in events))
    kinds = {event["type"] for event in events}
    assert kinds >= {"invoke", "ok", "info"}  # writes during the cut: nobody knows
    assert check(history).linearizable is True
    # after an unknown outcome a client goes on under another number, as Jepsen's do
    unknown = {event["process"] for event in events if event["type"] == "info"}
    for process in unknown:
        mine = [event["type"] for event in events if event["process"] == process]
        assert mine[-1] == "info"


def test_a_recording_waits_for_every_client_before_each_fault_and_before_its_end() -> None:
    with services.valkey_cluster() as cluster:
        done = []
        steps = [(0, lambda: done.append(time.perf_counter())) for _ in range(3)]
        started = time.perf_counter()
        clients = (0, 0, 1)
        events = services.record(
            cluster, clients=clients, duration=0.0, faults=steps, started=started
        )
    marks = [0.0, *(1000 * (moment - started) for moment in done), float("inf")]
    for begin, end in pairwise(marks):
        ended = [e for e in events if e["type"] != "invoke" and begin <= e["time"] < end]
        by_client = [sum(e["process"] % 3 == client for e in ended) for client in range(3)]
        assert min(by_client) >= 4  # of the five one may have been under way


def test_a_client_that_fails_ends_the_recording_with_its_error() -> None:
    with services.valkey_cluster() as cluster, pytest.raises(IndexError):
        services.record(cluster, clients=(0, 7), duration=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda c: services.lost_writes_after_failover(c, writes=0),
        lambda c: services.lost_writes_after_failover(c, cut_at=2),
        lambda c: services.stale_reads(c, node=5),
        lambda c: c.isolate(0, "sideways"),
        lambda c: c.isolate(9),
    ],
)
def test_an_impossible_experiment_is_refused_in_one_sentence(wrong: Callable, two) -> None:
    with pytest.raises(services.ServiceError):
        wrong(two)


@pytest.fixture(scope="module")
def two():
    with services.valkey_cluster() as cluster:
        yield cluster
