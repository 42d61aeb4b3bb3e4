"""Times, counted: a histogram of latencies of fixed size, bounded error, and exact addition.

Bins are log-linear, as in HdrHistogram (G. Tene): each power of two is cut into equal parts, so
that a value is known to a fixed share of itself from a microsecond to an hour. Histograms of two
threads, processes or days add up to the histogram of both. Who measures is `mlsys.serving.load`;
the picture is in `mlsys.serving.load.figures`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PARTS = 512  # bins in each power of two
RELATIVE_ERROR = 1 / (2 * PARTS)  # a bin's middle against any value in it
_LOWEST, _HIGHEST = -20, 12  # powers of two, s: 0.95 µs to 4,096 s
_BINS = (_HIGHEST - _LOWEST) * PARTS
PERCENTS = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often each time occurred; times in s. Make it with `Histogram.of`.

    Times under 1 µs or over 4,096 s are counted in the outermost bins; `low`, `high` and `total`
    (the sum) are exact.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64), repr=False)
    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Histogram:
        """The histogram of these times, s. ValueError for one that is negative or not finite."""
        values = np.asarray(seconds if isinstance(seconds, np.ndarray) else list(seconds), float)
        if not values.size:
            return cls()
        if not (np.isfinite(values).all() and values.min() >= 0):
            bad = values[~(np.isfinite(values) & (values >= 0))][0]
            raise ValueError(f"A latency is a finite time of at least 0 s, not {bad}.")
        counts = np.bincount(_bin(values), minlength=_BINS).astype(np.int64)
        return cls(counts, float(values.min()), float(values.max()), float(values.sum()))

    def __add__(self, other: Histogram) -> Histogram:
        """The histogram of both sets of times."""
        return Histogram(
            self.counts + other.counts,
            min(self.low, other.low),
            max(self.high, other.high),
            self.total + other.total,
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Histogram)
            and np.array_equal(self.counts, other.counts)
            and (self.low, self.high) == (other.low, other.high)
            and math.isclose(self.total, other.total, rel_tol=1e-9)
        )

    __hash__ = None

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean, s, exact; NaN when nothing was counted."""
        return self.total / self.count if self.count else math.nan

    def percentile(self, percent: float) -> float:
        """The time, s, within which this percentage of the answers came; NaN when there are none.

        The smallest time with at least that share of all times at or under it (NumPy's
        `method="inverted_cdf"`), to within RELATIVE_ERROR of itself.
        """
        return float(self.percentiles((percent,))[percent])

    def percentiles(self, percents: Sequence[float] = PERCENTS) -> dict[float, float]:
        """Each percentage with its time in s."""
        for percent in percents:
            if not 0 <= percent <= 100:
                raise ValueError(f"A percentile lies between 0 and 100, not at {percent}.")
        if not self.count:
            return dict.fromkeys(percents, math.nan)
        cumulative = np.cumsum(self.counts)
        found = {}
        for percent in percents:
            # Rounded before the ceiling: 99.9 % of 1,000 is the 999th, whatever 0.999 is in binary.
            rank = max(1, math.ceil(round(percent / 100 * self.count, 9)))
            place = int(np.searchsorted(cumulative, rank))
            found[percent] = min(max(_middle(place), self.low), self.high)
            if rank in (1, self.count):  # the first and the last are known exactly
                found[percent] = self.low if rank == 1 else self.high
        return found

    @property
    def p50(self) -> float:
        return self.percentile(50)

    @property
    def p99(self) -> float:
        return self.percentile(99)

    def share_over(self, seconds: float) -> float:
        """Share of the times that are longer than this, to within one bin; NaN for none."""
        if not self.count:
            return math.nan
        return float(self.counts[int(_bin(np.array([seconds]))[0]) + 1 :].sum() / self.count)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: only the bins that are not empty."""
        (places,) = np.nonzero(self.counts)
        return {
            "bins": places.tolist(),
            "counts": self.counts[places].tolist(),
            "low": self.low if self.count else None,
            "high": self.high if self.count else None,
            "total": self.total,
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Histogram:
        """What `to_dict` gave, back again."""
        if not kept["bins"]:
            return cls()
        counts = np.zeros(_BINS, dtype=np.int64)
        counts[kept["bins"]] = kept["counts"]
        return cls(counts, kept["low"], kept["high"], kept["total"])

    def __repr__(self) -> str:
        if not self.count:
            return "<no times>"
        told = ", ".join(f"p{p:g} {1000 * t:.3g} ms" for p, t in self.percentiles().items())
        return f"<{self.count:,} times: {told}, longest {1000 * self.high:.3g} ms>"


def _bin(values: np.ndarray) -> np.ndarray:
    """Bin of each time: the power of two below it, then the part of that power's range."""
    mantissa, exponent = np.frexp(np.clip(values, 2.0**_LOWEST, np.nextafter(2.0**_HIGHEST, 0)))
    part = ((mantissa - 0.5) * (2 * PARTS)).astype(np.int64)
    return (exponent.astype(np.int64) - 1 - _LOWEST) * PARTS + part


def _middle(place: int) -> float:
    power, part = divmod(place, PARTS)
    return 2.0 ** (power + _LOWEST) * (1 + (part + 0.5) / PARTS)
