"""Queues on a real Valkey and NATS: what a killed worker loses, doubles, and leaves behind."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from measured import measured

from mlsys import services
from mlsys.serving.queues import figures as queues_figures
from mlsys.serving.queues import on_celery as queues_celery
from mlsys.serving.queues import on_huey as queues_huey
from mlsys.serving.queues import on_nats as queues_nats
from mlsys.serving.queues import runs, worker
from mlsys.serving.queues.dying import Killed, dying_client, redelivered

EXPECTED = {  # lost, doubled
    "at most once": (1, 0),
    "at least once": (0, 1),
    "idempotent": (0, 0),
    "stream": (0, 1),
    "JetStream": (0, 1),
    "huey": (1, 0),
    "Celery": (1, 0),
    "Celery, late ack": (1, 0),
    "Celery, late ack + reject": (0, 1),
}


@pytest.fixture(scope="module")
def crashes(valkey):
    """Every crash test by its name, all run at the same time."""
    kv = valkey.client()

    def celery():
        with queues_celery.node(valkey.url, services.worker):
            app = queues_celery.orders(valkey.url)
            found = queues_celery.crash_test(kv, app)
            assert app.tasks["orders.flaky"].delay(2).get(timeout=30) == 3
        return found

    with ThreadPoolExecutor(8) as pool:
        own = [pool.submit(runs.crash_test, kv, services.worker, way) for way in worker.WAYS]
        own.append(pool.submit(queues_huey.crash_test, kv, valkey.url, services.worker))
        own.append(pool.submit(asyncio.run, jetstream_crash(kv, valkey)))
        late = pool.submit(celery)
        found = [one.result() for one in own] + late.result()
    kv.close()
    return {crash.name: crash for crash in found}


async def jetstream_crash(kv, valkey):
    with services.nats() as server:
        nc = await server.connect()
        try:
            urls = [server.url, valkey.url]
            return await queues_nats.crash_test(nc.jetstream(), kv, services.worker, urls)
        finally:
            await nc.close()


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_a_killed_worker_loses_or_doubles_what_its_acknowledgement_says(crashes, name, expected):
    crash = crashes[name]
    assert (crash.lost, crash.doubled) == expected
    assert len(crash.kills) == 2 and crash.undisturbed
    assert {order for order, n in crash.charged.items() if n != 1} <= set(runs.KILLED)


def test_the_pictures_of_a_crash_hold_every_order_and_every_kill(crashes):
    figure = queues_figures.outcomes(list(crashes.values()), title="t")
    assert sum(len(trace.x) for trace in figure.data) == len(EXPECTED) * runs.ORDERS
    timeline = queues_figures.crash_timeline(crashes["at least once"], title="t")
    assert {"done", "cut off", "delivered again", "killed"} <= {t.name for t in timeline.data}


@measured
def test_more_workers_do_more_and_a_killed_one_leaves_nothing_undone(kv):
    rates = runs.rates(kv, services.worker, sizes=(1, 3), each=8)
    assert rates[3] > 1.5 * rates[1] and rates[1] < 50
    run = runs.watch(kv, services.worker, workers=2, rate=40, seconds=0.6, kill=True, drain=1.5)
    assert run.crash and run.left == 0 and run.refused == 0
    assert len({step.id for step in run.steps}) == run.offered
    assert np.all(run.waits > 0)
    for figure in (
        queues_figures.rates(rates, job=0.02, title="t"),
        queues_figures.lengths({"a": run}, title="t", marks={"here": 0.5}),
        queues_figures.log([3, 70], {"g": [1, 66]}, title="t"),
    ):
        assert sum(len(trace.x) for trace in figure.data) <= 2000


def test_a_bounded_queue_refuses_what_finds_it_full(kv):
    run = runs.watch(
        kv, services.worker, workers=1, job=0.1, rate=100, seconds=0.5, limit=4, drain=0.1
    )
    assert run.lengths.max() <= 4 and run.refused > 0
    assert run.left <= 4 + 1  # those that wait, and the one in work


def test_what_is_no_job_becomes_a_dead_letter_and_the_others_are_done(kv, valkey):
    queue = runs.new_queue()
    start = (runs.MODULE, valkey.url, "at least once", queue)
    messages = ["BUY 10", '{"work": 1}', '{"id": 1, "work": -5}', worker.Job(2).text()]
    with services.worker(*start, ready="ready") as group:
        kv.lpush(queue, *messages)
        runs.until(lambda: kv.llen(f"{queue}:trail") == 1, "the good job was done")
        group.stop(0)
        assert group.wait(0) == 0  # SIGTERM: an orderly end
    dead = [json.loads(one) for one in kv.lrange(f"{queue}:dead", 0, -1)]
    assert [one["message"] for one in dead] == messages[:3]
    assert "no JSON" in dead[0]["why"] and "no id" in dead[1]["why"] and "-5" in dead[2]["why"]
    assert kv.hgetall(f"{queue}:charged") == {"2": "1"}


def test_a_dying_client_dies_before_the_packet_after_its_last(kv):
    for after in range(4):
        kv.delete("n")
        mortal = dying_client(kv, after)
        with pytest.raises(Killed):
            for _ in range(10):
                mortal.incr("n")
        assert int(kv.get("n") or 0) == after
    kv.delete("n")
    redelivered(kv, lambda client, by: client.incrby("n", by), 5, after=1)
    assert kv.get("n") == "10"


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda kv: runs.crash_test(kv, services.worker, "exactly once"), "no way"),
        (lambda kv: runs.rates(kv, services.worker, sizes=()), "whole numbers"),
        (lambda kv: runs.watch(kv, services.worker, workers=0), "0 workers"),
        (lambda kv: runs.watch(kv, services.worker, limit=0), "limit of 0"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused_in_a_sentence(kv, run, says):
    with pytest.raises(runs.QueueError, match=says):
        run(kv)
