"""The load generator's law against real servers whose every answer is scripted.

No test asserts how long something took: what holds by law (a server that sleeps a known time
answers no sooner; what is due during a stall waits for its end) holds on a busy machine too.
"""

import math

import numpy as np
import pytest
from load_servers import accounted, raw, scripted

from mlsys.serving.latency import RELATIVE_ERROR
from mlsys.serving.load import closed_loop, fixed, open_loop, run_now
from mlsys.serving.queueing import fifo, little, mean_in_system


def test_what_is_due_while_the_server_stalls_waits_for_its_end():
    stall = 0.4
    with scripted([stall]) as server:
        result = run_now(
            open_loop(server.url, rate=100, seconds=0.4, arrivals="fixed", connections=1)
        )
    accounted(result)
    events = result.events
    # Request i was due at i/100 s and the one connection was taken until 0.4 s.
    assert (events["done"] >= stall).all()
    assert (events["done"] - events["intended"] >= stall - events["intended"]).all()
    # A client that counts from the send blames the stall on one request of forty.
    assert result.latency.share_over(0.1) >= 30 / 40
    assert result.latency.mean > result.service.mean
    assert result.latency.total >= sum(stall - i / 100 for i in range(40))


def test_a_closed_loop_omits_what_it_did_not_ask_during_the_stall():
    with scripted([0.4]) as server:
        closed = run_now(closed_loop(server.url, clients=1, count=40))
    with scripted([0.4]) as server:
        opened = run_now(
            open_loop(server.url, rate=100, seconds=0.4, arrivals="fixed", connections=1)
        )
    assert closed.latency == closed.service
    assert opened.latency.p50 > 0.2 > closed.latency.p50


def test_no_answer_comes_sooner_than_the_queue_allows():
    services = np.random.default_rng(0).exponential(0.01, 60)
    with scripted(services) as server:
        result = run_now(open_loop(server.url, trace=np.arange(60) * 0.008, connections=1))
    accounted(result)
    events = result.events
    # One connection keeps the order, so request i met the i-th service time: the exact queue is
    # a lower bound, as the real one adds only what the machine takes.
    _, earliest = fifo(events["intended"].to_numpy(), services)
    assert (events["done"].to_numpy() >= earliest).all()
    assert result.latency.total >= (earliest - events["intended"].to_numpy()).sum()


def test_littles_law_holds_of_the_recorded_instants():
    with scripted([0.005] * 80) as server:
        result = run_now(open_loop(server.url, rate=150, seconds=0.5, connections=4, seed=3))
    starts, ends = (result.events[name].to_numpy() for name in ("intended", "done"))
    length = ends.max() - starts.min()
    measured = mean_in_system(starts, ends)
    assert measured == pytest.approx(little(len(starts) / length, (ends - starts).mean()))
    # and of the histogram, which knows nothing of the instants
    assert measured == pytest.approx(little(len(starts) / length, result.latency.mean))


def test_percentiles_are_those_of_the_events_within_the_histograms_error():
    with scripted([0.002] * 100) as server:
        result = run_now(open_loop(server.url, rate=200, seconds=0.4))
    times = (result.events["done"] - result.events["intended"]).to_numpy()
    for percent in (50, 90, 99):
        exact = np.percentile(times, percent, method="inverted_cdf")
        assert result.latency.percentile(percent) == pytest.approx(exact, rel=2 * RELATIVE_ERROR)


def test_no_more_are_under_way_than_there_are_connections():
    with scripted([0.01] * 40) as server:
        for result in (
            run_now(open_loop(server.url, rate=400, seconds=0.1, connections=3)),
            run_now(closed_loop(server.url, clients=3, count=30)),
        ):
            accounted(result)
            assert set(result.events["lane"]) <= {0, 1, 2}
            for _, lane in result.events.groupby("lane"):
                lane = lane.sort_values("sent")
                assert (lane["sent"].to_numpy()[1:] >= lane["done"].to_numpy()[:-1]).all()


def test_a_client_that_thinks_asks_no_sooner_than_it_has_thought():
    with scripted() as server:
        result = run_now(closed_loop(server.url, clients=1, count=5, think=0.02))
    events = result.events
    assert result.planned == 5
    gaps = events["sent"].to_numpy()[1:] - events["done"].to_numpy()[:-1]
    assert (gaps >= 0.019).all()  # the event loop may fire within its clock's resolution


# --- what goes wrong is counted by kind -----------------------------------------------------------


def test_a_server_that_is_not_there_refuses_every_request():
    with raw([]) as port:
        pass
    result = run_now(open_loop(f"http://127.0.0.1:{port}", rate=100, seconds=0.1))
    accounted(result)
    assert result.errors == {"refused": result.planned} and result.ok == 0
    assert result.latency.count == 0 and "refused" in result.describe()
    assert math.isnan(result.percentiles().iloc[0, 0])


def test_a_time_out_counts_with_the_time_that_was_waited():
    with scripted([2.0]) as server:
        result = run_now(
            open_loop(server.url, trace=[0.0, 0.01, 0.02], connections=1, timeout=0.15)
        )
    accounted(result)
    assert result.errors["timeout"] >= 1
    assert result.events["done"].min() >= 0.15
    assert result.latency.count == result.planned and result.latency.low >= 0.13


def test_what_never_got_a_turn_is_not_sent_and_still_counts():
    with scripted([5.0]) as server:
        result = run_now(open_loop(server.url, trace=[0.0] * 50, connections=1, timeout=0.05))
    accounted(result)
    assert result.errors["not sent"] >= 10
    assert result.sent + result.errors["not sent"] == result.planned
    assert result.latency.count == result.planned


def test_statuses_from_400_on_are_failures_and_keep_out_of_the_latency():
    with scripted() as server:
        result = run_now(open_loop([server.url, server.url + "/status/503"], trace=fixed(200, 0.1)))
    accounted(result)
    assert result.statuses == {200: 10, 503: 10}
    assert result.errors == {"status 503": 10} and result.failed == 0.5
    assert result.latency.count == 10


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "bad reply"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "bad reply"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "bad reply"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", "bad reply"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nmore than one", "bad reply"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "bad reply"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Len", "closed"),
        (b"\r" * 70_000, "bad reply"),
    ],
)
def test_a_broken_answer_is_an_error_and_never_an_answer(answer, kind):
    with raw([[answer]]) as port:
        result = run_now(open_loop(f"http://127.0.0.1:{port}", trace=[0.0], timeout=20))
    accounted(result)
    assert result.errors == {kind: 1}


WHOLE = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length:0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n"
    b"0\r\nTrailer: 1\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_answer_may_come_in_any_pieces(size):
    answers = [[a[i : i + size] for i in range(0, len(a), size)] for a in WHOLE]
    with raw(answers) as port:
        result = run_now(closed_loop(f"http://127.0.0.1:{port}", clients=1, count=len(WHOLE)))
    accounted(result)
    assert result.statuses == {200: 2, 201: 1, 204: 1}
    assert result.failed == 0


def test_an_answer_may_end_with_its_connection():
    with raw([[b"HTTP/1.0 200 OK\r\n\r\nto the", b" end"]]) as port:
        result = run_now(closed_loop(f"http://127.0.0.1:{port}", clients=1, count=3))
    assert result.statuses == {200: 3} and result.failed == 0


def test_a_connection_that_the_server_let_go_is_opened_anew():
    with raw([[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]]) as port:
        result = run_now(closed_loop(f"http://127.0.0.1:{port}", clients=2, count=20))
    accounted(result)
    assert result.statuses == {200: 20}


def test_exceptions_of_a_function_are_counted_by_their_name():
    def ask(number: int) -> str:
        if number % 2:
            raise KeyError(number)
        return "even"

    result = run_now(open_loop(ask, trace=[0.0] * 10))
    accounted(result)
    assert result.errors == {"KeyError": 5} and result.labels == {"even": 5}
