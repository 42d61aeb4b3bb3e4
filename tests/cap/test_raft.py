"""Raft's promises under random faults: one leader a term, nothing committed is ever lost.

`MLSYS_RAFT_SEEDS` says how many random worlds are tried (default 1,500; try 20000 over lunch).
"""

import os
import random

import pytest

from mlsys.cap.checker import check
from mlsys.cap.cluster import Cluster
from mlsys.cap.election import election_times
from mlsys.cap.faults import Crash, Heal, IsolateLeader, OneWay, Partition, Restart, Skew, Slow
from mlsys.cap.measures import lost
from mlsys.cap.runs import run
from mlsys.cap.scenes import Scene, SceneError
from mlsys.cap.stores import STORES
from mlsys.cap.stores.raft import Raft

SEEDS = int(os.environ.get("MLSYS_RAFT_SEEDS", "1500"))
BATCHES = 10
STEP_MS = 20.0


def random_faults(rng: random.Random, nodes: int, until: float) -> tuple:
    """Three to seven faults; the disks stay, for Raft promises nothing without them."""
    faults = []
    for _ in range(rng.randint(3, 7)):
        at, node = rng.uniform(0, until), rng.randrange(nodes)
        order = rng.sample(range(nodes), nodes)
        cut = rng.randint(1, nodes - 1)
        groups = (tuple(order[:cut]), tuple(order[cut:]))
        faults += rng.choice(
            [
                [Partition(at, groups)],
                [OneWay(at, *groups)],
                [IsolateLeader(at)],
                [Crash(at, node), Restart(at + rng.uniform(1, 200), node)],
                [Slow(at, node, rng.uniform(2, 60))],
                [Skew(at, node, rng.uniform(-400, 400), rng.uniform(0.3, 3))],
                [Heal(at)],
            ]
        )
    return tuple(faults)


def random_scene(seed: int, **changes) -> Scene:
    rng = random.Random(seed)
    nodes, duration = rng.choice([3, 3, 5]), 500.0
    options = {
        "store": "raft",
        "nodes": nodes,
        "faults": random_faults(rng, nodes, duration),
        "loss": rng.choice([0.0, 0.0, 0.05, 0.2]),
        "latency": rng.choice(["lan", "exponential:5", "lnkd-disk"]),
        "heartbeat_ms": 20.0,
        "election_low_ms": 50.0,
        "election_high_ms": 100.0,
        "duration_ms": duration,
        "settle_ms": 300.0,
        "clients": 4,
        "think_ms": 15.0,
        "timeout_ms": 150.0,
        "keep_messages": 0,
        "cas_share": 0.1,
        "seed": seed,
    }
    return Scene(**{**options, **changes})


class Watched:
    """A cluster looked into at every step: what is committed once stays, on every node."""

    def __init__(self, scene: Scene):
        self.cluster = Cluster(scene)
        self.committed: list[tuple] = [(0, "empty", None, None)]
        self.cluster.simulation.call(STEP_MS, self.look)

    def look(self) -> None:
        for replica in self.cluster.replicas:
            if replica is not None:
                known = min(replica.commit + 1, len(self.committed))
                assert replica.disk.log[:known] == self.committed[:known]
                self.committed += replica.disk.log[known : replica.commit + 1]
        self.cluster.simulation.call(STEP_MS, self.look)

    def leaders_by_term(self) -> dict[int, set[int]]:
        terms: dict[int, set[int]] = {}
        for _, node, role, term in self.cluster.roles:
            if role == "leader":
                terms.setdefault(term, set()).add(node)
        return terms


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_term_has_two_leaders_and_no_committed_entry_is_lost(batch):
    elections = committed = 0
    for seed in range(batch, SEEDS, BATCHES):
        watched = Watched(random_scene(seed))
        watched.cluster.play()
        watched.look()
        by_term = watched.leaders_by_term()
        assert all(len(leaders) == 1 for leaders in by_term.values()), f"seed {seed}"
        elections += len(by_term)
        committed += len(watched.committed)
    worlds = len(range(batch, SEEDS, BATCHES))
    assert elections > 1.5 * worlds and committed > 10 * worlds  # the worlds were not idle


@pytest.mark.parametrize("seed", range(40))
def test_reads_by_the_log_are_linearizable_under_random_faults(seed):
    history = run(random_scene(seed, settle_ms=600.0)).history
    assert check(history, steps=300_000).linearizable is not False


class CommitsAnyTerm(Raft):
    """Raft without the rule of 5.4.2: a leader commits old terms' entries by counting copies."""

    __slots__ = ()

    def advance_commit(self):
        held = sorted([len(self.disk.log) - 1, *self.match.values()], reverse=True)
        self.commit = max(self.commit, held[self.scene.nodes // 2])
        self.apply()


class NeedsNoMajority(Raft):
    """Raft that takes one vote less than a majority for enough."""

    __slots__ = ()

    def count_votes(self):
        if len(self.granted) >= self.scene.nodes // 2:
            self.become_leader()


def test_the_watch_sees_two_leaders_when_less_than_a_majority_elects(monkeypatch):
    monkeypatch.setitem(STORES, "raft", NeedsNoMajority)
    watched = Watched(random_scene(1, nodes=5, faults=()))
    watched.cluster.simulation.heap.clear()  # it is only the elections that are looked at
    watched.cluster.boot()
    for node in (1, 2):
        watched.cluster.replicas[node].start_election()
    watched.cluster.simulation.run(500.0)
    assert any(len(leaders) > 1 for leaders in watched.leaders_by_term().values())


def _figure_8(kind) -> Cluster:
    """The history of figure 8 of the paper up to (c): node 0 leads in term 4 with an entry of term
    2 that is on a majority, node 4 has an entry of term 3 and could still be elected."""
    cluster = Cluster(Scene(store="raft", nodes=5, latency="constant:1"))
    cluster.store = kind
    first, two, three = (0, "empty", None, None), (2, "write", "k0", 1), (3, "write", "k0", 2)
    for node, log in enumerate([[two], [two], [two], [], [three]]):
        cluster.disks[node].log = [first, *log]
        cluster.disks[node].term = 3
    cluster.boot()
    leader = cluster.replicas[0]
    leader.disk.term, leader.role, leader.leader = 4, "leader", 0
    leader.next, leader.match = dict.fromkeys(leader.peers, 2), dict.fromkeys(leader.peers, 0)
    leader.acked_at = dict.fromkeys(leader.peers, 0.0)
    leader.on_appended(1, 4, True, 1, 0.0)
    leader.on_appended(2, 4, True, 1, 0.0)
    return cluster


def test_an_entry_of_an_old_term_is_not_committed_by_counting_copies():
    assert _figure_8(Raft).replicas[0].commit == 0
    assert _figure_8(CommitsAnyTerm).replicas[0].commit == 1  # what the rule is there to prevent


def test_an_entry_of_the_own_term_commits_what_lies_before_it():
    leader = _figure_8(Raft).replicas[0]
    leader.disk.log.append((4, "write", "k0", 3))
    leader.on_appended(1, 4, True, 2, 0.0)
    assert leader.commit == 0
    leader.on_appended(2, 4, True, 2, 0.0)
    assert leader.commit == 2 and leader.state == {"k0": 3}


def test_a_shorter_log_gets_no_vote_from_a_longer_one():
    cluster = _figure_8(Raft)
    voter, sent = cluster.replicas[4], []
    voter.send = lambda *message: sent.append(message)
    voter.on_request_vote(3, 9, 0, 0)  # an empty log
    voter.on_request_vote(0, 10, 5, 2)  # longer, but its last term is older
    voter.on_request_vote(1, 11, 1, 3)  # just as good
    assert [message[-1] for message in sent] == [False, False, True]


LEASE = {
    "store": "raft", "reads": "lease", "nodes": 5, "clients": 10, "duration_ms": 2_000.0,
    "think_ms": 10.0, "settle_ms": 800.0, "read_share": 0.9,
}  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_lease_reads_are_linearizable_while_clocks_run_alike(seed):
    faults = (IsolateLeader(500.0), Heal(1_500.0))
    assert check(run(Scene(faults=faults, seed=seed, **LEASE)).history).linearizable is not False


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_lease_on_a_clock_that_stands_nearly_still_tells_old_values(seed):
    """Pinned seeds: node 0 leads, its clock slows down a hundredfold, then it is cut off."""
    faults = (Skew(400.0, 0, rate=0.01), IsolateLeader(500.0), Heal(1_500.0))
    scene = Scene(faults=faults, seed=seed, **LEASE)
    assert check(run(scene).history).linearizable is False
    by_log = Scene(**{**LEASE, "reads": "log"}, faults=faults, seed=seed)
    assert check(run(by_log).history).linearizable is not False


def test_local_reads_are_stale_on_the_side_without_a_leader():
    faults = (Partition(500.0, ((0, 1), (2, 3, 4))), Heal(1_500.0))
    scene = Scene(**{**LEASE, "reads": "local"}, faults=faults, seed=1)
    assert check(run(scene).history).linearizable is False


def test_a_leader_that_is_cut_off_is_replaced_and_steps_down():
    faults = (IsolateLeader(1_000.0), Heal(3_000.0))
    played = run(Scene(store="raft", nodes=5, faults=faults, duration_ms=4_000, seed=2))
    assert played.leaders[0][1] == 0
    assert any(1_000 < time < 2_000 and node != 0 for time, node, _ in played.leaders)
    assert 0 not in played.at(2_900.0).leaders


def test_a_majority_of_lost_disks_can_lose_what_was_acknowledged():
    gone = [(Crash(800.0, node), Restart(900.0, node, disk=False)) for node in (0, 1)]
    faults = (*gone[0], *gone[1], Crash(800.0, 2), Restart(1_500.0, 2))
    played = run(Scene(store="raft", nodes=3, faults=faults, duration_ms=1_600, seed=1))
    assert len(lost(played)) > 5


# Figure 16


def median(timeouts, **options):
    times = election_times(timeouts, broadcast_ms=7.0, trials=150, seed=3, **options)
    return sorted(times)[len(times) // 2], times


def test_without_randomness_some_elections_never_end():
    _, times = median((150, 150), give_up_ms=5_000.0)
    assert (times == 5_000.0).mean() > 0.1


def test_a_little_randomness_ends_split_votes_and_more_shortens_the_worst():
    few, few_times = median((150, 155))
    some, some_times = median((150, 200))
    _, many_times = median((150, 300))
    assert few == pytest.approx(287, rel=0.2)  # the paper's median
    assert some < few
    assert max(many_times) <= max(some_times) < max(few_times) < 5_000.0


def test_shorter_time_outs_elect_sooner():
    _, short = median((12, 24))
    _, middle = median((50, 100))
    _, long = median((150, 300))
    assert short.mean() < middle.mean() < long.mean()
    assert short.mean() == pytest.approx(35, rel=0.5)  # the paper's mean


def test_election_times_are_reproducible_and_bounded():
    assert list(election_times(trials=5, seed=4)) == list(election_times(trials=5, seed=4))
    with pytest.raises(SceneError):
        election_times((300, 150), trials=1)
