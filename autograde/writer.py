"""The one process that writes: it owns the gradebook while a class is graded, takes marks from the
workers as plain data, and makes of each submission one transaction. Then it publishes the graded
notebook and, last, the ledger's entry; stopped anywhere between, a later run does the rest again
and ends with the same gradebook.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from nbgrader import utils
from nbgrader.api import (
    Assignment,
    Base,
    Comment,
    Grade,
    Gradebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.apps import NbGraderAPI
from nbgrader.converters import Autograde
from nbgrader.dbutil import ALEMBIC_DIR
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    insert,
    make_url,
    select,
    update,
)
from traitlets.utils.importstring import import_item

from autograde import ledger
from autograde.scoring import Marks
from autograde.sheet import NotebookSheet, Sheet

_STUDENT, _SUBMISSION = Student.__table__, SubmittedAssignment.__table__
_NOTEBOOK, _GRADE, _COMMENT = SubmittedNotebook.__table__, Grade.__table__, Comment.__table__
_PATIENCE = 60  # seconds to wait while the formgrader, say, writes


class StudentUnknown(Exception):
    """The gradebook has no such student and may not make one."""


def make_database(db_url: str) -> None:
    """Make the gradebook's file as nbgrader does, if there is none. nbgrader starts the program
    `alembic` to learn one word of it, the version, for which that imports all of nbgrader again:
    many seconds. What is no file of SQLite's is left to nbgrader, as is a folder to put it in.
    """
    url = make_url(db_url)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return
    path = Path(url.database)
    if path.exists() or not path.parent.is_dir():
        return
    from alembic.script import ScriptDirectory  # wanted once in the life of a course

    version = ScriptDirectory(ALEMBIC_DIR).get_current_head()
    with TemporaryDirectory(dir=path.parent, prefix=".gradebook-") as folder:
        partial = Path(folder) / path.name
        engine = create_engine(URL.create("sqlite", database=str(partial)))
        with engine.begin() as connection:
            Base.metadata.create_all(connection)
            connection.exec_driver_sql(
                "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"
            )
            connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (version,))
        engine.dispose()
        try:
            path.hardlink_to(partial)
        except FileExistsError:
            pass  # somebody else was quicker
        except OSError:  # a disk without links
            if not path.exists():
                partial.rename(path)


@contextmanager
def open_engine(db_url: str, course_id: str) -> Iterator[Engine]:
    """The gradebook's database: made if it is not there; one that is busy is waited for."""
    make_database(db_url)
    with Gradebook(db_url, course_id):
        pass
    lite = db_url.startswith("sqlite")
    engine = create_engine(db_url, connect_args={"timeout": _PATIENCE} if lite else {})
    if lite:
        # The driver would begin a transaction for reading, and fail at once if it cannot be
        # turned into one for writing; begun as one for writing, it waits.
        @event.listens_for(engine, "connect")
        def _(connection: Any, record: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def _(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        yield engine
    finally:
        engine.dispose()


class Writer:
    """Writes marks of one assignment."""

    def __init__(self, api: NbGraderAPI, engine: Engine, sheet: Sheet) -> None:
        self.engine, self.sheet, self.course = engine, sheet, api.coursedir
        self.root = Path(self.course.root)
        converter = Autograde(coursedir=self.course, parent=api)
        self.create_student: bool = converter.create_student
        named = converter.autograde_preprocessors
        steps = [import_item(step) if isinstance(step, str) else step for step in named]
        late = [s for s in steps if isinstance(s, type) and issubclass(s, AssignLatePenalties)]
        self.penalties = late[0](parent=converter) if late else None
        if self.penalties:
            self.penalties.init_plugin()

    def write(self, marks: Marks) -> None:
        """Gradebook, graded notebook, ledger: in this order."""
        with self.engine.begin() as connection:
            submission = self._submission(connection, marks)
            for notebook in self.sheet.notebooks.values():
                self._notebook(connection, submission, notebook, marks)
        staged = Path(marks.staged)
        outputs = ledger.outputs_in(staged)
        target = self.course.format_path(
            self.course.autograded_directory, marks.student, self.sheet.assignment
        )
        ledger.publish(staged, Path(target))
        shutil.rmtree(staged.parent, ignore_errors=True)
        entry = ledger.Entry(
            marks.key,
            outputs,
            {notebook.name: dict(notebook.scores) for notebook in marks.notebooks},
            {notebook.name: dict(notebook.report) for notebook in marks.notebooks},
            marks.repairs,
            marks.quarantined,
            marks.seconds,
        )
        ledger.write(self.root, self.sheet.assignment, marks.student, entry)

    def _submission(self, connection: Connection, marks: Marks) -> Any:
        known = select(_STUDENT.c.id).where(_STUDENT.c.id == marks.student)
        if connection.execute(known).first() is None:
            if not self.create_student:
                raise StudentUnknown(f"The gradebook has no student {marks.student!r}.")
            connection.execute(insert(_STUDENT).values(id=marks.student))
        mine = (_SUBMISSION.c.assignment_id == self.sheet.id) & (
            _SUBMISSION.c.student_id == marks.student
        )
        columns = (_SUBMISSION.c.id, _SUBMISSION.c.timestamp, _SUBMISSION.c.extension)
        stamp = {"timestamp": utils.parse_utc(marks.timestamp)} if marks.timestamp else {}
        if connection.execute(select(*columns).where(mine)).first() is None:
            row = {"assignment_id": self.sheet.id, "student_id": marks.student}
            connection.execute(insert(_SUBMISSION).values(**row, **stamp))
        elif stamp:
            connection.execute(update(_SUBMISSION).where(mine).values(**stamp))
        return connection.execute(select(*columns).where(mine)).one()

    def _notebook(
        self, connection: Connection, submission: Any, sheet: NotebookSheet, marks: Marks
    ) -> None:
        mine = (_NOTEBOOK.c.assignment_id == submission.id) & (_NOTEBOOK.c.notebook_id == sheet.id)
        found = connection.execute(select(_NOTEBOOK.c.id).where(mine)).scalar()
        if found is None:
            row = {"assignment_id": submission.id, "notebook_id": sheet.id}
            made = connection.execute(insert(_NOTEBOOK).values(**row))
            found = made.inserted_primary_key[0]
        given = next((n for n in marks.notebooks if n.name == sheet.name), None)
        scores = given.scores if given else {}
        rows = {
            row.cell_id: row
            for row in connection.execute(select(_GRADE).where(_GRADE.c.notebook_id == found))
        }
        new, changed = [], []
        for name, cell in sheet.graded.items():
            row = rows.get(cell.id)
            if given is None:
                values = {"auto_score": 0.0, "needs_manual_grade": False}
            elif name in scores:
                by_hand = row is not None and row.manual_score is not None
                waits = by_hand or scores[name] is None
                values = {"auto_score": scores[name], "needs_manual_grade": waits}
            else:  # the cell was deleted: as nbgrader does, keep what is there
                values = {}
            if row is None:
                blank = {"auto_score": None, "needs_manual_grade": True}
                new.append({"notebook_id": found, "cell_id": cell.id, **blank, **values})
            elif any(getattr(row, column) != value for column, value in values.items()):
                changed.append((row.id, values))
        if new:
            connection.execute(insert(_GRADE), new)
        for key, values in changed:
            connection.execute(update(_GRADE).where(_GRADE.c.id == key).values(**values))
        self._comments(connection, found, sheet, given.comments if given else {})
        penalty = self._penalty(connection, found, submission, marks.student)
        if given is not None:
            connection.execute(
                update(_NOTEBOOK)
                .where(_NOTEBOOK.c.id == found)
                .values(late_submission_penalty=penalty)
            )

    def _comments(
        self,
        connection: Connection,
        notebook: str,
        sheet: NotebookSheet,
        comments: Mapping[str, str | None],
    ) -> None:
        table = _COMMENT
        rows = {
            row.cell_id: row
            for row in connection.execute(select(table).where(table.c.notebook_id == notebook))
        }
        new = []
        for name, cell in sheet.answers.items():
            text = comments.get(name)
            row = rows.get(cell.id)
            if row is None:
                new.append({"notebook_id": notebook, "cell_id": cell.id, "auto_comment": text})
            elif name in comments and row.auto_comment != text:
                mine = update(table).where(table.c.id == row.id)
                connection.execute(mine.values(auto_comment=text))
        if new:
            connection.execute(insert(table), new)

    def _penalty(
        self, connection: Connection, notebook: str, submission: Any, student: str
    ) -> float | None:
        """What lateness costs, by the course's own rule; None where it costs nothing."""
        assignment = Assignment.__table__
        due = connection.execute(
            select(assignment.c.duedate).where(assignment.c.id == self.sheet.id)
        ).scalar()
        late = seconds_late(due, submission.timestamp, submission.extension)
        if not late or self.penalties is None:
            return None
        score = connection.execute(
            select(SubmittedNotebook.score).where(_NOTEBOOK.c.id == notebook)
        ).scalar()
        penalty = self.penalties.plugin_inst.late_submission_penalty(student, score, late)
        if penalty is None:
            return None
        return self.penalties._check_late_penalty(SimpleNamespace(score=score), penalty)


def seconds_late(
    due: datetime | None, handed_in: datetime | None, extension: timedelta | None
) -> float:
    """nbgrader's rule: without a date on both sides nothing is late."""
    if due is None or handed_in is None:
        return 0.0
    return max(0.0, (handed_in - due - (extension or timedelta())).total_seconds())


def automatic_scores(
    connection: Connection, sheet: Sheet, students: Iterable[str] | None = None
) -> dict[str, dict[str, dict[str, float | None]]]:
    """What the gradebook holds as automatic scores: by student, notebook and cell."""
    names = {
        cell.id: (notebook.name, cell.name)
        for notebook in sheet.notebooks.values()
        for cell in notebook.graded.values()
    }
    query = (
        select(_SUBMISSION.c.student_id, _GRADE.c.cell_id, _GRADE.c.auto_score)
        .join(_NOTEBOOK, _NOTEBOOK.c.assignment_id == _SUBMISSION.c.id)
        .join(_GRADE, _GRADE.c.notebook_id == _NOTEBOOK.c.id)
        .where(_SUBMISSION.c.assignment_id == sheet.id)
    )
    if students is not None:
        query = query.where(_SUBMISSION.c.student_id.in_(list(students)))
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for student, cell, score in connection.execute(query):
        if cell in names:
            notebook, name = names[cell]
            found.setdefault(student, {}).setdefault(notebook, {})[name] = score
    return found
