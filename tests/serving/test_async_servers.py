import asyncio
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import measured

from mlsys import services
from mlsys.serving.event_loop import clients as async_clients
from mlsys.serving.event_loop import servers as async_servers
from mlsys.serving.event_loop.servers import HOST, KINDS, LONGEST_LINE, TOO_LONG

ALL = tuple(KINDS)


@pytest.fixture(scope="module")
def servers():
    with async_servers.servers(ALL, services.worker) as started:
        yield {one.kind: one for one in started}


def talk(port, data, replies):
    """Send the bytes and read so many lines."""
    with socket.create_connection((HOST, port), timeout=5) as conn:
        conn.sendall(data)
        lines = conn.makefile("rb")
        return [lines.readline() for _ in range(replies)]


@pytest.mark.parametrize("kind", ALL)
def test_each_server_answers_line_by_line(servers, kind):
    port = servers[kind].port
    assert talk(port, b"hello\nwait 1\n\n", 3) == [b"HELLO\n", b"WAIT 1\n", b"\n"]


@pytest.mark.parametrize("kind", ALL)
@settings(max_examples=8)
@given(pieces=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8))
def test_no_split_makes_a_difference(servers, kind, pieces):
    pieces = [piece.replace(b"\n", b"") or b"x" for piece in pieces]
    whole = b"".join(pieces) + b"\n"
    with socket.create_connection((HOST, servers[kind].port), timeout=5) as conn:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [*pieces, b"\n"]:
            conn.sendall(piece)
        assert conn.makefile("rb").readline() == whole.upper()


@pytest.mark.parametrize("kind", ALL)
def test_a_line_without_an_end_is_cut_off_and_the_next_client_served(servers, kind):
    with socket.create_connection((HOST, servers[kind].port), timeout=5) as conn:
        said = b""
        with suppress(ConnectionError):  # what comes after the cut is answered by a reset
            conn.sendall(b"x" * (LONGEST_LINE + 5000))
            said = conn.makefile("rb").read()
    assert said in (b"", TOO_LONG)
    assert talk(servers[kind].port, b"next\n", 1) == [b"NEXT\n"]


@pytest.mark.parametrize("kind", ["threads", "select", "asyncio"])
def test_a_client_that_never_ends_its_line_holds_up_nobody(servers, kind):
    with socket.create_connection((HOST, servers[kind].port), timeout=5) as conn:
        conn.sendall(b"half a li")
        assert talk(servers[kind].port, b"quick\n", 1) == [b"QUICK\n"]
        conn.sendall(b"ne\n")
        assert conn.makefile("rb").readline() == b"HALF A LINE\n"


def test_one_by_one_is_held_by_its_first_client(servers):
    port = servers["one by one"].port
    with socket.create_connection((HOST, port), timeout=5) as first:
        first.sendall(b"ha")
        with socket.create_connection((HOST, port), timeout=0.2) as second:
            second.sendall(b"quick\n")
            with pytest.raises(TimeoutError):
                second.recv(10)
            first.close()
            second.settimeout(5)
            assert second.recv(10) == b"QUICK\n"


@pytest.mark.parametrize("kind", ["select", "asyncio"])
def test_a_client_that_reads_nothing_holds_up_nobody(servers, kind):
    with socket.create_connection((HOST, servers[kind].port)) as conn:
        conn.settimeout(0.2)
        with pytest.raises((TimeoutError, ConnectionError)):
            for _ in range(20_000):
                conn.sendall(b"x" * 900 + b"\n")
        assert talk(servers[kind].port, b"quick\n", 1) == [b"QUICK\n"]


@pytest.mark.parametrize("line", [b"wait", b"wait x", b"wait -1", b"wait nan", b"wait 9999999"])
def test_an_order_that_makes_no_sense_is_an_ordinary_line(line):
    assert async_servers.order(line) == ("", 0.0)


def test_orders_are_in_milliseconds():
    assert async_servers.order(b"block 200\n") == ("block", 0.2)


def test_compute_takes_the_cpu_time_that_it_was_told():
    before = time.thread_time()
    async_servers.compute(0.05)
    assert time.thread_time() - before >= 0.05


def test_an_unknown_kind_is_refused_in_one_sentence():
    with (
        pytest.raises(ValueError, match="'green' is no kind of server; take one of one by one"),
        async_servers.servers(["green"], services.worker),
    ):
        raise AssertionError("nothing may start")


@measured
def test_a_crowd_of_slow_clients_costs_threads_a_thread_each(servers):
    async def meet(kind):
        return await async_clients.crowded(
            servers[kind], clients=30, gap=0.02, rate=50, seconds=0.3, timeout=5
        )

    met = [asyncio.run(meet(kind)) for kind in ("threads", "asyncio")]
    assert all(one.quick.ok == one.quick.planned for one in met)
    assert met[0].threads > 30 > met[1].threads
    table = async_clients.compared(met)
    assert list(table.index) == ["threads", "asyncio"]
    assert (table["slow lines answered"] > 0).all()


@measured
def test_a_blocking_call_delays_the_others_and_a_waiting_one_does_not():
    whats = ("wait 200", "block 300")
    with async_servers.servers(["asyncio"] * 2, services.worker) as two:
        waiting, blocking = asyncio.run(async_clients.all_beside(two, whats, seconds=0.6))
    assert blocking.ok == blocking.planned
    assert blocking.latency.share_over(0.1) > waiting.latency.share_over(0.1)


def test_slow_clients_are_gone_after_the_with(servers):
    before = set(threading.enumerate())
    with async_clients.slow_clients(servers["asyncio"].port, 5, gap=0.01) as seen:
        end = threading.Event()
        for _ in range(500):
            if seen.answered >= 5:
                break
            end.wait(0.01)
    assert seen.answered >= 5
    assert seen.held == 0
    assert not seen.errors
    assert set(threading.enumerate()) <= before


def test_slow_clients_count_a_server_that_is_not_there():
    with socket.create_server((HOST, 0)) as gone:
        port = gone.getsockname()[1]
    with async_clients.slow_clients(port, 3, gap=0.01) as seen:
        end = threading.Event()
        for _ in range(500):
            if sum(seen.errors.values()) == 3:
                break
            end.wait(0.01)
    assert seen.errors == {"ConnectionRefusedError": 3}


@contextmanager
def refused():
    with pytest.raises(ValueError, match="are not sensible; take up to 2,000 clients"):
        yield


@pytest.mark.parametrize(("count", "gap"), [(-1, 0.1), (5000, 0.1), (1, 0), (1, 100)])
def test_a_crowd_that_is_not_sensible_is_refused(count, gap):
    with refused(), async_clients.slow_clients(1, count, gap=gap):
        raise AssertionError("nothing may start")
