"""An nbgrader course as an instructor's commands need it: find it, check what was handed in, and
run nbgrader's own steps on one student at a time so that each can be named and none can stop the
class. Grading itself is nbgrader's, with whatever its configuration puts in; reading the grades
back is `autograde.results`'s task.
"""

import json
import logging
import os
import re
import sysconfig
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import perf_counter

from nbgrader.api import MissingEntry
from nbgrader.apps import NbGrader, NbGraderAPI
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins import CsvExportPlugin
from nbgrader.utils import capture_log, parse_utc, temp_attrs
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

_GLOB = set("*?[]{}")
_LARGEST = 50_000_000  # bytes of one notebook; a submission beyond it is a mistake or an attack
_CAUSE = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception): (?P<why>.+)$")


class CourseError(Exception):
    """Something the instructor can mend; the message says what, in one sentence."""


@dataclass(frozen=True)
class Graded:
    """What one call of `grade` did: seconds spent, and whether it ran at all."""

    student: str
    seconds: float
    unchanged: bool = False
    note: str = ""


class _CourseApp(NbGrader):
    """nbgrader's configuration for one folder, without a second one from where we stand."""

    name = "mlsys-grade"
    load_cwd_config = False
    raise_config_file_errors = True


@contextmanager
def open_course(root: Path) -> Iterator[NbGraderAPI]:
    """nbgrader's API on the course in `root`, quiet, and able to make its database."""
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
        app = _CourseApp()
        _read_configuration(app, root)
        app.config.CourseDirectory.root = str(root)
        course = CourseDirectory(parent=app, config=app.config)
        with warnings.catch_warnings():
            # nbgrader's own way with its sessions; nothing that an instructor could mend.
            warnings.simplefilter("ignore", SAWarning)
            api = NbGraderAPI(course, parent=app, config=app.config)
            for handler in app.log.handlers:
                handler.setLevel(logging.CRITICAL)
            yield api
    finally:
        os.environ["PATH"] = before


def _read_configuration(app: _CourseApp, root: Path) -> None:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        app.initialize([], root=str(root))
    except (Exception, SystemExit) as error:  # the file is Python: it can fail in any way
        # traitlets turns a wrong setting into an exit.
        cause = error.__context__ if isinstance(error, SystemExit) else error
        why = f"{type(cause).__name__}: {cause}" if cause else "it calls exit()"
        raise CourseError(
            f"{root / 'nbgrader_config.py'} cannot be read: {why.splitlines()[0].rstrip('.')}."
        ) from error
    finally:
        logging.disable(before)


def _step(api: NbGraderAPI, step: str, student: str = ".", assignment: str = ".") -> Path:
    return Path(api.coursedir.format_path(step, student, assignment))


def assignments(api: NbGraderAPI) -> list[str]:
    """The assignments that have a notebook in the source folder."""
    source = _step(api, api.coursedir.source_directory)
    return sorted({path.parent.name for path in source.glob("*/*.ipynb")})


def notebooks(api: NbGraderAPI, assignment: str) -> list[str]:
    """The names, without suffix, of an assignment's notebooks."""
    source = _step(api, api.coursedir.source_directory, ".", assignment)
    return sorted(path.stem for path in source.glob("*.ipynb"))


def require_assignment(api: NbGraderAPI, assignment: str) -> None:
    known = assignments(api)
    if assignment not in known:
        names = ", ".join(known) if known else "none yet: put one in source/NAME/NAME.ipynb"
        raise CourseError(f"There is no assignment {assignment!r} in this course; it has {names}.")


def is_released(api: NbGraderAPI, assignment: str) -> bool:
    """Whether the student version exists and the gradebook knows the assignment."""
    release = _step(api, api.coursedir.release_directory, ".", assignment)
    if any(not (release / f"{name}.ipynb").is_file() for name in notebooks(api, assignment)):
        return False
    with api.gradebook as book:
        try:
            found = {notebook.name for notebook in book.find_assignment(assignment).notebooks}
        except MissingEntry:
            return False
    return found == set(notebooks(api, assignment))


def is_outdated(api: NbGraderAPI, assignment: str) -> bool:
    """Whether a source notebook was changed after its student version was made."""
    source = _step(api, api.coursedir.source_directory, ".", assignment)
    release = _step(api, api.coursedir.release_directory, ".", assignment)
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
    _require_success(api.generate_assignment(assignment), f"{assignment} cannot be generated")
    if due is not None:
        with api.gradebook as book:
            book.update_or_create_assignment(assignment, duedate=due)
    return _step(api, api.coursedir.release_directory, ".", assignment)


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
    folder = _step(api, api.coursedir.submitted_directory)
    return sorted(path.parent.name for path in folder.glob(f"*/{assignment}") if path.is_dir())


def require_submissions(api: NbGraderAPI, assignment: str, students: list[str]) -> list[str]:
    """Those of `students` to grade, or everybody if none is named."""
    there = submitted(api, assignment)
    folder = _step(api, api.coursedir.submitted_directory, "STUDENT", assignment)
    if not there:
        raise CourseError(
            f"Nobody has handed in {assignment} yet: {folder} is where a submission goes."
        )
    for student in students:
        if student not in there:
            raise CourseError(f"There is no submission of {assignment} by {student!r}.")
    return list(dict.fromkeys(students)) or there


def fault_of(api: NbGraderAPI, assignment: str, student: str) -> str:
    """Why a submission cannot be graded, in one sentence; empty if it can."""
    if _GLOB & set(student):
        return "The folder's name holds a character that nbgrader reads as a pattern; rename it."
    folder = _step(api, api.coursedir.submitted_directory, student, assignment)
    stamp = folder / "timestamp.txt"
    if stamp.is_file():
        try:
            parse_utc(stamp.read_text(encoding="utf-8").strip() or None)
        except (ValueError, OverflowError):
            return "timestamp.txt does not hold a date."
    wanted = notebooks(api, assignment)
    present = [name for name in wanted if (folder / f"{name}.ipynb").is_file()]
    if not present:
        others = sorted(path.name for path in folder.glob("*.ipynb"))
        seen = f"it has {', '.join(others)}" if others else "it has no notebook at all"
        return f"{wanted[0]}.ipynb is missing; {seen}."
    faults = (_notebook_fault(folder / f"{name}.ipynb") for name in present)
    return next((fault for fault in faults if fault), "")


def _notebook_fault(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        return f"{path.name} has {path.stat().st_size / 1e6:.0f} MB; 50 MB is the limit."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        ids = Counter(
            cell["metadata"]["nbgrader"]["grade_id"]
            for cell in content["cells"]
            if "grade_id" in cell["metadata"].get("nbgrader", {})
        )
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return f"{path.name} is not a notebook."
    twice = [name for name, count in ids.items() if count > 1]
    return f"{path.name} holds the cell {twice[0]!r} more than once." if twice else ""


def grade(api: NbGraderAPI, assignment: str, student: str, *, force: bool = False) -> Graded:
    """Autograde one submission and make its feedback.

    A submission graded before is run again only if it has changed, or with `force`. If it cannot
    be graded, the gradebook has no more of it than before, and CourseError says why.
    """
    if fault := fault_of(api, assignment, student):
        raise CourseError(fault)
    known = _known(api, assignment, student)
    start = perf_counter()
    result = api.autograde(assignment, student, force=force or _changed(api, assignment, student))
    try:
        _require_success(result, "nbgrader could not grade it")
    except (CourseError, KeyboardInterrupt):
        if not known:
            _forget(api, assignment, student)
        raise
    unchanged = "Skipping existing assignment" in result.get("log", "")
    if not unchanged or not _has_feedback(api, assignment, student):
        make_feedback(api, assignment, student)
    altered = altered_cells(api, assignment, student)
    note = f"altered test cells restored: {', '.join(altered)}" if altered else ""
    return Graded(student, perf_counter() - start, unchanged, note)


def altered_cells(api: NbGraderAPI, assignment: str, student: str) -> list[str]:
    """Locked cells that differ from those handed out; nbgrader restores them before it grades."""
    altered = []
    for name in notebooks(api, assignment):
        released, handed_in = (
            _locked_cells(_step(api, step, who, assignment) / f"{name}.ipynb")
            for step, who in (
                (api.coursedir.release_directory, "."),
                (api.coursedir.submitted_directory, student),
            )
        )
        altered += [cell for cell in handed_in if handed_in[cell] != released.get(cell)]
    return altered


def _locked_cells(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {
        cell["metadata"]["nbgrader"]["grade_id"]: "".join(cell["source"]).strip()
        for cell in cells
        if cell["metadata"].get("nbgrader", {}).get("locked")
    }


def make_feedback(api: NbGraderAPI, assignment: str, student: str) -> Path:
    """Write the student's feedback page anew, with the grades of this moment."""
    result = api.generate_feedback(assignment, student)
    _require_success(result, f"the feedback for {student} cannot be made")
    return _step(api, api.coursedir.feedback_directory, student, assignment)


def export(api: NbGraderAPI, to: Path, *, assignment: str | None = None) -> Path:
    """Write all grades, or one assignment's, as nbgrader's CSV; replaces `to` in one step."""
    partial = to.with_name(to.name + ".partial")
    plugin = CsvExportPlugin(parent=api)
    plugin.to = str(partial)
    plugin.assignment = [assignment] if assignment else []
    try:
        with api.gradebook as book:
            plugin.export(book)
        partial.replace(to)
    except OSError as error:
        raise CourseError(f"{to} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return to


def _changed(api: NbGraderAPI, assignment: str, student: str) -> bool:
    """nbgrader compares timestamp.txt alone; a file copied in by hand has none."""
    folder = _step(api, api.coursedir.submitted_directory, student, assignment)
    graded = _step(api, api.coursedir.autograded_directory, student, assignment)
    return any(_modified(path) > _modified(graded / path.name) for path in folder.glob("*.ipynb"))


def _has_feedback(api: NbGraderAPI, assignment: str, student: str) -> bool:
    folder = _step(api, api.coursedir.feedback_directory, student, assignment)
    return any(folder.glob("*.html"))


def _known(api: NbGraderAPI, assignment: str, student: str) -> bool:
    with api.gradebook as book:
        try:
            book.find_submission(assignment, student)
        except MissingEntry:
            return False
    return True


def _forget(api: NbGraderAPI, assignment: str, student: str) -> None:
    with api.gradebook as book:
        try:
            book.remove_submission(assignment, student)
        except MissingEntry:
            return


def _require_success(result: dict, what: str) -> None:
    if result["success"]:
        return
    # nbgrader's capture_log swallows Ctrl-C with everything else.
    if result["error"].rstrip().endswith("KeyboardInterrupt"):
        raise KeyboardInterrupt
    lines = (result.get("log", "") + "\n" + result["error"]).splitlines()
    causes = [match["why"] for line in lines if (match := _CAUSE.match(line.strip()))]
    raise CourseError(f"{what}: {causes[0] if causes else lines[-1]}".rstrip(".") + ".")
