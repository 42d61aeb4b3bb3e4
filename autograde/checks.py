"""Checks inside one test cell that score apart:

    from autograde.checks import check

    with check("empty input", points=2):
        assert mean([]) == 0

A check that fails costs its own points and the cell goes on. What the checks of a cell leave of its
points is lost only if something outside of them fails.
"""

import sys
from dataclasses import dataclass
from types import TracebackType


@dataclass(frozen=True)
class Verdict:
    """What became of one check."""

    name: str
    points: float
    passed: bool
    message: str = ""


verdicts: list[Verdict] = []
"""The verdicts of the cell that runs, in order; whoever runs cells empties it."""


collecting = False
"""Whether somebody counts the verdicts. Where nobody does (a student's notebook, a test that runs
unprotected) a check that fails is an error like any other: nothing passes for being named.
"""


class check:
    """A named part of a test cell, worth `points` of the cell's."""

    def __init__(self, name: str, *, points: float) -> None:
        if points < 0:
            raise ValueError(f"check {name!r}: points must not be negative, got {points}")
        self.name, self.points = str(name), float(points)

    def __enter__(self) -> "check":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None and not isinstance(error, Exception):
            return False
        message = "" if error is None else f"{type(error).__name__}: {error}".rstrip(": ")
        verdicts.append(Verdict(self.name, self.points, error is None, message))
        if error is not None:
            sys.stderr.write(f"{self.name} ({self.points:g} points): {message}\n")
        return collecting
