"""JetStream, the queue inside NATS: its worker process, and the crash test of `queues.runs`.

`python -m mlsys.serving.queues.on_nats NATS VALKEY STREAM` fetches one message after the other from
a durable consumer, does what `worker.work` does, and acknowledges. The server keeps the
leases: a message that is not acknowledged in time is delivered again, and it counts how often.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import nats
import nats.errors
import redis
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

from mlsys.serving.queues.runs import (
    KILLED,
    ORDERS,
    PATIENCE,
    Crash,
    QueueError,
    Start,
    crash_of,
    kill_held,
    new_queue,
)
from mlsys.serving.queues.worker import LEASE, BadJob, Job, parse, work

MODULE = "mlsys.serving.queues.on_nats"
DURABLE = "billing"
MOST_DELIVERIES = 3


def consumer() -> ConsumerConfig:
    """A queue's reader, kept by the server: acknowledge in LEASE s, else somebody else gets it."""
    return ConsumerConfig(
        durable_name=DURABLE, ack_wait=LEASE, max_deliver=MOST_DELIVERIES, max_ack_pending=100
    )


async def serve(js: JetStreamContext, kv: redis.Redis, stream: str, me: str) -> None:
    """Work for the stream for ever; what is no job is never delivered again (`term`)."""
    messages = await js.pull_subscribe_bind(DURABLE, stream)
    while True:
        try:
            (message,) = await messages.fetch(1, timeout=1)
        except nats.errors.TimeoutError:
            continue
        try:
            # It blocks this loop: this process has nothing else to do.
            work(kv, stream, parse(message.data), me)
        except BadJob:
            await message.term()
        else:
            await message.ack_sync(PATIENCE)


async def refuse_all(client: nats.NATS, stream: str) -> int:
    """Read a stream's message and refuse it each time: the deliveries after which the server gives
    up, as it says itself. QueueError when it does not."""
    js = client.jetstream()
    reader = await js.pull_subscribe(f"{stream}.>", DURABLE, config=consumer())
    advisory = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"
    given_up, end = await client.subscribe(advisory), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(nats.errors.TimeoutError):
            for message in await reader.fetch(1, timeout=0.5):
                await message.nak()
        with suppress(nats.errors.TimeoutError):
            return int(json.loads((await given_up.next_msg(timeout=0.2)).data)["deliveries"])
    raise QueueError(f"In {PATIENCE:g} s the server did not give up.")


async def crash_test(
    js: JetStreamContext, broker: redis.Redis, start: Start, urls: Sequence[str]
) -> Crash:
    """Twelve orders, two workers killed; `urls` are those of NATS and of Valkey.

    Repeated, as in `runs.crash_test`, when a lease ran out by itself.
    """
    for _ in range(3):
        stream = new_queue("jetstream").replace(":", "-")
        await js.add_stream(name=stream, subjects=[f"{stream}.>"])
        await js.add_consumer(stream, consumer())
        with start(MODULE, *urls, stream, count=3, ready="ready") as group:
            for order in range(ORDERS):
                job = Job(order, 0.01, KILLED.get(order, ""))
                await js.publish(f"{stream}.order", job.text().encode())
            kills = await asyncio.to_thread(kill_held, broker, stream, group)
            await settled(js, stream)
        crash = crash_of(broker, stream, "JetStream", kills)
        if crash.undisturbed:
            break
    return crash


async def settled(js: JetStreamContext, stream: str) -> None:
    """Wait until nothing of the stream waits for its consumer or is unacknowledged."""
    async with asyncio.timeout(PATIENCE):
        while True:
            told = await js.consumer_info(stream, DURABLE)
            if not told.num_pending and not told.num_ack_pending:
                return
            await asyncio.sleep(0.02)


async def main(argv: list[str]) -> None:
    if len(argv) != 3:
        raise SystemExit("Write: NATS VALKEY STREAM.")
    client = await nats.connect(argv[0])
    with redis.Redis.from_url(argv[1], decode_responses=True) as kv:
        kv.ping()
        print("ready", flush=True)
        await serve(client.jetstream(), kv, argv[2], os.environ.get("WORKER", "0"))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1:]))
    except (redis.ConnectionError, nats.errors.Error, OSError, KeyboardInterrupt):
        raise SystemExit("The broker is gone, and so is this worker.") from None
