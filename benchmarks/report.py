"""How a benchmark ends: a table for a person, then one line of JSON for a machine.

Only ratios travel between machines, so a figure is a ratio wherever it has a goal, unless the
goal itself is a time. A figure that could not be measured here says so and fails nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    `value` is None when it could not be measured; the note says why. `goal` is what it must be at
    least, or at most when `at_most`; None for a number that is only shown.
    """

    name: str
    value: float | None
    goal: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; None without a goal or a value."""
        if self.value is None or self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def report(benchmark: str, figures: Sequence[Figure]) -> int:
    """Print the figures and, last, one JSON object; return 1 when a goal is missed, else 0."""
    width = max(len(figure.name) for figure in figures)
    words = {True: "ok", False: "FALLS SHORT", None: ""}
    for figure in figures:
        value = "absent" if figure.value is None else f"{figure.value:,.4g}"
        goal = "" if figure.goal is None else f"{'<=' if figure.at_most else '>='} {figure.goal:g}"
        row = (
            f"{figure.name:{width}}  {value:>9}  {goal:>8}  {words[figure.holds]:11}  {figure.note}"
        )
        print(row.rstrip())
    passed = all(figure.holds is not False for figure in figures)
    shown = {
        figure.name: {
            "value": figure.value,
            "goal": figure.goal,
            "at_most": figure.at_most,
            "holds": figure.holds,
            "note": figure.note,
        }
        for figure in figures
    }
    print(json.dumps({"benchmark": benchmark, "passed": passed, "figures": shown}))
    return 0 if passed else 1
