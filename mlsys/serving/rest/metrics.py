"""What a service's page /metrics says: its histograms as tables, and a percentile from the buckets.

A histogram counts the requests that took at most `le` seconds, for a few fixed `le` (here: upto).
Counts of two workers, machines or hours add up, which percentiles do not.
"""

from __future__ import annotations

import math

import pandas as pd
from prometheus_client.parser import text_string_to_metric_families


def histogram(text: str, name: str, **labels: str) -> pd.DataFrame:
    """Buckets of a histogram, all with these labels added up: upto (s), within (count), in_bucket.

    Raises ValueError when the page is not in Prometheus's format or has no such histogram.
    """
    counts: dict[float, float] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name != f"{name}_bucket":
                    continue
                if all(sample.labels.get(key) == value for key, value in labels.items()):
                    le = float(sample.labels["le"])
                    counts[le] = counts.get(le, 0) + sample.value
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"This is no page of metrics: {error}") from None
    if not counts:
        raise ValueError(f"There is no histogram {name!r} with {labels or 'any labels'} here.")
    table = pd.DataFrame({"upto": sorted(counts)})
    table["within"] = [int(counts[le]) for le in table["upto"]]
    table["in_bucket"] = table.within.diff().fillna(table.within).astype(int)
    return table


def percentile(table: pd.DataFrame, percent: float) -> float:
    """The percentile in s, by a straight line in its bucket, as Prometheus's histogram_quantile.

    The true one lies in the same bucket. Beyond the last finite bucket: that bucket's end.
    NaN when nothing was counted.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"A percentile lies between 0 and 100, not at {percent}.")
    total = int(table.within.iloc[-1])
    if not total:
        return math.nan
    rank = percent / 100 * total
    place = int((table.within >= rank).to_numpy().argmax())
    upper = float(table["upto"].iloc[place])
    lower = float(table["upto"].iloc[place - 1]) if place else 0.0
    if math.isinf(upper):
        return lower
    before = int(table.within.iloc[place - 1]) if place else 0
    inside = int(table.in_bucket.iloc[place])
    return lower + (upper - lower) * ((rank - before) / inside if inside else 1.0)


def total(text: str, name: str, **labels: str) -> float:
    """The sum of a counter's values with these labels; 0 when it has none yet."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and all(sample.labels.get(k) == v for k, v in labels.items())
    )
