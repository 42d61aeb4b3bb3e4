"""A measured queue keeps Little's law; what a subscriber hears and a killed broker keeps."""

import asyncio

import numpy as np
import pytest
from measured import measured

from mlsys import services
from mlsys.serving.queues import on_huey as queues_huey
from mlsys.serving.queues import on_nats as queues_nats
from mlsys.serving.queues import runs, theory
from mlsys.serving.queues.dying import balance_after
from mlsys.serving.queues.runs import QueueError, Step


@measured
def test_the_length_that_is_sampled_is_the_rate_times_the_wait(kv):
    line = asyncio.run(theory.measure(kv, services.worker, (0.2, 0.8), seconds=0.8, seed=1))
    assert 0.5 < line.waiting / line.by_law < 2
    assert len(line.steps) == line.loads[-1].latency.count
    assert all(load.failed == 0 for load in line.loads)


def test_a_service_time_is_read_where_the_next_job_was_waiting():
    steps = [Step(n, "0", 0.0, float(n), n + 1.0) for n in range(3)]
    assert theory.service_time(steps) == 1
    with pytest.raises(QueueError, match="No job had to wait"):
        theory.service_time([Step(0, "0", 0, 0, 1), Step(1, "0", 5, 5, 6)])


def test_a_subscriber_hears_what_is_sent_while_it_is_there_and_no_more(kv):
    kv.publish("news", "before")
    assert runs.heard(kv, "news", lambda: [kv.publish("news", n) for n in range(3)]) == 3
    assert runs.heard(kv, "news", lambda: None) == 0


def test_a_broker_keeps_what_it_wrote_to_a_file():
    assert runs.kept_by(services.valkey) == 0
    assert runs.kept_by(services.valkey, appendonly="yes") == 40


def test_a_limit_bounds_its_own_queue_only(kv):
    free, bounded = runs.with_limits(kv, services.worker, (None, 3))
    assert bounded.lengths.max() <= 3 < free.lengths.max()
    assert np.all(bounded.waits > 0) and free.refused == 0


def test_a_balance_counts_a_redelivery_that_its_consumer_does_not_guard(kv):
    def careless(client, payment):
        client.incrby("balance", payment["amount"])

    payment = {"id": "a", "amount": 7}
    assert balance_after(kv, careless, payment, after=0) == 7
    assert balance_after(kv, careless, payment, after=1) == 14


def test_huey_sends_a_pickle(valkey):
    assert queues_huey.first_message(valkey.url).startswith(b"\x80")


def test_jetstream_gives_up_after_as_many_deliveries_as_it_was_told():
    assert asyncio.run(poisoned()) == queues_nats.MOST_DELIVERIES


async def poisoned():
    with services.nats() as server:
        client = await server.connect()
        try:
            js = client.jetstream()
            await js.add_stream(name="poison", subjects=["poison.>"])
            await js.publish("poison.order", b"BUY 10")
            return await queues_nats.refuse_all(client, "poison")
        finally:
            await client.close()
