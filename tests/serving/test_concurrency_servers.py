"""The designs of server, and the crowd that holds their connections."""

import asyncio
import os
import socket
import struct

import numpy as np
import psutil
import pytest
from leftovers import await_gone

from mlsys import services
from mlsys.serving.concurrency import crowd, servers
from mlsys.serving.concurrency.servers import DESIGNS, FATAL, HOST, PICTURE
from mlsys.serving.concurrency.work import ConcurrencyError
from mlsys.serving.protocols.messages import receive_exactly

EVERY = [name for name in DESIGNS if name != "pre-fork" or hasattr(os, "fork")]
KEEPING = [name for name in EVERY if name not in ("one by one", "pre-fork")]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows cannot fork.")


def picture(number):
    return bytes([number]) + bytes(PICTURE - 1)


# --- models


def test_both_models_give_the_same_digits_and_most_are_right():
    pictures, labels = servers.digits()
    assert pictures.shape == (1797, 64)
    assert set(labels) == set(range(10))
    python, numpy = servers.nearest_in_python(), servers.nearest_in_numpy()
    shown = [bytes(one) for one in pictures[1000:1100]]
    answers = [numpy(one) for one in shown]
    assert answers == [python(one) for one in shown]
    assert np.mean([int(a) == b for a, b in zip(answers, labels[1000:1100])]) > 0.9


@pytest.mark.parametrize("model", ["python", "numpy"])
def test_what_is_no_picture_is_answered_with_a_question_mark(model):
    assert servers.MODELS[model]()(bytes([17]) * PICTURE) == b"?"


# --- designs


@pytest.mark.parametrize("design", EVERY)
def test_every_design_answers_and_survives_broken_peers(design):
    with servers.serving(design, services.worker, size=2) as server:
        for rude in (b"", b"half a picture"):
            with socket.create_connection((HOST, server.port), timeout=10) as peer:
                peer.sendall(rude)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for number in (3, 7):
            with socket.create_connection((HOST, server.port), timeout=10) as peer:
                for byte in picture(number):  # however it is cut
                    peer.send(bytes([byte]))
                assert peer.recv(10) == b"%d" % number
        if design in KEEPING:  # several questions in one piece, and one more
            with socket.create_connection((HOST, server.port), timeout=10) as peer:
                peer.sendall(b"".join(map(picture, range(10))))
                assert receive_exactly(peer, 10) == b"0123456789"
                peer.sendall(picture(5))
                assert peer.recv(10) == b"5"
        assert server.memory > 1


def test_a_peer_that_asks_and_never_reads_is_dropped_by_the_loop():
    ours, greedy = socket.socketpair()
    with ours, greedy:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        held, kept = bytearray(), 0
        while kept < 2000 and servers.read_and_answer(ours, held, lambda _: b"1"):
            greedy.sendall(picture(1) * 50)
            kept += 1
        assert 0 < kept < 2000


@forks
def test_a_crash_ends_a_server_of_threads_and_only_one_copy_of_a_pre_forked_one():
    with servers.serving("thread each", services.worker, model="numpy") as server:
        ask = servers.call(server.port)
        assert servers.call(server.port)(FATAL) is None
        assert ask(picture(0)) is None
    with servers.serving("pre-fork", services.worker, size=2, model="numpy") as server:
        before = server.processes
        waiting = servers.call(server.port)
        assert servers.call(server.port)(FATAL) is None
        assert waiting(picture(0)) in map(b"%d".__mod__, range(10))
        while len(set(server.processes) - set(before)) < 1:
            assert server.group.alive == (True,)
        assert servers.call(server.port)(picture(0)) is not None


@forks
def test_copies_of_a_pre_forked_server_end_with_their_parent():
    with servers.serving("pre-fork", services.worker, size=2) as server:
        while len(server.processes) < 2:
            assert server.group.alive == (True,)
        copies = [psutil.Process(pid) for pid in server.processes]
        server.group.kill(0)
        await_gone(copies)


@pytest.mark.parametrize(
    ("design", "size", "model", "says"),
    [
        ("magic", 1, "none", "no design"),
        ("pool", 1, "magic", "no model"),
        ("pool", 0, "none", "0 workers"),
    ],
)
def test_a_server_that_cannot_be_is_refused(design, size, model, says):
    with (
        pytest.raises(ConcurrencyError, match=says),
        servers.serving(design, services.worker, size=size, model=model),
    ):
        pass


def test_only_designs_that_the_system_can_run_are_possible(monkeypatch):
    designs = {"a": ("pool", 8, "none"), "b": ("pre-fork", 2, "none")}
    assert set(servers.possible(designs)) == ({"a", "b"} if hasattr(os, "fork") else {"a"})
    monkeypatch.delattr(os, "fork", raising=False)
    assert servers.possible(designs) == {"a": ("pool", 8, "none")}


def test_without_fork_the_refusal_says_what_to_do(monkeypatch):
    monkeypatch.delattr(os, "fork", raising=False)
    with pytest.raises(ConcurrencyError, match="Windows cannot fork; take"):
        servers.check("pre-fork", 2, "none")


# --- the crowd


def held_by(design, sizes, size=8):
    async def hold():
        with servers.serving(design, services.worker, size=size) as server:
            return await crowd.hold(server, sizes, seconds=0.1)

    return asyncio.run(hold())


def test_designs_without_a_size_answer_a_whole_crowd_and_threads_cost_most_memory():
    each = {}
    for design in ("thread each", "asyncio", "selector"):
        few, many = held_by(design, (3, 300))
        assert (few.connections, many.connections) == (3, 300)
        assert few.silent == many.silent == 0
        assert many.rate > 0
        assert 0 < many.p50 <= many.p99
        each[design] = many.each
    assert each["thread each"] > each["asyncio"] > each["selector"]


def test_a_pool_answers_as_many_connections_as_it_has_threads():
    few, many = held_by("pool", (4, 60), size=8)
    assert few.silent == 0
    assert many.silent > 0.1
    assert many.p99 > 0.15


def test_a_crowd_asks_over_all_of_its_connections_and_closes_them():
    async def ask():
        with servers.serving("asyncio", services.worker) as server:
            async with crowd.crowd(server.port, 5) as clients:
                for _ in range(20):
                    await clients.ask()
                await clients.ask_last()
                assert clients.willing == len(clients.open) == 5
        assert all(conn.fileno() == -1 for conn in clients.open)

    asyncio.run(ask())


def test_more_connections_than_files_are_refused_with_the_limit(monkeypatch):
    monkeypatch.setattr(crowd, "raise_file_limit", lambda: 1024)
    with pytest.raises(ConcurrencyError, match=r"1,000 connections .* allows 1,024"):
        crowd.check_room(1000)
    assert crowd.fitting((1, 100, 1000)) == (1, 100)
    with pytest.raises(ConcurrencyError, match="take 1 to"):
        crowd.check_room(0)


def test_the_limit_of_open_files_is_raised_never_lowered():
    resource = pytest.importorskip("resource")
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = servers.raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (max(before, limit), hard)


def test_nobody_at_the_port_is_said_in_one_sentence():
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]

    async def grow():
        async with crowd.crowd(port):
            pass

    with pytest.raises(ConcurrencyError, match="could not be opened"):
        asyncio.run(grow())


def test_servers_are_compared_under_the_same_load():
    designs = {"a": ("thread each", 1, "numpy"), "b": ("pool", 4, "numpy")}
    loads = asyncio.run(crowd.compare(designs, services.worker, picture(0), seconds=0.1))
    assert list(loads) == ["a", "b"]
    assert all(load.ok > 0 and not load.failed for load in loads.values())
