"""The quorum store of `mlsys.cap` written again with simpy, to compare speed in one run.

Both play the same thing: three replicas, N = 3, R = W = 2, last writer wins, exponential one-way
latencies of 1 ms, `CLIENTS` closed-loop clients that think 20 ms, half reads half writes, a
time-out of 500 ms, read repair, and a record of every invocation and outcome. The simpy store is
written as its documentation teaches: a client is a process, a message is a time-out with a
callback, an answer is an event, a quorum or the time-out is waited for with `|`.

    python benchmarks/cap_peers.py          # operations a second of each, and their ratio
"""

from __future__ import annotations

import random
import statistics
import time

CLIENTS = 12
REPLICAS, READS, WRITES = 3, 2, 2
THINK_MS, TIMEOUT_MS = 20.0, 500.0


def run_ours(operations: int, seed: int) -> int:
    """Play that many operations with `mlsys.cap`; how many were answered ok."""
    from mlsys.cap.cluster import Cluster
    from mlsys.cap.scenes import Scene

    scene = Scene(
        store="quorum",
        nodes=REPLICAS,
        n=REPLICAS,
        r=READS,
        w=WRITES,
        latency="exponential:1",
        clients=CLIENTS,
        think_ms=THINK_MS,
        timeout_ms=TIMEOUT_MS,
        duration_ms=3_600_000,
        operations=operations,
        keep_messages=0,
        seed=seed,
    )
    cluster = Cluster(scene)
    cluster.boot()
    cluster.clients.start()
    cluster.simulation.run(scene.duration_ms)
    return sum(event[2] == "ok" for event in cluster.clients.events)


def run_simpy(operations: int, seed: int) -> int:
    """Play that many operations with simpy; how many were answered ok."""
    import simpy

    rng = random.Random(seed)
    env = simpy.Environment()
    store = _SimpyStore(env, rng)
    budget = iter(range(operations))
    for number in range(CLIENTS):
        env.process(_simpy_client(env, rng, store, number, budget))
    env.run()
    return sum(event[2] == "ok" for event in store.history)


class _SimpyStore:
    def __init__(self, env, rng: random.Random) -> None:
        self.env = env
        self.rng = rng
        self.data: list[dict] = [{} for _ in range(REPLICAS)]
        self.history: list[tuple] = []
        self.counter = 0

    def send(self, handler, *args) -> None:
        """Call the handler when the message arrives."""
        message = self.env.timeout(self.rng.expovariate(1.0))
        message.callbacks.append(lambda _: handler(*args))

    def write(self, coordinator: int, key: str, value: int):
        """The event that succeeds when W replicas have acknowledged."""
        done, acks = self.env.event(), set()
        self.counter += 1
        state = (self.env.now, coordinator, self.counter, value)

        def on_write(replica: int) -> None:
            self.take(replica, key, state)
            self.send(on_ack, replica)

        def on_ack(replica: int) -> None:
            acks.add(replica)
            if len(acks) >= WRITES and not done.triggered:
                done.succeed()

        for replica in range(REPLICAS):
            self.send(on_write, replica)
        return done

    def read(self, key: str):
        """The event that succeeds with the value when R replicas have answered."""
        done, answers = self.env.event(), {}

        def on_read(replica: int) -> None:
            self.send(on_value, replica, self.data[replica].get(key))

        def on_value(replica: int, state) -> None:
            answers[replica] = state
            best = max((s for s in answers.values() if s is not None), default=None)
            if len(answers) >= READS and not done.triggered:
                done.succeed(None if best is None else best[3])
            if done.triggered:
                for other, seen in answers.items():
                    if seen != best:
                        answers[other] = best
                        self.send(self.take, other, key, best)

        for replica in range(REPLICAS):
            self.send(on_read, replica)
        return done

    def take(self, replica: int, key: str, state: tuple) -> None:
        mine = self.data[replica].get(key)
        if mine is None or state > mine:
            self.data[replica][key] = state


def _simpy_client(env, rng: random.Random, store: _SimpyStore, number: int, budget):
    for _ in budget:
        yield env.timeout(rng.expovariate(1 / THINK_MS))
        f = "read" if rng.random() < 0.5 else "write"
        value = None if f == "read" else store.counter + 1
        store.history.append((env.now, number, "invoke", f, "k0", value, ""))
        asked = store.read("k0") if f == "read" else store.write(number % REPLICAS, "k0", value)
        outcome = yield asked | env.timeout(TIMEOUT_MS)
        if asked in outcome:
            answer = outcome[asked] if f == "read" else value
            store.history.append((env.now, number, "ok", f, "k0", answer, ""))
        else:
            kind = "fail" if f == "read" else "info"
            store.history.append((env.now, number, kind, f, "k0", value, "timed out"))


def compare(operations: int = 20_000, rounds: int = 5) -> dict[str, list[float]]:
    """Operations a second of CPU of both, taken in turn, one figure a round."""
    rates: dict[str, list[float]] = {"ours": [], "simpy": []}
    run_ours(100, 0), run_simpy(100, 0)  # imports are not the question
    for seed in range(rounds):
        for name, play in (("ours", run_ours), ("simpy", run_simpy)):
            begin = time.process_time()
            answered = play(operations, seed)
            rates[name].append(answered / (time.process_time() - begin))
    return rates


if __name__ == "__main__":
    found = compare()
    for name, rates in found.items():
        spread = f"({min(rates):,.0f} to {max(rates):,.0f})"
        print(f"{name:6}{statistics.median(rates):10,.0f} operations/s  {spread}")
    ratios = [a / b for a, b in zip(found["ours"], found["simpy"])]
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
