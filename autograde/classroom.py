"""An nbgrader course as an instructor's commands need it: find it, check what was handed in, and
run nbgrader's own steps. Grading a class is `autograde.parallel`'s task, reading the grades back
`autograde.results`'s.
"""

import csv
import glob
import logging
import os
import re
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import nbformat
from nbgrader.api import MissingEntry
from nbgrader.apps import NbGrader, NbGraderAPI
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log, parse_utc, temp_attrs
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, SAWarning
from traitlets.config import Config

import autograde
from autograde import sandbox
from autograde.execute import ProtectedExecute
from autograde.export import CsvExport
from autograde.intake import students
from autograde.intake.reading import kind_of
from autograde.protect.analysis import Finding, lint
from autograde.writer import make_database

_CAUSE = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception): (?P<why>.+)$")
_said: set[str] = set()


class CourseError(Exception):
    """Something the instructor can mend; the message says what, in one sentence."""


class GradeApp(NbGrader):
    """nbgrader's configuration for one folder, without a second one from where we stand."""

    name = "grade"
    load_cwd_config = False
    raise_config_file_errors = True


@contextmanager
def open_course(root: Path, *, trust: bool = False) -> Iterator[NbGraderAPI]:
    """nbgrader's API on the course in `root`, quiet, and able to make its database. Protection is
    switched on if the course's configuration does not; `trust` lets submissions run although this
    machine's sandbox lacks a layer that matters. What a broken gradebook raises within becomes a
    CourseError.
    """
    root = root.expanduser().resolve()
    if not root.is_dir():
        raise CourseError(f"There is no folder {root}; name a course with --course.")
    if not (root / "nbgrader_config.py").is_file() and not (root / "source").is_dir():
        raise CourseError(
            f"{root} is not an nbgrader course: it has neither nbgrader_config.py nor source/."
        )
    before = os.environ.get("PATH", "")
    # nbgrader calls `alembic` by name to make its database; it is beside our own Python.
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), before])
    try:
        app = GradeApp()
        for handler in app.log.handlers:
            handler.addFilter(_is_new)
        _read_configuration(app, root)
        app.config.CourseDirectory.root = str(root)
        if db_url := app.config.CourseDirectory.get("db_url"):
            app.config.CourseDirectory.db_url = _anchored(db_url, root)
        if not autograde.is_configured(app.config):
            autograde.configure(app.config)
        if trust:
            app.config.ProtectedExecute.trust_submissions = True
        course = CourseDirectory(parent=app, config=app.config)
        with warnings.catch_warnings():
            # nbgrader's own way with its sessions; nothing that an instructor could mend.
            warnings.simplefilter("ignore", SAWarning)
            api = NbGraderAPI(course, parent=app, config=app.config)
            for handler in app.log.handlers:
                handler.setLevel(logging.CRITICAL)
            yield api
    except DBAPIError as error:
        where = make_url(course.db_url).render_as_string()  # without a password
        raise CourseError(f"The gradebook {where} cannot be used: {error.orig}.") from error
    finally:
        os.environ["PATH"] = before


def _is_new(record: logging.LogRecord) -> bool:
    """A course is opened more than once; what is wrong with its configuration is said once."""
    is_new = record.getMessage() not in _said
    _said.add(record.getMessage())
    return is_new


def _anchored(db_url: str, root: Path) -> str:
    """A database whose file is named from the course's folder, wherever we stand."""
    url = make_url(db_url)
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        url = url.set(database=str(root / url.database))
    return url.render_as_string(hide_password=False)


def _read_configuration(app: GradeApp, root: Path) -> None:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        app.initialize([], root=str(root))
    except (Exception, SystemExit) as error:  # the file is Python: it can fail in any way
        # traitlets turns a wrong setting into an exit.
        cause = error.__context__ if isinstance(error, SystemExit) else error
        why = f"{type(cause).__name__}: {cause}" if cause else "it calls exit()"
        raise CourseError(
            f"{root / 'nbgrader_config.py'} cannot be read: {_first_line(why)}."
        ) from error
    finally:
        logging.disable(before)


def _first_line(text: object) -> str:
    return str(text).partition("\n")[0].rstrip(".")


def step_folder(api: NbGraderAPI, step: str, student: str = ".", assignment: str = ".") -> Path:
    """Where a step of nbgrader ("submitted", say, as configured) keeps a student's assignment."""
    return Path(api.coursedir.format_path(step, student, assignment))


def assignments(api: NbGraderAPI) -> list[str]:
    """The assignments that have a notebook in the source folder."""
    source = step_folder(api, api.coursedir.source_directory)
    return sorted({path.parent.name for path in source.glob("*/*.ipynb")})


def notebooks(api: NbGraderAPI, assignment: str) -> list[str]:
    """The names, without suffix, of an assignment's notebooks."""
    source = step_folder(api, api.coursedir.source_directory, ".", assignment)
    return sorted(path.stem for path in source.glob("*.ipynb"))


def require_assignment(api: NbGraderAPI, assignment: str) -> None:
    known = assignments(api)
    if assignment not in known:
        names = ", ".join(known) if known else "none yet: put one in source/NAME/NAME.ipynb"
        raise CourseError(f"There is no assignment {assignment!r} in this course; it has {names}.")


def require_protection(api: NbGraderAPI) -> None:
    """Refuse to run work that nobody vouches for where the sandbox does not hold it."""
    step = ProtectedExecute(config=api.config)
    rows = sandbox.doctor()
    if not step.trust_submissions and not sandbox.is_enough(rows):
        raise CourseError(
            f"This machine's sandbox lacks {sandbox.missing(rows)}; `doctor` says what "
            "that leaves open, and --trust-submissions grades work that you trust all the same."
        )


def lint_tests(api: NbGraderAPI, assignment: str) -> list[tuple[str, Finding]]:
    """What is weak in an assignment's tests, each with the name of its notebook."""
    source = step_folder(api, api.coursedir.source_directory, ".", assignment)
    found = []
    for name in notebooks(api, assignment):
        notebook = nbformat.read(source / f"{name}.ipynb", as_version=4)
        found += [(name, finding) for finding in lint(notebook)]
    return found


def is_released(api: NbGraderAPI, assignment: str) -> bool:
    """Whether the student version exists and the gradebook knows the assignment."""
    release = step_folder(api, api.coursedir.release_directory, ".", assignment)
    if any(not (release / f"{name}.ipynb").is_file() for name in notebooks(api, assignment)):
        return False
    make_database(api.coursedir.db_url)
    with api.gradebook as book:
        try:
            found = {notebook.name for notebook in book.find_assignment(assignment).notebooks}
        except MissingEntry:
            return False
    return found == set(notebooks(api, assignment))


def is_outdated(api: NbGraderAPI, assignment: str) -> bool:
    """Whether a source notebook was changed after its student version was made."""
    source = step_folder(api, api.coursedir.source_directory, ".", assignment)
    release = step_folder(api, api.coursedir.release_directory, ".", assignment)
    return any(
        _modified(source / f"{name}.ipynb") > _modified(release / f"{name}.ipynb")
        for name in notebooks(api, assignment)
    )


def _modified(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else 0.0


def generate(api: NbGraderAPI, assignment: str, *, due: datetime | None = None) -> Path:
    """Make the student version and enter the assignment in the gradebook; return its folder.

    A rehearsal elsewhere comes first, so that a mistake in the source leaves both as they were.
    """
    for name in notebooks(api, assignment):
        path = step_folder(api, api.coursedir.source_directory, ".", assignment) / f"{name}.ipynb"
        try:
            nbformat.read(path, as_version=4)
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise CourseError(f"{path} is not a notebook: {_first_line(error)}.") from error
    with (
        tempfile.TemporaryDirectory() as scratch,
        temp_attrs(
            api.coursedir, assignment_id=assignment, release_directory=str(Path(scratch).resolve())
        ),
    ):
        rehearsal = GenerateAssignment(coursedir=api.coursedir, parent=api)
        rehearsal.update_config(Config({"SaveCells": {"enabled": False}}))
        rehearsal.no_database = True
        _require_success(capture_log(rehearsal), f"{assignment} cannot be generated")
    make_database(api.coursedir.db_url)
    with api.gradebook:  # one that is damaged says so here, and not in nbgrader's log
        pass
    _require_success(api.generate_assignment(assignment), f"{assignment} cannot be generated")
    if due is not None:
        with api.gradebook as book:
            book.update_or_create_assignment(assignment, duedate=due)
    return step_folder(api, api.coursedir.release_directory, ".", assignment)


def parse_due(text: str) -> datetime:
    """A deadline as a person writes it, in UTC unless it names a zone."""
    try:
        return parse_utc(text)
    except (ValueError, OverflowError):
        raise CourseError(
            f"{text!r} is not a date; write for example '2026-10-01 23:59 UTC'."
        ) from None


def submitted(api: NbGraderAPI, assignment: str) -> list[str]:
    """Students who handed something in, in alphabetical order."""
    return sorted(students(api.coursedir, assignment))


def require_submissions(api: NbGraderAPI, assignment: str, students: list[str]) -> list[str]:
    """Those of `students` to grade, or everybody if none is named."""
    there = submitted(api, assignment)
    folder = step_folder(api, api.coursedir.submitted_directory, "STUDENT", assignment)
    if not there:
        raise CourseError(
            f"Nobody has handed in {assignment} yet: {folder} is where a submission goes."
        )
    for student in students:
        if student not in there:
            raise CourseError(f"There is no submission of {assignment} by {student!r}.")
    return list(dict.fromkeys(students)) or there


def make_feedback(
    api: NbGraderAPI, assignment: str, student: str, *, into: Path | None = None
) -> Path:
    """Write the student's feedback page anew, with the grades of this moment; returns its folder,
    which stands below `into` instead of the course's own feedback folder if that is given.
    """
    if glob.escape(student) != student:
        raise CourseError(
            f"The feedback for {student} cannot be made: nbgrader takes the name for a pattern; "
            "rename the folder."
        )
    chosen = str(into) if into else api.coursedir.feedback_directory
    with temp_attrs(api.coursedir, feedback_directory=chosen):
        result = api.generate_feedback(assignment, student)
        _require_success(result, f"the feedback for {student} cannot be made")
        return step_folder(api, api.coursedir.feedback_directory, student, assignment)


def export(api: NbGraderAPI, to: Path, *, assignment: str | None = None) -> int:
    """Write all grades, or one assignment's, as CSV with nbgrader's columns; replaces `to` in one
    step. Returns how many rows it has.
    """
    if to.exists() and not to.is_file():  # as root, a device would be replaced by a file
        raise CourseError(f"{to} is {kind_of(to.stat().st_mode)}; name a file to write.")
    partial = to.with_name(to.name + ".partial")
    plugin = CsvExport(parent=api)
    plugin.to = str(partial)
    plugin.assignment = [assignment] if assignment else []
    try:
        with api.gradebook as book:
            plugin.export(book)
        with partial.open(newline="", encoding="utf-8") as lines:
            rows = sum(1 for _ in csv.DictReader(lines))
        partial.replace(to)
    except OSError as error:
        raise CourseError(f"{to} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return rows


def has_feedback(api: NbGraderAPI, assignment: str, student: str) -> bool:
    folder = step_folder(api, api.coursedir.feedback_directory, student, assignment)
    return any(folder.glob("*.html"))


def _require_success(result: dict, what: str) -> None:
    if result["success"]:
        return
    # nbgrader's capture_log swallows Ctrl-C with everything else.
    if result["error"].rstrip().endswith("KeyboardInterrupt"):
        raise KeyboardInterrupt
    lines = (result.get("log", "") + "\n" + result["error"]).splitlines()
    causes = [match["why"] for line in lines if (match := _CAUSE.match(line.strip()))]
    raise CourseError(f"{what}: {causes[0] if causes else lines[-1]}".rstrip(".") + ".")
