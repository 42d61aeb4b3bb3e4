"""What can be asked, from where, and on what schedule; what cannot gets one sentence."""

import asyncio
import json
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from leftovers import await_gone
from load_servers import accounted, raw, scripted

from mlsys.serving.load import (
    LoadError,
    Request,
    Tcp,
    closed_loop,
    fixed,
    open_loop,
    poisson,
    run_now,
)


def test_requests_are_sent_as_they_are_described():
    with scripted() as server:
        asked = [
            Request(server.url + "/a?b=c", method="POST", body={"text": "ä"}, label="x-number"),
            Request(server.url + "/d", method="HEAD"),
            Request(server.url + "/e", body=b"\xff", method="POST", keep_alive=False),
        ]
        result = run_now(closed_loop(asked, clients=1, count=6))
    assert result.failed == 0
    assert [(m, p) for m, p, _ in server.seen] == [
        ("POST", "/a?b=c"), ("HEAD", "/d"), ("POST", "/e")] * 2  # fmt: skip
    assert json.loads(server.seen[0][2]) == {"text": "ä"} and server.seen[2][2] == b"\xff"
    assert set(result.labels) <= {"0", "1"} and sum(result.labels.values()) == 2


@pytest.mark.parametrize("keep", [True, False])
def test_a_tcp_exchange_ends_where_it_is_told(keep):
    with raw([[b"po", b"ng\n"]] * 5) as port:
        lines = run_now(
            closed_loop(Tcp(port, b"ping\n\n", until=b"g\n", keep=keep), clients=1, count=5)
        )
        bytes_ = run_now(closed_loop(Tcp(port, b"ping\n\n", size=5), clients=1, count=3))
        apart = run_now(
            closed_loop(Tcp(port, b"ping\n\n", until=b"\n", keep=keep), count=3, apart=True)
        )
    assert (lines.ok, bytes_.ok, apart.ok) == (5, 3, 3)


def test_an_async_function_runs_on_the_callers_own_loop():
    async def measure():
        here = asyncio.get_running_loop()

        async def ask() -> str:
            return "here" if asyncio.get_running_loop() is here else "elsewhere"

        return await open_loop(ask, trace=[0.0] * 5)

    assert run_now(measure()).labels == {"here": 5}


def test_a_plain_function_runs_in_no_more_threads_than_connections():
    names = set()
    both = threading.Barrier(2, timeout=10)

    def ask() -> None:
        names.add(threading.current_thread().name)
        both.wait()

    result = run_now(open_loop(ask, trace=[0.0] * 6, connections=2))
    assert result.ok == 6 and len(names) == 2


def test_run_now_works_while_a_loop_is_running():
    async def inside():
        return run_now(open_loop(lambda: None, trace=[0.0]))

    assert asyncio.run(inside()).ok == 1


def test_a_load_that_is_cancelled_sends_no_more():
    asked = []

    async def cancelled():
        begun = threading.Event()

        def ask() -> None:
            asked.append(1)
            begun.set()

        load = asyncio.create_task(open_loop(ask, rate=100, seconds=60))
        await asyncio.to_thread(begun.wait, 10)
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load

    asyncio.run(cancelled())
    for thread in threading.enumerate():
        if thread.name == "load generator":
            thread.join(10)
            assert not thread.is_alive()
    assert 1 <= len(asked) < 6_000


def test_apart_gives_the_same_kind_of_result_from_another_process():
    with scripted() as server:
        target = [
            Request(server.url, method="POST", body=b"\xff\x00", label="X-Number"),
            server.url + "/status/404",
        ]
        result = run_now(open_loop(target, trace=fixed(100, 0.2), apart=True, warm=2, name="us"))
    accounted(result)
    assert result.name == "us" and result.statuses == {200: 10, 404: 10}
    assert len(server.seen) == 22 and server.seen[0][2] == b"\xff\x00"
    assert result.latency.count == 10 and len(result.events) == 20
    assert result.offered == pytest.approx(20 / 0.19)


def test_the_process_apart_ends_when_its_parent_is_killed():
    with scripted() as server:
        code = (
            "from mlsys.serving.load import open_loop, run_now\n"
            f"run_now(open_loop({server.url!r}, rate=50, seconds=60, apart=True))"
        )
        parent = subprocess.Popen([sys.executable, "-c", code])
        try:
            assert server.asked.wait(60)
            children = psutil.Process(parent.pid).children()
            assert len(children) == 1
        finally:
            parent.kill()
            parent.wait()
        await_gone(children)


def test_a_load_apart_that_is_cancelled_leaves_no_process():
    others = set(psutil.Process().children())  # what other tests of this process keep
    with scripted() as server:

        async def cancelled() -> None:
            load = asyncio.create_task(open_loop(server.url, rate=50, seconds=60, apart=True))
            assert await asyncio.to_thread(server.asked.wait, 60)
            children = list(set(psutil.Process().children()) - others)
            load.cancel()
            with pytest.raises(asyncio.CancelledError):
                await load
            assert children
            await asyncio.to_thread(await_gone, children)

        asyncio.run(cancelled())


def test_a_named_function_can_be_asked_here_and_apart():
    for apart in (False, True):
        result = run_now(closed_loop("time:perf_counter", clients=1, count=5, apart=apart))
        assert result.ok == 5


def test_warming_up_is_not_counted():
    with scripted([0.3]) as server:
        result = run_now(closed_loop(server.url, clients=1, count=3, warm=1))
    assert len(server.seen) == 4 and result.planned == 3


def test_a_generator_that_is_late_by_its_own_fault_says_so():
    async def blocks() -> None:
        time.sleep(0.02)  # a blocking call inside a coroutine: nothing else gets a turn

    result = run_now(open_loop(blocks, rate=200, seconds=0.2, arrivals="fixed"))
    assert not result.kept_up
    assert "could not keep up" in result.describe()


# --- schedules ------------------------------------------------------------------------------------


def test_poisson_gaps_have_the_mean_and_the_spread_of_a_poisson_process():
    gaps = np.diff(poisson(1_000, 100, seed=1))
    assert gaps.mean() == pytest.approx(1e-3, rel=0.02)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.02)
    assert (poisson(100, 1, seed=2) == poisson(100, 1, seed=2)).all()


def test_fixed_arrivals_are_a_clockwork():
    assert fixed(10, 0.5) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_an_empty_schedule_is_an_empty_result():
    result = run_now(open_loop("http://127.0.0.1:1", trace=[]))
    assert result.planned == 0 and result.failed == 0 and result.describe()


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (lambda: open_loop("http://192.0.2.1/", rate=1, seconds=1), "not this machine"),
        (lambda: open_loop("http://example.com/", rate=1, seconds=1), "not this machine"),
        (lambda: open_loop("http://127.0.0.1@example.com/", rate=1, seconds=1), "not this machine"),
        (lambda: open_loop("https://127.0.0.1/", rate=1, seconds=1), "is no address"),
        (lambda: open_loop("http://127.0.0.1:99999/", rate=1, seconds=1), "is no address"),
        (lambda: open_loop("http://127.0.0.1/a b", rate=1, seconds=1), "percent-encode"),
        (lambda: open_loop("http://127.0.0.1/", rate=0, seconds=1), "no rate"),
        (lambda: open_loop("http://127.0.0.1/", rate=float("nan"), seconds=1), "no rate"),
        (lambda: open_loop("http://127.0.0.1/", rate=1e6, seconds=100), "at most 1,000,000"),
        (lambda: open_loop("http://127.0.0.1/", rate=1, seconds=1e6), "no length"),
        (lambda: open_loop("http://127.0.0.1/", rate=1), "Say how much"),
        (lambda: open_loop("http://127.0.0.1/", trace=[-1.0]), "finite seconds"),
        (lambda: open_loop("http://127.0.0.1/", trace="abc"), "is no array"),
        (lambda: open_loop("http://127.0.0.1/", trace=[0], rate=1), "not both"),
        (lambda: open_loop("http://127.0.0.1/", rate=1, seconds=1, arrivals="x"), "'poisson'"),
        (lambda: open_loop("http://127.0.0.1/", trace=[0], timeout=0), "time-out of 0"),
        (lambda: open_loop("http://127.0.0.1/", trace=[0], connections=0), "0 connections"),
        (lambda: open_loop([], trace=[0]), "empty list"),
        (lambda: open_loop(5, trace=[0]), "cannot be asked"),
        (lambda: open_loop(lambda a, b: None, trace=[0]), "asks for too much"),
        (lambda: open_loop("no_such_module:ask", trace=[0]), "no function"),
        (lambda: open_loop(lambda: None, trace=[0], apart=True), "cannot run in another process"),
        (lambda: closed_loop("http://127.0.0.1/"), "Say when to end"),
        (lambda: closed_loop("http://127.0.0.1/", clients=0, count=1), "0 clients"),
        (lambda: closed_loop("http://127.0.0.1/", count=0), "0 requests"),
    ],
)
def test_a_load_that_cannot_be_gets_one_sentence(load, said):
    with pytest.raises(LoadError, match=said):
        run_now(load())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Request("http://127.0.0.1/", method="BREW"), "no method"),
        (lambda: Request("http://127.0.0.1/", headers={"A": "b\r\nC: d"}), "line break"),
        (lambda: Request("http://127.0.0.1/", body={1, 2}), "JSON cannot say"),
        (lambda: Request("http://127.0.0.1/\u4e2d"), "percent-encode"),
        (lambda: Tcp(80, b"x"), "how the reply ends"),
        (lambda: Tcp(0, b"x", size=1), "0 is no port"),
        (lambda: Tcp(80, b"x", size=1, host="10.0.0.1"), "not this machine"),
    ],
)
def test_a_request_that_cannot_be_gets_one_sentence(make, said):
    with pytest.raises(LoadError, match=said):
        make()
