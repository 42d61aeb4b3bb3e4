"""An assignment whose notebooks were added, removed or renamed after work had been graded. nbgrader
refuses that before it reads a cell; `ChangingExporter`, which it makes earlier, has the gradebook
brought along first. The same for cells, and the file in which both keep what is removed, is
`autograde.changed`'s.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Assignment, Gradebook, Notebook, SubmittedNotebook
from nbgrader.converters import GenerateAssignment
from nbgrader.utils import is_grade, is_solution, is_task

from autograde import changed
from autograde.changed import Cell
from autograde.intake.cells import old_names


class ChangingExporter(NotebookExporter):
    """For `c.GenerateAssignment.exporter_class`: nbgrader's own, and what it generates may have
    other notebooks than those that were graded."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        converter = self.parent
        if isinstance(converter, GenerateAssignment):
            refuse = converter._clean_old_notebooks

            def carry_over(assignment: str, student: str) -> None:
                _carry_over(converter, assignment)
                refuse(assignment, student)

            converter._clean_old_notebooks = carry_over


def _carry_over(converter: GenerateAssignment, assignment: str) -> None:
    course = converter.coursedir
    path = changed.path_of(Path(course.root), assignment)
    source = {Path(name).stem: name for name in converter.notebooks}
    with Gradebook(course.db_url, course.course_id) as book:
        entry = book.find_assignment(assignment)
        graded = {notebook.name: notebook for notebook in entry.notebooks}
        if not entry.submissions or graded.keys() == source.keys():
            return
        new = {name: nbformat.read(source[name], as_version=4) for name in sorted(source)}
        changes = changed.compare(
            {name: _look_of_graded(notebook) for name, notebook in graded.items()},
            {name: _look_of_source(name, notebook) for name, notebook in new.items()},
            _declared(new),
        )
        for old, name in changes.renamed.items():
            _rename(book, graded[old], name, path)
        lost = {name: _remove(book, graded[name], path) for name in changes.removed}
        for name in changes.added:
            _add(book, entry, name, new[name], path)
    changed.say(converter.log, changed.sentence(assignment, changes, lost, path))


def _rename(book: Gradebook, notebook: Notebook, name: str, path: Path) -> None:
    old, record = notebook.name, changed.read(path, notebook.name)
    record.kept = {**changed.read(path, name).kept, **record.kept}
    record.formerly = [*record.formerly, old]
    # First the file, then the gradebook, as with everything that is kept.
    changed.write(path, name, record)
    notebook.name = name
    book.db.commit()
    changed.write(path, old, None)


def _remove(book: Gradebook, notebook: Notebook, path: Path) -> int:
    """Move all that students have in a notebook to the file; returns how many points and comments
    were given by hand."""
    session, record = book.db, changed.read(path, notebook.name)
    record.flagged = sorted(s.student.id for s in notebook.submissions if s.flagged)
    lost = changed.take_out(session, notebook, {}, record.kept)
    for part in (*notebook.source_cells, *notebook.submissions):
        session.delete(part)
    session.flush()
    session.expire_all()
    changed.write(path, notebook.name, record)
    session.delete(notebook)
    session.commit()
    return sum(lost.values())


def _add(book: Gradebook, entry: Assignment, name: str, nb: NotebookNode, path: Path) -> None:
    """Enter an empty notebook for everybody who was graded; its cells, and what students had in
    them if it returns, come as those that are added to a notebook do."""
    flagged = changed.read(path, name).flagged
    kernel = json.dumps(nb.metadata.get("kernelspec", {}))
    notebook = Notebook(name=name, assignment=entry, kernelspec=kernel)
    for submission in entry.submissions:
        book.db.add(
            SubmittedNotebook(
                notebook=notebook, assignment=submission, flagged=submission.student.id in flagged
            )
        )
    book.db.commit()


def _declared(source: Mapping[str, NotebookNode]) -> dict[str, str]:
    """Old names that the source itself states: `"autograde": {"formerly": "old"}`."""
    return {old: name for name, nb in source.items() for old in old_names(nb.metadata)}


def _look_of_graded(notebook: Notebook) -> Cell:
    answers = {cell.name for cell in notebook.solution_cells}
    tests = {cell.name for cell in notebook.grade_cells} - answers
    graded = [cell.name for cell in (*notebook.grade_cells, *notebook.task_cells)]
    texts = {cell.name: cell.source for cell in notebook.source_cells if cell.name in tests}
    return _look(notebook.name, {name: texts.get(name, "") for name in graded})


def _look_of_source(name: str, nb: NotebookNode) -> Cell:
    graded = {}
    for cell in nb.cells:
        if is_grade(cell) or is_task(cell):
            is_test = not is_solution(cell) and not is_task(cell)
            graded[cell.metadata.nbgrader.grade_id] = cell.source if is_test else ""
    return _look(name, graded)


def _look(name: str, graded: Mapping[str, str]) -> Cell:
    """What a notebook is recognised by: its graded cells and the text of its tests. Without a test
    it is like no other."""
    return frozenset(), "" if any(graded.values()) else name, repr(sorted(graded.items()))
