import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.serving.philosophers import figures, model
from mlsys.serving.philosophers.model import check, explore


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_the_naive_table_has_one_deadlock_all_with_their_left_fork(n):
    space = explore(model.naive(n))
    assert space.deadlocks == [(2,) * n]
    way = space.way_to(space.deadlocks[0])
    assert len(way) == 2 * n  # each gets hungry and takes one fork: no shorter way exists
    assert way[-1][2] == space.deadlocks[0]


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize(
    "make", [model.ordered, model.waiter, model.try_lock, model.both_at_once, model.spare_forks]
)
def test_one_condition_less_and_there_is_no_deadlock(make, n):
    assert check(make(n)).deadlocks == 0


def test_only_try_lock_can_move_for_ever_without_a_meal():
    assert check(model.try_lock(4)).livelock
    for make in (model.naive, model.ordered, model.waiter, model.both_at_once, model.chandy_misra):
        assert not check(make(3)).livelock


def test_order_and_seats_let_each_guest_starve_and_letters_none():
    assert check(model.ordered(4)).starving == (0, 1, 2, 3)
    assert check(model.waiter(4)).starving == (0, 1, 2, 3)
    assert check(model.spare_forks(4)).starving == ()
    for n in (2, 3, 4):
        verdict = check(model.chandy_misra(n))
        assert (verdict.deadlocks, verdict.livelock, verdict.starving) == (0, False, ())


@pytest.mark.parametrize("n", [2, 3, 4])
def test_letters_never_let_neighbours_eat_together(n):
    moods = explore(model.chandy_misra(n)).moods == model.EATS
    assert not any((moods[:, i] & moods[:, (i + 1) % n]).any() for i in range(n))


def greedy(queue, eating, n):
    served = set()
    for i in queue:
        if not {(i - 1) % n, (i + 1) % n} & (set(eating) | served):
            served.add(i)
    return sorted(served)


def one_at_a_time(queue, eating, n):
    return queue[:1] if not eating else []


def in_turn(queue, eating, n):
    served, first = [], set(eating)
    for i in queue:
        if not {(i - 1) % n, (i + 1) % n} & first:
            served.append(i)
        first.add(i)
    return served


def nobody(queue, eating, n):
    return []


def test_the_check_of_a_waiter_tells_the_greedy_the_fair_and_the_idle_apart():
    verdicts = {s: check(model.waiter_with_a_list(4, s)) for s in (greedy, one_at_a_time, in_turn)}
    assert verdicts[greedy].starving == (0, 1, 2, 3)
    assert verdicts[one_at_a_time].starving == verdicts[in_turn].starving == ()
    assert check(model.waiter_with_a_list(3, nobody)).deadlocks > 0


@pytest.mark.parametrize("serve", [lambda q, e, n: q, lambda q, e, n: [0, 0], lambda q, e, n: [9]])
def test_a_waiter_that_breaks_the_rules_is_told_which(serve):
    with pytest.raises(model.ModelError, match="serve"):
        explore(model.waiter_with_a_list(4, serve))


def test_a_model_that_is_too_large_is_not_explored_to_the_end():
    with pytest.raises(model.ModelError, match="more than 100 states"):
        explore(model.naive(6), most=100)


programs = st.lists(st.permutations(range(3)), min_size=2, max_size=3)


@given(programs, st.booleans())
@settings(max_examples=40, deadline=None)
def test_all_in_one_order_never_stop_each_other(orders, gives_up):
    same = [orders[0]] * len(orders)
    assert not explore(model.in_order(same)).deadlocks
    mixed = explore(model.in_order(orders, gives_up=gives_up))
    assert not (gives_up and mixed.deadlocks)
    for state in mixed.deadlocks:  # the way there is a run of the model
        at = mixed.model.start
        for who, what, after in mixed.way_to(state):
            assert (who, what, after) in list(mixed.model.steps(at))
            at = after


def test_runs_are_counted_as_walking_them_all_would():
    space = explore(model.naive(3))

    def walked(state, length):
        return (
            sum(walked(after, length - 1) for _, _, after in space.model.steps(state))
            if length
            else 1
        )

    assert space.runs(6) == walked(space.model.start, 6)


def test_the_story_of_a_deadlock_ends_in_red_for_all():
    space = explore(model.naive(3))
    events = model.story(space, space.deadlocks[0])
    assert [e.kind for e in events if e.end == 8] == [model.STUCK] * 3
    figure = figures.way_to(space, space.deadlocks[0], title="t")
    assert any(trace.name == model.STUCK for trace in figure.data)


def test_growth_is_drawn_with_exact_labels():
    figure = figures.growth({2: 13, 3: 45}, {2: 20_736, 3: 5 * 10**7}, title="t")
    assert list(figure.data[0].text) == ["20,736", "5·10<sup>7</sup>"]
