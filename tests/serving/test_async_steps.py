import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.serving.event_loop.steps import Steps, watched


@settings(max_examples=20)
@given(waits=st.lists(st.lists(st.sampled_from([0, 0.001]), max_size=4), min_size=1, max_size=5))
def test_in_one_thread_no_two_steps_overlap(waits):
    steps = Steps()

    async def one(own):
        for wait in own:
            await asyncio.sleep(wait)
        return len(own)

    async def all_of_them():
        watched = [steps.watch(str(number), one(own)) for number, own in enumerate(waits)]
        return await asyncio.gather(*watched)

    assert asyncio.run(all_of_them()) == [len(own) for own in waits]
    runs = sorted((event.start, event.end) for event in steps.runs)
    assert len(runs) == sum(len(own) + 1 for own in waits)
    assert all(before[1] <= after[0] for before, after in pairwise(runs))


def test_runs_and_waits_of_a_row_leave_no_gap():
    steps = Steps()
    asyncio.run(steps.watch("one", asyncio.sleep(0.001)))
    spans = [(event.start, event.end) for event in steps.events]
    assert [event.kind for event in steps.events] == ["runs", "waits", "runs"]
    ordered = sorted(spans)
    assert all(before[1] == after[0] for before, after in pairwise(ordered))


def test_an_exception_passes_and_leaves_a_mark():
    steps = Steps()

    async def fails():
        await asyncio.sleep(0)
        raise KeyError("gone")

    with pytest.raises(KeyError):
        asyncio.run(steps.watch("one", fails()))
    assert steps.events[-1].kind == "KeyError"
    assert steps.events[-1].end is None


def test_a_cancellation_reaches_the_coroutine_that_is_watched():
    steps, cleaned = Steps(), []

    async def waits():
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    async def cancelled():
        task = asyncio.ensure_future(steps.watch("one", waits()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancelled())
    assert cleaned == [True]
    assert steps.events[-1].kind == "CancelledError"


def test_no_coroutine_no_events():
    assert Steps().events == []


def test_watched_coroutines_run_together_one_step_at_a_time():
    async def waits(seconds):
        await asyncio.sleep(seconds)

    steps = asyncio.run(watched({"a": waits(0.001), "b": waits(0.002)}))
    assert {event.row for event in steps.runs} == {"a", "b"}
    assert steps.most_at_once == 1 and Steps().most_at_once == 0


def test_what_a_watched_coroutine_raises_is_raised():
    async def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(watched({"a": fails()}))
