import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.serving.event_loop.news import Heard, compare, compared
from mlsys.serving.event_loop.steps import Steps


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
    assert [event.kind for event in steps.events] == ["runs", "waits", "runs"] or len(spans) == 3
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


# --- polling and pushing


def by_queue(pause):
    """A way to say something that a listener learns after a pause of its own."""
    said = asyncio.Queue()

    async def listen(noted):
        while True:
            start = asyncio.get_running_loop().time()
            text = await said.get()
            await asyncio.sleep(pause)
            noted.append((start, max(start, asyncio.get_running_loop().time()), [text]))

    return said.put_nowait, listen


def test_every_message_is_counted_once_in_every_way():
    async def both():
        ways = {"at once": by_queue(0), "late": by_queue(0.02)}
        return await compare(ways, [0, 0.01, 0.05])

    heard = asyncio.run(both())
    assert [len(one.delays) for one in heard] == [3, 3]
    assert min(heard[1].delays) > 0.015
    assert compared(heard)["requests"].to_dict() == {"at once": 3, "late": 3}
    assert sum(event.kind == "message" for event in heard[0].events) == 3


def test_a_listener_that_fails_ends_the_comparison_with_its_own_error():
    async def broken(noted):
        raise ConnectionRefusedError("nobody there")

    async def one():
        await compare({"broken": (lambda text: None, broken)}, [0])

    with pytest.raises(ConnectionRefusedError, match="nobody there"):
        asyncio.run(one())


def test_a_listener_that_leaves_early_is_told_of():
    async def leaves(noted):
        return None

    async def one():
        await compare({"leaves": (lambda text: None, leaves)}, [0])

    with pytest.raises(ConnectionError, match="ended before the last message"):
        asyncio.run(one())


def test_what_comes_unasked_is_no_request():
    heard = Heard("push", ((None, 0.5, ["0"]), (None, 0.7, ["1"])), (0.01, 0.02))
    assert compared([heard]).loc["push", "requests"] == 0
    bars = [event for event in heard.events if event.kind == "connected"]
    assert [(bar.start, bar.end) for bar in bars] == [(0.0, 0.5), (0.5, 0.7)]


def test_delays_are_shown_in_milliseconds():
    heard = Heard("way", ((0.0, 0.5, ["0"]),), (0.25,))
    assert compared([heard]).loc["way", "median delay, ms"] == 250
