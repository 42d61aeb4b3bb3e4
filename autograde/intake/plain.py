"""Lets plain `nbgrader autograde` read submissions that have been taken in. nbgrader makes one
exporter for a run, after it has found the submissions and before it reads one: this exporter takes
all of them in then, and points that run, and nothing else of the course, at the result.
"""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory

from autograde.intake.prepare import Prepared
from autograde.intake.staging import STAGED, path_of, stage, students, wanted
from autograde.lock import share_while_converting


class IntakeExporter(NotebookExporter):
    """For `c.Autograde.exporter_class`: nbgrader's own exporter behind an intake.

    Each notebook's `resources["autograde_intake"]` says what was repaired and what was put aside.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.taken: dict[tuple[str, str], Prepared] = {}
        if isinstance(self.parent, Autograde):
            share_while_converting(self.parent)
            self._take_in(self.parent)

    def from_filename(
        self, filename: str, resources: dict[str, Any] | None = None, **settings: Any
    ) -> tuple[Any, dict[str, Any]]:
        about = (resources or {}).get("nbgrader", {})
        taken = self.taken.get((about.get("assignment", ""), about.get("student", "")))
        if resources is not None and taken is not None:
            resources["autograde_intake"] = {
                "repairs": list(taken.repairs),
                "quarantined": taken.quarantined,
                "damaged": taken.damaged.get(about.get("notebook", ""), ""),
            }
        return super().from_filename(filename, resources, **settings)

    def _take_in(self, converter: Autograde) -> None:
        course = converter.coursedir
        found: dict[str, list[str]] = {}
        for assignment in _assignments(course):
            names = [n for n in wanted(course, assignment)[1] if fnmatchcase(n, course.notebook_id)]
            for student in students(course, assignment):
                if student != course.student_id and not fnmatchcase(student, course.student_id):
                    continue
                if converter.coursedir.student_id_exclude and student in (
                    converter.coursedir.student_id_exclude.split(",")
                ):
                    continue
                done = self.taken[assignment, student] = stage(course, assignment, student)
                for sentence in filter(None, (done.quarantined, *done.repairs)):
                    self.log.warning("%s, %s: %s", assignment, student, sentence)
                folder = path_of(course, STAGED, student, assignment)
                paths = [folder / f"{name}.ipynb" for name in names]
                there = [str(path) for path in paths if path.is_file()]
                if there:
                    found[str(folder)] = there
        if found:
            converter.assignments = found
            converter.coursedir = _pointed_at(course, STAGED)


def _assignments(course: CourseDirectory) -> list[str]:
    source = Path(course.format_path(course.source_directory, ".", "."))
    names = sorted(entry.name for entry in os.scandir(source)) if source.is_dir() else []
    chosen = [n for n in names if n == course.assignment_id or fnmatchcase(n, course.assignment_id)]
    return chosen or [course.assignment_id]


def _pointed_at(course: CourseDirectory, submitted: str) -> CourseDirectory:
    """The same course, with submissions elsewhere; the given one stays as it is."""
    other = CourseDirectory(parent=course.parent, config=course.config)
    for name in course.trait_names(config=True):
        setattr(other, name, getattr(course, name))
    other.submitted_directory = submitted
    return other
