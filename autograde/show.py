"""How the instructor's commands look on a terminal: tables, a progress bar with names, and text in
which no student's name or message can move the cursor.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from autograde.parallel import Watch
from autograde.results import CellResult, StudentResult
from autograde.sandbox import Row


def printable(text: str) -> str:
    """A folder's name may hold terminal codes; show none of them."""
    return "".join(char if char.isprintable() else "?" for char in text)


def lateness(seconds: float) -> str:
    """Lateness as a person says it, such as "40 s" or "2 d 3 h"; nothing if there is none."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s" if rest else ""
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if n]
    return " ".join(parts[:2])


def score(row: StudentResult) -> str:
    return f"{row.score:g} / {row.max_score:g}"


def table(title: str) -> Table:
    return Table(title=text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


def text(content: str) -> Text:
    return Text(printable(content))


def class_table(assignment: str, rows: Sequence[StudentResult]) -> Table:
    """A row for each student."""
    made = table(assignment)
    made.add_column("student", overflow="fold", min_width=8)
    for heading in ("score", "late", "tests\nfailed", "by\nhand", "seconds"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("note", overflow="fold")
    for row in rows:
        figures = ("none", "", "", "", "")
        if row.graded:
            figures = (
                score(row),
                lateness(row.late_seconds),
                f"{len(row.failed)} of {row.tests}",
                f"{len(row.by_hand)}" if row.by_hand else "",
                "" if row.seconds is None else f"{row.seconds:.1f}",
            )
        made.add_row(text(row.student), *figures, text(row.note))
    return made


def cell_table(title: str, cells: Sequence[CellResult]) -> Table:
    """A row for each graded cell, with its named checks below it."""
    made = table(title)
    made.add_column("cell", no_wrap=True)
    made.add_column("points", justify="right", no_wrap=True)
    made.add_column("what happened", overflow="fold")
    made.add_column("seconds", justify="right", no_wrap=True)
    for cell in cells:
        what = cell.what + (f" ({cell.limit})" if cell.limit else "")
        what += " (ran unprotected)" if cell.unprotected else ""
        took = "" if cell.seconds is None else f"{cell.seconds:.2f}"
        made.add_row(text(cell.cell), f"{cell.score:g} / {cell.max_score:g}", text(what), took)
        for name, points, passed in cell.checks:
            earned = points if passed else 0
            made.add_row(
                text(f"  {name}"), f"{earned:g} / {points:g}", "passed" if passed else "failed"
            )
    return made


def doctor_table(rows: Sequence[Row]) -> Table:
    """A row for each layer of the sandbox."""
    made = table("Protection on this machine")
    for heading in ("layer", "works", "what it does", "without it"):
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(row.layer, "yes" if row.works else "no", row.detail, row.without)
    return made


@contextmanager
def progress(assignment: str, errors: Console) -> Iterator[Watch]:
    """A line for each student who is done and, on a terminal, a bar below with who is being graded
    and the time left."""
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
        auto_refresh=False,
    ) as bar:
        running: list[str] = []
        task = bar.add_task(assignment, total=None)
        pages = bar.add_task("feedback", total=None, visible=False)

        def describe() -> None:
            bar.update(task, description=", ".join(map(printable, running[-4:])) or assignment)
            bar.refresh()

        def started(student: str) -> None:
            running.append(student)
            describe()

        def finished(row: StudentResult) -> None:
            bar.console.print(_line(row), markup=False, highlight=False)
            if row.student in running:
                running.remove(row.student)
                bar.advance(task)
            describe()

        def all_pages(count: int) -> None:
            bar.update(pages, total=count, visible=count > 0)
            bar.refresh()

        def page(student: str) -> None:
            bar.advance(pages)
            bar.refresh()

        def began(count: int) -> None:
            bar.update(task, total=count)
            bar.refresh()

        def told(sentence: str) -> None:
            bar.console.print(printable(sentence), markup=False, highlight=False)

        yield Watch(began, started, finished, all_pages, page, told)


def _line(row: StudentResult) -> str:
    if not row.graded:
        return f"{printable(row.student)}: not graded"
    took = "unchanged" if row.seconds is None else f"{row.seconds:.1f} s"
    aside = ", put aside" if row.quarantined else ""
    return f"{printable(row.student)}: {score(row)}, {took}{aside}"
