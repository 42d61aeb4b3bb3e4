"""Submissions that are hostile by their files rather than by their code, each made when the class
runs: nobody would keep a notebook of a gigabyte. Each function's line says what it tries.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

Make = Callable[[Path, Path], None]


def a_gigabyte(path: Path, release: Path) -> None:
    """A notebook of a gigabyte, nearly all of it a hole in the file."""
    path.write_text(release.read_text())
    os.truncate(path, 10**9)


def a_hundred_thousand_cells(path: Path, release: Path) -> None:
    """A notebook of a hundred thousand cells."""
    notebook = nbformat.read(release, as_version=4)
    cell = dict(new_code_cell("1"))  # to make a cell is to validate it
    notebook.cells += [{**cell, "id": f"cell-{number}"} for number in range(100_000)]
    path.write_text(json.dumps(notebook))


def nested_json(path: Path, release: Path) -> None:
    """JSON nested two hundred thousand levels deep."""
    path.write_text('{"cells": ' + "[" * 200_000 + "]" * 200_000 + "}")


def a_link_to_the_sources(path: Path, release: Path) -> None:
    """A symbolic link to the instructor's notebook in place of one's own."""
    path.symlink_to(release.parents[2] / "source" / "hw" / "hw.ipynb")


def a_pipe(path: Path, release: Path) -> None:
    """A pipe in place of a notebook: who opens it waits for ever."""
    os.mkfifo(path)


def twice_the_cells(path: Path, release: Path) -> None:
    """Every cell twice, with the same ids, the tests emptied the second time."""
    notebook = nbformat.read(release, as_version=4)
    twins = nbformat.read(release, as_version=4).cells
    for twin in twins:
        twin.source = "pass"
    notebook.cells += twins
    path.write_text(json.dumps(notebook))


def emptied_tests(path: Path, release: Path) -> None:
    """The tests replaced by nothing, worth a thousand points, unlocked and unprotected."""
    notebook = nbformat.read(release, as_version=4)
    for cell in notebook.cells:
        about = cell.metadata.nbgrader
        if about.grade:
            cell.source = "True"
            about.update(points=1000, locked=False, checksum="0" * 32)
            cell.metadata.autograde = {"unprotected": True, "write_back": True}
    nbformat.write(notebook, path)


def tests_called_solutions(path: Path, release: Path) -> None:
    """The tests declared to be answers and the answers tests, by their metadata."""
    notebook = nbformat.read(release, as_version=4)
    for cell in notebook.cells:
        about = cell.metadata.nbgrader
        about.grade, about.solution = about.solution, about.grade
        about.points = 1000
    path.write_text(json.dumps(notebook))


def another_kernel(path: Path, release: Path) -> None:
    """A kernel of its own: a shell command named in the notebook's metadata."""
    notebook = nbformat.read(release, as_version=4)
    notebook.metadata.kernelspec = {"name": "../../bin/sh", "display_name": "x", "language": "bash"}
    notebook.metadata.language_info = {"name": "bash"}
    nbformat.write(notebook, path)


SHAPES: dict[str, Make] = {
    make.__name__: make
    for make in (
        a_gigabyte, a_hundred_thousand_cells, nested_json, a_link_to_the_sources, a_pipe,
        twice_the_cells, emptied_tests, tests_called_solutions, another_kernel,
    )
}  # fmt: skip
