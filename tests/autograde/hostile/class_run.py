"""Grades the hostile class in one go, under the guard, and writes what came of it as JSON. It is a
program of its own, so that the guard's limits are put on it and nothing else:
`python class_run.py SETTINGS.json`.
"""

import gc
import json
import os
import sqlite3
import sys
from pathlib import Path

import guard
import nbformat
import reading
import shapes

from autograde.sandbox import kernel

HONEST_SECONDS = 30
CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "hostile"
c.ExecutePreprocessor.timeout = {seconds}
c.ProtectedExecute.memory = 2_000_000_000
c.ProtectedExecute.processes = 40
c.ProtectedExecute.folder_bytes = 20_000_000
c.ProtectedExecute.restarts = 2
import autograde

autograde.configure(c)
"""
SCORES = """
SELECT student.id, base_cell.name, grade.auto_score, grade.needs_manual_grade
FROM grade JOIN submitted_notebook ON grade.notebook_id = submitted_notebook.id
JOIN submitted_assignment ON submitted_notebook.assignment_id = submitted_assignment.id
JOIN assignment ON submitted_assignment.assignment_id = assignment.id
JOIN student ON submitted_assignment.student_id = student.id
JOIN base_cell ON grade.cell_id = base_cell.id WHERE assignment.name = ?
"""


def make_course(course: Path, secrets: dict[str, str]) -> None:
    """The course with its two assignments: `hw`, and `open`, whose tests run unprotected."""
    for name in ("hw", "open"):
        (course / "source" / name).mkdir(parents=True)
        notebook = reading.assignment(
            hidden=secrets["hidden"], sources=secrets["sources"], protected=name == "hw"
        )
        nbformat.write(notebook, course / "source" / name / f"{name}.ipynb")
    limit_cells(course, 30)


def limit_cells(course: Path, seconds: int) -> None:
    (course / "nbgrader_config.py").write_text(CONFIG.format(seconds=seconds))


def hand_in(course: Path, assignment: str, student: reading.Submission, told: str = "") -> None:
    """Put a submission where nbgrader collects it."""
    released = nbformat.read(course / "release" / assignment / f"{assignment}.ipynb", as_version=4)
    target = course / "submitted" / student.name / assignment / f"{assignment}.ipynb"
    target.parent.mkdir(parents=True)
    nbformat.write(reading.fill(released, student, told), target)


def scores(course: Path, assignment: str) -> dict[str, dict[str, float | None]]:
    """Each student's scores by test; None where a person must decide."""
    found: dict[str, dict[str, float | None]] = {}
    with sqlite3.connect(course / "gradebook.db") as book:
        for student, cell, score, waits in book.execute(SCORES, (assignment,)):
            found.setdefault(student, {})[cell] = None if waits else score
    return found


def main(settings: dict) -> dict:
    guard.enter(settings["user"], settings["groups"])
    if kernel.LINUX:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    os.umask(0o022)
    from autograde import classroom
    from autograde.parallel import grade_class

    course, secrets = Path(settings["course"]), settings["secrets"]
    make_course(course, secrets)
    honest, hostile = reading.all_of("honest"), reading.all_of("submissions")
    if settings["only"]:
        hostile = {name: hostile[name] for name in settings["only"] if name in hostile}
    told = "\n".join(f"{name} = {value!r}" for name, value in settings["told"].items())
    told += f"\nGRADER = {os.getpid()}"
    with classroom.open_course(course) as api:
        for name in ("hw", "open"):
            classroom.generate(api, name)
        for student in honest.values():
            hand_in(course, "hw", student)
        for student in hostile.values():
            hand_in(course, "hw", student, told)
            if student.gains_in_process():
                hand_in(course, "open", student, told)
        for name, make in shapes.SHAPES.items():
            folder = course / "submitted" / name / "hw"
            folder.mkdir(parents=True)
            make(folder / "hw.ipynb", course / "release" / "hw" / "hw.ipynb")
        sibling = course / "submitted" / "full" / "hw" / "notes.txt"
        sibling.write_text(secrets["sibling"])
    before = settings["snapshot"] and snapshot(course)
    by_seconds: dict[int, list[str]] = {settings["seconds"]: list(shapes.SHAPES)}
    for students, usual in ((honest, HONEST_SECONDS), (hostile, settings["seconds"])):
        for name, student in students.items():
            by_seconds.setdefault(student.seconds(usual), []).append(name)
    rows = []
    for seconds, names in by_seconds.items():
        limit_cells(course, seconds)
        rows += grade_class(course, "hw", sorted(names), jobs=settings["jobs"], feedback=False)
    limit_cells(course, HONEST_SECONDS)
    grade_class(course, "open", jobs=1, feedback=False)
    gc.collect()
    return {
        "scores": {name: scores(course, name) for name in ("hw", "open")},
        "notes": {row.student: [row.graded, row.note] for row in rows},
        "changed": sorted(set(before.items()) ^ set(snapshot(course).items())) if before else [],
        "children": guard.children(),
    }


def snapshot(course: Path) -> dict[str, int]:
    """What no submission may touch, by content."""
    files = [p for part in ("source", "release", "submitted") for p in (course / part).rglob("*")]
    return {
        str(path): hash(path.read_bytes()) if path.stat().st_size < 10**8 else path.stat().st_size
        for path in files
        if path.is_file()
    }


if __name__ == "__main__":
    settings = json.loads(Path(sys.argv[1]).read_text())
    Path(settings["result"]).write_text(json.dumps(main(settings)))
