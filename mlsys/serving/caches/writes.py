"""How old is what the cache says? Ways to keep it and the database together, on one workload.

Time is simulated, so that a day of races takes a second; each way is what a service would do. A
read that misses asks the database, which answers with what it has half-way through, and fills the
cache when the answer is there. A write changes the database at once and the cache a moment later.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlsys.serving.caches.rules import CacheError, zipf

# what a write does to the cache, and whether the cache refuses a fill older than what it has
WAYS = {
    "TTL alone": ("nothing", False),
    "delete on write": ("delete", False),
    "write-through": ("put", False),
    "write-through, versions": ("put", True),
}


@dataclass(frozen=True)
class Kept:
    """One way on one workload; shares are of all reads."""

    way: str
    ttl: float  # s
    hit_ratio: float
    stale: float  # share of reads that were answered with an old value
    oldest: float  # s since the value of the worst read was replaced
    database_reads: float  # a second


def compare(
    ways: Sequence[str] = tuple(WAYS),
    *,
    ttl: float = 10.0,
    keys: int = 500,
    reads: float = 500.0,
    writes: float = 25.0,
    seconds: float = 60.0,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each way, as in `Kept`. Rates are a second; both follow Zipf's law over the keys.
    Raises CacheError."""
    rows = [asdict(run(way, ttl, keys, reads, writes, seconds, seed=seed)) for way in ways]
    return pd.DataFrame(rows).set_index("way")


def by_ttl(lives: Sequence[float], **how: Any) -> dict[float, pd.DataFrame]:
    """`compare` for each of these TTLs (s)."""
    return {ttl: compare(ttl=ttl, **how) for ttl in lives}


def run(
    way: str,
    ttl: float,
    keys: int,
    reads: float,
    writes: float,
    seconds: float,
    *,
    query: float = 0.050,
    delay: float = 0.002,
    seed: int = 0,
) -> Kept:
    """One way. query: s that the database takes for a read. delay: s from the commit of a write to
    its effect on the cache."""
    if way not in WAYS:
        raise CacheError(f"There is no way {way!r}; take one of {', '.join(WAYS)}.")
    if not (ttl > 0 and seconds > 0 and 0 < (reads + writes) * seconds <= 2_000_000):
        raise CacheError("Take a TTL and a length above 0 s, and at most 2,000,000 requests.")
    on_write, versions = WAYS[way]
    draws = np.random.default_rng(seed)
    asked = [(when, "read", key) for when, key in _requests(draws, reads, seconds, keys)]
    told = [(when, "write", key) for when, key in _requests(draws, writes, seconds, keys)]
    changed: list[list[float]] = [[0.0] for _ in range(keys)]  # when each version was written
    cache: dict[int, tuple[int, float]] = {}  # key: version, end
    later: list[tuple[float, str, int, int]] = []  # what is on its way: when, what, key, version
    hits = stale = queries = 0
    oldest = 0.0

    def happen(until: float) -> None:
        while later and later[0][0] <= until:
            now, what, key, version = heapq.heappop(later)
            if what == "look":
                heapq.heappush(later, (now + query / 2, "put", key, len(changed[key]) - 1))
            elif what == "delete":
                cache.pop(key, None)
            elif not versions or version >= cache.get(key, (-1, 0.0))[0]:
                cache[key] = (version, now + ttl)

    for now, kind, key in sorted(asked + told):
        happen(now)
        newest = len(changed[key]) - 1
        if kind == "write":
            changed[key].append(now)
            if on_write != "nothing":
                heapq.heappush(later, (now + delay, on_write, key, newest + 1))
            continue
        has, end = cache.get(key, (0, -1.0))
        if end <= now:
            queries += 1
            heapq.heappush(later, (now + query / 2, "look", key, 0))
            continue
        hits += 1
        if has < newest:
            stale += 1
            oldest = max(oldest, now - changed[key][has + 1])
    return Kept(way, ttl, hits / len(asked), stale / len(asked), oldest, queries / seconds)


def _requests(
    draws: np.random.Generator, rate: float, seconds: float, keys: int
) -> list[tuple[float, int]]:
    count = max(1, int(draws.poisson(rate * seconds)))
    times = np.sort(draws.uniform(0, seconds, count))
    asked = zipf(keys, count, skew=1.0, seed=int(draws.integers(2**31)))
    return list(zip(times.tolist(), asked.tolist(), strict=True))
