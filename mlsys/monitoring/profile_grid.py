"""The grid under a histogram: bins a power of two wide, which is why profiles merge exactly.

Bin i of a grid with exponent e covers [i 2^e, (i + 1) 2^e). Multiplying by a power of two is exact
in floating point (a subnormal may become zero), so a value's bin is exact, and every bin of a finer
grid lies in exactly one bin
of a coarser one: two histograms on different grids meet on a coarser grid without any value being
counted in the wrong place. What lies beyond a grid's ends goes to its two tails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mlsys.monitoring.errors import MonitoringError

BINS = 4096
TAIL = 0.0005  # the share of a reference left beyond each end before the ends are widened
MARGIN = 0.25  # how far each end is widened, as a share of the span


@dataclass(frozen=True, slots=True)
class Grid:
    """`size` bins of width 2**`exponent`, the first one starting at `first` * 2**`exponent`."""

    exponent: int
    first: int
    size: int

    @property
    def width(self) -> float:
        return math.ldexp(1.0, self.exponent)

    @property
    def low(self) -> float:
        return math.ldexp(float(self.first), self.exponent)

    @property
    def high(self) -> float:
        return math.ldexp(float(self.first + self.size), self.exponent)

    @property
    def edges(self) -> np.ndarray:
        """The `size` + 1 ends of the bins."""
        return np.ldexp(np.arange(self.first, self.first + self.size + 1, dtype=float),
                        self.exponent)  # fmt: skip

    @property
    def middles(self) -> np.ndarray:
        return self.edges[:-1] + self.width / 2


def spanning(low: float, high: float, *, finest: int = -1022, bins: int = BINS) -> Grid:
    """The finest grid of at most `bins` bins that covers [low, high], the values in its middle.

    `finest` bounds the exponent from below: 0 for integers, whose bins are then whole numbers.
    """
    largest = max(abs(low), abs(high), 1e-290)
    # A bin is never finer than what a float of this size can tell apart.
    exponent = max(finest, math.frexp(largest)[1] - 50)
    if high > low:
        # Halves: the span of two finite floats need not be finite.
        exponent = max(exponent, math.frexp((high / 2 - low / 2) / bins)[1] - 1)
    while _bins_between(low, high, exponent) > bins:
        exponent += 1
    used = _bins_between(low, high, exponent)
    first = math.floor(math.ldexp(low, -exponent)) - (bins - used) // 2
    return Grid(exponent, first, bins)


def of_sample(values: np.ndarray, *, whole: bool = False) -> Grid:
    """The grid for a reference of which `values` (finite, any order) are a sample.

    It spans the 0.05 % to 99.95 % quantiles, widened by a quarter of their distance on each side,
    or the whole range where that is narrower. `whole` says that the values are integers.
    """
    if not len(values):
        return spanning(0.0, 1.0, finest=0 if whole else -1022)
    low, high = np.quantile(values, [TAIL, 1 - TAIL])
    margin = MARGIN * (high / 2 - low / 2) * 2
    low = max(low - margin, 2 * float(values.min()) - low)
    high = min(high + margin, 2 * float(values.max()) - high)
    limit = float(np.finfo(float).max) / 4
    low, high = max(float(low), -limit), min(float(high), limit)
    return spanning(low, max(low, high), finest=0 if whole else -1022)


def common(a: Grid, b: Grid, *, below: tuple[bool, bool], above: tuple[bool, bool]) -> Grid:
    """The finest grid of at most `BINS` bins on which both can be told without loss.

    `below` and `above` say whether a and b hold values beyond that end. A side on which neither
    does takes the outer of the two ends; else the inner of those ends beyond which values lie,
    because nothing is known about where in the tail they are.
    Raises MonitoringError when the grids do not overlap enough for 64 bins.
    """
    if a == b:
        return a
    exponent = max(a.exponent, b.exponent)
    while True:
        lows = [_rescale(g.first, g.exponent, exponent, up=tail)
                for g, tail in zip((a, b), below)]  # fmt: skip
        highs = [_rescale(g.first + g.size, g.exponent, exponent, up=not tail)
                 for g, tail in zip((a, b), above)]  # fmt: skip
        first = _end(lows, below, inner=max, outer=min)
        last = _end(highs, above, inner=min, outer=max)
        if last - first < min(64, a.size, b.size):
            raise MonitoringError(
                f"The two profiles stand on grids too far apart to be brought together "
                f"({a.low:g} to {a.high:g} and {b.low:g} to {b.high:g}): make the second one "
                f"with like= the first."
            )
        if last - first <= BINS:
            return Grid(exponent, first, last - first)
        exponent += 1


def _bins_between(low: float, high: float, exponent: int) -> int:
    return math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) + 1


def _rescale(index: int, was: int, now: int, *, up: bool) -> int:
    """An end of a bin, on a grid 2**(now - was) times coarser; rounded up or down."""
    step = now - was
    return -(-index >> step) if up else index >> step


def _end(ends: list[int], tails: tuple[bool, bool], *, inner, outer) -> int:
    bound = [end for end, tail in zip(ends, tails) if tail]
    return inner(bound) if bound else outer(ends)


def coarsen(counts: np.ndarray, grid: Grid, onto: Grid) -> tuple[np.ndarray, slice, slice]:
    """`counts` of `grid` summed into the bins of `onto`: (counts, bins below it, bins above it).

    The two slices say which bins of `grid` lie beyond the ends of `onto`.
    """
    step = onto.exponent - grid.exponent
    start = (onto.first << step) - grid.first
    stop = ((onto.first + onto.size) << step) - grid.first
    begin, end = (min(max(place, 0), grid.size) for place in (start, stop))
    place = ((np.arange(begin, end) + grid.first) >> step) - onto.first
    made = np.bincount(place, weights=counts[begin:end], minlength=onto.size)
    return np.rint(made).astype(np.int64), slice(0, begin), slice(end, grid.size)
