"""Work by threads, processes and coroutines; races; pictures."""

import asyncio
from contextlib import contextmanager
from itertools import accumulate, pairwise
from threading import Lock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import measured

from mlsys import services
from mlsys.serving.concurrency import figures, races, work
from mlsys.serving.concurrency.crowd import Held
from mlsys.serving.concurrency.races import Cell, Count, count_to, lost
from mlsys.serving.concurrency.work import ConcurrencyError, Run, Task


@pytest.fixture(scope="module")
def processes():
    with work.team(2, services.worker) as team:
        yield team


def run_of(*workers):
    return Run("threads", 1.0, tuple(tuple(tasks) for tasks in workers), 1.0)


# --- running tasks


def test_a_task_is_done_by_each_worker_one_after_another_within_the_time(processes):
    task = Task("python", work=50, wait=0.002)
    coroutines = asyncio.run(work.coroutines(task, 3, 0.1))
    for run, size in (
        (work.threads(task, 3, 0.1), 3),
        (processes(task, 2, 0.1), 2),
        (coroutines, 3),
    ):
        assert len(run.tasks) == size
        assert run.done == sum(map(len, run.tasks)) == pytest.approx(run.rate * 0.1)
        for tasks in run.tasks:
            assert all(0 <= begin <= end <= 0.1 for begin, end in tasks)
            assert all(end <= begin for (_, end), (begin, _) in pairwise(tasks))


@measured
def test_threads_never_execute_bytecode_at_the_same_time():
    tiny = Task("python", work=work.rounds_for("python", 0.00005))
    assert work.both_at_once(work.most_at_once(work.threads, tiny, most=4)) < 0.1


def under_way_at_once(run):
    turns = sorted(
        turn for tasks in run.tasks for start, end in tasks for turn in ((start, 1), (end, -1))
    )
    return max(accumulate(step for _, step in turns), default=0)


@measured
def test_waits_of_many_workers_overlap_whoever_the_workers_are(processes):
    wait = Task(wait=0.02)
    for way, size in ((work.threads, 8), (processes, 2), (work.coroutines_now, 8)):
        assert any(under_way_at_once(way(wait, size, 0.2)) == size for _ in range(5))


@measured
def test_tasks_that_wait_for_most_of_their_time_are_bounded_by_their_workers(processes):
    ways = {"threads": work.threads, "processes": processes}
    done, bound = work.mixed(ways, 2, 0.9)
    assert bound == pytest.approx({"threads": 200, "processes": 200})
    assert all(0 < done[way] < 1.2 * bound[way] for way in ways)
    _, bound = work.mixed(ways, 2, 0.0, seconds=0.001)
    assert 999 < bound["threads"] <= bound["processes"] + 1


def test_gains_name_each_kind_of_computing_and_each_way():
    gains = work.gains({"threads": work.threads})
    assert set(gains) == set(work.KINDS)
    assert all(set(gain) == {"threads"} and gain["threads"] > 0 for gain in gains.values())


@measured
def test_a_speed_up_compares_the_best_rounds():
    def three_times(task, workers, seconds):
        done = work.threads(task, 1, seconds).tasks[0]
        return Run("made up", seconds, (done, done, done), 0.0)

    ratio = work.speed_up(three_times, Task(wait=0.001), 3, seconds=0.05)
    assert ratio == pytest.approx(3, rel=0.3)
    curves = work.multiples({"threads": three_times}, Task(wait=0.001), (1, 2))
    assert curves["threads"] == {1: pytest.approx(3, rel=0.4), 2: pytest.approx(3, rel=0.4)}


@pytest.mark.parametrize("kind", work.KINDS)
def test_rounds_are_proportional_to_the_time_that_is_asked_for(kind):
    assert work.compute(kind, 3) == pytest.approx(3 * work.compute(kind, 1)) or kind == "python"
    assert work.rounds_for(kind, 1.0, tries=2) > 20 * work.rounds_for(kind, 0.01, tries=2)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Task("magic", 1), "no kind"),
        (lambda: Task("python"), "no task"),
        (lambda: Task("python", wait=float("nan")), "no task"),
        (lambda: work.threads(Task(wait=0.1), 0, 1), "0 workers"),
        (lambda: work.threads(Task(wait=0.1), 1, 1000), "1000 s"),
        (lambda: asyncio.run(work.coroutines(Task(wait=0.1), 10**6, 1)), "workers"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(wrong, says):
    with pytest.raises(ConcurrencyError, match=says):
        wrong()


def test_a_team_refuses_more_than_it_has_and_says_when_a_member_is_gone(processes):
    with pytest.raises(ConcurrencyError, match="team of 2"):
        processes(Task(wait=0.01), 3, 0.1)
    started = []

    @contextmanager
    def remembering(*args, **options):
        with services.worker(*args, **options) as group:
            started.append(group)
            yield group

    with work.team(1, remembering) as team:
        started[0].kill(0)
        for _ in range(2):
            with pytest.raises(ConcurrencyError, match="has gone; start the team again"):
                team(Task(wait=0.01), 1, 0.05)


# --- who computes when


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 5)), max_size=12), max_size=4)
)
def test_the_share_of_time_with_two_at_work_lies_between_none_and_all(workers):
    tasks = []
    for steps in workers:
        now, done = 0.0, []
        for gap, length in steps:
            done.append((now + gap / 1000, now + (gap + length) / 1000))
            now = done[-1][1]
        tasks.append(done)
    run = run_of(*tasks)
    assert 0 <= work.both_at_once(run) <= 1
    for bars, done in zip(work.stretches(run), tasks):
        assert all(a < b for a, b in bars)
        assert all(end < begin for (_, end), (begin, _) in pairwise(bars))
        assert {a for a, _ in bars} <= {a for a, _ in done}


def test_side_by_side_counts_wholly_and_in_turn_counts_nothing():
    whole = [(i / 1000, (i + 1) / 1000) for i in range(10)]
    later = [(1 + a, 1 + b) for a, b in whole]
    assert work.both_at_once(run_of(whole, whole)) == pytest.approx(1)
    assert work.both_at_once(run_of(whole, later)) == 0
    assert work.both_at_once(run_of(whole, [])) == work.both_at_once(run_of()) == 0


def test_a_task_that_was_interrupted_is_no_stretch_of_work():
    short = [(0.0, 0.001), (0.001, 0.002), (0.002, 0.030), (0.030, 0.031)]
    assert work.stretches(run_of(short)) == [[(0.0, 0.002), (0.030, 0.031)]]


# --- races


def plain(count):
    count.value = count.value + 1


def with_call(count):
    count.value = int(count.value) + 1


def test_the_plain_line_loses_nothing_and_with_a_call_in_it_it_does():
    assert lost(plain, times=50_000) == 0
    assert any(lost(with_call, times=100_000) > 0 for _ in range(40))


def test_between_read_and_write_only_the_second_line_has_a_call():
    codes = {step: races.between_read_and_write(step) for step in (plain, with_call)}
    assert all(c[0] == "LOAD_ATTR" and c[-1] == "STORE_ATTR" for c in codes.values())
    calls = {step: any("CALL" in one for one in code) for step, code in codes.items()}
    assert calls == {plain: False, with_call: True}


def test_losses_are_sought_until_two_tries_have_lost_or_enough_were_made():
    losses = races.lost_twice(with_call, most=60)
    assert sum(map(bool, losses)) == 2 and losses[-1] > 0
    assert races.lost_twice(plain, most=2) == [0, 0]


def test_a_racy_count_loses_under_the_hammer_and_a_lock_mends_it():
    racy, guarded, lock = races.Racy(), races.Racy(), Lock()

    def add():
        with lock:
            guarded.add()

    races.hammer(racy.add)
    races.hammer(add, threads=3, times=20)
    assert racy.total() < 200 and guarded.total() == 60


def test_an_error_under_the_hammer_is_raised_when_all_have_ended():
    def fails():
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        races.hammer(fails, threads=2, times=1)


def test_an_error_in_a_counting_thread_is_not_swallowed():
    def wrong(count: Count):
        raise KeyError("no such count")

    with pytest.raises(KeyError):
        lost(wrong, times=1)


def test_a_cell_keeps_what_was_set_and_a_count_of_ones_own_loses_nothing():
    cell = Cell()
    assert cell.get() == 0
    cell.set(5)
    assert cell.get() == 5
    assert count_to(0) == 0
    assert count_to(1000) == 1000


def test_the_main_thread_waits_for_ordinary_threads_and_not_for_daemons():
    saved = {}
    for flag in ("ordinary", "--daemon"):
        with services.worker("mlsys.serving.concurrency.daemon", flag) as program:
            assert program.wait(0, timeout=20) == 0
        saved[flag] = program.log(0)
    assert saved["ordinary"].count("done") == 5
    assert saved["--daemon"].count("done") < 5
    assert "main thread ends" in saved["--daemon"]


# --- pictures


def test_every_picture_has_a_title_and_units_and_few_marks():
    whole = [(i / 1000, (i + 1) / 1000) for i in range(50)]
    held = [
        Held(design, n, 1000.0, 0.001, 0.01, share, 5.0)
        for design, share in (("pool", 0.9), ("asyncio", 0.0))
        for n in (1, 100)
    ]
    curves = {"threads": {1: 1.0, 2: 1.0}, "processes": {1: 1.0, 2: 1.9}}
    drawn = [
        figures.who_computes({"thread": run_of(whole, [])}, title="a"),
        figures.more_workers({"computing": curves, "waiting": curves}, cores=2, title="b"),
        figures.mix(
            {"threads": 10.0, "asyncio": 9.0}, {"threads": 11.0, "asyncio": 11.0}, title="c"
        ),
        figures.order("ABAB", title="d"),
        figures.held_connections(held, title="e"),
    ]
    for fig, title in zip(drawn, "abcde"):
        assert fig.layout.title.text == title
        assert sum(len(trace.x) for trace in fig.data if trace.x is not None) < 2000
        assert fig.layout.xaxis.title.text or fig.layout.yaxis.title.text
    marks = {trace.name: trace.marker.symbol for trace in drawn[-1].data}
    assert set(marks["pool"]) == {"circle-open"}
    assert set(marks["asyncio"]) == {"circle"}


def test_an_order_is_drawn_as_it_is_played():
    told = [t for trace in figures.order("ABBA", title="").data for t in (trace.text or ())]
    assert sorted(told) == ["read 0", "read 0", "write 1", "write 1"]
    told = [t for trace in figures.order("AABB", title="").data for t in (trace.text or ())]
    assert sorted(told) == ["read 0", "read 1", "write 1", "write 2"]
