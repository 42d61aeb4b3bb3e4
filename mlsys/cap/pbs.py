"""How stale can a read be? Probabilistically bounded staleness of an N/R/W quorum store.

The closed forms and the WARS Monte Carlo of Bailis, Venkataraman, Franklin, Hellerstein, Stoica:
"Probabilistically Bounded Staleness for Practical Partial Quorums", VLDB 2012 (section numbers
below are the paper's), with its published table beside them. Everything for every R, W and time
comes from one set of draws. What a running store does under faults is for `simulation.py`; the
latency distributions come from `latency.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlsys.cap.latency import Constant, Distribution, Exponential, Mixture, Pareto, Profile
from mlsys.cap.quorums import QuorumError, check_quorum

MAX_DRAWS = 50_000_000


def miss_probability(n: int, r: int, w: int) -> float:
    """The chance that r random replicas miss the w that took the last write (section 3.1).

    p_s = C(n - w, r) / C(n, r); 0 when the quorums overlap. No replication after the write.
    """
    check_quorum(n, r, w)
    return math.comb(n - w, r) / math.comb(n, r)


def k_staleness(n: int, r: int, w: int, k: int) -> float:
    """The chance that a read misses all of the last k versions: p_s^k (section 3.1)."""
    _check_positive(k=k)
    return miss_probability(n, r, w) ** k


def monotonic_reads_violation(
    n: int, r: int, w: int, *, writes_per_s: float, reads_per_s: float
) -> float:
    """The chance that a client's read is older than its last one (section 3.2).

    p_s^(1 + writes_per_s / reads_per_s): all writes to the key over the reads of that client.
    """
    _check_positive(writes_per_s=writes_per_s, reads_per_s=reads_per_s)
    return miss_probability(n, r, w) ** (1 + writes_per_s / reads_per_s)


@dataclass(frozen=True)
class Draws:
    """Trials of the WARS model: one write and one read after it, n replicas each (section 4.1).

    Four float32 arrays of shape (n, trials), one-way latencies in ms: replica i gets the write
    after `write[i]`, its acknowledgement takes `ack[i]`, the read request `read[i]`, the response
    `response[i]`. All else is computed from these, so that every R, W and t judges the same
    trials. Raises QuorumError for an R or W that n replicas cannot give.
    """

    fit: str
    write: np.ndarray
    ack: np.ndarray
    read: np.ndarray
    response: np.ndarray

    @property
    def n(self) -> int:
        return len(self.write)

    @property
    def trials(self) -> int:
        return self.write.shape[1]

    @cached_property
    def _acknowledged(self) -> np.ndarray:
        """Row w - 1: when the w-th acknowledgement arrives."""
        times = self.write + self.ack
        _sort_rows(times)
        return times

    @cached_property
    def _answered(self) -> tuple[np.ndarray, np.ndarray]:
        """Row r - 1 of the first: when the r-th response arrives. Of the second: how long after
        the write's start the read must begin for one of the first r to have seen the write."""
        times, needed = self.read + self.response, self.write - self.read
        _sort_rows(times, needed)
        np.minimum.accumulate(needed, axis=0, out=needed)
        return times, needed

    def write_latency(self, w: int) -> np.ndarray:
        """Of each trial, ms until w replicas have acknowledged."""
        check_quorum(self.n, w)
        return self._acknowledged[w - 1]

    def read_latency(self, r: int) -> np.ndarray:
        """Of each trial, ms until r replicas have answered."""
        check_quorum(self.n, r)
        return self._answered[0][r - 1]

    def fresh_after(self, *, r: int, w: int) -> np.ndarray:
        """Of each trial, how many ms after the write's return a read must start to see it.

        max(0, min over the first r to respond of (W_i - R_i) - w_t), where w_t is the w-th
        smallest W_i + A_i: the condition w_t + R_i + t >= W_i solved for t.
        """
        check_quorum(self.n, r, w)
        return np.maximum(self._answered[1][r - 1] - self._acknowledged[w - 1], 0)

    def stale(self, *, r: int, w: int, t: float = 0.0) -> np.ndarray:
        """Of each trial, whether a read that starts t ms after the write returned misses it."""
        if not t >= 0:
            raise QuorumError(f"A read starts 0 or more ms after the write, not {t!r}.")
        return self.fresh_after(r=r, w=w) > t

    def consistency(self, t: np.ndarray | float, *, r: int, w: int) -> np.ndarray:
        """The share of reads that see the write, for each time t in ms: the whole curve."""
        ordered = np.sort(self.fresh_after(r=r, w=w))
        return np.searchsorted(ordered, np.asarray(t, dtype=np.float32), side="right") / self.trials

    def t_visibility(self, *, r: int, w: int, p: float = 0.999) -> float:
        """The smallest t in ms after which a share p of reads sees the write: a quantile."""
        return quantile(self.fresh_after(r=r, w=w), p)


def wars(fit: Profile, *, n: int = 3, trials: int = 100_000, seed: int = 0) -> Draws:
    """Draw the trials of the WARS model once (section 4.1).

    With `fit.remote_ms`, each replica has a site of its own; the writer and the reader sit at
    sites drawn independently, and a message between two sites takes that much longer each way
    (the paper's WAN: section 5.5). Raises QuorumError for more than 50 million draws.
    """
    check_quorum(n)
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise QuorumError(f"The number of trials is a whole number from 1, not {trials!r}.")
    if 4 * n * trials > MAX_DRAWS:
        raise QuorumError(
            f"{trials:,} trials of {n} replicas are over {MAX_DRAWS:,} draws; take fewer trials."
        )
    generator = np.random.Generator(np.random.SFC64(seed))
    legs = [
        _sample(leg, generator, (n, trials)) for leg in (fit.write, fit.ack, fit.read, fit.response)
    ]
    if fit.remote_ms:
        sites = np.arange(n)[:, None]
        for outward, homeward in ((legs[0], legs[1]), (legs[2], legs[3])):
            away = sites != generator.integers(n, size=trials)
            outward += np.float32(fit.remote_ms) * away
            homeward += np.float32(fit.remote_ms) * away
    return Draws(fit.name, *legs)


def quantile(values: np.ndarray, p: float) -> float:
    """The smallest value that a share p of the values does not exceed."""
    if not 0 < p <= 1:
        raise QuorumError(f"A share lies above 0 and at most at 1, not {p!r}.")
    place = min(len(values) - 1, max(0, math.ceil(p * len(values)) - 1))
    return float(np.partition(values, place)[place])


def quantile_interval(values: np.ndarray, p: float, *, z: float = 1.96) -> tuple[float, float]:
    """Where the true quantile lies, given these independent values: z = 1.96 for 95 %.

    How many values fall below the true quantile is binomial, whatever the distribution, so the
    bounds are the order statistics z standard deviations of that count away. The upper bound is
    infinite when the sample is too small to give one.
    """
    size = len(values)
    spread = z * math.sqrt(size * p * (1 - p))
    low, high = math.floor(p * size - spread) - 1, math.ceil(p * size + spread)
    ordered = np.sort(values)
    return float(ordered[max(low, 0)]), float(ordered[high]) if high < size else math.inf


def _sample(
    distribution: Distribution, generator: np.random.Generator, shape: tuple[int, int]
) -> np.ndarray:
    """float32 draws. A Pareto and an exponential are both functions of a standard exponential, so
    a mixture of them needs one such draw and one choice: three times as fast as drawing each."""
    if isinstance(distribution, (Exponential, Pareto, Constant)):
        drawn = generator.standard_exponential(shape, dtype=np.float32)
        return _transformed(distribution, drawn)
    simple = (Exponential, Pareto)
    if (
        isinstance(distribution, Mixture)
        and isinstance(distribution.tail, simple)
        and isinstance(distribution.body, simple)
    ):
        drawn = generator.standard_exponential(shape, dtype=np.float32)
        from_body = generator.random(shape, dtype=np.float32) < distribution.share
        mixed = _transformed(distribution.body, drawn)
        np.copyto(mixed, _transformed(distribution.tail, drawn), where=~from_body)
        return mixed
    return distribution.sample(generator, shape).astype(np.float32)


def _transformed(distribution: Exponential | Pareto | Constant, drawn: np.ndarray) -> np.ndarray:
    """The distribution's values at the same quantiles as the standard exponential draws."""
    if isinstance(distribution, Constant):
        return np.full(drawn.shape, distribution.ms, dtype=np.float32)
    if isinstance(distribution, Exponential):
        return drawn * np.float32(1 / distribution.rate)
    made = drawn * np.float32(1 / distribution.alpha)
    np.exp(made, out=made)
    made *= np.float32(distribution.minimum)
    return made


def _sort_rows(keys: np.ndarray, payload: np.ndarray | None = None) -> None:
    """Sort each column of (n, trials) in place, the payload along with it.

    Insertion sort as compare-exchanges of whole rows: for the few replicas of a quorum several
    times as fast as argsort along an axis.
    """
    for end in range(1, len(keys)):
        for i in range(end, 0, -1):
            above, below = keys[i - 1], keys[i]
            if payload is not None:
                swap = above > below
                first = np.where(swap, payload[i], payload[i - 1])
                payload[i] = np.where(swap, payload[i - 1], payload[i])
                payload[i - 1] = first
            smaller = np.minimum(above, below)
            np.maximum(above, below, out=below)
            above[:] = smaller


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise QuorumError(f"{name} must be above 0, not {value!r}.")
