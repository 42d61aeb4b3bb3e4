"""One submission from the folder that was handed in to marks and a graded notebook, without a
gradebook: nbgrader's own steps, as the course's configuration names them, run on plain data. What
nbgrader would spend on opening its database nine times, and on copying and validating the notebook
between any two steps, is not spent; what is written is the same, byte for byte.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import nbformat
from nbconvert.exporters.exporter import ResourcesDict
from nbformat.notebooknode import NotebookNode
from nbgrader.apps import NbGraderAPI
from nbgrader.converters import Autograde
from nbgrader.preprocessors import NbGraderPreprocessor, OverwriteCells
from nbgrader.utils import find_all_files, setenv, temp_attrs
from traitlets.utils.importstring import import_item

from autograde import ledger
from autograde.execute import SaveScores
from autograde.intake import Prepared, blank, prepare
from autograde.scoring import Marks, NotebookMarks
from autograde.sheet import Sheet


class SheetCells(OverwriteCells):
    """nbgrader's OverwriteCells, asking the sheet instead of the gradebook."""

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        about = resources["nbgrader"]
        self.notebook_id, self.assignment_id = about["notebook"], about["assignment"]
        self.gradebook = resources["sheet"]
        nb, resources = super(OverwriteCells, self).preprocess(nb, resources)
        if self.add_missing_cells:
            nb, resources = self.add_missing_grade_cells(nb, resources)
            nb, resources = self.add_missing_task_cells(nb, resources)
        return nb, resources


class SheetKernel(NbGraderPreprocessor):
    """nbgrader's OverwriteKernelspec, asking the sheet."""

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        kernel = resources["sheet"].notebooks[resources["nbgrader"]["notebook"]].kernelspec
        if kernel and (described := json.loads(kernel)):
            nb.metadata["kernelspec"] = described
        return nb, resources


_OURS = {
    "OverwriteCells": SheetCells,
    "OverwriteKernelspec": SheetKernel,
    "SaveAutoGrades": SaveScores,
    "AssignLatePenalties": None,  # needs the sum of all scores: the writer's task
}


class Grader:
    """Grades submissions of one assignment, one at a time; made once in each worker."""

    def __init__(self, api: NbGraderAPI, sheet: Sheet) -> None:
        self.course, self.sheet = api.coursedir, sheet
        with temp_attrs(self.course, assignment_id=sheet.assignment):
            self.converter = Autograde(coursedir=self.course, parent=api)
        self.sanitizing = self._steps(self.converter.sanitize_preprocessors)
        self.grading = self._steps(self.converter.autograde_preprocessors)
        self.root = Path(self.course.root)
        self.log = self.converter.log

    def _steps(self, named: list[Any]) -> list[Any]:
        found = []
        for step in named:
            step = import_item(step) if isinstance(step, str) else step
            if isinstance(step, type):
                step = _OURS.get(step.__name__, step)
                step = step and step(parent=self.converter)
            if step is not None:
                found.append(step)
        return found

    def warm(self) -> None:
        """Start what is started once, so that the first submission need not wait."""
        for step in self.grading:
            if hasattr(step, "warm"):
                for name in self.sheet.notebooks:
                    step.warm(self._resources(name, ""))

    def grade(self, student: str, key: str) -> Marks:
        """Grade what `student` handed in. The graded folder is left in `Marks.staged` for the
        writer to publish. A mistake of the machinery is `Marks.fault`; nothing is raised for it.
        """
        start = perf_counter()
        staged = ledger.staging(self.root)
        try:
            marks = self._grade(student, key, staged)
        except Exception as error:  # whatever goes wrong costs this submission only
            shutil.rmtree(staged, ignore_errors=True)
            told = error.strerror if isinstance(error, OSError) else str(error)
            text = " ".join(str(told or error).split()) or "no reason given"
            fault = text if text.endswith(".") else f"{type(error).__name__}: {text}."
            return Marks(student, key, fault=fault, seconds=perf_counter() - start)
        return replace(marks, seconds=perf_counter() - start)

    def _grade(self, student: str, key: str, staged: Path) -> Marks:
        assignment = self.sheet.assignment
        folder = staged / "taken"
        folder.mkdir()
        release = self._path(self.course.release_directory, ".")
        taken = prepare(
            self._path(self.course.submitted_directory, student),
            folder,
            release=release,
            notebooks=list(self.sheet.notebooks),
        )
        if taken.quarantined:
            return self._put_aside(student, key, staged, release, taken)
        graded = staged / "graded"
        graded.mkdir()
        present = [n for n in self.sheet.notebooks if (folder / f"{n}.ipynb").is_file()]
        with temp_attrs(self.course, assignment_id=assignment, student_id=student):
            self.converter.notebooks = [str(folder / f"{name}.ipynb") for name in present]
            self.converter.run_pre_convert_hook()
            self._copy_files(folder, graded)
            with setenv(NBGRADER_EXECUTION="autograde"):
                notebooks = tuple(
                    self._left_to_a_person(name, folder, graded)
                    if name in taken.damaged
                    else self._notebook(student, name, folder / f"{name}.ipynb", graded)
                    for name in present
                )
            self._set_permissions(graded)
            self.converter.run_post_convert_hook()
        timestamp = self.course.get_existing_timestamp(str(folder))
        shutil.rmtree(folder, ignore_errors=True)
        return Marks(
            student,
            key,
            str(graded),
            timestamp,
            notebooks,
            tuple(sorted(set(self.sheet.notebooks) - set(present))),
            tuple(taken.repairs),
        )

    def _put_aside(
        self, student: str, key: str, staged: Path, release: Path, taken: Prepared
    ) -> Marks:
        """What was handed out with the reason on top, nothing run, every score left to a person:
        so the formgrader and the feedback show the student like any other."""
        graded = staged / "graded"
        graded.mkdir()
        marks = []
        for name in self.sheet.notebooks:
            released = nbformat.read(release / f"{name}.ipynb", as_version=4)
            _write(blank(released, taken.quarantined), staged / "taken" / f"{name}.ipynb")
            marks.append(self._left_to_a_person(name, staged / "taken", graded))
        self._set_permissions(graded)
        return Marks(
            student,
            key,
            str(graded),
            notebooks=tuple(marks),
            repairs=tuple(taken.repairs),
            quarantined=taken.quarantined,
        )

    def _left_to_a_person(self, name: str, taken: Path, graded: Path) -> NotebookMarks:
        sheet = self.sheet.notebooks[name]
        shutil.copy(taken / f"{name}.ipynb", graded)
        return NotebookMarks(name, dict.fromkeys(sheet.graded), dict.fromkeys(sheet.answers))

    def _path(self, step: str, student: str) -> Path:
        return Path(self.course.format_path(step, student, self.sheet.assignment))

    def _copy_files(self, taken: Path, graded: Path) -> None:
        """What was handed in beside the notebooks, under what the assignment itself brings."""
        ignored = [*self.course.ignore, "*.ipynb"]
        source = self._path(self.course.source_directory, ".")
        kept = set(self.converter.exclude_overwriting.get(self.sheet.assignment, []))
        for folder, skipped in ((taken, set()), (source, kept)):
            for name in find_all_files(str(folder), ignored):
                file, place = Path(name), Path(name).relative_to(folder)
                if file.is_symlink() or place.as_posix() in skipped:
                    continue
                target = graded / place
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)

    def _resources(self, name: str, student: str) -> ResourcesDict:
        about = {
            "student": student,
            "assignment": self.sheet.assignment,
            "notebook": name,
            "db_url": self.course.db_url,
        }
        return ResourcesDict(
            nbgrader=about,
            sheet=self.sheet,
            unique_key=name,
            output_files_dir=f"{name}_files",
            metadata=ResourcesDict(name=name),
        )

    def _notebook(self, student: str, name: str, path: Path, graded: Path) -> NotebookMarks:
        nb = nbformat.read(path, as_version=4)
        resources = self._resources(name, student)
        resources["metadata"]["path"] = str(path.parent)
        for step in self.sanitizing:
            nb, resources = step(nb, resources)
        resources = self._resources(name, student)
        resources["metadata"]["path"] = str(graded)
        for step in self.grading:
            nb, resources = step(nb, resources)
        _validate(nb)
        _write(nb, graded / f"{name}.ipynb")
        return resources["marks"]

    def _set_permissions(self, graded: Path) -> None:
        mode = int(str(self.converter.permissions), 8)
        for path in graded.rglob("*"):
            if path.is_file():
                path.chmod(mode)
        graded.chmod(0o2775 if self.course.groupshared else 0o755)


def _validate(nb: NotebookNode) -> None:
    """As nbconvert does between its steps; the strict check is the fast one."""
    try:
        nbformat.validate(nb)
    except nbformat.ValidationError:
        nbformat.validate(nb, relax_add_props=True)


def _write(nb: NotebookNode, path: Path) -> None:
    text = nbformat.v4.writes(nb)
    text = text if text.endswith("\n") else f"{text}\n"
    path.write_text(text, encoding="utf-8", newline="")
