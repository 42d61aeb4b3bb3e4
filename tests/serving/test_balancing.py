"""Policies simulated against their laws, replicas behind nginx, retries, the ring, traces."""

import asyncio
import math
from bisect import bisect
from collections import Counter

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import measured

from mlsys import services
from mlsys.serving.balancing import figures as balancing_figures
from mlsys.serving.balancing import fronts as balancing_fronts
from mlsys.serving.balancing import policies as balancing
from mlsys.serving.balancing import retries as balancing_retries
from mlsys.serving.balancing import ring as hashing_ring
from mlsys.serving.balancing import sandbox as balancing_sandbox
from mlsys.serving.balancing import tracing as balancing_tracing
from mlsys.serving.balancing.policies import BalancingError
from mlsys.serving.balancing.tracing import Span
from mlsys.serving.load import run_now
from mlsys.serving.queueing import mm1


@pytest.fixture(scope="module")
def processes():
    with balancing_fronts.copies(services.replicas, 4, ms=10) as running:
        yield running


@pytest.fixture
def copies(processes):
    yield processes
    for copy in processes:
        balancing_fronts.tell(copy, ms=10, fails=0)


# --- simulation


def test_one_server_is_the_queue_of_the_textbook():
    run = balancing.simulate("random", [0.02], rate=35, count=60_000, seed=1)
    assert run.latency.mean() == pytest.approx(mm1(35, 0.02).response, rel=0.1)


def test_the_share_of_long_lines_follows_mitzenmacher_s_law():
    runs = balancing.fleet(400, load=0.7, count=60_000)
    for choices, run in enumerate(runs.values(), start=1):
        for length in range(1, 5):
            law = balancing.queue_tail(0.7, choices, length)
            assert run.at_least[length] == pytest.approx(law, abs=0.03)
    fig = balancing_figures.queue_tails(runs, load=0.7)
    assert "400" in fig.layout.title.text
    assert len(fig.data) == 4


def test_one_choice_falls_geometrically_and_two_doubly_so():
    assert balancing.queue_tail(0.5, 1, 3) == 0.125
    assert balancing.queue_tail(0.5, 2, 3) == 0.5**7


def test_round_robin_gives_each_the_same_and_least_connections_spares_the_slow():
    speeds = [0.02, 0.02, 0.02, 0.08]
    turns = balancing.simulate("round robin", speeds, rate=70, count=4_000)
    assert set(turns.served) == {800}
    least = balancing.simulate("least connections", speeds, rate=70, count=4_000)
    assert least.served[3] < 0.75 * least.served[:3].mean()
    assert np.percentile(least.latency, 95) < np.percentile(turns.latency, 95) / 2


def test_a_second_look_empties_the_fullest_bin():
    once, twice = (balancing.balls(10_000, choices).max() for choices in (1, 2))
    # leading terms: Azar, Broder, Karlin, Upfal, "Balanced allocations", 1999, theorem 1
    lonely, looking = math.log(10_000) / math.log(math.log(10_000)), math.log2(math.log(10_000))
    assert once >= lonely and twice <= looking + 2 and twice < once


@settings(max_examples=25, deadline=None)
@given(
    policy=st.sampled_from(balancing.POLICIES),
    servers=st.integers(1, 6),
    count=st.integers(1, 200),
)
def test_every_request_is_served_once_and_never_before_its_work(policy, servers, count):
    run = balancing.simulate(policy, [0.01] * servers, rate=50, count=count, warm=0)
    assert run.served.sum() == len(run.latency) == count
    assert (run.latency > 0).all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: balancing.simulate("by mood", [1], rate=1, count=1), "'by mood'"),
        (lambda: balancing.simulate("random", [], rate=1, count=1), "service times"),
        (lambda: balancing.simulate("random", [0], rate=1, count=1), "above 0"),
        (lambda: balancing.simulate("random", [1], rate=0, count=1), "at 0"),
        (lambda: balancing.balls(0, 1), "0 bins"),
    ],
)
def test_what_cannot_be_simulated_is_said_in_a_sentence(call, says):
    with pytest.raises(BalancingError, match=says):
        call()


# --- real replicas


@measured
def test_who_fails_fast_draws_the_crowd_and_ejection_sends_it_away():
    least = {"policy": "least_conn"}
    kinds = {
        "round robin": {},
        "least connections": least,
        "ejection": least | balancing_fronts.health(patience_ms=500, failures=3, rest=1),
    }
    with balancing_fronts.copies(services.replicas, 4, ms=25) as mortals:
        load = balancing_fronts.deaths(services.nginx, mortals, kinds, seconds=1.0)
        table = run_now(load)
        assert [copy.alive for copy in mortals] == [True, True, False, True]
    assert list(table.columns) == list(balancing_fronts.FAULTS)
    lying = table["answers 500"]
    assert lying["round robin"] == pytest.approx(0.25, abs=0.03)
    assert lying["ejection"] < lying["round robin"] < lying["least connections"]
    assert table["killed"]["round robin"] < 0.1
    fig = balancing_figures.failures(table)
    assert [bar.name for bar in fig.data] == list(kinds)


@measured
def test_a_slow_replica_sets_round_robin_s_tail_and_simulation_says_so_too(copies):
    balancing_fronts.tell(copies[3], ms=80)
    kinds = {"round robin": {}, "least connections": {"policy": "least_conn"}}
    runs = run_now(
        balancing_fronts.behind(services.nginx, copies, kinds, rate=60, seconds=1.5, seed=1)
    )
    assert all(len(run.labels) == 4 for run in runs.values())
    table = balancing.beside(runs, [0.01] * 3 + [0.08], rate=60, runs=3)
    assert list(table.index) == list(kinds)
    assert table["p95 simulated"]["least connections"] < table["p95 simulated"]["round robin"]
    assert list(balancing_fronts.quantiles(runs).columns) == ["p50", "p95", "p99"]


@measured
def test_plain_retries_keep_a_service_down_and_a_budget_lets_it_come_back(copies):
    class Budget:
        tokens = 3.0

        def asked(self):
            self.tokens = min(3.0, self.tokens + 0.1)

        def may_retry(self):
            allowed = self.tokens >= 1
            self.tokens -= allowed
            return allowed

    way = balancing_retries.Way
    ways = {"none": way(), "plain": way(4), "budget": way(4, budget=Budget)}
    balancing_fronts.tell(copies[0], ms=20)
    storms = asyncio.run(balancing_retries.storm(copies[0].url, ways))
    assert storms["plain"].recovered(3.5) < storms["none"].recovered(3.5)
    assert storms["plain"].recovered(3.5) < storms["budget"].recovered(3.5)
    assert len(storms["plain"].sends) > 1.5 * len(storms["budget"].sends)
    fig = balancing_figures.recovery(storms, stall=(0.4, 1.0), danger="plain")
    assert [line.name for line in fig.data] == list(ways)
    assert storms["none"].curves().answered.iloc[0] > 0.5


def test_an_open_breaker_sends_nothing(copies):
    class Open:
        def allows(self, now):
            return False

        def saw(self, ok, now):
            raise AssertionError("nothing was sent, so nothing was seen")

    ways = {"open": balancing_retries.Way(4, breaker=Open)}
    storms = asyncio.run(
        balancing_retries.storm(copies[0].url, ways, seconds=0.5, stall=(0, 0.01), attempts=1)
    )
    assert len(storms["open"].sends) == 0
    assert set(storms["open"].load.errors) == {"Refused"}


def test_a_replica_answers_nonsense_with_a_sentence_and_lives_on(copies):
    url = copies[0].url
    assert httpx.post(f"{url}/-set?ms=fast").status_code == 400
    assert "60000" in httpx.post(f"{url}/-set?ms=1e9").json()["error"]
    assert httpx.get(f"{url}/nowhere").status_code == 404
    assert httpx.post(f"{url}/-peers?rank=x").status_code == 400
    assert httpx.get(f"{url}/call/thief").status_code == 404
    balancing_fronts.tell(copies[0], ms=0)
    with httpx.Client(base_url=url) as client:
        statuses = Counter(client.get(f"/predict?lane={n}").status_code for n in range(103))
    assert statuses[400] >= 3
    assert httpx.get(f"{url}/health").json() == {"by": "replica 0"}
    assert not balancing_fronts.healthy("http://127.0.0.1:9")


def test_a_pool_that_ejects_is_counted_by_its_failures(copies):
    class Stubborn:
        def __init__(self, replicas, rest):
            self.replicas = replicas

        def pick(self, now):
            return self.replicas[0]

        def saw(self, replica, ok, now):
            pass

    assert balancing_fronts.count_failures(Stubborn, copies, requests=5) == 0
    with balancing_fronts.fault("answers 500", copies[0]):
        assert balancing_fronts.count_failures(Stubborn, copies, requests=5) == 5
    with pytest.raises(ValueError, match="'on fire'"), balancing_fronts.fault("on fire", copies[0]):
        pass


def test_a_trace_holds_every_call_under_the_one_who_asked(copies):
    homes = balancing_fronts.join(copies[:3])
    stairs = balancing_fronts.trace(homes)
    batch = balancing_fronts.trace(homes, "?batch=1")
    kinds = Counter(event.kind for event in stairs)
    assert kinds == {"page": 1, "user": 1, "candidates": 1, "rank": 1, "features": 6}
    assert sum(event.kind == "features" for event in batch) == 1
    page, *rest = stairs
    assert page.kind == "page" and page.start == 0
    assert all(page.start <= one.start and one.end <= page.end for one in rest)


# --- spans


def test_spans_are_as_deep_as_their_parents_say_even_with_one_lost_or_in_a_ring():
    def span(name, parent):
        return Span("t", name, parent, name, 0.0, 1.0, 1)

    spans = [span("a", ""), span("b", "a"), span("c", "b"), span("d", "lost")]
    assert balancing_tracing.depths(spans) == {"a": 0, "b": 1, "c": 2, "d": 0}
    assert set(balancing_tracing.depths([span("x", "y"), span("y", "x")])) == {"x", "y"}
    assert balancing_tracing.as_events([]) == []


def test_a_broken_header_begins_a_new_trace():
    trace, headers = balancing_tracing.new_trace()
    assert balancing_tracing._context(headers["traceparent"]) == (trace, "")
    other, parent = balancing_tracing._context("00-zz-1")
    assert len(other) == 32 and parent == "" and other != trace


# --- guards


def test_a_budget_allows_a_tenth_of_retries_in_the_long_run():
    budget = balancing_retries.RetryBudget()
    granted = 0
    for _ in range(1000):
        budget.asked()
        granted += budget.may_retry()
    assert 100 <= granted <= 105


def test_a_circuit_breaker_opens_probes_after_its_rest_and_closes_on_a_success():
    breaker = balancing_retries.CircuitBreaker(failures=2, rest=1.0)
    breaker.saw(False, 0.0)
    assert breaker.allows(0.0)
    breaker.saw(False, 0.0)
    assert not breaker.allows(0.5)
    assert breaker.allows(1.0) and not breaker.allows(1.1)  # one probe
    breaker.saw(True, 1.2)
    assert breaker.allows(1.2)


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_every_ball_is_in_a_bin_and_the_picture_shows_the_fullest(looks):
    balls = balancing.balls(500, looks, seed=2)
    assert balls.sum() == 500 == len(balls)
    figure = balancing_figures.bins({looks: balls, looks + 1: balls})
    assert str(balls.max()) in figure.layout.title.text


# --- the ring


def modulo(names):
    return lambda key: names[hashing_ring.place(key) % len(names)]


def consistent(names, points=100):
    """As the lesson writes it."""
    dots = [(hashing_ring.place(f"{name}/{i}"), name) for name in names for i in range(points)]
    dots.sort()
    return lambda key: dots[bisect(dots, (hashing_ring.place(key),)) % len(dots)][1]


def test_real_stores_keep_what_the_ring_says_and_lose_most_by_modulo():
    keys = [str(i) for i in range(1_000)]
    found = hashing_ring.grow(services.valkey, 4, (modulo, consistent), keys)
    assert found[0] < 0.4 < 0.6 < found[1]
    for share, way in zip(found, (modulo, consistent)):
        before, after = (way([f"node {n}" for n in range(count)]) for count in (3, 4))
        assert share == np.mean([before(key) == after(key) for key in keys])


def test_more_points_make_evener_shares():
    keys = [str(i) for i in range(1_000)]
    fig = balancing_figures.ring_loads(consistent, 4, keys, points=(1, 100))
    one, many = (max(bar.y) for bar in fig.data)
    assert many < one
    assert all(sum(bar.y) == pytest.approx(100) for bar in fig.data)


# --- the sandbox


def test_a_limited_process_has_no_secret_of_its_parent_and_none_of_its_files():
    table = balancing_sandbox.compare("told nobody")
    assert table["ordinary process"]["a secret of its parent"] == "told nobody"
    limited = table["limited process"]
    assert limited["a secret of its parent"] == "refused: KeyError"
    assert limited["the folder of its parent"] == "0 files"
    assert (
        limited["the machine's root folder"]
        == (table["ordinary process"]["the machine's root folder"])
    )
