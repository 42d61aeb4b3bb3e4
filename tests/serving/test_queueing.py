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
    knee,
    little,
    md1,
    mean_in_system,
    mg1,
    mm1,
    mm1k,
    mmc,
    response_percentile,
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
    assert mg1(load, 1.0, 1.0).response == pytest.approx(queue.response)
    assert md1(load, 1.0).waiting == pytest.approx(queue.waiting / 2)


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


@pytest.mark.parametrize("queue", [mm1(10, 0.1), mmc(21, 0.1, 2), md1(11, 0.1), mg1(10, 0.1, 4)])
def test_more_than_can_be_done_waits_for_ever(queue):
    assert queue.utilisation >= 1 and queue.delayed == 1
    assert math.isinf(queue.response) and math.isinf(queue.inside)


@FEW
@given(load=st.floats(0.01, 5), room=st.integers(1, 60))
def test_a_bounded_queue_loses_instead_of_growing(load, room):
    queue = mm1k(load, 1.0, room)
    assert 0 < queue.inside <= room and 0 <= queue.lost < 1
    assert queue.inside == pytest.approx(load * (1 - queue.lost) * queue.response)
    assert queue.utilisation == pytest.approx(load * (1 - queue.lost))


def test_a_bounded_queue_with_much_room_is_the_unbounded_one():
    assert mm1k(0.5, 1.0, 200).response == pytest.approx(mm1(0.5, 1.0).response)
    assert mm1k(1e3, 1.0, 500).lost == pytest.approx(1 - 1e-3, rel=1e-3)


def test_room_for_one_loses_by_erlangs_formula():
    queue = mm1k(2.0, 1.0, 1)
    assert queue.lost == pytest.approx(2 / 3) and queue.response == pytest.approx(1.0)
    assert queue.delayed == 0


def test_the_knee_of_one_server_is_at_one_half_and_moves_right_with_servers():
    knees = [knee(servers) for servers in (1, 2, 4, 16)]
    assert knees[0] == pytest.approx(0.5, abs=1e-4)
    assert knees == sorted(knees) and knees[-1] < 1


def test_the_response_percentile_of_mm1_is_that_of_a_played_queue():
    rng = np.random.default_rng(0)
    arrivals = np.cumsum(rng.exponential(1 / 0.7, 200_000))
    begun, done = fifo(arrivals, rng.exponential(1.0, arrivals.size))
    response = done - arrivals
    assert response.mean() == pytest.approx(mm1(0.7, 1.0).response, rel=0.05)
    assert np.percentile(response, 99) == pytest.approx(response_percentile(0.7, 1, 99), rel=0.08)
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
        (lambda: mg1(1, 0.1, -1), "squared coefficient"),
        (lambda: mm1k(1, 1, 0), "Room for 0"),
        (lambda: fifo([1, 0], [1, 1]), "sorted"),
        (lambda: fifo([1], [1, 1]), "as many services"),
        (lambda: in_system([1], [0]), "not before it"),
        (lambda: response_percentile(1, 0.5, 100), "under 100"),
    ],
)
def test_what_makes_no_queue_gets_a_sentence(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()
