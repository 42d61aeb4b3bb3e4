"""A gradebook as plain rows without its random keys, so that two can be compared."""

from pathlib import Path

from submissions import PA0, open_api


def rows_of(course: Path, assignment: str = PA0) -> dict[str, dict]:
    """Everything that a gradebook holds of each submission of an assignment, by student."""
    with open_api(course).gradebook as book:
        return {
            submission.student.id: {
                "timestamp": submission.timestamp,
                "late": submission.total_seconds_late,
                "score": submission.score,
                "notebooks": {n.name: _notebook(n) for n in submission.notebooks},
            }
            for submission in book.assignment_submissions(assignment)
        }


def _notebook(notebook) -> dict:
    grades = [
        (g.name, g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade, g.max_score)
        for g in notebook.grades
    ]
    comments = [(c.name, c.auto_comment, c.manual_comment) for c in notebook.comments]
    return {
        "grades": sorted(grades),
        "comments": sorted(comments, key=lambda row: row[0]),
        "penalty": notebook.late_submission_penalty,
        "flagged": notebook.flagged,
    }


def files_of(course: Path, step: str = "autograded") -> dict[str, tuple[bytes, int]]:
    """Every file that a step left, with its content and mode."""
    root = course / step
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mode)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
