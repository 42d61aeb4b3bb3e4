"""The loops over rows, compiled: a histogram with moments, and a sketch of distinct values.

Each takes a block of a column and adds it to arrays that the caller keeps; nothing is allocated per
row. Numba compiles them once and keeps the result beside this file (`cache=True`).
"""

import numpy as np
from numba import njit

# Where each number lies in the state that `add_numbers` adds to.
COUNT, MISSING, PLUS, MINUS, SUM, SQUARES, LOW, HIGH, BELOW, BELOW_SUM, ABOVE, ABOVE_SUM = range(12)
KEPT = 1024  # the smallest hashes that are kept of a column

_EXPONENT = np.uint64(0x7FF0000000000000)
_MINUS_ZERO = np.uint64(1 << 63)
_PART = 2048


def new_state() -> np.ndarray:
    """The state of a column of which nothing has been seen."""
    state = np.zeros(12)
    state[LOW], state[HIGH] = np.inf, -np.inf
    return state


def new_sketch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hashes of which the first `marks[0]` are in use, marks, a cache of what was seen last).

    `marks[1]` is the smallest hash that need not be kept any more.
    """
    marks = np.array([0, np.iinfo(np.uint64).max], dtype=np.uint64)
    return np.zeros(2 * KEPT, np.uint64), marks, np.zeros(2 * KEPT, np.uint64)


@njit(cache=True, nogil=True, fastmath=True)
def _moments(x, centre):
    """Sum and sum of squares about `centre`, smallest, largest: finite values only."""
    total, squares, low, high = 0.0, 0.0, x[0], x[0]
    for i in range(x.size):
        value = x[i]
        away = value - centre
        total += away
        squares += away * away
        low = min(low, value)
        high = max(high, value)
    return total, squares, low, high


@njit(cache=True, nogil=True)
def _odd(bits):
    """How many are NaN or infinite, told by their exponent."""
    odd = 0
    for i in range(bits.size):
        odd += (bits[i] & _EXPONENT) == _EXPONENT
    return odd


@njit(cache=True, nogil=True)
def _mix(bits):
    """splitmix64's finaliser: G. Steele, D. Lea, C. Flood, OOPSLA 2014."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@njit(cache=True, nogil=True)
def shrink(hashes, marks):
    """Sort what is kept, drop repeats, keep the `KEPT` smallest."""
    used = np.int64(marks[0])
    ordered = np.sort(hashes[:used])
    kept = 0
    for i in range(used):
        if kept < KEPT and (i == 0 or ordered[i] != ordered[i - 1]):
            hashes[kept] = ordered[i]
            kept += 1
    marks[0] = kept
    if kept == KEPT:
        marks[1] = hashes[kept - 1]


@njit(cache=True, nogil=True)
def add_hashes(values, hashes, marks, seen):
    """Add 64-bit patterns to the sketch of the smallest hashes."""
    bound, used = marks[1], np.int64(marks[0])
    mask = np.uint64(seen.size - 1)
    for i in range(values.size):
        # Minus zero is zero.
        bits = np.uint64(0) if values[i] == _MINUS_ZERO else values[i]
        mixed = _mix(bits + np.uint64(0x9E3779B97F4A7C15))
        if mixed < bound:
            slot = mixed & mask
            if seen[slot] != mixed:
                seen[slot] = mixed
                hashes[used] = mixed
                used += 1
                if used == hashes.size:
                    marks[0] = used
                    shrink(hashes, marks)
                    bound, used = marks[1], np.int64(marks[0])
    marks[0] = used


@njit(cache=True, nogil=True)
def add_numbers(x, scale, first, centre, bins, state, hashes, marks, seen):
    """Add the float64 values `x` to the histogram `bins` (int64), to `state` and to the sketch.

    `scale` is one over the width of a bin, `first` the index of the first bin.
    """
    size = bins.size
    last = first + size
    counts = np.zeros((2, size), np.uint32)
    finite = np.empty(_PART)
    for start in range(0, x.size, _PART):
        part = x[start : start + _PART]
        if _odd(part.view(np.uint64)):
            kept = 0
            for value in part:
                if np.isfinite(value):
                    finite[kept] = value
                    kept += 1
                elif np.isnan(value):
                    state[MISSING] += 1
                elif value > 0:
                    state[PLUS] += 1
                else:
                    state[MINUS] += 1
            part = finite[:kept]
        if not part.size:
            continue
        total, squares, low, high = _moments(part, centre)
        add_hashes(part.view(np.uint64), hashes, marks, seen)
        state[COUNT] += part.size
        state[SUM] += total
        state[SQUARES] += squares
        state[LOW] = min(state[LOW], low)
        state[HIGH] = max(state[HIGH], high)
        for i in range(part.size):
            place = np.floor(part[i] * scale)
            if place < first:
                state[BELOW] += 1
                state[BELOW_SUM] += part[i]
            elif place >= last:
                state[ABOVE] += 1
                state[ABOVE_SUM] += part[i]
            else:
                counts[i & 1, np.int64(place - first)] += 1
    for i in range(size):
        bins[i] += counts[0, i] + counts[1, i]


@njit(cache=True, nogil=True)
def count_codes(codes, counts):
    """Count category codes (any integer type) into `counts`; -1, missing, goes to the last."""
    for code in codes:
        counts[code] += 1
