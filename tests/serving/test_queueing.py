"""The queues on paper: special cases agree, limits hold, and a played queue obeys them."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.serving.queueing import (
    fifo,
    in_system,
    little,
    mean_in_system,
    mm1,
    mmc,
)

FEW = settings(max_examples=60, deadline=None)
LOADS = st.floats(0.01, 0.98)


@FEW
@given(load=LOADS, service=st.floats(1e-4, 10), servers=st.integers(1, 40))
def test_littles_law_holds_in_every_formula(load, service, servers):
    rate = load * servers / service
    queue = mmc(rate, service, servers)
    assert queue.inside == pytest.approx(little(rate, queue.response))
    # the mean number that is served is the offered load, whatever the line does
    assert queue.inside - queue.waiting == pytest.approx(rate * service)


@FEW
@given(load=LOADS)
def test_one_server_answers_in_the_textbooks_time(load):
    queue = mm1(load, 1.0)
    assert queue.response == pytest.approx(1 / (1 - load))
    assert queue.delayed == pytest.approx(load)


@FEW
@given(load=LOADS, servers=st.integers(1, 20))
def test_a_shared_line_never_waits_longer_than_separate_lines(load, servers):
    assert mmc(load * servers, 1.0, servers).wait <= mm1(load, 1.0).wait + 1e-12


@FEW
@given(load=LOADS, servers=st.integers(1, 30))
def test_erlangs_delay_formula_is_its_definition_summed_up(load, servers):
    offered = Fraction(load) * servers
    terms = [offered**busy / math.factorial(busy) for busy in range(servers + 1)]
    last = terms.pop() / (1 - Fraction(load))
    assert mmc(float(offered), 1.0, servers).delayed == pytest.approx(
        float(last / (sum(terms) + last))
    )


@pytest.mark.parametrize("queue", [mm1(10, 0.1), mmc(21, 0.1, 2)])
def test_more_than_can_be_done_waits_for_ever(queue):
    assert queue.utilisation >= 1 and queue.delayed == 1
    assert math.isinf(queue.response) and math.isinf(queue.inside)


def test_a_played_queue_with_one_server_is_the_textbooks():
    rng = np.random.default_rng(0)
    arrivals = np.cumsum(rng.exponential(1 / 0.7, 200_000))
    begun, done = fifo(arrivals, rng.exponential(1.0, arrivals.size))
    response = done - arrivals
    assert response.mean() == pytest.approx(mm1(0.7, 1.0).response, rel=0.05)
    assert mean_in_system(arrivals, done) == pytest.approx(mm1(0.7, 1.0).inside, rel=0.05)
    assert (begun > arrivals).mean() == pytest.approx(0.7, abs=0.02)


def test_a_played_queue_with_four_servers_waits_as_erlang_says():
    rng = np.random.default_rng(1)
    arrivals = np.cumsum(rng.exponential(1 / 3.2, 200_000))
    begun, _ = fifo(arrivals, rng.exponential(1.0, arrivals.size), servers=4)
    assert (begun - arrivals).mean() == pytest.approx(mmc(3.2, 1.0, 4).wait, rel=0.06)


MOMENTS = st.integers(0, 10_000).map(lambda ms: ms / 1000)
JOBS = st.lists(st.tuples(MOMENTS, MOMENTS), min_size=1, max_size=40)


@FEW
@given(jobs=JOBS, servers=st.integers(1, 5))
def test_a_fifo_queue_never_idles_nor_runs_more_than_its_servers(jobs, servers):
    arrivals = np.sort([arrival for arrival, _ in jobs])
    services = np.array([service for _, service in jobs])
    begun, done = fifo(arrivals, services, servers=servers)
    assert (begun >= arrivals).all() and (np.diff(begun) >= 0).all()
    for place in np.flatnonzero(begun > arrivals):  # who waits finds every server busy until then
        assert (
            (begun[:place] <= arrivals[place]) & (done[:place] > arrivals[place])
        ).sum() <= servers
        assert begun[place] in done[:place]
    inside = [((begun <= t) & (done > t)).sum() for t in begun]
    assert max(inside, default=0) <= servers


@FEW
@given(jobs=JOBS)
def test_the_area_under_the_staircase_is_the_sum_of_all_stays(jobs):
    starts = np.array([start for start, _ in jobs])
    ends = starts + [length for _, length in jobs]
    times, counts = in_system(starts, ends)
    assert counts.min() >= 0 and counts[-1] == 0
    area = np.diff(times) @ counts[:-1]
    assert area == pytest.approx((ends - starts).sum(), abs=1e-9)
    if times[-1] > times[0]:  # L = λ W over the stretch that was watched
        length = times[-1] - times[0]
        expected = little(len(jobs) / length, (ends - starts).mean())
        assert mean_in_system(starts, ends) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: mm1(-1, 1), "A rate is a finite number"),
        (lambda: mm1(1, 0), "A mean service time"),
        (lambda: mmc(1, 1, 0), "0 servers serve nobody"),
        (lambda: fifo([1, 0], [1, 1]), "sorted"),
        (lambda: fifo([1], [1, 1]), "as many services"),
        (lambda: in_system([1], [0]), "not before it"),
    ],
)
def test_what_makes_no_queue_gets_a_sentence(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()
