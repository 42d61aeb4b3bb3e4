"""What other rules would have told: the recorded windows of a watch, run through any set of rules.

`watch` judges with one set of rules while time passes. Afterwards one asks whether a stricter limit
would have been sooner, or what every single crossing would have cost in sleep; `numbers` gives its
windows as `alerts.windows_to_notices` takes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import pandas as pd

from mlsys.monitoring.alerts import Alerts, Notice, Rule, Silence, windows_to_notices
from mlsys.monitoring.watch import Watch

Numbers = tuple[datetime, list[tuple[str, float, Mapping[str, str]]]]


def numbers(seen: Watch, *, model: str = "spam") -> list[Numbers]:
    """Each window's end and its numbers (metric, value, labels).

    Metrics: "effect" for each column (in multiples of the floor that matters; 0 while chance could
    explain it), and the losses of accuracy, "estimated loss" and "known loss", each as far as it
    is sure: from the near end of its interval. The estimate is held against the reference's
    accuracy, what is known against the reference's by labels of the same ages.
    """
    found = []
    for row, report in zip(seen.windows.itertuples(), seen.reports):
        inside = [
            (
                "effect",
                one.effect if one.raised[-1] else 0.0,
                {"model": model, "column": one.column},
            )
            for one in report.verdicts
        ]
        labelled = row.usual - row.known_high if row.labelled else float("nan")
        inside.append(("estimated loss", seen.reference - row.estimate_high, {"model": model}))
        inside.append(("known loss", labelled, {"model": model}))
        found.append((row.at, inside))
    return found


def crossings(windows: Iterable[Numbers], rules: Sequence[Rule]) -> pd.DataFrame:
    """Every single number over a rule's limit: columns at and what (a column, or the metric)."""
    rows = [
        (at, labels.get("column", metric))
        for at, inside in windows
        for metric, value, labels in inside
        if any(rule.metric == metric and rule.broken(value) for rule in rules)
    ]
    return pd.DataFrame(rows, columns=["at", "what"])


def first_told(windows: Iterable[Numbers], rule: Rule) -> datetime | None:
    """When the rule alone would have spoken first, or None."""
    told = notices(windows, [rule])
    return told[0].at if told else None


def notices(windows: Iterable[Numbers], rules: Sequence[Rule], *silences: Silence) -> list[Notice]:
    """Everything that the rules would have told."""
    return windows_to_notices(Alerts(rules, silences), windows)


def loss_alarms(seen: Watch, *, limit: float) -> dict[str, datetime | None]:
    """When a loss of accuracy over `limit` was first sure on two of three days: by the estimate
    without labels ("estimate alarms") and by the labels known ("labels alarm"); None for never.
    """
    windows = numbers(seen)
    metrics = {"estimate alarms": "estimated loss", "labels alarm": "known loss"}
    return {n: first_told(windows, Rule(n, m, above=limit)) for n, m in metrics.items()}
