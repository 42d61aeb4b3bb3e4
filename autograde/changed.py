"""An assignment whose cells were added, removed or renamed after work had been graded. nbgrader's
SaveCells refuses that; `SaveChangedCells`, in its place, brings the gradebook along: a renamed cell
keeps its grades and comments, a new one waits for the next run, and what a removed one held is put
into a file, from which it returns if the cell does. Grading anew is the next run's task.

The file is COURSE/.autograde/changes/ASSIGNMENT.json. It remembers new names too, and the released
cell carries its old ones, so that work which was handed in before finds its place.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from logging import Logger
from pathlib import Path
from typing import Any

from nbformat.notebooknode import NotebookNode
from nbgrader.api import (
    Comment,
    Grade,
    GradeCell,
    MissingEntry,
    Notebook,
    SolutionCell,
    SourceCell,
    TaskCell,
)
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import SaveCells
from sqlalchemy.orm import Session

from autograde import ledger
from autograde.intake.cells import old_names

_heard: list[list[str]] = []
_BY_HAND = ("manual_score", "extra_credit", "manual_comment")
# Each kind of cell: its table, and which of a student's rows hang on it.
_KINDS = {
    "grade": (GradeCell, (Grade,)),
    "solution": (SolutionCell, (Comment,)),
    "task": (TaskCell, (Grade, Comment)),
}
Kept = dict[str, dict[str, Any]]  # by student: the columns of a grade and of a comment


@dataclass(frozen=True)
class Changes:
    """What differs between the gradebook's cells, or notebooks, and those of the source, by name.

    `renamed` leads from the old name to the new; no name in it is in `added` or `removed`.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Record:
    """What is remembered of a notebook: by cell what a removed one `kept`; old names and new; what
    the notebook itself was called `formerly`; and if it was removed, for whom it was flagged."""

    kept: dict[str, Kept] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    formerly: list[str] = field(default_factory=list)
    flagged: list[str] = field(default_factory=list)

    def rename(self, renamed: Mapping[str, str], now: Set[str]) -> None:
        """Add new names; an old name that a cell has `now` stands for that cell again."""
        found = {old: renamed.get(new, new) for old, new in self.renamed.items()} | dict(renamed)
        self.renamed = {old: new for old, new in found.items() if old not in now and new in now}


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collects the sentences that say what generating an assignment changed in the gradebook."""
    said: list[str] = []
    _heard.append(said)
    try:
        yield said
    finally:
        _heard.remove(said)


def say(log: Logger, sentence: str) -> None:
    """Tell the log, and whoever listens."""
    log.warning("%s", sentence)
    for said in _heard:
        said.append(sentence)


class SaveChangedCells(SaveCells):
    """nbgrader's SaveCells, which takes cells that changed although work has been graded."""

    def _create_notebook(self, nb: NotebookNode) -> None:
        try:
            notebook = self.gradebook.find_notebook(self.notebook_id, self.assignment_id)
        except MissingEntry:
            notebook = None
        if notebook is not None and notebook.submissions:
            self._carry_over(notebook, nb)
        super()._create_notebook(nb)
        self._note_old_names(nb)

    def _note_old_names(self, nb: NotebookNode) -> None:
        record = read(self._path(), self.notebook_id)
        if record.formerly:
            about = {**nb.metadata.get("autograde", {}), "formerly": record.formerly}
            nb.metadata["autograde"] = about
        for cell in nb.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if old := sorted(a for a, b in record.renamed.items() if b == name):
                about = {**cell.metadata.get("autograde", {}), "formerly": old}
                cell.metadata["autograde"] = about

    def _path(self) -> Path:
        return path_of(Path(CourseDirectory(config=self.config).root), self.assignment_id)

    def _new(self) -> dict[str, dict[str, Any]]:
        return {
            "grade": self.new_grade_cells,
            "solution": self.new_solution_cells,
            "task": self.new_task_cells,
        }

    def _carry_over(self, notebook: Notebook, nb: NotebookNode) -> None:
        old = {cell.name: cell for cell in notebook.source_cells}
        roles = {name: self._roles_in(_cells(notebook)).get(name, frozenset()) for name in old}
        changes = compare(
            {name: (roles[name], cell.cell_type, cell.source) for name, cell in old.items()},
            {
                name: (self._roles_in(self._new()).get(name, frozenset()), cell["cell_type"],
                       cell["source"])
                for name, cell in self.new_source_cells.items()
            },
            _declared(nb),
        )  # fmt: skip
        sets_differ = any(
            set(there) != set(self._new()[k]) for k, there in _cells(notebook).items()
        )
        if not sets_differ and set(old) == set(self.new_source_cells):
            return
        path = self._path()
        record = read(path, self.notebook_id)
        self._rename(notebook, changes.renamed)
        record.rename(changes.renamed, set(self.new_source_cells))
        lost = self._remove(notebook, record.kept)
        # First the file, then the gradebook: interrupted between them, both have what is removed.
        write(path, self.notebook_id, record)
        self._add(notebook, record.kept)
        self.gradebook.db.commit()
        write(path, self.notebook_id, record)
        lost = {name: count for name, count in lost.items() if name in record.kept}
        if old:  # else the whole notebook is new, which has been said
            where = f"{self.assignment_id}/{self.notebook_id}"
            say(self.log, sentence(where, changes, lost, path))

    def _roles_in(self, cells: Mapping[str, Mapping[str, Any]]) -> dict[str, frozenset[str]]:
        names = {name for there in cells.values() for name in there}
        return {name: frozenset(k for k, there in cells.items() if name in there) for name in names}

    def _rename(self, notebook: Notebook, renamed: Mapping[str, str]) -> None:
        everywhere = [*notebook.source_cells]
        for there in _cells(notebook).values():
            everywhere += there.values()
        for cell in everywhere:
            cell.name = renamed.get(cell.name, cell.name)
        self.gradebook.db.flush()

    def _remove(self, notebook: Notebook, kept: dict[str, Kept]) -> dict[str, int]:
        session = self.gradebook.db
        lost = take_out(session, notebook, self._new(), kept)
        for cell in list(notebook.source_cells):
            if cell.name not in self.new_source_cells:
                session.delete(cell)
        session.flush()
        session.expire(notebook)
        return lost

    def _add(self, notebook: Notebook, kept: dict[str, Kept]) -> None:
        """Puts in the cells that are new, with a row for each student: as it was if there was one,
        else waiting for the next run."""
        session, here = self.gradebook.db, _cells(notebook)
        returned = set()
        for kind, cells in self._new().items():
            table, row_types = _KINDS[kind]
            for name in cells.keys() - here[kind].keys():
                about = {k: v for k, v in cells[name].items() if k in ("max_score", "cell_type")}
                cell = table(name=name, notebook=notebook, **about)
                session.add(cell)
                session.flush()
                for submission in notebook.submissions:
                    held = kept.get(name, {}).get(submission.student.id, {})
                    for row_type in row_types:
                        columns = {c: held[c] for c in _columns(row_type) if c in held}
                        session.add(row_type(cell_id=cell.id, notebook_id=submission.id, **columns))
                returned.add(name)
        known = {cell.name for cell in notebook.source_cells}
        for name in self.new_source_cells.keys() - known:
            about = {k: v for k, v in self.new_source_cells[name].items() if k != "id"}
            session.add(SourceCell(name=name, notebook=notebook, **about))
        session.flush()
        for name in returned:
            kept.pop(name, None)


def take_out(
    session: Session,
    notebook: Notebook,
    staying: Mapping[str, Collection[str]],
    kept: dict[str, Kept],
) -> dict[str, int]:
    """Take out the cells that do not stay, by kind, and move all that students have in them to
    `kept`; returns how many have points or a comment by hand in each."""
    lost = {}
    for kind, there in _cells(notebook).items():
        for name, cell in there.items():
            if name in staying.get(kind, ()):
                continue
            for row_type in _KINDS[kind][1]:
                for row in session.query(row_type).filter_by(cell_id=cell.id):
                    student = row.notebook.assignment.student_id
                    held = kept.setdefault(name, {}).setdefault(student, {})
                    held.update({c: getattr(row, c) for c in _columns(row_type)})
                    session.delete(row)
            session.flush()
            session.delete(cell)
            held = kept.get(name, {}).values()
            lost[name] = sum(any(one.get(c) is not None for c in _BY_HAND) for one in held)
    return lost


def _cells(notebook: Notebook) -> dict[str, dict[str, Any]]:
    return {
        "grade": {cell.name: cell for cell in notebook.grade_cells},
        "solution": {cell.name: cell for cell in notebook.solution_cells},
        "task": {cell.name: cell for cell in notebook.task_cells},
    }


def _columns(row_type: type) -> tuple[str, ...]:
    if row_type is Grade:
        return ("auto_score", "manual_score", "extra_credit", "needs_manual_grade")
    return ("auto_comment", "manual_comment")


def _declared(nb: NotebookNode) -> dict[str, str]:
    """Old names that the source itself states: `"autograde": {"formerly": "old"}`."""
    found = {}
    for cell in nb.cells:
        if name := cell.metadata.get("nbgrader", {}).get("grade_id"):
            found |= dict.fromkeys(old_names(cell.metadata), name)
    return found


Cell = tuple[frozenset[str], str, str]  # its kinds, code or markdown, its text


def compare(
    old: Mapping[str, Cell], new: Mapping[str, Cell], declared: Mapping[str, str]
) -> Changes:
    """What became of the cells. A cell is a renamed one if the source says so, or if exactly one
    that is gone and one that is new have the same kinds and the same text but for the name.
    """
    gone, come = old.keys() - new.keys(), new.keys() - old.keys()
    renamed = {
        a: b for a, b in declared.items() if a in gone and b in come and old[a][0] == new[b][0]
    }
    before: dict[Cell, list[str]] = {}
    after: dict[Cell, list[str]] = {}
    for cells, names, by_look in ((old, gone, before), (new, come, after)):
        for name in names:
            if name not in renamed and name not in renamed.values():
                kinds, cell_type, text = cells[name]
                look = (
                    kinds,
                    cell_type,
                    " ".join(re.sub(rf"\b{re.escape(name)}\b", "", text).split()),
                )
                by_look.setdefault(look, []).append(name)
    for look, names in before.items():
        if len(names) == 1 and len(after.get(look, ())) == 1:
            renamed[names[0]] = after[look][0]
    return Changes(
        tuple(name for name in new if name in come and name not in renamed.values()),
        tuple(name for name in sorted(gone) if name not in renamed),
        {name: renamed[name] for name in sorted(renamed)},
    )


def path_of(root: Path, assignment: str) -> Path:
    return root / ledger.FOLDER / "changes" / f"{assignment}.json"


def read(path: Path, notebook: str) -> Record:
    """What earlier changes of a notebook left; an empty record if there were none."""
    return Record(**_all(path).get(notebook, {}))


def write(path: Path, notebook: str, record: Record | None) -> None:
    """Put a notebook's record in place in one step, or forget it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {name: known for name, known in _all(path).items() if name != notebook}
    if record is not None:
        found[notebook] = asdict(record)
    ledger.replace_file(path, json.dumps(found, indent=1, sort_keys=True).encode())


def _all(path: Path) -> dict[str, dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def sentence(where: str, changes: Changes, lost: Mapping[str, int], path: Path) -> str:
    """What became of the gradebook; `lost` counts what was given by hand in all that is kept."""
    parts = []
    if changes.added:
        parts.append(f"added {', '.join(changes.added)}")
    if changes.renamed:
        named = ", ".join(f"{old} to {new}" for old, new in changes.renamed.items())
        parts.append(f"renamed {named} with all grades")
    if gone := sorted({*changes.removed, *lost}):
        by_hand = sum(lost.values())
        given = f", {by_hand} of them given by hand," if by_hand else ""
        kept = f", whose grades{given} are kept in {path} until it returns"
        parts.append(f"removed {', '.join(gone)}{kept if lost else ''}")
    what = "; ".join(parts) or "cells have other roles"
    return f"{where} was changed after work had been graded: {what}. Grade it again."
