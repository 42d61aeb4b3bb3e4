"""A course of one assignment, made of a few cells, that is graded by nbgrader with our steps."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from submissions import open_api

SWITCH = "\nimport autograde\n\nautograde.configure(c)\n"
PYTHON = {"name": "python3", "display_name": "p", "language": "python"}


def graded(name: str, source: str, points: float, **autograde: Any) -> dict:
    about = {"grade": True, "grade_id": name, "locked": True, "points": points,
             "schema_version": 3, "solution": False, "task": False}  # fmt: skip
    return new_code_cell(source, metadata={"nbgrader": about, "autograde": autograde})


def solution(name: str, source: str, mark: str = "###") -> dict:
    about = {"grade": False, "grade_id": name, "locked": False, "schema_version": 3,
             "solution": True, "task": False}  # fmt: skip
    text = f"{mark} BEGIN SOLUTION\n{source}\n{mark} END SOLUTION"
    return new_code_cell(text, metadata={"nbgrader": about})


def scores(api: Any, assignment: str, student: str) -> dict[str, float | None]:
    with api.gradebook as book:
        return {
            grade.name: None if grade.needs_manual_grade else grade.auto_score
            for notebook in book.find_submission(assignment, student).notebooks
            for grade in notebook.grades
        }


def answers(**sources: str) -> Callable[[dict], None]:
    def change(cells: dict) -> None:
        for name, source in sources.items():
            cells[name].source = source

    return change


class SmallCourse:
    """An assignment `hw` of these cells, released in `root`."""

    def __init__(
        self,
        root: Path,
        gradebook: Path,
        cells: tuple[dict, ...],
        *,
        config: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.root = root
        (root / "source" / "hw").mkdir(parents=True)
        shutil.copy(gradebook, root / "gradebook.db")
        (root / "nbgrader_config.py").write_text("c = get_config()\n" + SWITCH + config)
        notebook = new_notebook(cells=list(cells))
        notebook.metadata.update({"kernelspec": PYTHON} | (metadata or {}))
        nbformat.write(notebook, root / "source" / "hw" / "hw.ipynb")
        self.api = open_api(root)
        made = self.api.generate_assignment("hw")
        assert made["success"], made["log"]
        self.log = made["log"]

    def hand_in(
        self, change: Callable[[dict], None], student: str = "ada", **metadata: Any
    ) -> None:
        """Hand in the released notebook with these cells changed."""
        release = nbformat.read(self.root / "release" / "hw" / "hw.ipynb", as_version=4)
        change({c.metadata.get("nbgrader", {}).get("grade_id"): c for c in release.cells})
        release.metadata.update(metadata)
        target = self.root / "submitted" / student / "hw"
        target.mkdir(parents=True)
        nbformat.write(release, target / "hw.ipynb")

    def grade(
        self, change: Callable[[dict], None], student: str = "ada", **metadata: Any
    ) -> dict[str, float | None]:
        """The scores of a student who hands that in."""
        self.hand_in(change, student, **metadata)
        result = self.api.autograde("hw", student)
        assert result["success"], result["log"]
        return scores(self.api, "hw", student)

    def cell(self, name: str, student: str = "ada") -> dict:
        """A cell of the graded notebook."""
        path = self.root / "autograded" / student / "hw" / "hw.ipynb"
        cells = nbformat.read(path, as_version=4).cells
        return next(c for c in cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)

    def report(self, student: str = "ada") -> dict[str, Any]:
        """What the run of this student's notebook had to tell."""
        from autograde import ledger

        return ledger.read(self.root, "hw", student).reports["hw"]
