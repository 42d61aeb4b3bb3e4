"""The append-only log: what is acknowledged is read back, a torn end is cut off, groups go on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys import services
from mlsys.serving.queues.log import HEAD, Log, LogError
from mlsys.serving.queues.log_server import LogClient, log_broker, port_in, tear

BODIES = st.lists(st.binary(max_size=40), max_size=12)


@settings(max_examples=40)
@given(batches=st.lists(st.tuples(st.sampled_from("abcdef"), BODIES), max_size=8))
def test_what_was_appended_is_read_in_order_also_after_it_is_opened_again(
    tmp_path_factory, batches
):
    folder = tmp_path_factory.mktemp("log")
    wanted = [[] for _ in range(3)]
    with Log(folder) as log:
        for key, bodies in batches:
            partition, offset = log.append(key, bodies)
            assert offset == len(wanted[partition])
            wanted[partition] += bodies
    with Log(folder) as log:
        assert log.ends() == [len(bodies) for bodies in wanted]
        for partition, bodies in enumerate(wanted):
            assert log.read(partition, 0, 1000) == bodies
            assert log.read(partition, len(bodies) // 2, 2) == bodies[len(bodies) // 2 :][:2]


@settings(max_examples=60)
@given(bodies=st.lists(st.binary(max_size=20), min_size=1, max_size=6), data=st.data())
def test_a_file_cut_at_any_byte_keeps_every_whole_record(tmp_path_factory, bodies, data):
    folder = tmp_path_factory.mktemp("log")
    with Log(folder, partitions=1) as log:
        log.append("a", bodies)
    path = folder / "partition-0.log"
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    with Log(folder) as log:
        kept = log.read(0, 0)
        assert kept == bodies[: len(kept)]
        assert sum(HEAD.size + len(body) for body in kept) <= cut
        log.append("a", [b"next"])
        assert log.read(0, len(kept)) == [b"next"]


def test_a_damaged_record_ends_the_log_there(tmp_path):
    with Log(tmp_path, partitions=1) as log:
        log.append("a", [b"good", b"bad"])
    path = tmp_path / "partition-0.log"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with Log(tmp_path) as log:
        assert log.read(0, 0) == [b"good"]


def test_a_group_goes_on_where_it_committed_and_another_begins_at_the_start(tmp_path):
    with Log(tmp_path, partitions=1) as log:
        log.append("a", [b"1", b"2", b"3"])
        log.commit("billing", 0, 2)
    with Log(tmp_path) as log:
        assert log.committed("billing") == [2] and log.committed("statistics") == [0]


def test_one_key_stays_in_one_partition(tmp_path):
    with Log(tmp_path, partitions=4) as log:
        places = {log.append("anna", [b"x"])[0] for _ in range(5)}
    assert len(places) == 1


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda log: log.read(9, 0), "no partition 9"),
        (lambda log: log.read(0, 5), "offsets 0 to 0, not 5"),
        (lambda log: log.commit("g", 0, -1), "not -1"),
        (lambda log: log.append("a", [b"x" * 1_000_001]), "over the limit"),
    ],
)
def test_what_the_log_cannot_do_is_said_in_a_sentence(tmp_path, ask, says):
    with Log(tmp_path) as log, pytest.raises(LogError, match=says):
        ask(log)


def test_a_broker_that_is_killed_has_all_it_acknowledged_when_it_comes_back(tmp_path):
    start = ("mlsys.serving.queues.log_server", str(tmp_path))
    with (
        services.worker(*start, ready="ready") as group,
        LogClient(port_in(group.log(0))) as log,
    ):
        places = [log.append(f"key {n}", f"order {n}") for n in range(20)]
        log.commit("billing", 0, 1)
        group.kill(0)
        group.wait(0)
        with pytest.raises(ConnectionError):
            log.ends()
            log.ends()
    with (
        services.worker(*start, ready="ready") as group,
        LogClient(port_in(group.log(0))) as log,
    ):
        for number, (partition, offset) in enumerate(places):
            assert log.read(partition, offset, 1) == [f"order {number}"]
        assert log.committed("billing")[0] == 1
        for nonsense in ("dance", "read", "append"):
            with pytest.raises(LogError):
                log.ask(nonsense)
        assert len(log.ends()) == 3  # the connection has stayed


def test_a_broker_cuts_off_half_a_record_and_keeps_the_whole_ones(tmp_path):
    with log_broker(services.worker, tmp_path) as log:
        for number in range(6):
            log.append(f"key {number}", "order")
        before = log.ends()
        log.kill()
    tear(tmp_path)
    with log_broker(services.worker, tmp_path) as log:
        assert log.ends() == before and sum(before) == 6
