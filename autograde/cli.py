"""The instructor's commands: `mlsys grade …`, and the same for any other nbgrader course. They say
what happens to whom, and end with a table; `autograde.classroom` does the work. nbgrader is
imported only once a command runs, because that takes seconds and help should not.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from nbgrader.apps import NbGraderAPI


class _InOneSentence(TyperGroup):
    """Commands whose disk is full, or whose files cannot be read, say so in one sentence."""

    def invoke(self, ctx: typer.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # nobody reads any more, which is no fault of the course's
            raise
        except OSError as error:
            what = f"{error.filename} cannot be used" if error.filename else "It could not be done"
            _fail(f"{what}: {error.strerror or error}.")


app = typer.Typer(
    cls=_InOneSentence,
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
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@app.command()
def run(
    assignment: AssignmentArgument,
    student: StudentOption = None,
    course: CourseOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Grade again what has not changed since.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Submissions at a time. Default: one a core."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and grade what arrives, until Ctrl-C.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option("--wait", min=0, help="Seconds to wait for somebody else who grades."),
    ] = 0,
    trust_submissions: Annotated[
        bool,
        typer.Option("--trust-submissions", help="Grade although the sandbox has gaps."),
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="ADDRESS", help="Grade on this Dask cluster's workers."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON for a program to read; with --watch a line for each round.",
        ),
    ] = False,
) -> None:
    """Autograde what was handed in, make each student's feedback, and show the class."""
    from autograde import early

    course = course or _default_course()
    if cluster is None:
        early.start(course, assignment)  # on another core, while this one imports what follows
    with _assignment(course, assignment) as api:
        from autograde import classroom, parallel, show, summary

        errors = _errors()
        released = classroom.is_released(api, assignment)
        if released and classroom.is_outdated(api, assignment):
            _say(
                f"{assignment}: the source is newer than the student version that is being "
                f"graded; `generate {assignment}` brings both together."
            )
        root = Path(api.coursedir.root)
    options = {"jobs": jobs, "force": force, "trust": trust_submissions, "patience": wait}
    options["cluster"] = cluster
    with _one_sentence():
        if watch:
            with show.progress(assignment, errors) as told:
                for rows, seconds in parallel.watch_class(
                    root, assignment, student, watch=told, **options
                ):
                    if as_json:
                        figures = summary.summarise(rows, seconds=seconds)
                        typer.echo(_as_json(_class(assignment, rows, figures), indent=None))
        start = perf_counter()
        with show.progress(assignment, errors) as told:
            rows = parallel.grade_class(root, assignment, student, watch=told, **options)
        figures = summary.summarise(rows, seconds=perf_counter() - start)
        if as_json:
            typer.echo(_as_json(_class(assignment, rows, figures)))
        else:
            _output().print(show.class_table(assignment, rows))
            for sentence in summary.sentences(figures):
                typer.echo(show.printable(sentence))
        if figures.not_graded:
            names = ", ".join(map(show.printable, figures.not_graded))
            _fail(f"Not graded: {names}; the notes say why.")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say which layers of protection this machine has, and what is open without the others."""
    from autograde import early, sandbox

    with early.lean():
        from autograde import show
    rows = sandbox.doctor()
    enough = sandbox.is_enough(rows)
    if as_json:
        typer.echo(_as_json({"enough": enough, "layers": rows}))
    else:
        _output().print(show.doctor_table(rows))
        typer.echo(
            "Enough to run work that nobody vouches for."
            if enough
            else "Not enough for work that nobody vouches for: --trust-submissions grades it "
            "all the same."
        )
    if not enough:
        raise typer.Exit(1)


@app.command()
def collect(
    bundle: Annotated[Path, typer.Argument(help="A zip that a learning platform made.")],
    assignment: AssignmentArgument,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put what a learning platform collected where grading looks for it."""
    with _assignment(course, assignment) as api:
        from autograde import intake, show

        try:
            rows = intake.collect(bundle.expanduser(), api.coursedir, assignment)
        except intake.BundleError as error:
            _fail(str(error))
    if as_json:
        typer.echo(_as_json({"assignment": assignment, "collected": rows}))
        return
    for row in rows:
        told = "; ".join(note.rstrip(".") for note in (row.problem, *row.notes) if note)
        typer.echo(show.printable(f"{row.student}: {told or ', '.join(row.files)}"))


@app.command()
def generate(
    assignment: AssignmentArgument,
    due: Annotated[
        str | None,
        typer.Option("--due", help="The deadline, such as '2026-10-01 23:59 UTC'."),
    ] = None,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the student version: no solutions, no hidden tests."""
    with _assignment(course, assignment) as api:
        from autograde import changed, classroom, lock

        deadline = classroom.parse_due(due) if due is not None else None
        with lock.only_one(Path(api.coursedir.root)), changed.listening() as said:
            made = classroom.generate(api, assignment, due=deadline)
        findings = classroom.lint_tests(api, assignment)
    if as_json:
        found = [{"notebook": name, **asdict(finding)} for name, finding in findings]
        about = {"assignment": assignment, "release": str(made), "changes": said}
        typer.echo(_as_json({**about, "findings": found}))
        return
    for sentence in said:
        _say(sentence)
    for _, finding in findings:
        _say(f"warning: {finding}")
    typer.echo(f"{made}")


@app.command()
def feedback(
    assignment: AssignmentArgument,
    student: StudentOption = None,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the feedback pages again, after points were given by hand."""
    made = []
    with _assignment(course, assignment) as api:
        from autograde import classroom, results

        names = classroom.require_submissions(api, assignment, student or [])
        if not student:
            names = results.graded_students(api, assignment)
        for name in names:
            results.student_result(api, assignment, name)
            folder = classroom.make_feedback(api, assignment, name)
            made.append({"student": name, "pages": sorted(map(str, folder.glob("*.html")))})
            if not as_json:
                typer.echo(f"{folder}")
    if as_json:
        typer.echo(_as_json({"assignment": assignment, "students": made}))


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", help="The file to write.")] = Path("grades.csv"),
    assignment: Annotated[
        str | None, typer.Option("--assignment", help="Only this assignment.")
    ] = None,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the grades as a CSV file, a row for each student and assignment."""
    opened = _course(course) if assignment is None else _assignment(course, assignment)
    to = to.expanduser().resolve()
    with opened as api:
        from autograde import classroom

        rows = classroom.export(api, to, assignment=assignment)
    typer.echo(_as_json({"file": str(to), "rows": rows}) if as_json else f"{to}")


@app.command()
def explain(
    student: Annotated[str, typer.Argument(help="As the folder under submitted/ is named.")],
    assignment: AssignmentArgument,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show each graded cell of one submission: its points, and what happened."""
    with _assignment(course, assignment) as api:
        from autograde import ledger, results, show

        row = results.student_result(api, assignment, student)
        entry = ledger.read(Path(api.coursedir.root), assignment, student)
        row = results.add_run(row, entry, unchanged=False)
        cells = results.cell_results(api, assignment, student)
    if as_json:
        typer.echo(_as_json({"assignment": assignment, "student": row, "cells": cells}))
        return
    _output().print(show.cell_table(f"{student}, {assignment}", cells))
    for sentence in filter(None, (row.quarantined, *row.repairs, *row.limits)):
        typer.echo(show.printable(sentence))
    late = show.lateness(row.late_seconds)
    typer.echo(f"{show.score(row)}, {late + ' late' if late else 'in time'}")


@contextmanager
def _assignment(given: Path | None, assignment: str) -> Iterator["NbGraderAPI"]:
    """The course opened, which has this assignment."""
    with _course(given) as api:
        from autograde import classroom

        classroom.require_assignment(api, assignment)
        yield api


@contextmanager
def _course(given: Path | None) -> Iterator["NbGraderAPI"]:
    """The course opened; what an instructor can mend becomes one sentence and exit code 2."""
    with _one_sentence():
        from autograde import classroom

        with classroom.open_course(given or _default_course()) as api:
            yield api


@contextmanager
def _one_sentence() -> Iterator[None]:
    from autograde import early

    try:
        with early.lean():
            from autograde import classroom, lock, parallel, workers  # noqa: F401
        try:
            yield
        except (classroom.CourseError, lock.Busy, workers.WorkerError) as error:
            _fail(str(error))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would cut the end short
        _fail("Stopped. What is graded stays graded; run the same command to continue.")


def _default_course() -> Path:
    workbook = Path(__file__).parent / "course"
    here = Path.cwd()
    return here if (here / "nbgrader_config.py").is_file() or not workbook.is_dir() else workbook


def _class(assignment: str, rows: object, figures: object) -> dict[str, object]:
    return {"assignment": assignment, "students": rows, "summary": figures}


def _as_json(value: object, *, indent: int | None = 2) -> str:
    return json.dumps(value, default=asdict, indent=indent)


def _say(sentence: str) -> None:
    from autograde import show

    _errors().print(show.printable(sentence), markup=False, highlight=False, soft_wrap=True)


def _output():
    from rich.console import Console

    return Console()


def _errors():
    from rich.console import Console

    return Console(stderr=True)


def _fail(sentence: str) -> NoReturn:
    typer.echo("".join(c if c.isprintable() else "?" for c in sentence), err=True)
    raise typer.Exit(2)
