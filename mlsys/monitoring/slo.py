"""Error budgets and burn-rate alerts: how bad is it, in units of what was promised.

A service-level objective of 99.9 % allows a thousandth of the events to be bad: the error budget.
The burn rate is how many times faster than allowed it is being spent; a rate of 1 ends the budget
exactly with the period. Source: The Site Reliability Workbook (O'Reilly 2018), chapter 5, "Alerting
on SLOs", sections 5 and 6 and table 5-8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlsys.monitoring.errors import MonitoringError


@dataclass(frozen=True)
class Objective:
    """A promise: the share of good events, over a period of days."""

    target: float
    days: float = 30

    def __post_init__(self) -> None:
        if not 0 < self.target < 1 or self.days <= 0:
            raise MonitoringError(
                f"An objective is a share between 0 and 1 over some days: "
                f"{self.target:g} over {self.days:g} is none."
            )

    @property
    def budget(self) -> float:
        """Share of events that may be bad."""
        return 1 - self.target

    def burn_rate(self, bad: float, total: float) -> float:
        """(bad / total) / budget: 1 spends the budget exactly in the period; 0 without events."""
        return bad / total / self.budget if total else 0.0

    def spent(self, bad: float, total: float) -> float:
        """Share of the period's budget that `bad` of `total` events has used; over 1 it is gone."""
        return self.burn_rate(bad, total)


@dataclass(frozen=True)
class BurnRule:
    """Alert when the burn rate exceeds `rate` over both windows (hours).

    The long window makes sure that it matters, the short one that it still goes on.
    """

    severity: str
    long_hours: float
    short_hours: float
    rate: float

    def budget_used(self, objective: Objective) -> float:
        """Share of the period's budget that is gone when the long window is full at this rate."""
        return self.rate * self.long_hours / (24 * objective.days)


# Table 5-8, for 30 days: 2 % of the budget in 1 hour, 5 % in 6 hours, 10 % in 3 days.
WORKBOOK_RULES = (
    BurnRule("page", 1, 5 / 60, 14.4),
    BurnRule("page", 6, 0.5, 6),
    BurnRule("ticket", 72, 6, 1),
)


def burn(
    events: pd.DataFrame, objective: Objective, rules: Sequence[BurnRule] = WORKBOOK_RULES
) -> pd.DataFrame:
    """Burn rates and alerts along time.

    `events` has columns at (times at an even step), bad and total (counts since the step before).
    Returns at, spent (share of the budget used in the last `objective.days`), severity ("" when
    quiet) and, for each rule, long_<i> and short_<i>: the burn rates over its windows.
    """
    lacking = {"at", "bad", "total"} - set(events)
    if lacking:
        raise MonitoringError(f"The events lack the column {sorted(lacking)[0]!r}.")
    if len(events) and (
        not events["at"].is_monotonic_increasing or (events["bad"] > events["total"]).any()
    ):
        raise MonitoringError("Events must be in the order of time, and bad no more than total.")
    counts = events.set_index("at")[["bad", "total"]]
    found = pd.DataFrame({"at": events["at"].to_numpy()})
    period = counts.rolling(pd.Timedelta(days=objective.days)).sum()
    # Measured against the traffic of a whole period at the pace so far.
    step = counts.index.to_series().diff().median()
    steps = pd.Timedelta(days=objective.days) / step if len(counts) > 1 else 1
    pace = counts["total"].expanding().mean() * steps
    found["spent"] = (period["bad"] / (pace * objective.budget)).fillna(0).to_numpy()
    elapsed = (found["at"] - found["at"].min() + step) if len(counts) > 1 else None
    severity = np.full(len(found), "", dtype=object)
    order = {"": 0, "info": 1, "ticket": 2, "page": 3}
    for i, rule in enumerate(rules):
        over = np.ones(len(found), bool)
        for name, hours in (("long", rule.long_hours), ("short", rule.short_hours)):
            sums = counts.rolling(pd.Timedelta(hours=hours)).sum()
            # A window that is not full yet has spent no more than its part of the budget.
            window = pd.Timedelta(hours=hours)
            full = 1 if elapsed is None else np.minimum(elapsed / window, 1).to_numpy()
            rate = (sums["bad"] / sums["total"] / objective.budget).fillna(0).to_numpy() * full
            found[f"{name}_{i}"] = rate
            over &= rate > rule.rate
        worse = over & np.array([order[rule.severity] > order[one] for one in severity], bool)
        severity[worse] = rule.severity
    found["severity"] = severity
    return found
