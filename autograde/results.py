"""What grading found, as plain values: one student's scores, and what happened in each graded cell.
It reads nbgrader's gradebook and the autograded notebook, and changes neither.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Assignment, Grade, MissingEntry, SubmittedAssignment, SubmittedNotebook
from nbgrader.apps import NbGraderAPI
from sqlalchemy import Connection, select

from autograde.classroom import CourseError
from autograde.ledger import Entry, read
from autograde.sheet import Sheet, read_sheet
from autograde.writer import seconds_late

_ASSIGNMENT, _SUBMISSION = Assignment.__table__, SubmittedAssignment.__table__
_NOTEBOOK, _GRADE = SubmittedNotebook.__table__, Grade.__table__
_LONGEST = 160  # characters of one explanation


@dataclass(frozen=True)
class CellResult:
    """One graded cell: `verdict` is "passed", "failed", "partial", "by hand", "no answer" or "needs
    review". `limit` says which limit its run hit, `checks` are its named checks: name, points,
    passed. `unprotected` tests ran in the student's process.
    """

    notebook: str
    cell: str
    score: float
    max_score: float
    verdict: str
    what: str
    limit: str = ""
    seconds: float | None = None
    unprotected: bool = False
    checks: tuple[tuple[str, float, bool], ...] = ()


@dataclass(frozen=True)
class StudentResult:
    """One row of the table. `score` is after the late penalty; `late_seconds` is 0 in time.

    `graded` is false where the machinery could not grade the submission; `note` then says why.
    `quarantined` says why a submission was put aside, and waits for a person; `limits` says which
    cells hit one while it ran, `repairs` what was mended before.
    """

    student: str
    graded: bool
    score: float = 0.0
    max_score: float = 0.0
    late_seconds: float = 0.0
    tests: int = 0
    failed: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()
    seconds: float | None = None
    note: str = ""
    repairs: tuple[str, ...] = ()
    quarantined: str = ""
    limits: tuple[str, ...] = ()


def student_result(api: NbGraderAPI, assignment: str, student: str) -> StudentResult:
    """Scores of one graded submission, as the gradebook has them now."""
    with api.gradebook as book:
        try:
            found = class_results(book.db.connection(), read_sheet(book, assignment), [student])
        except MissingEntry:  # nobody has generated the assignment
            found = {}
    if student not in found:
        raise CourseError(f"{student!r} has no graded submission of {assignment}; grade it first.")
    return found[student]


def class_results(
    connection: Connection, sheet: Sheet, students: Sequence[str] | None = None
) -> dict[str, StudentResult]:
    """The rows of `students`, or of all who have a graded submission, in one query."""
    due = connection.execute(
        select(_ASSIGNMENT.c.duedate).where(_ASSIGNMENT.c.id == sheet.id)
    ).scalar()
    query = (
        select(
            _SUBMISSION.c.student_id, _SUBMISSION.c.timestamp, _SUBMISSION.c.extension,
            _NOTEBOOK.c.notebook_id, _NOTEBOOK.c.late_submission_penalty, _GRADE.c.cell_id,
            _GRADE.c.auto_score, _GRADE.c.manual_score, _GRADE.c.extra_credit,
            _GRADE.c.needs_manual_grade,
        )
        .join(_NOTEBOOK, _NOTEBOOK.c.assignment_id == _SUBMISSION.c.id)
        .outerjoin(_GRADE, _GRADE.c.notebook_id == _NOTEBOOK.c.id)
        .where(_SUBMISSION.c.assignment_id == sheet.id)
    )  # fmt: skip
    if students is not None:
        query = query.where(_SUBMISSION.c.student_id.in_(students))
    rows: dict[str, list[Any]] = {}
    for row in connection.execute(query):
        rows.setdefault(row.student_id, []).append(row)
    return {student: _result(student, found, sheet, due) for student, found in rows.items()}


def _result(student: str, rows: list[Any], sheet: Sheet, due: datetime | None) -> StudentResult:
    grades = {row.cell_id: row for row in rows if row.cell_id}
    penalties = {row.notebook_id: row.late_submission_penalty or 0.0 for row in rows}
    score, most, tests = 0.0, 0.0, 0
    failed, by_hand, unanswered = [], [], []
    for notebook in sheet.notebooks.values():
        answers = notebook.answers
        for cell in notebook.in_order():
            row = grades.get(cell.id)
            if row is None:
                continue
            given = row.auto_score if row.manual_score is None else row.manual_score
            points = 0.0 if given is None else given + (row.extra_credit or 0.0)
            score, most = score + points, most + cell.max_score
            if row.needs_manual_grade:
                by_hand.append(cell.name)
            if cell.name in answers:
                if row.auto_score == 0 and row.manual_score is None:
                    unanswered.append(cell.name)
                continue
            tests += 1
            if not row.needs_manual_grade and points < cell.max_score:
                failed.append(cell.name)
    return StudentResult(
        student=student,
        graded=True,
        score=max(0.0, score - sum(penalties.values())),
        max_score=most,
        late_seconds=seconds_late(due, rows[0].timestamp, rows[0].extension),
        tests=tests,
        failed=tuple(failed),
        by_hand=tuple(by_hand),
        unanswered=tuple(unanswered),
    )


def graded_students(api: NbGraderAPI, assignment: str) -> list[str]:
    """Students of whom the gradebook has a submission, in alphabetical order."""
    with api.gradebook as book:
        found = sorted(entry.student.id for entry in book.assignment_submissions(assignment))
    if not found:
        raise CourseError(f"No submission of {assignment} has been graded yet; grade it first.")
    return found


def add_run(result: StudentResult, entry: Entry | None, *, unchanged: bool) -> StudentResult:
    """The same result with what its run adds: seconds, and remarks on what a person should know."""
    if entry is None:
        return replace(result, note="unchanged" if unchanged else "")
    reports = entry.reports.values()
    reviews = sum(len(report.get("review", {})) for report in reports)
    events = [event for report in reports for event in report.get("events", {}).items()]
    remarks = [entry.quarantined.rstrip(".")] if entry.quarantined else []
    remarks += [repair.rstrip(".") for repair in entry.repairs]
    if reviews:
        remarks.append(f"{reviews} test{'s' * (reviews > 1)} for a person to judge")
    remarks += [f"{count} x {what}" for what, count in Counter(w for _, w in events).items()]
    if result.unanswered:
        remarks.append(f"no answer in {', '.join(result.unanswered)}")
    if unchanged:
        remarks.append("unchanged")
    return replace(
        result,
        seconds=None if unchanged else entry.seconds,
        note="; ".join(remarks),
        repairs=entry.repairs,
        quarantined=entry.quarantined,
        limits=tuple(f"cell {cell}: {what}" for cell, what in events),
    )


def cell_results(api: NbGraderAPI, assignment: str, student: str) -> list[CellResult]:
    """Each graded cell of a submission in the order of its notebook, with one line on it."""
    student_result(api, assignment, student)
    folder = Path(
        api.coursedir.format_path(api.coursedir.autograded_directory, student, assignment)
    )
    entry = read(Path(api.coursedir.root), assignment, student) or Entry("")
    found = []
    with api.gradebook as book:
        for notebook in book.find_submission(assignment, student).notebooks:
            path = folder / f"{notebook.name}.ipynb"
            cells = nbformat.read(path, as_version=4).cells if path.is_file() else []
            graded = dict(_graded(cells))
            order = {name: place for place, name in enumerate(graded)}
            report = entry.reports.get(notebook.name, {})
            for grade in sorted(notebook.grades, key=lambda g: order.get(g.name, len(order))):
                found.append(_cell_result(grade, graded.get(grade.name), cells, report))
    return found


def _cell_result(
    grade: Grade, cell: NotebookNode | None, cells: list[NotebookNode], report: dict[str, Any]
) -> CellResult:
    name = grade.name
    verdict, what = _verdict(grade, cell, cells)
    review = report.get("review", {}).get(name, "")
    if review and grade.needs_manual_grade:
        verdict, what = "needs review", _one_line(f"a person must judge: {review}")
    checks = report.get("checks", {}).get(name, [])
    return CellResult(
        grade.notebook.name,
        name,
        grade.score,
        grade.max_score,
        verdict,
        what,
        limit=report.get("events", {}).get(name, ""),
        seconds=report.get("seconds", {}).get(name),
        unprotected=name in report.get("unprotected", ()),
        checks=tuple((_one_line(n), points, passed) for n, points, passed, *_ in checks),
    )


def _graded(cells: list[NotebookNode]) -> Iterator[tuple[str, NotebookNode]]:
    for cell in cells:
        if _is_graded(cell):
            yield cell.metadata.nbgrader.get("grade_id", ""), cell


def _is_answer(grade: Grade) -> bool:
    """Whether a person judges what a student wrote: prose, code, or what a task asked for."""
    notebook = grade.notebook.notebook
    return any(cell.name == grade.name for cell in (*notebook.solution_cells, *notebook.task_cells))


def _verdict(grade: Grade, cell: NotebookNode | None, cells: list[NotebookNode]) -> tuple[str, str]:
    if grade.manual_score is not None:
        again = "; to be confirmed, since it was run again" if grade.needs_manual_grade else ""
        return "by hand", f"graded by a person{again}"
    if cell is None:
        return "by hand", "the cell is missing from the submission; a person must decide"
    if grade.needs_manual_grade:
        return "by hand", "waits for a person"
    if _is_answer(grade):
        return "no answer", "the answer was left as it was handed out"
    if grade.score >= grade.max_score:
        return "passed", "passed"
    return ("partial" if grade.score else "failed"), _one_line(_cause(cell, cells))


def _cause(cell: NotebookNode, cells: list[NotebookNode]) -> str:
    """Why a test cell lost points: its last error, or what it wrote to standard error."""
    errors = _errors(cell)
    if any(error.ename == "CellTimeoutError" for error in errors):
        return "stopped: it ran longer than the time limit of a cell"
    if errors:
        name, value = errors[-1].ename, errors[-1].evalue
        if name == "NotImplementedError":
            return f"not written yet: {value}" if value else "not written yet"
        if name == "NameError":
            return f"{value}{_why_undefined(value, cells)}"
        return value if name == "AssertionError" and value else f"{name}: {value}".rstrip(": ")
    for out in cell.outputs:
        if out.output_type == "stream" and out.name == "stderr":
            return f"wrote to standard error, which counts as a failure: {out.text}"
    return "the cell's own result gave part of the points"


def _why_undefined(message: str, cells: list[NotebookNode]) -> str:
    """The error of the cell that should have defined the name, if there is one."""
    name = re.escape(message.split("'")[1]) if message.count("'") >= 2 else ""
    # The cell may be no Python at all, so that nothing but its text can be asked.
    binds = re.compile(
        rf"^\s*(?:(?:async\s+)?def|class)\s+{name}\b|^\s*{name}\s*(?::[^=]*)?=(?!=)"
        rf"|\bimport\b.*\b{name}\b",
        re.MULTILINE,
    )
    for cell in cells:
        if name and _errors(cell) and not _is_graded(cell) and binds.search(cell.source):
            error = _errors(cell)[0]
            return f"; the cell that defines it failed with {error.ename}: {error.evalue}"
    return ""


def _errors(cell: NotebookNode) -> list[NotebookNode]:
    return [out for out in cell.get("outputs", []) if out.output_type == "error"]


def _is_graded(cell: NotebookNode) -> bool:
    about = cell.metadata.get("nbgrader", {})
    return bool(about.get("grade") or about.get("task"))


def _one_line(text: str) -> str:
    """Printable, on one line, of bounded length: a student wrote it, a terminal shows it."""
    clean = "".join(char if char.isprintable() else " " for char in text[: 4 * _LONGEST])
    line = " ".join(clean.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
