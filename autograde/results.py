"""What grading found, as plain values: one student's scores, and what happened in each graded cell.
It reads nbgrader's gradebook and the autograded notebook, and changes neither.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Grade, MissingEntry
from nbgrader.apps import NbGraderAPI

from autograde.classroom import CourseError

_LONGEST = 160  # characters of one explanation


@dataclass(frozen=True)
class CellResult:
    """One graded cell: `verdict` is "passed", "failed", "partial", "by hand" or "no answer"."""

    notebook: str
    cell: str
    score: float
    max_score: float
    verdict: str
    what: str


@dataclass(frozen=True)
class StudentResult:
    """One row of the table. `score` is after the late penalty; `late_seconds` is 0 in time.

    `graded` is false where the submission could not be graded; `note` then says why.
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


def student_result(api: NbGraderAPI, assignment: str, student: str) -> StudentResult:
    """Scores of one graded submission, as the gradebook has them now."""
    with api.gradebook as book:
        try:
            submission = book.find_submission(assignment, student)
        except MissingEntry:
            raise CourseError(
                f"{student!r} has no graded submission of {assignment}; grade it first."
            ) from None
        grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
        tests = [grade for grade in grades if not _is_answer(grade)]
        return StudentResult(
            student=student,
            graded=True,
            score=max(0.0, submission.score - (submission.late_submission_penalty or 0.0)),
            max_score=submission.max_score,
            late_seconds=submission.total_seconds_late,
            tests=len(tests),
            failed=tuple(g.name for g in tests if _lost(g)),
            by_hand=tuple(g.name for g in grades if g.needs_manual_grade),
            unanswered=tuple(g.name for g in grades if _is_answer(g) and _empty(g)),
        )


def graded_students(api: NbGraderAPI, assignment: str) -> list[str]:
    """Students of whom the gradebook has a submission, in alphabetical order."""
    with api.gradebook as book:
        return sorted(found.student.id for found in book.assignment_submissions(assignment))


def add_run(
    result: StudentResult, *, seconds: float | None, unchanged: bool, note: str
) -> StudentResult:
    """The same result with what this run adds: its seconds and its remarks."""
    remarks = [note] if note else []
    if result.unanswered:
        remarks.append(f"no answer in {', '.join(result.unanswered)}")
    if unchanged:
        remarks.append("unchanged")
    return replace(result, seconds=None if unchanged else seconds, note="; ".join(remarks))


def cell_results(api: NbGraderAPI, assignment: str, student: str) -> list[CellResult]:
    """Each graded cell of a submission in the order of its notebook, with one line on it."""
    student_result(api, assignment, student)
    folder = Path(
        api.coursedir.format_path(api.coursedir.autograded_directory, student, assignment)
    )
    found = []
    with api.gradebook as book:
        for notebook in book.find_submission(assignment, student).notebooks:
            path = folder / f"{notebook.name}.ipynb"
            cells = nbformat.read(path, as_version=4).cells if path.is_file() else []
            graded = dict(_graded(cells))
            order = {name: place for place, name in enumerate(graded)}
            for grade in sorted(notebook.grades, key=lambda g: order.get(g.name, len(order))):
                verdict, what = _verdict(grade, graded.get(grade.name), cells)
                score = CellResult(
                    notebook.name, grade.name, grade.score, grade.max_score, verdict, what
                )
                found.append(score)
    return found


def _graded(cells: list[NotebookNode]) -> Iterator[tuple[str, NotebookNode]]:
    for cell in cells:
        if _is_graded(cell):
            yield cell.metadata.nbgrader.get("grade_id", ""), cell


def _is_answer(grade: Grade) -> bool:
    """Whether a student writes in the cell itself: prose, or code that a person judges."""
    answers = grade.notebook.notebook.solution_cells
    return any(cell.name == grade.name for cell in answers)


def _lost(grade: Grade) -> bool:
    return not grade.needs_manual_grade and grade.score < grade.max_score


def _empty(grade: Grade) -> bool:
    return grade.auto_score == 0 and grade.manual_score is None


def _verdict(grade: Grade, cell: NotebookNode | None, cells: list[NotebookNode]) -> tuple[str, str]:
    if grade.manual_score is not None and not grade.needs_manual_grade:
        return "by hand", "graded by a person"
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
    name = message.split("'")[1] if message.count("'") >= 2 else ""
    for cell in cells:
        if name and name in cell.source and _errors(cell) and not _is_graded(cell):
            error = _errors(cell)[0]
            return f"; the cell that defines it failed with {error.ename}: {error.evalue}"
    return ""


def _errors(cell: NotebookNode) -> list[NotebookNode]:
    return [out for out in cell.get("outputs", []) if out.output_type == "error"]


def _is_graded(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))


def _one_line(text: str) -> str:
    """Printable, on one line, of bounded length: a student wrote it, a terminal shows it."""
    clean = "".join(char if char.isprintable() else " " for char in text[: 4 * _LONGEST])
    line = " ".join(clean.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
