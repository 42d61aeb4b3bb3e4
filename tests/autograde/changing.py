"""A course whose assignment an instructor changes after work was graded: its cells, its notebooks,
and what the gradebook holds then. `ANN` is the one student.
"""

from collections.abc import Mapping
from pathlib import Path

import nbformat
from submissions import open_api

from autograde import changed, classroom

ANN = "ann"
CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "changing"
import autograde

autograde.configure(c)
"""
SOLUTION = (
    "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION",
    {"solution": True},
)
ONE = ("assert double(1) == 2", {"grade": True, "points": 1})
ZERO = ("assert double(0) == 0", {"grade": True, "points": 1})
WORD = ("assert double('a') == 'aa'", {"grade": True, "points": 2})
ESSAY = ("Why?", {"grade": True, "solution": True, "points": 5})
CELLS = {"double": SOLUTION, "test_one": ONE, "test_word": WORD, "essay": ESSAY}


def write_source(course: Path, cells: Mapping, notebook: str = "hw", **about_notebook) -> Path:
    kernel = {"name": "python3", "display_name": "P"}
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": kernel, **about_notebook})
    for name, (text, about) in cells.items():
        kind = "markdown" if text == ESSAY[0] else "code"
        locked = not about.get("solution")
        about = {"grade": False, "solution": False, "task": False, **about, "locked": locked}
        about |= {"grade_id": name, "schema_version": 3, "cell_type": kind}
        make = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
        cell = make(text, metadata={"nbgrader": about})
        cell.id = name.replace("_", "-")
        nb.cells.append(cell)
    path = course / f"source/hw/{notebook}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, path)
    return path


def generate(course: Path) -> list[str]:
    """Generate the assignment; returns what the instructor is told."""
    with changed.listening() as said, classroom.open_course(course) as api:
        classroom.generate(api, "hw")
    return said


def change(course: Path, cells: Mapping) -> list[str]:
    """Generate the assignment with these cells; returns what the instructor is told."""
    write_source(course, cells)
    return generate(course)


def hand_in(course: Path, notebook: str = "hw") -> None:
    """Ann's answers in the released notebook."""
    nb = nbformat.read(course / f"release/hw/{notebook}.ipynb", as_version=4)
    nb.cells[0].source = "def double(x):\n    return x + x"
    nb.cells[3].source = "Because."
    (course / f"submitted/{ANN}/hw").mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, course / f"submitted/{ANN}/hw/{notebook}.ipynb")


def give_by_hand(course: Path, notebook: str = "hw") -> None:
    """What a person gives Ann: points in two cells, and a comment."""
    with open_api(course).gradebook as book:
        for cell, points in (("essay", 4), ("test_one", 0.5)):
            grade = book.find_grade(cell, notebook, "hw", ANN)
            grade.manual_score, grade.needs_manual_grade = points, False
        book.find_comment("essay", notebook, "hw", ANN).manual_comment = "Well said."
        book.db.commit()


def grades(course: Path, notebook: str = "hw") -> dict:
    with open_api(course).gradebook as book:
        found = book.find_submission_notebook(notebook, "hw", ANN).grades
        return {g.name: (g.auto_score, g.manual_score, g.needs_manual_grade) for g in found}


def comments(course: Path, notebook: str = "hw") -> dict:
    with open_api(course).gradebook as book:
        found = book.find_submission_notebook(notebook, "hw", ANN).comments
        return {comment.name: comment.manual_comment for comment in found}
