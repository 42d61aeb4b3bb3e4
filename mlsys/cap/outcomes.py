"""Operations as their clients saw them, failed and unanswered ones too.

`History.operations` gives what a checker needs: what took effect or may have. The measures also
ask what did not; that is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlsys.cap.history import History

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One operation as its client saw it; `end` is None when the run ended first."""

    process: int
    f: str
    key: str | None
    value: Any
    start: float
    end: float | None
    status: str  # "ok" | "fail" | "info" | "open"


def outcomes(history: History) -> list[Outcome]:
    """Every operation that was asked, failed ones too, in order of asking."""
    found: list[Outcome | None] = []
    open_at: dict[int, int] = {}
    for event in history.events:
        if event.type == "invoke":
            open_at[event.process] = len(found)
            found.append(
                Outcome(event.process, event.f, event.key, event.value, event.time, None, "open")
            )
        elif event.process in open_at:
            place = open_at.pop(event.process)
            start = found[place].start
            found[place] = Outcome(
                event.process, event.f, event.key, event.value, start, event.time, event.type
            )
    return found
