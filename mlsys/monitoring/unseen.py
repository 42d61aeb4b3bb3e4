"""Values on one side only: what chance gives, and how sure it is that more came than that.

Where a column has thousands of values no single share tells much, and the tests that need a few
rows a value are blind. These here ask instead how many rows have a value that the other side has
not. If nothing changed, which rows are the reference's is a draw without replacement out of both
sides' rows; all chances below are those of that draw, at any number of rows.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from mlsys.monitoring.profiles import ColumnProfile, Tail

_TILTS = np.geomspace(1e-4, 50, 96)


def beyond_p_value(k: int, n: int, m: int) -> float:
    """The chance that the k largest of n + m equal rows are all among the m current ones.

    Exact without ties and too large with them, so safe: m (m - 1) … (m - k + 1) over
    (n + m) … (n + m - k + 1). The "exceedance" test: Rosenbaum, Ann. Math. Stat. 25, 1954.
    """
    return float(np.exp(_log_absent(np.array([float(k)]), n, m)[0]))


def absent_share(totals: np.ndarray, n: int, m: int) -> float:
    """The share of the m current rows whose value chance keeps out of the n reference rows.

    `totals`: how often each value occurs on both sides together.
    """
    return float(totals @ np.exp(_log_absent(totals, n, m))) / m


def absent_p_value(reference: np.ndarray, current: np.ndarray, n: int, m: int) -> float:
    """The chance of so many current rows, or more, whose value the reference has not.

    Counts by value, of all values or of some that were chosen without a look at the counts; n and
    m are all rows. Chernoff's bound, so at most too large: given how often each value occurs, the
    values' counts in the reference are negatively associated (Joag-Dev and Proschan, Ann. Stat. 11,
    1983), and the moment generating function of their sum is at most the product of theirs.
    """
    alone = float(current[reference == 0].sum())
    totals, values = np.unique(reference + current, return_counts=True)
    present = totals > 0
    totals, values = totals[present].astype(float), values[present]
    log_in = _log_absent(totals, n, m)
    # A value too frequent to be absent by chance weighs nothing, unless it is absent.
    with np.errstate(divide="ignore"):
        log_out = np.log1p(-np.exp(log_in))
    tilted = np.logaddexp(log_out, log_in + _TILTS[:, None] * totals)
    return math.exp(min(0.0, float((tilted @ values - _TILTS * alone).min())))


def moved_share(totals: np.ndarray, n: int, m: int) -> float:
    """The total variation that chance alone gives on average between the two sides' shares.

    Half the sum of the mean absolute differences: De Moivre's closed form for each value's count,
    taken as binomial (Diaconis and Zabell, Stat. Sci. 6, 1991).
    """
    totals, values = np.unique(np.rint(totals), return_counts=True)
    share = n / (n + m)
    top = np.floor(totals * share) + 1
    log_one = (
        special.gammaln(totals + 1) - special.gammaln(top + 1)
        - special.gammaln(np.maximum(totals - top, 0) + 1)
        + top * math.log(share) + (totals - top + 1) * math.log1p(-share)
    )  # fmt: skip
    apart = np.where(top > totals, 0.0, 2 * top * np.exp(log_one))
    return float(apart @ values) * (n + m) / (n * m) / 2


def rows_beyond(one: ColumnProfile, other: ColumnProfile) -> tuple[int, int]:
    """How many rows of the second profile lie below and above all of the first: so many at least.

    Both stand on one grid. The end bins that the first reaches into are not counted; where it
    reaches beyond the grid, the sum of the second's tail still says how many must lie farther out.
    """
    grid, counts = one.grid, other.bins
    first, last = (
        int(np.clip(np.floor(end / grid.width) - grid.first, -1, grid.size))
        for end in (one.low, one.high)
    )
    under, over = int(counts[: max(first, 0)].sum()), int(counts[last + 1 :].sum())
    if one.low >= grid.low:
        under += other.below.count
    elif other.low < one.low:
        under = _farther(other.below, one.low, other.low, grid.width)
    if one.high < grid.high:
        over += other.above.count
    elif other.high > one.high:
        over = _farther(other.above, one.high, other.high, grid.width)
    return under, over


def _farther(tail: Tail, end: float, farthest: float, width: float) -> int:
    """How many values of a tail must lie beyond `end` if none is beyond `farthest`: one does."""
    # A tail's sum is right to half a bin a value.
    excess = abs(tail.sum - end * tail.count) - tail.count * width / 2
    outward = (tail.sum - end * tail.count) * (farthest - end) > 0
    most = excess / abs(farthest - end) if outward else 0.0
    return max(1, math.ceil(most - 1e-6)) if math.isfinite(most) else 1


def _log_absent(totals: np.ndarray, n: int, m: int) -> np.ndarray:
    """The log of the chance that none of a value's rows is among the reference's."""
    fits = totals <= m
    t = np.where(fits, totals, 0.0)
    made = (
        special.gammaln(m + 1) - special.gammaln(m - t + 1)
        - special.gammaln(n + m + 1) + special.gammaln(n + m - t + 1)
    )  # fmt: skip
    return np.where(fits, np.minimum(made, 0.0), -np.inf)
