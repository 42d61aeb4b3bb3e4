"""Which server gets the next request: policies simulated, from four servers to ten thousand.

`simulate` is the queueing half (servers with a line each, "supermarket model"), `balls` the law
behind it (balls into bins). Real replicas behind nginx are measured with `mlsys.serving.load`;
retries, budgets and breakers are in `balancing.retries`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import pandas as pd

from mlsys.serving.load import LoadResult

POLICIES = ("round robin", "random", "random of two", "least connections")
MOST_SERVERS, MOST_REQUESTS = 100_000, 1_000_000


class BalancingError(ValueError):
    """An experiment that cannot be; the message is one sentence."""


@dataclass(frozen=True)
class Simulated:
    """Response times (s) of the requests, in order of arrival; requests that each server got; and
    the share of servers with at least i requests (index i) as the arrivals found them."""

    policy: str
    latency: np.ndarray
    served: np.ndarray
    at_least: np.ndarray


def simulate(
    policy: str,
    service: Sequence[float] | np.ndarray,
    *,
    rate: float,
    count: int,
    seed: int = 0,
    warm: float = 0.2,
) -> Simulated:
    """`count` Poisson arrivals, `rate` a second, at servers with a line each.

    `service` holds each server's mean time in s (exponential). The balancer knows how many
    requests are at each server, as nginx's `least_conn` does. The first share `warm` of the
    requests is not in the result. Raises BalancingError.
    """
    means = np.asarray(service, dtype=float)
    if policy not in POLICIES:
        raise BalancingError(f"There is no policy {policy!r}; take one of {', '.join(POLICIES)}.")
    if not (1 <= means.size <= MOST_SERVERS and (means > 0).all()):
        raise BalancingError(f"Give 1 to {MOST_SERVERS:,} mean service times above 0 s.")
    if not (1 <= count <= MOST_REQUESTS and rate > 0 and 0 <= warm < 1):
        raise BalancingError(
            f"{count} requests at {rate} a second: take 1 to {MOST_REQUESTS:,}, a rate above 0,"
            " and a warm-up share under 1."
        )
    dice = Random(seed)
    draws = np.random.default_rng(seed)
    arrivals = np.cumsum(draws.exponential(1 / rate, count)).tolist()
    works = draws.exponential(1, count).tolist()
    speeds, n = means.tolist(), means.size
    inside, free, served = [0] * n, [0.0] * n, [0] * n
    ends: list[tuple[float, int]] = []
    choose = _chooser(policy, inside, dice)
    latency, begun = np.empty(count), int(warm * count)
    lengths = [0] * 64
    for i, now in enumerate(arrivals):
        while ends and ends[0][0] <= now:
            inside[heapq.heappop(ends)[1]] -= 1
        one = choose()
        if i >= begun:
            served[one] += 1
            if i % 4 == 0:  # a look at one random server: arrivals see time averages (PASTA)
                lengths[min(63, inside[dice.randrange(n)])] += 1
        end = max(now, free[one]) + works[i] * speeds[one]
        free[one] = end
        inside[one] += 1
        heapq.heappush(ends, (end, one))
        latency[i] = end - now
    tail = np.cumsum(lengths[::-1])[::-1] / max(1, sum(lengths))
    return Simulated(policy, latency[begun:], np.array(served), tail)


def beside(
    measured: Mapping[str, LoadResult],
    service: Sequence[float],
    *,
    rate: float,
    runs: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """p50 and p95 in ms as measured, beside the simulated middle of so many runs of as many
    requests; for those policies of POLICIES that were measured."""
    rows = {}
    for policy in (name for name in POLICIES if name in measured):
        load = measured[policy]
        tries = [
            np.percentile(
                simulate(policy, service, rate=rate, count=load.planned, seed=seed + i, warm=0)
                .latency, [50, 95],
            )
            for i in range(runs)
        ]  # fmt: skip
        middle = 1000 * np.median(tries, axis=0)
        rows[policy] = [1000 * load.latency.p50, middle[0],
                        1000 * load.latency.percentile(95), middle[1]]  # fmt: skip
    columns = ["p50 measured", "p50 simulated", "p95 measured", "p95 simulated"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).round()


def fleet(servers: int, *, load: float, count: int, seed: int = 0) -> dict[str, Simulated]:
    """Equal servers, each busy for the share `load` of the time, under one and two choices."""
    rate = load * servers / 0.02
    return {
        policy: simulate(policy, [0.02] * servers, rate=rate, count=count, seed=seed, warm=0.5)
        for policy in ("random", "random of two")
    }


def one_slow(
    policy: str, slow: float, servers: int, *, count: int = 8_000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Latencies (s) of a policy and of least connections, where one server takes `slow` times as
    long and all arrivals would keep equal servers half busy."""
    speeds = [0.02] * (servers - 1) + [0.02 * slow]
    rate = 0.5 * servers / 0.02
    return {
        name: simulate(name, speeds, rate=rate, count=count, seed=seed).latency
        for name in dict.fromkeys([policy, "least connections"])
    }


def _chooser(policy: str, inside: list[int], dice: Random) -> Callable[[], int]:
    n, draw = len(inside), dice.random
    turn = -1

    def in_turn() -> int:
        nonlocal turn
        turn = (turn + 1) % n
        return turn

    def two() -> int:
        one = int(draw() * n)
        other = int(draw() * (n - 1)) if n > 1 else one
        other += other >= one and n > 1  # two different ones
        return one if inside[one] <= inside[other] else other

    def least() -> int:  # ties go round, as in nginx
        fewest = min(inside)
        one = in_turn()
        while inside[one] != fewest:
            one = in_turn()
        return one

    return {
        "round robin": in_turn,
        "random": lambda: int(draw() * n),
        "random of two": two,
        "least connections": least,
    }[policy]


def queue_tail(load: float, choices: int, length: int) -> float:
    """Share of servers with at least `length` requests, among infinitely many (Mitzenmacher, "The
    power of two choices in randomized load balancing", IEEE TPDS 12(10), 2001, equation 1).

    load: utilisation below 1; choices: servers looked at for each request.
    """
    if choices == 1:
        return load**length
    return load ** ((choices**length - 1) / (choices - 1))


def balls(bins: int, choices: int, *, seed: int = 0) -> np.ndarray:
    """Balls in each bin, when each of `bins` balls takes the emptiest of so many random bins."""
    if not (1 <= bins <= MOST_SERVERS and 1 <= choices <= 10):
        raise BalancingError(
            f"{bins} bins with {choices} choices: take 1 to {MOST_SERVERS:,} and 1 to 10."
        )
    picks = np.random.default_rng(seed).integers(bins, size=(bins, choices)).tolist()
    inside = [0] * bins
    for pick in picks:
        inside[min(pick, key=inside.__getitem__)] += 1
    return np.array(inside)
