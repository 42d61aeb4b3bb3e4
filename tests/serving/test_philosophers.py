import ctypes
import os
import threading
from contextlib import contextmanager
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import measured

from mlsys.serving.philosophers import figures
from mlsys.serving.philosophers.chandy_misra import ChandyMisra
from mlsys.serving.philosophers.dinner import compared, dine, dine_often, jain, waiter_with
from mlsys.serving.philosophers.table import DinnerError, Snapshot, cycle

SHORT = {"seconds": 0.3, "think": 0.0, "eat": 0.0005}


@contextmanager
def naive(table, i):
    with table.fork(i), table.fork(i + 1):
        yield


@contextmanager
def ordered(table, i):
    low, high = sorted(table.beside(i))
    with table.fork(low), table.fork(high):
        yield


def first_come(queue, eating, n):
    served, first = [], set(eating)
    for i in queue:
        if not {(i - 1) % n, (i + 1) % n} & first:
            served.append(i)
        first.add(i)
    return served


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@contextmanager
def all_left_first(table, i):
    """Nobody reaches for the right fork before all have their left one."""
    with table.fork(i):
        while any(holder is None for holder in table.holder):
            table.sleep(0.0005)
        with table.fork(i + 1):
            yield


@pytest.mark.parametrize("guests", [2, 3, 5])
def test_all_with_their_left_forks_are_a_deadlock_that_is_seen(guests):
    dinner = dine(all_left_first, guests=guests, seconds=20, think=0, eat=0)
    assert dinner.deadlock == tuple(range(guests))
    assert dinner.seconds < 20
    assert dinner.last.waits_for == {i: (i + 1) % guests for i in range(guests)}
    assert sum(dinner.meals) == 0
    assert all(wait.size == 1 for wait in dinner.waits)  # cut short, but counted


@pytest.mark.parametrize("guests", [2, 3, 5, 8])
@pytest.mark.parametrize(
    "strategy", [ordered, ChandyMisra, waiter_with(first_come)], ids=["order", "letters", "list"]
)
def test_a_cure_ends_in_no_deadlock_and_the_fair_ones_feed_everybody(strategy, guests):
    dinner = dine(strategy, guests=guests, **SHORT)
    assert dinner.deadlock == ()
    # An order of the forks promises that somebody eats, the others that everybody does.
    assert (sum if strategy is ordered else min)(dinner.meals) > 0
    assert len(dinner.waits) == guests and all((wait >= 0).all() for wait in dinner.waits)


def test_letters_keep_the_meals_level():
    dinner = dine(ChandyMisra, **SHORT)
    assert dinner.jain > 0.95


@pytest.mark.skipif(os.name != "posix", reason="Windows has no usleep.")
def test_a_dinner_in_which_the_machine_stood_still_is_held_again():
    tables = []

    @contextmanager
    def stalls_once(table, i):
        with ordered(table, i):
            if table not in tables:
                tables.append(table)
                if len(tables) == 1:  # PyDLL keeps the GIL, so that nobody gets a turn
                    ctypes.PyDLL(None).usleep(300_000)
            yield

    assert dine(stalls_once, seconds=0.05).meals
    assert len(tables) >= 2


@measured
def test_the_table_is_watched_while_they_dine():
    seen = []
    dine(ordered, seconds=0.35, watch=seen.append)
    assert len(seen) >= 2
    assert all(isinstance(snapshot, Snapshot) for snapshot in seen)


def test_events_of_one_guest_follow_each_other():
    dinner = dine(ordered, **SHORT)
    for i in range(5):
        mine = [e for e in dinner.events if e.row == f"guest {i}" and e.kind != "waits at the end"]
        assert all(a.end <= b.start + 1e-9 for a, b in pairwise(mine))


def test_neighbours_who_eat_together_are_told():
    @contextmanager
    def rude(table, i):
        yield

    with pytest.raises(DinnerError, match="same fork"):
        dine(rude, seconds=0.5, think=0, eat=0.005)


def test_a_strategy_that_fails_ends_the_dinner_with_its_own_words():
    @contextmanager
    def broken(table, i):
        raise RuntimeError("no hands")
        yield

    with pytest.raises(DinnerError, match="RuntimeError: no hands"):
        dine(broken, seconds=10)


def test_a_fork_goes_back_only_from_who_holds_it():
    @contextmanager
    def thief(table, i):
        if i == 0:
            table.fork(0).take()
        table.fork(0).put()
        yield

    with pytest.raises(DinnerError, match="does not hold"):
        dine(thief, seconds=5)


@pytest.mark.parametrize(
    "wrong", [{"guests": 1}, {"guests": 51}, {"seconds": 0}, {"think": -1}, {"eat": -1}]
)
def test_a_dinner_that_cannot_be_held_says_why(wrong):
    with pytest.raises(DinnerError):
        dine(ordered, **wrong)


def test_who_serve_names_must_be_hungry():
    with pytest.raises(DinnerError, match="the hungry are"):
        dine(waiter_with(lambda queue, eating, n: [99]), seconds=5)


def test_many_dinners_have_seeds_of_their_own_and_one_table():
    held = dine_often(ordered, runs=3, **SHORT)
    table = compared({str(run): dinner for run, dinner in enumerate(held)})
    assert len(held) == len(table) == 3
    assert (table["fewest"] <= table["most"]).all()


def test_jain_is_one_for_equals_and_one_nth_for_a_monopoly():
    assert jain([3, 3, 3, 3]) == jain([0, 0]) == 1
    assert jain([5, 0, 0, 0]) == 0.25
    assert jain([1, 1, 0, 0]) == 0.5
    with pytest.raises(DinnerError):
        jain([1, -1])
    with pytest.raises(DinnerError):
        jain([])


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.integers(2, 9))
@settings(max_examples=50)
def test_jain_knows_no_scale_and_no_order(shares, factor):
    index = jain(shares)
    assert 1 / len(shares) - 1e-12 <= index <= 1 + 1e-12
    assert np.isclose(jain([factor * share for share in reversed(shares)]), index)


@given(st.dictionaries(st.integers(0, 7), st.integers(0, 7), max_size=8))
@settings(max_examples=80)
def test_a_circle_is_one_and_is_found_when_there_is_one(waits_for):
    found = cycle(waits_for)
    for here, after in zip(found, found[1:] + found[:1]):
        assert waits_for[here] == after
    reached = set(waits_for)
    for _ in range(9):
        reached = {waits_for[i] for i in reached if i in waits_for}
    assert bool(found) == bool(reached & set(waits_for))


def test_the_picture_of_a_deadlock_is_a_red_circle_of_arrows():
    stuck = Snapshot(1.0, (0, 1, 2), (1, 2, 0), (True,) * 3, (False,) * 3, (4, 5, 6))
    figure = figures.table(stuck)
    assert (
        "Deadlock: 3 guests" in figure.layout.title.text and "15 meals" in figure.layout.title.text
    )
    assert {arrow.arrowcolor for arrow in figure.layout.annotations} == {figures.theme.RED}
    assert len(figure.layout.annotations) == 3


@given(st.integers(2, 12), st.data())
@settings(max_examples=30, deadline=None)
def test_the_drawing_is_well_formed_and_has_the_colours_of_the_figure(n, data):
    def each(kind):
        return tuple(data.draw(st.lists(kind, min_size=n, max_size=n)))

    nobody_or = st.none() | st.integers(0, n - 1)
    meals = each(st.integers(0, 10**5))
    now = Snapshot(1.0, each(nobody_or), each(nobody_or), *(each(st.booleans()),) * 2, meals)
    headline, picture = ElementTree.fromstring(f"<p>{figures.drawing(now)}</p>")
    shown = figures.table(now)
    guests = [one for one in picture.iter("circle") if one.get("r") == "25"]
    assert [one.get("fill") for one in guests] == list(shown.data[0].marker.color)
    assert "".join(headline.itertext()) == shown.layout.title.text
    said = [one.text for one in picture.iter("title")]
    assert said == [*shown.data[0].hovertext, *shown.data[1].hovertext]
    assert all(each in picture.get("aria-label") for each in said)
    assert len(picture.findall("g[@transform]")) == len(now.waits_for)


def test_pictures_draw_what_they_are_given():
    held = dine_often(ordered, runs=2, **SHORT)
    figure = figures.survival({"0 x": held, "1 x": held}, title="t")
    assert sum(len(trace.x) for trace in figure.data) == 4
    bars = figures.meals({"a": (1, 2), "b": (3, 4)}, title="t").data
    assert [tuple(bar.y) for bar in bars] == [(1, 3), (2, 4)]
