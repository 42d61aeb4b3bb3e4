"""The same seed replays the same run, in any process; time, clocks and links do as they say."""

import hashlib
import os
import subprocess
import sys

import pytest

from mlsys.cap.cluster import Cluster
from mlsys.cap.faults import Crash, Heal, IsolateLeader, OneWay, Partition, Restart, Slow
from mlsys.cap.latency import profile
from mlsys.cap.network import READ, Network
from mlsys.cap.runs import run
from mlsys.cap.scenes import CONFLICTS, PRESETS, READS, Scene, preset
from mlsys.cap.simulation import Simulation

SHORT = {"duration_ms": 1_500.0, "settle_ms": 800.0, "begin_ms": 400.0, "end_ms": 1_000.0}


def fingerprint(scene: Scene) -> str:
    played = run(scene)
    text = played.history.to_json() + repr((played.roles, played.messages, played.final))
    return hashlib.sha256(text.encode()).hexdigest()


TINY = {"duration_ms": 600.0, "settle_ms": 300.0, "begin_ms": 150.0, "end_ms": 400.0}
SCENES = [preset("isolated leader", store=store, seed=5, loss=0.02, **TINY) for store in READS] + [
    preset("split brain", conflict=conflict, sloppy=True, gossip_ms=50.0, seed=5, **TINY)
    for conflict in CONFLICTS
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: f"{s.store}-{s.conflict}")
def test_the_same_seed_gives_the_same_history_byte_for_byte(scene):
    assert run(scene).history.to_edn() == run(scene).history.to_edn()


def test_another_process_with_another_hash_seed_plays_the_same_runs():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_simulation as t\n"
        "print([t.fingerprint(scene) for scene in t.SCENES])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code, os.path.dirname(__file__)],  # noqa: PTH120
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "4242")
    }
    assert answers == {f"{[fingerprint(scene) for scene in SCENES]}\n"}


def test_another_seed_gives_another_history():
    one, other = (run(preset("healthy", seed=seed, **SHORT)) for seed in (1, 2))
    assert one.history != other.history


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("store", READS)
def test_every_preset_plays_on_every_store(store, name):
    played = run(preset(name, store=store, seed=2, **SHORT))
    times = [event.time for event in played.history.events]
    assert times == sorted(times)
    played.history.operations()  # it pairs up
    assert any(event.type == "ok" for event in played.history.events)
    assert played.at(700.0).roles.count("") == 0


def test_equal_times_happen_in_the_order_in_which_they_were_asked_for():
    simulation, seen = Simulation(0, 1), []
    for number in range(50):
        simulation.call(5.0, seen.append, number)
    simulation.run(5.0)
    assert seen == list(range(50))


def test_a_skewed_clock_jumps_and_then_runs_at_its_own_rate():
    simulation = Simulation(0, 2)
    simulation.call(100.0, simulation.skew, 1, 7.0, 0.5)
    simulation.run(100.0)
    assert simulation.clock(1) == pytest.approx(107.0)
    simulation.run(200.0)
    assert simulation.clock(1) == pytest.approx(157.0)
    assert simulation.clock(0) == 200.0


class _Box:
    """A node that only keeps its post."""

    def __init__(self):
        self.post = []

    def on_letter(self, text):
        self.post.append(text)


def _two_nodes(**options):
    simulation = Simulation(3, 2)
    simulation.replicas[:] = [_Box(), _Box()]
    return simulation, Network(simulation, profile("constant:10"), zones=(0, 1), **options)


def test_a_one_way_cut_drops_one_direction_only_until_it_heals():
    simulation, network = _two_nodes(keep=10)
    there, back = network.sender(0), network.sender(1)
    network.cut_between([0], [1])
    there(1, READ, _Box.on_letter, "lost")
    back(0, READ, _Box.on_letter, "found")
    assert network.cuts() == ((0, 1),)
    network.heal()
    there(1, READ, _Box.on_letter, "later")
    simulation.run(100.0)
    assert simulation.replicas[0].post == ["found"]
    assert simulation.replicas[1].post == ["later"]
    assert [message.arrives for message in network.messages] == [None, 10.0, 10.0]
    assert (network.sent, network.dropped) == (3, 1)


def test_a_slow_node_takes_its_factor_and_its_messages_recover():
    _, network = _two_nodes(keep=10)
    network.slow(1, 5.0)
    network.sender(0)(1, READ, _Box.on_letter, "slow")
    network.heal()
    network.sender(0)(1, READ, _Box.on_letter, "fast")
    assert [message.arrives for message in network.messages] == [50.0, 10.0]


def test_loss_takes_its_share_but_never_between_a_node_and_itself():
    simulation, network = _two_nodes(loss=0.3)
    for _ in range(5_000):
        network.sender(0)(1, READ, _Box.on_letter, "")
        network.sender(0)(0, READ, _Box.on_letter, "")
    simulation.run(100.0)
    assert len(simulation.replicas[0].post) == 5_000
    assert len(simulation.replicas[1].post) / 5_000 == pytest.approx(0.7, abs=0.03)


def test_a_crashed_node_loses_its_messages_and_its_timers():
    cluster = Cluster(Scene(store="raft", nodes=3, clients=1))
    cluster.boot()
    cluster.simulation.run(300.0)
    old = cluster.replicas[0]
    cluster.strike(Crash(300.0, 0))
    cluster.simulation.run(400.0)
    term = old.disk.term
    cluster.strike(Restart(400.0, 0))
    cluster.simulation.run(2_000.0)
    assert cluster.replicas[0] is not old
    assert cluster.replicas[0].disk is old.disk
    assert old.role == "leader" and cluster.replicas[0].disk.term > term  # the old life stood still


def test_a_lost_disk_comes_back_empty():
    faults = (Crash(500.0, 1), Restart(700.0, 1, disk=False))
    cluster = Cluster(Scene(store="raft", duration_ms=1_000, faults=faults))
    before = cluster.disks[1]
    cluster.play()
    assert cluster.disks[1] is not before


def test_an_instant_shows_who_leads_what_is_cut_and_the_sides():
    faults = (Partition(500.0, ((0, 1), (2, 3, 4))), Heal(1_500.0))
    played = run(Scene(store="raft", nodes=5, faults=faults, duration_ms=2_500, seed=1))
    before, during, after = played.at(400.0), played.at(1_400.0), played.at(2_000.0)
    assert before.cut == after.cut == ()
    assert len(during.cut) == 12
    assert during.sides == ((2, 3, 4), (0, 1))
    assert before.sides == ((0, 1, 2, 3, 4),)
    assert before.leaders == (0,)
    assert any(node in (2, 3, 4) for node in during.leaders)
    assert all(message.sent <= 1_400.0 < message.arrives for message in during.flying)
    assert played.side_of(1_400.0) == {0: 1, 1: 1, 2: 0, 3: 0, 4: 0, 5: 1}


def test_the_leader_is_isolated_as_it_is_at_that_moment():
    faults = (Crash(300.0, 0), Restart(1_000.0, 0), IsolateLeader(1_500.0))
    played = run(Scene(store="raft", nodes=3, faults=faults, duration_ms=2_500, seed=3))
    leader = played.at(1_499.0).leaders[-1]
    assert leader != 0
    assert {link for link in played.links[3][1]} == {
        (a, b) for a in range(3) for b in range(3) if a != b and leader in (a, b)
    }


def test_kept_messages_are_bounded():
    played = run(preset("healthy", keep_messages=25, seed=1, **SHORT))
    assert len(played.messages) == 25 and played.sent > 25


def test_a_slow_node_and_a_one_way_cut_show_in_the_picture():
    faults = (Slow(100.0, 2, 9.0), OneWay(200.0, (0,), (1,)), Heal(300.0))
    played = run(Scene(faults=faults, duration_ms=500))
    assert played.at(250.0).slow == (2,) and played.at(250.0).cut == ((0, 1),)
    assert played.at(350.0).slow == () and played.at(350.0).cut == ()
