"""Two columns of categories side by side: a table of labels, exact or between bounds.

Where each label was counted the cells are exact. Where a profile dropped labels (`slack`) each
count is known between bounds; the cells then hold what makes the two columns most alike, so that
changes of shares are rather too small and their p-values too large. What only one side has is
judged on the profiles' `label_sample`, whose counts are exact at any number of labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mlsys.monitoring.label_sample import Counted, counted, label_hashes
from mlsys.monitoring.profile_kernels import KEPT
from mlsys.monitoring.profiles import ColumnProfile
from mlsys.monitoring.unseen import absent_p_value, absent_share

REST = "(all others)"
LEAST = 5.0  # rows that a test of shares expects in a cell (Cochran, Biometrics 10, 1954)


@dataclass(frozen=True, slots=True)
class Labels:
    """One side: its `count` of values, the counts by label, each too small by `slack` at most."""

    count: int
    counts: Mapping[str, int]
    slack: int = 0
    profile: ColumnProfile | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """What only one side has: the share of current rows whose label the reference has not, what
    chance gives of it, and two p-values, of labels that are new and of labels that are gone."""

    share: float
    by_chance: float
    new: float
    gone: float


def table(a: Labels, b: Labels) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(labels, the reference's counts, the current ones); between bounds the last label is `REST`.

    What is left for `REST` depends on which labels either side happened to keep, so it is no cell
    to test.
    """
    labels = list({**a.counts, **b.counts})
    p, q = (
        np.fromiter((one.counts.get(label, 0) for label in labels), float, len(labels))
        for one in (a, b)
    )
    if not (a.slack or b.slack):
        return labels, p, q
    ends = []
    for counts, one in ((p, a), (q, b)):
        rest = one.count - counts.sum()
        low = np.append(counts, max(0.0, rest - one.slack * len(labels)))
        high = np.append(np.minimum(counts + one.slack, one.count), rest)
        ends.append((low / one.count, high / one.count))
    (low, high), (least, most) = ends
    # The two shares within their bounds that lie nearest to each other.
    near, far = np.clip(least, low, high), np.clip(low, least, most)
    return [*labels, REST], near * a.count, far * b.count


def bounded_p_value(p: np.ndarray, q: np.ndarray, n: int, m: int) -> float:
    """Pearson's test on cells between bounds: too large at most, since what is left out or drawn
    together only lowers the statistic."""
    both = p + q
    kept = both * (min(n, m) / (n + m)) >= LEAST
    if not kept.any():
        return 1.0
    apart = p[kept] * np.sqrt(m / n) - q[kept] * np.sqrt(n / m)
    return float(stats.chi2.sf(np.sum(apart**2 / both[kept]), kept.sum()))


def thin(p: np.ndarray, q: np.ndarray) -> bool:
    """Whether some labels are too rare for a test of their shares. The sums alone decide it, so
    that choosing a test by it leaves its level as it is."""
    n, m = p.sum(), q.sum()
    return bool(((p + q) * (min(n, m) / (n + m)) < LEAST).any())


def absent(a: Labels, b: Labels, p: np.ndarray, q: np.ndarray) -> Absent | None:
    """What one side alone has; None where a profile kept too little to say."""
    n, m = a.count, b.count
    if not (a.slack or b.slack):
        new = float(q[p == 0].sum()) / m
        return Absent(new, absent_share(p + q, n, m), *_both_ways(p, q, n, m))
    samples = [one.profile.sample if one.profile else counted(one.counts) for one in (a, b)]
    if None in samples:
        return None
    hashes = np.union1d(samples[0][0], samples[1][0])
    hashes = hashes[hashes <= min(map(_reach, samples))]
    p, q = (_at(hashes, one) for one in samples)
    # Labels that both count one by one are seen; the sample speaks for the rows of the others.
    shared = [label for label in b.counts if label in a.counts]
    rest = 1 - sum(b.counts[label] for label in shared) / m
    other = ~np.isin(hashes, label_hashes(shared)) if shared else np.ones(len(hashes), bool)
    rows = q[other].sum()
    if not rows:
        return Absent(0.0, 0.0, *_both_ways(p, q, n, m))
    alone = float(q[other & (p == 0)].sum())
    chance = absent_share((p + q)[other], n, m) * m
    return Absent(rest * alone / rows, rest * min(1.0, chance / rows), *_both_ways(p, q, n, m))


def _both_ways(p: np.ndarray, q: np.ndarray, n: int, m: int) -> tuple[float, float]:
    return absent_p_value(p, q, n, m), absent_p_value(q, p, m, n)


def _reach(sample: Counted) -> int:
    """Up to which hash the sample has every label."""
    hashes = sample[0]
    return int(hashes[-1]) if len(hashes) >= KEPT else np.iinfo(np.uint64).max


def _at(hashes: np.ndarray, sample: Counted) -> np.ndarray:
    """How often each hash came, 0 where it did not."""
    known, often = sample
    made = np.zeros(len(hashes))
    _, here, there = np.intersect1d(hashes, known, assume_unique=True, return_indices=True)
    made[here] = often[there]
    return made
