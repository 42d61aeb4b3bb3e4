"""An assignment as plain data: what the gradebook knows of its cells, read once for a whole class.
Whoever has a sheet needs no database. A `Sheet` answers the three questions that nbgrader's
OverwriteCells asks of a gradebook, so that its own rules restore the cells of a submission.
"""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry

from autograde.intake.reading import open_plain
from autograde.protect.plan import Known

_LARGEST = 64_000_000  # bytes that are read of one file
_MOST_BYTES = 1_000_000_000  # and of one folder: holes in files cost nothing to hand in
_MOST_FILES = 10_000


@dataclass(frozen=True)
class SourceCell:
    """A cell as it was handed out (with its hidden tests)."""

    name: str
    cell_type: str
    locked: bool
    source: str
    checksum: str | None


@dataclass(frozen=True)
class Cell:
    """A cell that is graded, answered, or both. `id` is its key in the gradebook."""

    id: str
    name: str
    max_score: float = 0.0


@dataclass(frozen=True)
class NotebookSheet:
    """One notebook of an assignment, with nbgrader's names for its parts."""

    id: str
    name: str
    kernelspec: str | None
    source_cells: tuple[SourceCell, ...]
    grade_cells: tuple[Cell, ...]
    solution_cells: tuple[Cell, ...]
    task_cells: tuple[Cell, ...]

    @property
    def graded(self) -> dict[str, Cell]:
        """Cells with points, by name."""
        return {cell.name: cell for cell in (*self.grade_cells, *self.task_cells)}

    @property
    def answers(self) -> dict[str, Cell]:
        """Cells that can carry a comment, by name."""
        return {cell.name: cell for cell in (*self.solution_cells, *self.task_cells)}

    def in_order(self) -> list[Cell]:
        """Cells with points, as they stand in the notebook."""
        graded = self.graded
        order = {cell.name: place for place, cell in enumerate(self.source_cells)}
        return sorted(graded.values(), key=lambda cell: order.get(cell.name, len(order)))

    def known(self) -> dict[str, Known]:
        """The instructor's own code cells, as the plan of a submission needs them."""
        tests = {c.name for c in self.grade_cells} - {c.name for c in self.solution_cells}
        return {
            cell.name: Known(cell.source, cell.name in tests)
            for cell in self.source_cells
            if cell.locked and cell.cell_type == "code"
        }


@dataclass(frozen=True)
class Sheet:
    """One assignment. `id` is its key in the gradebook."""

    id: str
    assignment: str
    notebooks: Mapping[str, NotebookSheet]

    def find_notebook(self, notebook: str, assignment: str) -> NotebookSheet:
        if notebook not in self.notebooks:
            raise MissingEntry(f"No such notebook: {assignment}/{notebook}")
        return self.notebooks[notebook]

    def find_source_cell(self, name: str, notebook: str, assignment: str) -> SourceCell:
        for cell in self.find_notebook(notebook, assignment).source_cells:
            if cell.name == name:
                return cell
        raise MissingEntry(f"No such source cell: {assignment}/{notebook}/{name}")

    def find_graded_cell(self, name: str, notebook: str, assignment: str) -> Cell:
        graded = self.find_notebook(notebook, assignment).graded
        if name not in graded:
            raise MissingEntry(f"No such graded cell: {assignment}/{notebook}/{name}")
        return graded[name]


def read_sheet(book: Gradebook, assignment: str) -> Sheet:
    """The assignment as the gradebook has it; MissingEntry if it was never generated."""
    found = book.find_assignment(assignment)
    return Sheet(
        found.id,
        assignment,
        {
            notebook.name: NotebookSheet(
                notebook.id,
                notebook.name,
                notebook.kernelspec,
                tuple(
                    SourceCell(c.name, c.cell_type, bool(c.locked), c.source, c.checksum)
                    for c in notebook.source_cells
                ),
                tuple(Cell(c.id, c.name, c.max_score) for c in notebook.grade_cells),
                tuple(Cell(c.id, c.name) for c in notebook.solution_cells),
                tuple(Cell(c.id, c.name, c.max_score) for c in notebook.task_cells),
            )
            for notebook in found.notebooks
        },
    )


def version_of(sheet: Sheet, source: Path) -> str:
    """A digest that changes with whatever decides a score: cells, points, and the source folder."""
    plain = {
        name: {**asdict(notebook), "id": "", "grade_cells": _points(notebook.grade_cells),
               "solution_cells": _points(notebook.solution_cells),
               "task_cells": _points(notebook.task_cells)}
        for name, notebook in sorted(sheet.notebooks.items())
    }  # fmt: skip
    text = json.dumps([plain, digest_of(source.resolve())], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _points(cells: tuple[Cell, ...]) -> list[tuple[str, float]]:
    return sorted((cell.name, cell.max_score) for cell in cells)


def digest_of(folder: Path) -> str:
    """A digest of a folder's plain files, names and contents; no link is followed, `folder` itself
    included. What is larger than any notebook, and all after the first gigabyte, counts by its size
    and time alone, and files past the 10,000th not at all.
    """
    total, room = hashlib.sha256(), _MOST_BYTES
    for path, about in files_in(folder):
        name = path.relative_to(folder).as_posix()
        total.update(f"{name}\0{about.st_size}\0".encode(errors="surrogateescape"))
        if not stat.S_ISREG(about.st_mode) or about.st_size > min(_LARGEST, room):
            total.update(f"{about.st_mode}\0{about.st_mtime_ns}\0".encode())
            continue
        room -= about.st_size
        try:
            with open_plain(path) as content:
                total.update(hashlib.file_digest(content, "sha256").digest())
        except OSError:
            total.update(b"unreadable")
    return total.hexdigest()


def files_in(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The first 10,000 files below a folder in a fixed order; no link is followed, and what has
    gone meanwhile is passed over.
    """
    for path in islice(_walk(folder), _MOST_FILES):
        with contextlib.suppress(OSError):
            yield path, path.lstat()


def _walk(folder: Path) -> Iterator[Path]:
    if folder.is_symlink():
        yield folder
        return
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - {".ipynb_checkpoints", "__pycache__"})
        yield from (Path(place) / name for name in sorted(names))
