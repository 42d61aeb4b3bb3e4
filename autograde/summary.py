"""A class in a few figures: scores, the tests that fail most, time, what was contained, mended or
put aside; and the sentences that say so."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from autograde.results import StudentResult


@dataclass(frozen=True)
class Summary:
    """Figures of one run. Scores are after late penalties, in points; times in seconds.
    `failed_tests` gives for each test how many students lost points in it, most first.
    """

    students: int
    run: int
    unchanged: int
    not_graded: tuple[str, ...]
    mean: float
    median: float
    lowest: float
    highest: float
    max_score: float
    failed_tests: tuple[tuple[str, int], ...]
    seconds: float
    longest: tuple[str, float] | None
    contained: tuple[str, ...]
    repaired: tuple[str, ...]
    put_aside: tuple[str, ...]
    waiting: tuple[str, ...]


def summarise(rows: Sequence[StudentResult], *, seconds: float) -> Summary:
    """The figures of a class; `seconds` is what the whole run took."""
    graded = [row for row in rows if row.graded]
    scores = [row.score for row in graded] or [0.0]
    failed = Counter(test for row in graded for test in row.failed)
    timed = [(row.student, row.seconds) for row in graded if row.seconds is not None]
    return Summary(
        students=len(rows),
        run=len(timed),
        unchanged=len(graded) - len(timed),
        not_graded=tuple(row.student for row in rows if not row.graded),
        mean=fmean(scores),
        median=median(scores),
        lowest=min(scores),
        highest=max(scores),
        max_score=max((row.max_score for row in graded), default=0.0),
        failed_tests=tuple(failed.most_common()),
        seconds=seconds,
        longest=max(timed, key=lambda pair: pair[1], default=None),
        contained=tuple(row.student for row in graded if row.limits),
        repaired=tuple(row.student for row in graded if row.repairs),
        put_aside=tuple(row.student for row in graded if row.quarantined),
        waiting=tuple(row.student for row in graded if row.by_hand),
    )


def sentences(summary: Summary, *, most: int = 5) -> list[str]:
    """The same for a person to read; at most `most` names in a list."""
    lines = [f"{summary.run} graded in {summary.seconds:.1f} s, {summary.unchanged} unchanged."]
    if summary.longest:
        lines[0] += f" Longest: {summary.longest[0]}, {summary.longest[1]:.1f} s."
    if summary.students > len(summary.not_graded):
        lines.append(
            f"Of {summary.max_score:g} points: mean {summary.mean:.1f}, median "
            f"{summary.median:g}, from {summary.lowest:g} to {summary.highest:g}."
        )
    if summary.failed_tests:
        worst = [f"{name} ({count})" for name, count in summary.failed_tests[:most]]
        lines.append(f"Tests that most lost points in: {', '.join(worst)}.")
    for what, names in (
        ("Stopped at a limit", summary.contained),
        ("Mended before grading", summary.repaired),
        ("Put aside", summary.put_aside),
        ("Waiting for a person", summary.waiting),
    ):
        if names:
            rest = f" and {len(names) - most} more" if len(names) > most else ""
            lines.append(f"{what}: {', '.join(names[:most])}{rest}.")
    return lines
