"""The worker process of lesson 14: it takes jobs from a queue on Valkey, one of four ways.

`python -m mlsys.serving.queues.worker URL WAY QUEUE[,QUEUE...]` works until it is stopped, with a
thread for each queue. A job is a line of JSON. Doing it means to wait for `work` seconds and then
to charge a customer, which is counted in Valkey under the job's id: what was lost and what was
done twice can be read there afterwards. Who starts workers, kills them and counts is
`mlsys.serving.queues.runs`; Celery, huey and NATS have modules of their own beside this one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import redis

STOPPING = threading.Event()  # SIGTERM: finish what was begun, take nothing more
WAIT = 0.2  # s that a worker waits for a job before it looks around
LEASE = 1.5  # s after which a stream's unacknowledged message is given to somebody else
GROUP = "billing"
HELD_FOR = 60.0  # s; a worker that is told to stall waits so long to be killed

# The charge and the note that it was made, as one step that nothing comes between.
CHARGE_ONCE = """
if redis.call('HSETNX', KEYS[1], ARGV[1], 1) == 1 then return 1 end
return 0
"""


class BadJob(ValueError):
    """A message that is no job."""


@dataclass(frozen=True)
class Job:
    """What is to be done: charge order `id`, after `work` seconds.

    `stall` is "before" or "after": at its first delivery the job stops there, next to the charge,
    and says so, for somebody to kill the worker. `reply`: put the id into the queue's list of
    answers when done.
    """

    id: int
    work: float = 0.0
    stall: str = ""
    reply: bool = False
    pushed: float = 0.0  # time.monotonic(), which all processes of a machine share

    def text(self) -> str:
        return json.dumps(asdict(self))


def parse(text: str | bytes) -> Job:
    """The job in a message. BadJob says what is wrong with it."""
    try:
        told = json.loads(text)
    except ValueError:
        raise BadJob(f"{text[:40]!r} is no JSON") from None
    if not isinstance(told, dict) or not isinstance(told.get("id"), int):
        raise BadJob(f"{text[:40]!r} has no id that is a whole number")
    work = told.get("work", 0.0)
    if not isinstance(work, int | float) or not 0 <= work <= 60:
        raise BadJob(f"work is a number of seconds from 0 to 60, not {work!r}")
    if told.get("stall", "") not in ("", "before", "after"):
        raise BadJob(f"stall is 'before' or 'after', not {told['stall']!r}")
    return Job(**{key: told[key] for key in Job.__dataclass_fields__ if key in told})


Delivery = tuple[str, Callable[[], object]]  # the message, and how to acknowledge it


def at_most_once(kv: redis.Redis, queue: str, me: str) -> Iterator[Delivery]:
    """Take a message off the list, then work: nobody else has it any more."""
    while not STOPPING.is_set():
        if found := kv.brpop([queue], timeout=WAIT):
            yield found[1], nothing


def at_least_once(kv: redis.Redis, queue: str, me: str) -> Iterator[Delivery]:
    """Move a message to this worker's own list, work, and only then remove it."""
    doing = doing_list(queue, me)
    while not STOPPING.is_set():
        if text := kv.blmove(queue, doing, WAIT, "RIGHT", "LEFT"):
            yield text, partial(kv.lrem, doing, 1, text)


def from_stream(kv: redis.Redis, queue: str, me: str) -> Iterator[Delivery]:
    """First what others have left unacknowledged for longer than the lease, then what is new."""
    wait, lease = round(1000 * WAIT), round(1000 * LEASE)
    while not STOPPING.is_set():
        entries = kv.xautoclaim(queue, GROUP, me, lease, count=1)[1]
        if not entries:
            answer = kv.xreadgroup(GROUP, me, {queue: ">"}, count=1, block=wait)
            entries = answer[0][1] if answer else []
        for entry, fields in entries:
            yield fields["job"], partial(kv.xack, queue, GROUP, entry)


WAYS: dict[str, Callable[[redis.Redis, str, str], Iterator[Delivery]]] = {
    "at most once": at_most_once,
    "at least once": at_least_once,
    "idempotent": at_least_once,
    "stream": from_stream,
}


def doing_list(queue: str, me: str) -> str:
    """Where the worker `me` keeps what it has taken and not yet done."""
    return f"{queue}:doing:{me}"


def nothing() -> None:
    """What acknowledges a message that is already gone."""


def work(kv: redis.Redis, queue: str, job: Job, me: str, *, idempotent: bool = False) -> None:
    """Do the job: wait, charge, and leave a line in the queue's trail."""
    begun = time.monotonic()
    first = not job.stall or kv.hincrby(f"{queue}:tries", str(job.id), 1) == 1
    time.sleep(job.work)
    step = {"id": job.id, "worker": me, "pushed": job.pushed, "begun": begun}
    if job.stall == "before" and first:
        hold(kv, queue, step)
    if idempotent:
        kv.eval(CHARGE_ONCE, 1, f"{queue}:charged", str(job.id))
    else:
        kv.hincrby(f"{queue}:charged", str(job.id), 1)
    if job.stall == "after" and first:
        hold(kv, queue, step)
    told = json.dumps({**step, "done": time.monotonic()})
    with kv.pipeline(transaction=False) as pipe:
        pipe.rpush(f"{queue}:trail", told)
        if job.reply:
            pipe.rpush(f"{queue}:answers", job.id)
        pipe.execute()


def hold(kv: redis.Redis, queue: str, step: dict[str, object]) -> None:
    """Say where we are, and wait to be killed."""
    kv.rpush(f"{queue}:held", json.dumps({**step, "pid": os.getpid()}))
    time.sleep(HELD_FOR)


def serve(kv: redis.Redis, way: str, queue: str, me: str) -> None:
    """Work for one queue until STOPPING; what is no job goes to the queue's dead letters."""
    try:
        for text, acknowledge in WAYS[way](kv, queue, me):
            try:
                work(kv, queue, parse(text), me, idempotent=way == "idempotent")
            except BadJob as error:
                kv.rpush(f"{queue}:dead", json.dumps({"message": text, "why": str(error)}))
            acknowledge()
    except redis.ConnectionError:
        print("The broker is gone, and so is this worker.", flush=True)
    finally:
        STOPPING.set()


def main(argv: list[str]) -> None:
    if len(argv) != 3 or argv[1] not in WAYS:
        raise SystemExit(f"Write: URL WAY QUEUE[,QUEUE...]; a way is one of {', '.join(WAYS)}.")
    url, way, queues = argv
    me = os.environ.get("WORKER", "0")
    # However long the broker takes: a worker that gave up would look like one that was killed.
    kv = redis.Redis.from_url(url, decode_responses=True, socket_timeout=None)
    kv.ping()
    threads = [
        threading.Thread(target=serve, args=(kv, way, queue, me), daemon=True)
        for queue in queues.split(",")
    ]
    for thread in threads:
        thread.start()
    signal.signal(signal.SIGTERM, lambda *_: STOPPING.set())
    print("ready", flush=True)
    # Not STOPPING.wait: a signal that came while that holds its lock would wait for it for ever.
    while not STOPPING.is_set():
        time.sleep(0.05)
    for thread in threads:
        thread.join(5.0)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (redis.ConnectionError, KeyboardInterrupt):
        raise SystemExit("The broker is gone, and so is this worker.") from None
