"""A fair sample of a category's labels, each with its exact count: the labels of smallest hash.

Which labels those are depends on nothing but their names, so two profiles have the same ones as far
as both reach, and a label that is kept has been counted since it first came (Gibbons, VLDB 2001).
What drift makes of the counts is in `cells`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mlsys.monitoring.profile_kernels import KEPT

Counted = tuple[np.ndarray, np.ndarray]  # hashes of labels, ascending, and how often each came


def label_hashes(labels: Sequence[str]) -> np.ndarray:
    """A 64-bit hash of each label, the same in every run and on every machine."""
    # pandas' hash of a string does not change from run to run; splitmix64 finishes it.
    bits = pd.util.hash_array(np.array(labels, dtype=object), categorize=False)
    bits = np.where(bits == np.uint64(1 << 63), np.uint64(0), bits)
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return bits ^ (bits >> np.uint64(31))


def counted(counts: Mapping[str, int]) -> Counted:
    """The sample of labels whose counts are all known."""
    numbers = np.fromiter(counts.values(), np.int64, len(counts))
    return merge_counted((label_hashes(list(counts)), numbers))


def merge_counted(*parts: Counted) -> Counted:
    """The sample of all parts together."""
    every, numbers = (np.concatenate(side) for side in zip(*parts))
    hashes, places = np.unique(every, return_inverse=True)
    added = np.bincount(places, weights=numbers, minlength=len(hashes))
    return hashes[:KEPT], added[:KEPT].astype(np.int64)
