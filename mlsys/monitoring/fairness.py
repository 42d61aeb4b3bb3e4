"""Gaps between groups of people, each with the interval that says whether it may be chance.

For each group: how often it is selected, how often rightly, how often wrongly; the gap is the group
against all others. Which gap matters is a question of the use and not of statistics: Kleinberg,
Mullainathan and Raghavan (ITCS 2017) show that they cannot all be zero at once.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.intervals import Interval, difference, wilson

METRICS = {
    "selection": "share predicted 1 (demographic parity)",
    "recall": "share of true 1 predicted 1 (equal opportunity; Hardt et al., NeurIPS 2016)",
    "false_alarm": "share of true 0 predicted 1 (with recall: equalised odds)",
    "precision": "share of predicted 1 that is true (predictive parity)",
    "accuracy": "share of right predictions",
}


@dataclass(frozen=True)
class Gap:
    """One metric of one group against everybody else; `gap` is group minus others."""

    group: str
    metric: str
    group_value: Interval
    others: Interval
    gap: Interval
    matters: bool


def _counts(
    metric: str, truth: np.ndarray | None, said: np.ndarray, inside: np.ndarray
) -> tuple[int, int]:
    """Successes and trials of a metric among the rows inside."""
    said = said[inside] == 1
    if metric == "selection":
        return int(said.sum()), len(said)
    truth = truth[inside] == 1
    success, trials = {
        "recall": (said & truth, truth),
        "false_alarm": (said & ~truth, ~truth),
        "precision": (said & truth, said),
        "accuracy": (said == truth, np.ones(len(said), bool)),
    }[metric]
    return int(success.sum()), int(trials.sum())


def gaps(
    predicted,
    group,
    truth=None,
    *,
    floor: float = 0.05,
    confidence: float = 0.95,
    minimum: int = 30,
) -> list[Gap]:
    """Every metric of every group against the others, those that matter first, then the widest.

    Without `truth` only the selection rate can be known. A gap **matters** when its whole interval
    lies beyond `floor`; intervals share the error of 1 − `confidence` over all groups and metrics
    (Bonferroni), so that twenty groups do not make one false finding. Groups of fewer than
    `minimum` rows are left out.
    """
    said, group = np.asarray(predicted), np.asarray(pd.Series(group).astype(str))
    known = None if truth is None else np.asarray(truth)
    if len(said) != len(group) or (known is not None and len(known) != len(said)):
        raise MonitoringError("Predictions, groups and labels must have the same number of rows.")
    for what, values in (("Predictions", said), ("Labels", known)):
        if values is not None and not np.isin(values, (0, 1)).all():
            raise MonitoringError(f"{what} must be 0 or 1 to compare groups.")
    names, counts = np.unique(group, return_counts=True)
    names = names[counts >= minimum]
    if len(names) < 2:
        raise MonitoringError(
            f"Comparing needs two groups of {minimum} rows or more; there are {len(names)}."
        )
    metrics = ["selection"] if known is None else list(METRICS)
    each = 1 - (1 - confidence) / (len(names) * len(metrics))
    found = []
    for name in names:
        inside = group == name
        for metric in metrics:
            one = wilson(*_counts(metric, known, said, inside), confidence=each)
            rest = wilson(*_counts(metric, known, said, ~inside), confidence=each)
            gap = difference(one, rest)
            matters = bool(gap.low > floor or gap.high < -floor)
            found.append(Gap(str(name), metric, one, rest, gap, matters))
    return sorted(found, key=lambda g: (not g.matters, -abs(np.nan_to_num(g.gap.value))))


def table(found: list[Gap]) -> pd.DataFrame:
    """Columns: group, metric, value, others, gap, low, high, n, matters."""
    rows = [
        (g.group, g.metric, g.group_value.value, g.others.value, g.gap.value, g.gap.low,
         g.gap.high, g.group_value.n, g.matters)
        for g in found
    ]  # fmt: skip
    names = ["group", "metric", "value", "others", "gap", "low", "high", "n", "matters"]
    return pd.DataFrame(rows, columns=names)


def four_fifths(predicted, group) -> pd.Series:
    """Each group's selection rate as a share of the highest one.

    Under 0.8 the US Uniform Guidelines on Employee Selection Procedures (29 CFR 1607.4 D) see
    evidence of adverse impact; a ratio of small numbers needs `gaps` beside it.
    """
    rates = pd.Series(np.asarray(predicted) == 1).groupby(np.asarray(group)).mean()
    highest = rates.max()
    return rates / highest if highest > 0 else rates * np.nan
