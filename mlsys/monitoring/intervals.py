"""Confidence intervals for the numbers that a monitor shows: shares, their differences, the rest.

A share gets Wilson's interval, a difference of two independent shares Newcombe's, everything else
a percentile bootstrap over rows (or over queries, for rankings). Which number is computed is left
to `performance`, `fairness` and `estimation`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from mlsys.monitoring.errors import MonitoringError


@dataclass(frozen=True)
class Interval:
    """A number with the ends of its confidence interval, and the rows behind it.

    `value` is nan when no row can answer (the precision of a model that never said yes).
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def width(self) -> float:
        return self.high - self.low

    def holds(self, value: float) -> bool:
        """Is `value` inside the interval?"""
        return self.low <= value <= self.high


def _quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise MonitoringError(f"A confidence lies between 0 and 1 (such as 0.95): {confidence}.")
    return float(ndtri((1 + confidence) / 2))


def wilson(successes: float, n: int, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share (JASA 22, 1927); right near 0 and 1, where p ± 2s is not.

    With n = 0 nothing is known: the value is nan, the interval 0 to 1.
    """
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0, 0)
    if not 0 <= successes <= n:
        raise MonitoringError(f"{successes} successes of {n}: expected a number from 0 to {n}.")
    z = _quantile(confidence)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends rounding may leave the share itself outside by one unit in the last place.
    return Interval(
        float(p), min(p, max(0.0, float(centre - half))), max(p, min(1.0, float(centre + half))), n
    )


def difference(first: Interval, second: Interval) -> Interval:
    """first − second for two independent shares with Wilson intervals.

    Newcombe, Statistics in Medicine 17 (1998), method 10.
    """
    gap = first.value - second.value
    low = np.hypot(first.value - first.low, second.high - second.value)
    high = np.hypot(first.high - first.value, second.value - second.low)
    if np.isnan(gap):
        return Interval(float("nan"), -1.0, 1.0, min(first.n, second.n))
    return Interval(
        float(gap),
        max(-1.0, float(gap - low)),
        min(1.0, float(gap + high)),
        min(first.n, second.n),
    )


def bootstrap(
    metric: Callable[..., float],
    *arrays: Sequence | np.ndarray,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of `metric(*arrays)` over rows (Efron 1979), the same seed each time.

    Draws in which the metric cannot be computed (one class only) are left out; if all of them are,
    the ends are nan.
    """
    rows = [np.asarray(array) for array in arrays]
    n = len(rows[0])
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    values = np.empty(draws)
    for draw in range(draws):
        chosen = rng.integers(0, n, n)
        values[draw] = metric(*(array[chosen] for array in rows))
    return _percentiles(float(metric(*rows)), values, confidence, n)


def bootstrap_mean(
    values: np.ndarray, *, draws: int = 200, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The bootstrap of a mean; rows are drawn in blocks so that memory stays small."""
    values = np.asarray(values, dtype=float)
    n = len(values)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    means = np.array([values[rng.integers(0, n, n)].mean() for _ in range(draws)])
    return _percentiles(float(values.mean()), means, confidence, n)


def _percentiles(value: float, draws: np.ndarray, confidence: float, n: int) -> Interval:
    draws = draws[np.isfinite(draws)]
    if len(draws) == 0 or not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"), n)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    # A percentile interval need not hold the value itself; a reader expects it to.
    return Interval(value, min(float(low), value), max(float(high), value), n)
