"""Verdicts: which columns drifted, said so that one can act on it.

A column has drifted when three things hold: the move is over a floor that matters (`Rules`), it is
not chance (after Benjamini and Hochberg's procedure over all columns, J. R. Stat. Soc. B 57, 1995),
and it lasted (raised in k of the last n windows). On clean data a report is wrong with probability
at most `alpha` then, at any number of rows and columns; the floors keep large samples quiet about
what does not matter. The statistics come from `drift`; how a report reads is in `verdict_report`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mlsys.monitoring.distances import ks_by_chance
from mlsys.monitoring.drift import Move, measure_tables
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.profiles import Profile
from mlsys.monitoring.sources import Kind
from mlsys.monitoring.verdict_report import Report, Verdict


@dataclass(frozen=True, slots=True)
class Rules:
    """When a move counts.

    `alpha`: the share of reports on clean data that may raise anything. Floors, in shares of rows:
    `number`, a KS distance, or how many rows would have to change their category; `category`, a
    change of one category's share, or rows whose value the reference has not; `missing`, a change
    of the share without a value. `spread` is a Wasserstein distance in standard deviations of the
    reference, for few rows that moved far. `k` of the last `n` windows must raise.
    """

    alpha: float = 0.01
    number: float = 0.02
    category: float = 0.01
    spread: float = 0.1
    missing: float = 0.01
    k: int = 1
    n: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise MonitoringError(f"alpha must lie between 0 and 1, not be {self.alpha}.")
        if not 1 <= self.k <= self.n:
            raise MonitoringError(f"k of n windows needs 1 <= k <= n, not {self.k} of {self.n}.")
        floors = (self.number, self.category, self.spread, self.missing)
        if min(floors) < 0 or not all(map(math.isfinite, floors)):
            raise MonitoringError("A floor must be a number that is not negative.")


@dataclass(frozen=True, slots=True)
class _Raised:
    """What one window says of one column."""

    move: Move
    effect: float
    adjusted_p: float
    raised: bool


def judge(
    reference: Any,
    windows: Any | Sequence[Any],
    *,
    rules: Rules | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Report:
    """The verdicts on the newest of `windows`, against `reference`.

    `windows` is one table or a list of them, the oldest first; a table is rows or a `Profile` (see
    `drift.measure_tables`). Without `rules`, one window decides. Raises MonitoringError when there
    is no window, or nothing to compare; a single column that cannot be judged is named in the
    report's `unread`.
    """
    rules = rules or Rules()
    tables = list(windows) if isinstance(windows, (list, tuple)) else [windows]
    if not tables:
        raise MonitoringError("There is no window to judge: give at least one table.")
    seen: list[dict[str, _Raised]] = []
    unread: dict[str, str] = {}
    for table in tables[-rules.n :]:
        moves, unread = measure_tables(reference, table, kinds=kinds)
        seen.append(_judge_window(moves, rules))
    if not seen[-1]:
        why = next(iter(unread.values()), "the reference has no columns.")
        raise MonitoringError(f"No column can be judged: {why}")
    verdicts = []
    for name, last in seen[-1].items():
        history = tuple(window[name].raised for window in seen if name in window)
        verdicts.append(
            Verdict(name, sum(history) >= rules.k, last.move, last.effect, last.adjusted_p, history)
        )
    verdicts.sort(key=lambda one: (not one.drifted, -one.effect, one.column))
    rows = max(v.move.m for v in verdicts)
    if isinstance(tables[-1], Profile):
        rows = tables[-1].rows
    elif isinstance(tables[-1], pd.DataFrame):  # of texts a part is compared
        rows = len(tables[-1])
    return Report(tuple(verdicts), unread, rows, rules.alpha, rules.k, rules.n)


def _judge_window(moves: Sequence[Move], rules: Rules) -> dict[str, _Raised]:
    """Effects over their floors, and p-values adjusted over all tests of the window."""
    tests: list[tuple[str, float, float]] = []  # column, p-value, effect in floors
    for move in moves:
        if not math.isnan(move.distance):
            tests.append((move.name, move.p_value, _effect(move, rules)))
        if any(move.missing):
            change = abs(move.missing[1] - move.missing[0])
            tests.append((move.name, move.missing_p, _over(change, rules.missing)))
    adjusted = stats.false_discovery_control([p for _, p, _ in tests]) if tests else []
    made = {move.name: _Raised(move, 0.0, 1.0, False) for move in moves}
    for (name, _, effect), p_value in zip(tests, adjusted):
        raised = bool(effect >= 1 and p_value <= rules.alpha)
        before = made[name]
        if (raised, effect) > (before.raised, before.effect) or before.adjusted_p == 1.0:
            made[name] = _Raised(before.move, effect, float(p_value), raised or before.raised)
    return made


def _effect(move: Move, rules: Rules) -> float:
    """The move in multiples of its floor, the largest of those that it has; what chance gives on
    average is taken off first, except of the share of one category."""
    unseen = _over(max(move.unseen - move.unseen_by_chance, 0.0), rules.category)
    if move.kind == "category":
        moved = max(move.moved - move.moved_by_chance, 0.0)
        return max(_over(move.distance, rules.category), _over(moved, rules.number), unseen)
    far = move.wasserstein / move.spread if move.spread > 0 else 0.0
    far = far if math.isfinite(far) else 0.0
    near = max(move.distance - ks_by_chance(move.n, move.m), 0.0)
    return max(_over(near, rules.number), _over(far, rules.spread), unseen)


def _over(value: float, floor: float) -> float:
    # A hair of slack: 0.02 computed as a difference of shares may be 0.0199999.
    return float(np.inf) if floor == 0 else value / floor * (1 + 1e-12)
