"""What a full cache should throw out: four rules, the optimum, and traces to try them on.

A rule is a function from a trace (integers, one a request) and a size (keys that fit) to the hits,
one bool a request. Staleness is in `caches.writes`, the stampede in `caches.stampede`.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

MOST_REQUESTS, MOST_KEYS = 2_000_000, 1_000_000
Rule = Callable[[Sequence[int] | np.ndarray, int], np.ndarray]


class CacheError(ValueError):
    """A trace or a size that cannot be; the message is one sentence."""


# --- something worth caching


def recommender(items: int, *, seed: int = 0) -> Callable[[int], list[int]]:
    """The best ten of so many items for a person, by the product of their vectors. Persons have
    the vector of the item of their number."""
    if not 100 <= items <= 5_000_000:
        raise CacheError(f"{items} items: take 100 to 5,000,000.")
    vectors = np.random.default_rng(seed).normal(size=(items, 32)).astype("float32")

    def recommend(person: int) -> list[int]:
        scores = vectors @ vectors[person % items]
        return np.argpartition(scores, -10)[-10:].tolist()

    return recommend


def fastest(call: Callable[[int], object], argument: int) -> float:
    """Shortest time of all calls in half a second, 15 at least, s: what one takes undisturbed."""
    times, end = [], time.perf_counter() + 0.5
    while len(times) < 15 or time.perf_counter() < end:
        start = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - start)
    return min(times)


def questions() -> list[tuple[Any, ...]]:
    """66 different questions to models, alike in what they say: (model, version, features)."""
    features = (
        {}, {"x": 1}, {"x": "1"}, {"x": None}, {"x": [1, 2]}, {"x": [2, 1]}, {"x": {"y": 1}},
        {"x.y": 1}, {"x": 1, "y": 2}, {"y": 1, "x": 2}, {"x": "1,y:2"},
    )  # fmt: skip
    return list(itertools.product(("p", "p1"), ("1", "11", 1), features))


# --- traces


def zipf(keys: int, requests: int, *, skew: float = 1.0, seed: int = 0) -> np.ndarray:
    """Independent requests; the key of rank k (from 0) comes with probability ~ 1/(k + 1)**skew."""
    if not (1 <= keys <= MOST_KEYS and 1 <= requests <= MOST_REQUESTS and 0 <= skew <= 5):
        raise CacheError(
            f"{requests} requests for {keys} keys with skew {skew}: take 1 to {MOST_REQUESTS:,}"
            f" requests, 1 to {MOST_KEYS:,} keys, a skew of 0 to 5."
        )
    return np.random.default_rng(seed).choice(keys, requests, p=zipf_shares(keys, skew))


def zipf_shares(keys: int, skew: float) -> np.ndarray:
    """Probability of each rank, the most popular first."""
    weights = 1.0 / np.arange(1, keys + 1) ** skew
    return weights / weights.sum()


def fashion(keys: int, requests: int, *, skew: float = 1.0, turns: int = 4, seed: int = 0):
    """Zipf, but at each turn other keys become the popular ones, as news and songs do."""
    trace = zipf(keys, requests, skew=skew, seed=seed)
    draws = np.random.default_rng(seed + 1)
    parts = np.array_split(trace, turns)
    return np.concatenate([draws.permutation(keys)[part] for part in parts])


def scans(keys: int, requests: int, *, skew: float = 1.0, share: float = 0.3, seed: int = 0):
    """Zipf, interrupted ten times by a batch job that reads other keys one after another, once."""
    trace = zipf(keys, requests, skew=skew, seed=seed)
    length = max(1, int(requests * share / 10))
    for number in range(10):
        start = int((number + 0.5) * requests / 10)
        first = keys + number * length
        stop = min(requests, start + length)
        trace[start:stop] = np.arange(first, first + stop - start)
    return trace


# --- rules


def lru(trace: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """Least recently used goes."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = []
    for key in _checked(trace, size):
        hit = key in cache
        hits.append(hit)
        if hit:
            cache.move_to_end(key)
            continue
        cache[key] = None
        if len(cache) > size:
            cache.popitem(last=False)
    return np.array(hits, dtype=bool)


def lfu(trace: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """Least frequently used since it came goes; among equals the one longest unused."""
    uses: dict[int, int] = {}
    by_uses: dict[int, OrderedDict[int, None]] = defaultdict(OrderedDict)
    fewest, hits = 1, []
    for key in _checked(trace, size):
        count = uses.get(key)
        hits.append(count is not None)
        if count is not None:
            del by_uses[count][key]
            if count == fewest and not by_uses[count]:
                fewest += 1
            uses[key] = count + 1
            by_uses[count + 1][key] = None
            continue
        if len(uses) >= size:
            victim, _ = by_uses[fewest].popitem(last=False)
            del uses[victim]
        uses[key] = fewest = 1
        by_uses[1][key] = None
    return np.array(hits, dtype=bool)


def tiny_lfu(trace: Sequence[int] | np.ndarray, size: int, *, window: float = 0.01) -> np.ndarray:
    """A small LRU window, then an LRU which a key enters only if it is asked for more often than
    the one that would have to go (G. Einziger, R. Friedman, B. Manes, "TinyLFU: A Highly Efficient
    Cache Admission Policy", ACM ToS 13(4), 2017, sections 3 and 4; without the segmented main).

    How often is estimated by a count-min sketch over all keys, halved every 10 x size requests.
    """
    keys = _checked(trace, size)
    sketch = _Sketch(max(keys, default=0) + 1, size)
    near: OrderedDict[int, None] = OrderedDict()
    main: OrderedDict[int, None] = OrderedDict()
    room = max(1, int(window * size))
    rest = size - room
    hits = []
    for key in keys:
        sketch.add(key)
        if key in main:
            main.move_to_end(key)
            hits.append(True)
            continue
        hit = key in near
        hits.append(hit)
        near[key] = None
        near.move_to_end(key)
        if len(near) <= room:
            continue
        candidate, _ = near.popitem(last=False)
        if len(main) < rest:
            main[candidate] = None
        elif rest:
            victim = next(iter(main))
            if sketch.count(candidate) > sketch.count(victim):
                del main[victim]
                main[candidate] = None
    return np.array(hits, dtype=bool)


class _Sketch:
    """Count-min: four counters a key, shared with others; the smallest is nearest the truth."""

    def __init__(self, keys: int, size: int) -> None:
        width = 1 << max(6, (8 * size - 1).bit_length())
        numbers = np.arange(keys, dtype=np.uint64)
        odd = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
        shift = np.uint64(64 - (width.bit_length() - 1))
        rows = [((numbers * np.uint64(one)) >> shift) + np.uint64(i * width)
                for i, one in enumerate(odd)]  # fmt: skip
        self.places = np.stack(rows, axis=1).astype(int).tolist()
        self.counters = [0] * (4 * width)
        self.added, self.period = 0, 10 * size

    def add(self, key: int) -> None:
        counters = self.counters
        for place in self.places[key]:
            counters[place] += 1
        self.added += 1
        if self.added >= self.period:  # old fame fades
            self.counters = [count >> 1 for count in counters]
            self.added = 0

    def count(self, key: int) -> int:
        a, b, c, d = self.places[key]
        counters = self.counters
        return min(counters[a], counters[b], counters[c], counters[d])


def belady(trace: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """The optimum, which knows the future: the key that is needed last goes, be it the new one
    (L. A. Belady, IBM Systems Journal 5(2), 1966)."""
    keys = _checked(trace, size)
    never = len(keys)
    following, seen = [never] * never, {}
    for place in range(never - 1, -1, -1):
        following[place] = seen.get(keys[place], never)
        seen[keys[place]] = place
    cache: dict[int, int] = {}
    last: list[tuple[int, int]] = []  # the latest next use on top; outdated entries are passed over
    hits = []
    for place, key in enumerate(keys):
        hits.append(key in cache)
        cache[key] = following[place]
        heapq.heappush(last, (-following[place], key))
        while len(cache) > size:
            use, victim = heapq.heappop(last)
            if cache.get(victim) == -use:
                del cache[victim]
    return np.array(hits, dtype=bool)


RULES: dict[str, Rule] = {"LRU": lru, "LFU": lfu, "TinyLFU": tiny_lfu, "optimum": belady}


def hit_ratios(
    trace: Sequence[int] | np.ndarray, sizes: Sequence[int], *, warm: float = 0.2
) -> pd.DataFrame:
    """Share of hits by size (rows) and rule (columns), after the share `warm` of the trace."""
    begun = int(warm * len(trace))
    rows = {
        size: {name: float(rule(trace, size)[begun:].mean()) for name, rule in RULES.items()}
        for size in sizes
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("size")


TRACES: dict[str, Callable[..., np.ndarray]] = {"steady": zipf, "fashion": fashion, "scans": scans}


def replay(
    trace: str, sizes: Sequence[int], *, skew: float = 1.0, requests: int = 20_000, seed: int = 0
) -> pd.DataFrame:
    """Hit ratios on a trace of TRACES over 10,000 keys."""
    if trace not in TRACES:
        raise CacheError(f"There is no trace {trace!r}; take one of {', '.join(TRACES)}.")
    return hit_ratios(TRACES[trace](10_000, requests, skew=skew, seed=seed), sizes)


def worlds(size: int, *, skew: float = 1.0, requests: int = 20_000, seed: int = 0) -> pd.DataFrame:
    """Hit ratios of each rule (rows) on each trace of TRACES (columns), for one size."""
    return pd.concat(
        {name: replay(name, [size], skew=skew, requests=requests, seed=seed).loc[size]
         for name in TRACES}, axis=1
    )  # fmt: skip


def _checked(trace: Sequence[int] | np.ndarray, size: int) -> list[int]:
    keys = np.asarray(trace)
    if size < 1:
        raise CacheError(f"A cache of {size} keys keeps nothing; take at least 1.")
    if keys.ndim != 1 or keys.size > MOST_REQUESTS:
        raise CacheError(f"A trace is a row of at most {MOST_REQUESTS:,} keys.")
    if keys.size and (keys.dtype.kind not in "iu" or keys.min() < 0 or keys.max() > 2 * MOST_KEYS):
        raise CacheError(f"Keys are whole numbers from 0 to {2 * MOST_KEYS:,}.")
    return keys.tolist()
