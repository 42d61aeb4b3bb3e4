import json
import os
import socket
from contextlib import suppress

import pytest

from mlsys import services
from mlsys.serving.philosophers import figures
from mlsys.serving.philosophers.guest import SERVER, Connection, freeze_one, table_of_processes
from mlsys.serving.philosophers.server import HOST, READY

freezes = pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")


@pytest.fixture(scope="module")
def port():
    with services.worker(SERVER, "3", ready=READY) as server:
        yield int(server.log(0).split()[-1])


@pytest.fixture
def ask(port):
    connections = []

    def connect():
        connections.append(Connection(port, timeout=10))
        return connections[-1].ask

    yield connect
    for connection in connections:
        connection.close()


def test_a_fork_is_lent_once_and_its_numbers_grow(ask):
    one, other = ask(), ask()
    first = one("take", guest=0, fork=0)["token"]
    assert other("look")["holder"][0] == 0
    assert one("put", fork=0, token=first) == {"late": False}
    assert other("take", guest=2, fork=0)["token"] > first
    assert one("put", fork=0, token=first) == {"late": True}


def test_a_meal_needs_the_numbers_of_both_forks(ask):
    mine = ask()
    tokens = {k: mine("take", guest=1, fork=k)["token"] for k in (1, 2)}
    before = mine("look")
    assert before["fresh"][1] and before["fresh"][2]
    assert mine("eat", guest=1, tokens=tokens) == {"eaten": True}
    assert mine("eat", guest=1, tokens={1: tokens[1], 2: 0}) == {"eaten": False}
    after = mine("look")
    assert not after["fresh"][1] and not after["fresh"][2]
    assert after["meals"][1] == before["meals"][1] + 1
    assert after["refused"] == before["refused"] + 1


def test_the_forks_of_a_closed_connection_go_to_who_waits(port, ask):
    dying = Connection(port, timeout=10)
    dying.ask("take", guest=0, fork=1)
    heir = Connection(port, timeout=10)
    heir.socket.sendall(json.dumps({"do": "take", "guest": 1, "fork": 1}).encode() + b"\n")
    look = ask()
    while look("look")["wants"][1] != 1:
        pass
    dying.close()
    assert "token" in json.loads(heir.lines.readline())
    heir.close()


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[1, 2]",
        b'{"do": "steal"}',
        b'{"do": "take", "guest": 0, "fork": 99}',
        b'{"do": "take", "guest": "0", "fork": 1}',
        b'{"do": "take", "guest": true, "fork": 1}',
        b'{"do": "eat", "guest": 0, "tokens": 5}',
        b'{"do": "eat", "guest": 0, "tokens": {"0": 1}}',
        b'{"do": "put", "fork": null}',
        b"\xff\xfe",
    ],
)
def test_a_bad_request_gets_a_sentence_and_the_connection_lives(port, line):
    with socket.create_connection((HOST, port), timeout=10) as conn:
        lines = conn.makefile("rb")
        conn.sendall(line + b'\n{"do": "look"}\n')
        assert "error" in json.loads(lines.readline())
        assert "meals" in json.loads(lines.readline())
        lines.close()


def test_a_request_without_end_loses_its_connection_and_nobody_else_theirs(port, ask):
    with socket.create_connection((HOST, port), timeout=10) as conn:
        conn.sendall(b"x" * 20_000)
        with suppress(ConnectionResetError):
            assert conn.recv(100) == b""
    assert len(ask()("look")["meals"]) == 3


def test_a_table_without_guests_is_refused_with_a_sentence():
    refused = pytest.raises(services.ServiceError, match="at least 2 guests")
    with refused, services.worker(SERVER, "1", ready=READY):
        pass


@freezes
def test_one_frozen_guest_stops_all_and_its_death_frees_them():
    with table_of_processes(services.worker) as table:
        table.until(lambda look: min(look.meals) >= 1)
        table.freeze(2)
        before = table.still(0.3)[-1]
        table.guests.kill(2)
        after = table.until(lambda look: all(look.meals[i] > before.meals[i] for i in (0, 1, 3, 4)))
        assert after.meals[2] == before.meals[2]


@freezes
def test_a_lease_frees_the_others_and_the_fence_refuses_the_sleeper():
    seen = freeze_one(services.worker, lease=0.1, asleep=0.4)
    assert seen.last.expired and seen.last.refused and not seen.last.unsafe
    assert seen.meals_meanwhile > 0
    figure = figures.remote_meals(seen.looks, title="t", marks={"froze": seen.froze})
    assert len(figure.data) == 5


@freezes
def test_a_guest_is_frozen_between_its_forks_and_its_meal():
    with table_of_processes(services.worker) as table:
        for _ in range(5):
            seen = table.freeze(2)
            assert seen.holder[2] == seen.holder[3] == 2 and seen.fresh[2] and seen.fresh[3]
            table.guests.resume(2)
            table.until(lambda look, seen=seen: look.meals[2] > seen.meals[2])


@freezes
def test_without_the_fence_two_eat_with_one_fork():
    seen = freeze_one(services.worker, lease=0.1, fence=False, asleep=0.4)
    assert seen.last.unsafe and not seen.last.refused
