"""The instructor's commands: `mlsys grade …`, and the same for any other nbgrader course. They say
what happens to whom, and end with a table; `autograde.classroom` does the work. nbgrader is
imported only once a command runs, because that takes seconds and help should not.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from nbgrader.apps import NbGraderAPI

    from autograde.results import StudentResult

app = typer.Typer(
    no_args_is_help=True,
    help="Grade an nbgrader course: release, autograde, explain, feedback, export.",
)

CourseOption = Annotated[
    Path | None,
    typer.Option(
        "--course",
        help="The course's folder. Default: this folder if it is a course, else the workbook's.",
        show_default=False,
    ),
]
AssignmentArgument = Annotated[str, typer.Argument(help="The folder's name under source/.")]
StudentOption = Annotated[
    list[str] | None,
    typer.Option("--student", help="Only this student; may be given more than once."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def run(
    assignment: AssignmentArgument,
    student: StudentOption = None,
    course: CourseOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Grade again what has not changed since.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Autograde what was handed in, make each student's feedback, and show the class."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from autograde import classroom

    with _course(course) as api:
        classroom.require_assignment(api, assignment)
        students = classroom.require_submissions(api, assignment, student or [])
        errors = _errors()
        if not classroom.is_released(api, assignment):
            classroom.generate(api, assignment)
            errors.print(f"{assignment}: student version made", markup=False, highlight=False)
        elif classroom.is_outdated(api, assignment):
            errors.print(
                f"{assignment}: the source is newer than the student version that is being "
                f"graded; `generate {assignment}` brings both together.",
                markup=False,
                highlight=False,
            )
        rows = []
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
        ) as progress:
            task = progress.add_task(assignment, total=len(students))
            for name in students:
                progress.update(task, description=_printable(name))
                row = _grade_one(api, assignment, name, force=force)
                rows.append(row)
                progress.console.print(_progress_line(row), markup=False, highlight=False)
                progress.advance(task)
    if as_json:
        typer.echo(_as_json({"assignment": assignment, "students": rows}))
    else:
        _show_class(assignment, rows)
    refused = [row.student for row in rows if not row.graded]
    if refused:
        _fail(f"Not graded: {', '.join(map(_printable, refused))}; the table says why.")


@app.command()
def generate(
    assignment: AssignmentArgument,
    due: Annotated[
        str | None,
        typer.Option("--due", help="The deadline, such as '2026-10-01 23:59 UTC'."),
    ] = None,
    course: CourseOption = None,
) -> None:
    """Make the student version: no solutions, no hidden tests."""
    from autograde import classroom

    with _course(course) as api:
        classroom.require_assignment(api, assignment)
        deadline = classroom.parse_due(due) if due is not None else None
        typer.echo(f"{classroom.generate(api, assignment, due=deadline)}")


@app.command()
def feedback(
    assignment: AssignmentArgument, student: StudentOption = None, course: CourseOption = None
) -> None:
    """Make the feedback pages again, after points were given by hand."""
    from autograde import classroom, results

    with _course(course) as api:
        classroom.require_assignment(api, assignment)
        names = classroom.require_submissions(api, assignment, student or [])
        if not student:
            names = results.graded_students(api, assignment)
        for name in names:
            results.student_result(api, assignment, name)
            typer.echo(f"{classroom.make_feedback(api, assignment, name)}")


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", help="The file to write.")] = Path("grades.csv"),
    assignment: Annotated[
        str | None, typer.Option("--assignment", help="Only this assignment.")
    ] = None,
    course: CourseOption = None,
) -> None:
    """Write the grades as a CSV file, a row for each student and assignment."""
    from autograde import classroom

    with _course(course) as api:
        if assignment is not None:
            classroom.require_assignment(api, assignment)
        typer.echo(f"{classroom.export(api, to.resolve(), assignment=assignment)}")


@app.command()
def explain(
    student: Annotated[str, typer.Argument(help="As the folder under submitted/ is named.")],
    assignment: AssignmentArgument,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show each graded cell of one submission: its points, and what happened."""
    from autograde import classroom, results

    with _course(course) as api:
        classroom.require_assignment(api, assignment)
        row = results.student_result(api, assignment, student)
        cells = results.cell_results(api, assignment, student)
    if as_json:
        typer.echo(_as_json({"assignment": assignment, "student": row, "cells": cells}))
        return
    table = _table(f"{student}, {assignment}")
    table.add_column("cell", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("what happened", overflow="fold")
    for cell in cells:
        table.add_row(_text(cell.cell), f"{cell.score:g} / {cell.max_score:g}", _text(cell.what))
    _output().print(table)
    late = _lateness(row.late_seconds)
    typer.echo(f"{_score(row)}, {late + ' late' if late else 'in time'}")


@contextmanager
def _course(given: Path | None) -> Iterator["NbGraderAPI"]:
    """The course opened; what an instructor can mend becomes one sentence and exit code 2."""
    from autograde import classroom

    try:
        with classroom.open_course(given or _default_course()) as api:
            yield api
    except classroom.CourseError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("Stopped. What is graded stays graded; run the same command to continue.")


def _default_course() -> Path:
    workbook = Path(__file__).parent / "course"
    here = Path.cwd()
    return here if (here / "nbgrader_config.py").is_file() or not workbook.is_dir() else workbook


def _grade_one(
    api: "NbGraderAPI", assignment: str, student: str, *, force: bool
) -> "StudentResult":
    from autograde import classroom, results

    try:
        done = classroom.grade(api, assignment, student, force=force)
    except classroom.CourseError as error:
        return results.StudentResult(student, graded=False, note=str(error))
    return results.add_run(
        results.student_result(api, assignment, student),
        seconds=done.seconds,
        unchanged=done.unchanged,
        note=done.note,
    )


def _show_class(assignment: str, rows: list["StudentResult"]) -> None:
    table = _table(assignment)
    table.add_column("student", overflow="fold", min_width=8)
    for heading in ("score", "late", "tests\nfailed", "by\nhand", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("note", overflow="fold")
    for row in rows:
        if row.graded:
            figures = (
                _score(row),
                _lateness(row.late_seconds),
                f"{len(row.failed)} of {row.tests}",
                f"{len(row.by_hand)}" if row.by_hand else "",
                "" if row.seconds is None else f"{row.seconds:.1f}",
            )
        else:
            figures = ("none", "", "", "", "")
        table.add_row(_text(row.student), *figures, _text(row.note))
    _output().print(table)


def _progress_line(row: "StudentResult") -> str:
    if not row.graded:
        return f"{_printable(row.student)}: not graded"
    took = "unchanged" if row.seconds is None else f"{row.seconds:.1f} s"
    return f"{_printable(row.student)}: {_score(row)}, {took}"


def _score(row: "StudentResult") -> str:
    return f"{row.score:g} / {row.max_score:g}"


def _lateness(seconds: float) -> str:
    """Lateness as a person says it, such as "40 s" or "2 d 3 h"; nothing if there is none."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s" if rest else ""
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if n]
    return " ".join(parts[:2])


def _as_json(value: object) -> str:
    import dataclasses

    return json.dumps(value, default=dataclasses.asdict, indent=2)


def _printable(text: str) -> str:
    """A folder's name may hold terminal codes; show none of them."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _table(title: str):
    from rich import box
    from rich.table import Table

    return Table(
        title=_text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )


def _text(text: str):
    from rich.text import Text

    return Text(_printable(text))


def _output():
    from rich.console import Console

    return Console()


def _errors():
    from rich.console import Console

    return Console(stderr=True)


def _fail(sentence: str) -> NoReturn:
    typer.echo(_printable(sentence), err=True)
    raise typer.Exit(2)
