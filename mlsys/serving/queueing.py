"""Queues on paper, to hold beside queues that were measured.

Formulas for steady queues with Poisson arrivals, in the notation of L. Kleinrock, "Queueing
Systems", volume 1 (1975); a queue played exactly from given arrivals and services; and what
Little's law says of recorded instants. Rates are in 1/s and times in s.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Queue:
    """A queue in its steady state; times and lengths are `inf` when it has none.

    utilisation: share of the time that a server works (over 1: more comes than can be done).
    wait and response: mean time in line, and in line and service together, s. waiting and inside:
    mean number in line, and in line and service. delayed: share that has to wait at all.
    """

    utilisation: float
    wait: float
    response: float
    waiting: float
    inside: float
    delayed: float


def mm1(rate: float, service: float) -> Queue:
    """One server, exponential service times of mean `service` (Kleinrock, section 3.2)."""
    return mmc(rate, service, 1)


def mmc(rate: float, service: float, servers: int) -> Queue:
    """`servers` servers and one line: Erlang's delay formula (Kleinrock, section 3.5)."""
    _check(rate, service)
    if servers < 1:
        raise ValueError(f"{servers} servers serve nobody; take at least 1.")
    offered = rate * service
    if offered >= servers:
        return _overload(offered / servers)
    # Erlang's loss formula by its recursion, which neither overflows nor cancels; then C from B.
    blocked = 1.0
    for busy in range(1, servers + 1):
        blocked = offered * blocked / (busy + offered * blocked)
    delayed = servers * blocked / (servers - offered * (1 - blocked))
    return _steady(rate, service, delayed * service / (servers - offered), delayed, servers)


def little(rate: float, response: float) -> float:
    """Mean number inside: L = λ W (J. D. C. Little, "A proof for the queuing formula", 1961)."""
    return rate * response


def fifo(
    arrivals: Sequence[float] | np.ndarray,
    services: Sequence[float] | np.ndarray,
    *,
    servers: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """When each job begins and when it is done, first come first served; arrivals are sorted.

    The exact queue for given instants: with one server, Lindley's recursion (1952).
    """
    arrivals, services = np.asarray(arrivals, float), np.asarray(services, float)
    if arrivals.shape != services.shape or arrivals.ndim != 1:
        raise ValueError(f"{arrivals.size} arrivals need as many services, not {services.size}.")
    if servers < 1:
        raise ValueError(f"{servers} servers serve nobody; take at least 1.")
    if arrivals.size and (np.diff(arrivals) < 0).any():
        raise ValueError("Arrivals must be sorted: first come, first served.")
    free = [-math.inf] * servers
    begun = np.empty_like(arrivals)
    for place, (arrival, service) in enumerate(zip(arrivals, services)):
        begun[place] = max(arrival, free[0])
        heapq.heapreplace(free, begun[place] + service)
    return begun, begun + services


def in_system(
    starts: Sequence[float] | np.ndarray, ends: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many were inside, as a staircase: the instants of change, and the number from each on."""
    starts, ends = np.asarray(starts, float), np.asarray(ends, float)
    if starts.shape != ends.shape or starts.ndim != 1:
        raise ValueError(f"{starts.size} starts need as many ends, not {ends.size}.")
    if not (np.isfinite(starts).all() and np.isfinite(ends).all() and (ends >= starts).all()):
        raise ValueError("Each must have a finite start, and a finite end not before it.")
    instants = np.concatenate([starts, ends])
    change = np.concatenate([np.ones(starts.size), -np.ones(ends.size)])
    order = np.argsort(instants, kind="stable")
    times, last = np.unique(instants[order][::-1], return_index=True)
    counts = np.cumsum(change[order])[instants.size - 1 - last]
    return times, np.rint(counts).astype(int)


def mean_in_system(
    starts: Sequence[float] | np.ndarray, ends: Sequence[float] | np.ndarray
) -> float:
    """The mean number inside from the first start to the last end, by the area of the staircase."""
    times, counts = in_system(starts, ends)
    if times.size < 2:
        return math.nan
    return float(np.diff(times) @ counts[:-1] / (times[-1] - times[0]))


def _steady(rate: float, service: float, wait: float, delayed: float, servers: int) -> Queue:
    response = wait + service
    load = rate * service / servers
    return Queue(load, wait, response, little(rate, wait), little(rate, response), delayed)


def _overload(load: float) -> Queue:
    return Queue(load, math.inf, math.inf, math.inf, math.inf, 1.0)


def _check(rate: float, service: float) -> None:
    if not (rate >= 0 and math.isfinite(rate)):
        raise ValueError(f"A rate is a finite number of at least 0, not {rate}.")
    if not (service > 0 and math.isfinite(service)):
        raise ValueError(f"A mean service time is a finite number over 0, not {service}.")
