"""The one walk through two sorted columns that gives Kolmogorov–Smirnov and Wasserstein at once."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def walk(a, b):
    """(KS distance, where it is reached, Wasserstein distance) of two sorted arrays, not empty.

    Between two neighbouring values of either array both distribution functions are flat, so the
    walk adds |F - G| times the gap, and looks for the largest |F - G| where the gap is not zero.
    """
    n, m = a.size, b.size
    i = j = 0
    per_a, per_b = 1.0 / n, 1.0 / m
    before = min(a[0], b[0])
    apart = largest = area = 0.0
    where = before
    while i < n and j < m:
        left, right = a[i], b[j]
        from_a = left <= right
        value = left if from_a else right
        gap = value - before
        area += apart * gap
        if gap > 0 and apart > largest:
            largest, where = apart, before
        before = value
        i += from_a
        j += not from_a
        apart = abs(i * per_a - j * per_b)
    while i < n:
        gap = a[i] - before
        area += apart * gap
        if gap > 0 and apart > largest:
            largest, where = apart, before
        before = a[i]
        i += 1
        apart = abs(i * per_a - 1.0)
    while j < m:
        gap = b[j] - before
        area += apart * gap
        if gap > 0 and apart > largest:
            largest, where = apart, before
        before = b[j]
        j += 1
        apart = abs(1.0 - j * per_b)
    return largest, where, area


@njit(cache=True, nogil=True)
def bin_walk(cdf_a, cdf_b, width):
    """(largest |F - G| at the ends of bins, its index, the area between the two in the bins).

    `cdf_a` and `cdf_b` hold a grid's ends: one value more than there are bins. Between two ends
    both functions are taken as straight lines.
    """
    largest, where, area, last = 0.0, 0, 0.0, 0.0
    for i in range(cdf_a.size):
        apart = cdf_a[i] - cdf_b[i]
        if abs(apart) > largest:
            largest, where = abs(apart), i
        if i:
            if apart * last >= 0:
                area += abs(apart + last) / 2
            else:  # the lines cross inside the bin
                area += (apart * apart + last * last) / (2 * abs(apart - last))
        last = apart
    return largest, where, area * width


@njit(cache=True, nogil=True)
def mean_and_std(values):
    """Mean and standard deviation (n in the denominator) without a second array."""
    total = 0.0
    for value in values:
        total += value
    mean = total / values.size
    squares = 0.0
    for value in values:
        squares += (value - mean) * (value - mean)
    return mean, np.sqrt(squares / values.size)
