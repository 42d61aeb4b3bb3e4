"""Grades as the CSV file that nbgrader exports, column for column, but written as CSV is: nbgrader
joins values with commas as they are, so that a name with a comma moves a score into another column,
one with a line end adds a row of somebody else's, and one that begins with "=" is a formula to
whoever opens the file in a spreadsheet.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbgrader.api import Assignment, Gradebook, MissingEntry, Student
from nbgrader.plugins import CsvExportPlugin

_COLUMNS = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
    "raw_score", "late_submission_penalty", "score", "max_score",
)  # fmt: skip


class CsvExport(CsvExportPlugin):
    """For `c.ExportApp.plugin_class`."""

    def export(self, gradebook: Gradebook) -> None:
        target = Path(self.to or "grades.csv")
        with target.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(_COLUMNS)
            for row in self._rows(gradebook):
                lines.writerow([_defused(row[column]) for column in _COLUMNS])

    def _rows(self, gradebook: Gradebook) -> Iterator[dict[str, Any]]:
        for assignment in gradebook.assignments:
            if not self.assignment or assignment.name in self.assignment:
                for student in gradebook.students:
                    if not self.student or student.id in self.student:
                        yield _row(gradebook, assignment, student)


def _row(gradebook: Gradebook, assignment: Assignment, student: Student) -> dict[str, Any]:
    timestamp, score, penalty = None, 0.0, 0.0
    try:
        submission = gradebook.find_submission(assignment.name, student.id)
        timestamp, score = submission.timestamp, submission.score
        penalty = submission.late_submission_penalty
    except MissingEntry:
        pass  # nothing was handed in
    return {
        "assignment": assignment.name,
        "duedate": assignment.duedate,
        "timestamp": timestamp,
        "student_id": student.id,
        "last_name": student.last_name,
        "first_name": student.first_name,
        "email": student.email,
        "raw_score": score,
        "late_submission_penalty": penalty,
        "score": max(0.0, score - penalty),
        "max_score": assignment.max_score,
    }


def _defused(value: Any) -> Any:
    """Text that no spreadsheet takes for a formula (OWASP, CSV Injection); numbers stay numbers."""
    if isinstance(value, str) and value.lstrip()[:1] in ("=", "+", "-", "@"):
        return f"'{value}"
    return value
