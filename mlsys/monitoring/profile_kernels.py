"""The loops over rows, compiled: a histogram with moments, and a sketch of distinct values.

Each takes a block of a column and adds it to arrays that the caller keeps; nothing is allocated per
row. Numba compiles them once and keeps the result beside this file (`cache=True`).
"""

import numpy as np
from numba import njit

# Where each number lies in the state that `add_numbers` adds to.
COUNT, MISSING, PLUS, MINUS, SUM, SQUARES, LOW, HIGH, BELOW, BELOW_SUM, ABOVE, ABOVE_SUM = range(12)
KEPT = 1024  # the smallest hashes that are kept of a column

_LARGEST = np.int64(0x7FFFFFFFFFFFFFFF)
_INFINITY = np.int64(0x7FF0000000000000)
_MINUS_ZERO = np.uint64(1 << 63)
_PART = 2048  # values that one loop after the other reads: 16 KiB, so the first cache holds them
_STRETCH = 64


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
def _sums(x, centre):
    """Sum and sum of squares about `centre`: finite values only."""
    total, squares = 0.0, 0.0
    for i in range(x.size):
        away = x[i] - centre
        total += away
        squares += away * away
    return total, squares


@njit(cache=True, nogil=True)
def _ends(bits):
    """The smallest and the largest as ordered integers (see `_ordered`).

    Integers, since compilers reduce those on vector registers, and a NaN has a place among them:
    beyond the infinities.
    """
    low, high = _LARGEST, -_LARGEST
    for i in range(bits.size):
        place = _ordered(bits[i])
        low = place if place < low else low
        high = place if place > high else high
    return low, high


@njit(cache=True, nogil=True)
def _ordered(bits):
    """A double's bits, read as int64, so that they sort as the doubles do; its own inverse."""
    return bits ^ ((bits >> np.int64(63)) & _LARGEST)


@njit(cache=True, nogil=True)
def _mix(bits):
    """splitmix64's finaliser: G. Steele, D. Lea, C. Flood, OOPSLA 2014."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@njit(cache=True, nogil=True)
def _sorted(hashes):
    """The hashes in order. They are uniform, so a bucket by leading bits holds one or two."""
    largest = np.uint64(0)
    for i in range(hashes.size):
        largest = max(largest, hashes[i])
    shift = np.uint64(0)
    while (largest >> shift) >= np.uint64(2 * KEPT):
        shift += np.uint64(1)
    ends = np.zeros(2 * KEPT + 1, np.int64)
    for i in range(hashes.size):
        ends[np.int64(hashes[i] >> shift) + 1] += 1
    for i in range(2 * KEPT):
        ends[i + 1] += ends[i]
    ordered = np.empty_like(hashes)
    for i in range(hashes.size):
        bucket = np.int64(hashes[i] >> shift)
        ordered[ends[bucket]] = hashes[i]
        ends[bucket] += 1
    for i in range(1, ordered.size):
        one, place = ordered[i], i
        while place > 0 and ordered[place - 1] > one:
            ordered[place] = ordered[place - 1]
            place -= 1
        ordered[place] = one
    return ordered


@njit(cache=True, nogil=True)
def shrink(hashes, marks):
    """Sort what is kept, drop repeats, keep the `KEPT` smallest."""
    ordered = _sorted(hashes[: np.int64(marks[0])])
    kept = 0
    for i in range(ordered.size):
        if kept < KEPT and (i == 0 or ordered[i] != ordered[i - 1]):
            hashes[kept] = ordered[i]
            kept += 1
    marks[0] = kept
    if kept == KEPT:
        marks[1] = hashes[kept - 1]


@njit(cache=True, nogil=True)
def _hash(bits):
    """The hash of a 64-bit pattern; minus zero is zero."""
    bits = np.uint64(0) if bits == _MINUS_ZERO else bits
    return _mix(bits + np.uint64(0x9E3779B97F4A7C15))


@njit(cache=True, nogil=True)
def _hash_all(values, bound, mixed):
    """Put the hashes into `mixed`; whether one lies under the bound.

    No branch in the loop: it runs on vector registers.
    """
    found = 0
    for i in range(values.size):
        mixed[i] = _hash(values[i])
        found += mixed[i] < bound
    return found > 0


@njit(cache=True, nogil=True)
def add_hashes(values, hashes, marks, seen):
    """Add 64-bit patterns to the sketch of the smallest hashes.

    Once 1,024 are kept, hardly any value matters (1,024 ln n of n): a stretch without one is left
    after its hashes were made.
    """
    bound, used = marks[1], np.int64(marks[0])
    mask = np.uint64(seen.size - 1)
    mixed = np.empty(_STRETCH, np.uint64)
    for start in range(0, values.size, _STRETCH):
        stretch = values[start : start + _STRETCH]
        if not _hash_all(stretch, bound, mixed):
            continue
        for i in range(stretch.size):
            one = mixed[i]
            if one < bound:
                slot = one & mask
                if seen[slot] != one:
                    seen[slot] = one
                    hashes[used] = one
                    used += 1
                    if used == hashes.size:
                        marks[0] = used
                        shrink(hashes, marks)
                        bound, used = marks[1], np.int64(marks[0])
    marks[0] = used


@njit(cache=True, nogil=True)
def _places(x, scale, first, size, places):
    """The bin of each finite value, counted from 1; 0 below the grid, size + 1 above it."""
    end = np.float64(size)
    for i in range(x.size):
        # Clipped as floating point: far values would not fit an integer. Vectorised, too.
        place = np.floor(x[i] * scale) - first
        place = place if place > -1.0 else -1.0
        place = place if place < end else end
        places[i] = np.int32(place) + np.int32(1)


@njit(cache=True, nogil=True)
def _sum_where(x, places, wanted):
    total = 0.0
    for i in range(x.size):
        if places[i] == wanted:
            total += x[i]
    return total


@njit(cache=True, nogil=True)
def add_numbers(x, scale, first, centre, bins, state, hashes, marks, seen):
    """Add the float64 values `x` to the histogram `bins` (int64), to `state` and to the sketch.

    `scale` is one over the width of a bin, `first` the index of the first bin. Part by part, each
    small enough for the first cache, in loops that do one thing: those run on vector registers,
    and only the counting itself goes value by value.
    """
    size = bins.size
    # Two tables by turns: equal neighbours do not wait for each other's store.
    even, odd = np.zeros(size + 2, np.uint32), np.zeros(size + 2, np.uint32)
    finite = np.empty(_PART)
    places = np.empty(_PART, np.int32)
    for start in range(0, x.size, _PART):
        part = x[start : start + _PART]
        least, most = _ends(part.view(np.int64))
        if most >= _INFINITY or least <= -_INFINITY - 1:
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
            if not kept:
                continue
            least, most = _ends(part.view(np.int64))
        # Plus zero: minus zero is zero.
        low = np.int64(_ordered(least)).view(np.float64) + 0.0
        high = np.int64(_ordered(most)).view(np.float64) + 0.0
        total, squares = _sums(part, centre)
        add_hashes(part.view(np.uint64), hashes, marks, seen)
        state[COUNT] += part.size
        state[SUM] += total
        state[SQUARES] += squares
        state[LOW] = min(state[LOW], low)
        state[HIGH] = max(state[HIGH], high)
        _places(part, scale, first, size, places)
        for i in range(0, part.size - 1, 2):
            even[np.uint32(places[i])] += np.uint32(1)
            odd[np.uint32(places[i + 1])] += np.uint32(1)
        if part.size & 1:
            even[np.uint32(places[part.size - 1])] += np.uint32(1)
        if low * scale < first:
            state[BELOW_SUM] += _sum_where(part, places[: part.size], 0)
        if high * scale >= first + size:
            state[ABOVE_SUM] += _sum_where(part, places[: part.size], size + 1)
    state[BELOW] += even[0] + odd[0]
    state[ABOVE] += even[size + 1] + odd[size + 1]
    for i in range(size):
        bins[i] += even[i + 1] + odd[i + 1]


@njit(cache=True, nogil=True)
def count_codes(codes, counts):
    """Count category codes (any integer type) into `counts`; -1, missing, goes to the last."""
    for code in codes:
        counts[code] += 1
