"""Grades a class on all cores: workers run submissions and hand over plain marks, this process
writes them. What has been graded already, by this run's predecessor or any other, is left as it is.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from nbgrader.apps import NbGraderAPI
from sqlalchemy import Engine

from autograde import changed, classroom, early, ledger, results
from autograde.lock import only_one
from autograde.protect import kept
from autograde.results import StudentResult
from autograde.scoring import Marks
from autograde.sheet import Sheet, digest_of, files_in, read_sheet, version_of
from autograde.submission import Grader
from autograde.workers import Job, Pool, cores
from autograde.writer import StudentUnknown, Writer, automatic_scores, open_engine

_LONGEST_NAME = 200  # bytes: file systems take 255, and names of files are made of it
_GO_ON = "What is graded stays graded; run the same command to continue."


@dataclass(frozen=True)
class Watch:
    """What a caller is told while a class is graded; each is called in the caller's thread.

    `began(n)`: n submissions are to be run; `started(student)`; `finished(row)` for every student,
    also the unchanged; `pages(n)`: n feedback pages are to be made; `page(student)` one is.
    `told(sentence)`: anything else, such as that somebody else grades this course.
    """

    began: Callable[[int], None] = lambda count: None
    started: Callable[[str], None] = lambda student: None
    finished: Callable[[StudentResult], None] = lambda row: None
    pages: Callable[[int], None] = lambda count: None
    page: Callable[[str], None] = lambda student: None
    told: Callable[[str], None] = lambda sentence: None


def grade_class(
    root: Path,
    assignment: str,
    students: Sequence[str] | None = None,
    *,
    jobs: int | None = None,
    force: bool = False,
    feedback: bool = True,
    trust: bool = False,
    patience: float = 0.0,
    cluster: str | None = None,
    watch: Watch | None = None,
) -> list[StudentResult]:
    """Grade an assignment of the course in `root`: everybody who handed in, or `students`.

    `jobs` is the number of workers (all cores), `force` runs again what has not changed, `trust`
    goes without a sandbox where the machine has none, `patience` is the time in seconds to wait for
    somebody else who grades this course. `cluster` is the address of a Dask scheduler whose workers
    see the course's folder under the same path; they grade instead of this machine, in the same
    way. Returns a row for each student, in order of name.

    Raises CourseError or Busy, with one sentence, before anything is changed; CourseError also
    where the disk or the gradebook fails meanwhile.
    """
    with _in_a_sentence(), classroom.open_course(root, trust=trust) as api:
        classroom.require_assignment(api, assignment)
        classroom.require_protection(api)
        names = classroom.require_submissions(api, assignment, list(students or []))
        watch = watch or Watch()
        with only_one(Path(api.coursedir.root), patience=patience, told=watch.told):
            if not classroom.is_released(api, assignment):
                with changed.listening() as said:
                    classroom.generate(api, assignment)
                for sentence in (f"{assignment}: student version made", *said):
                    watch.told(sentence)
            with _scratch(Path(api.coursedir.root)) as scratch:
                run = _Run(api, assignment, watch, scratch, trust=trust, cluster=cluster)
                rows = run.grade(names, jobs or cores(), force=force, feedback=feedback)
    return sorted(rows, key=lambda row: row.student)


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    """What this machine refuses, a full disk for one, as an instructor needs it."""
    try:
        yield
    except BrokenPipeError:
        raise  # nobody listens to the caller any more
    except OSError as error:
        where = error.filename or "This machine"
        raise classroom.CourseError(f"{where}: {error.strerror or error}. {_GO_ON}") from error


def watch_class(
    root: Path,
    assignment: str,
    students: Sequence[str] | None = None,
    *,
    every: float = 1.0,
    rounds: int | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> Iterator[tuple[list[StudentResult], float]]:
    """Grade what arrives, as soon as it has not changed for `every` seconds; until interrupted, or
    for so many `rounds`. `options` are `grade_class`'s. Yields for each round in which something
    was graded its rows, and the seconds that it took.
    """
    with classroom.open_course(root) as api:
        classroom.require_assignment(api, assignment)
    where = api.coursedir.submitted_directory
    before: dict[str, Any] = {}
    graded: dict[str, Any] = {}
    while rounds is None or (rounds := rounds - 1) >= 0:
        now = {
            student: _stamp(classroom.step_folder(api, where, student, assignment))
            for student in classroom.submitted(api, assignment)
            if not students or student in students
        }
        ready = [s for s in now if now[s] == before.get(s) and now[s] != graded.get(s)]
        if ready:
            start = time.perf_counter()
            rows = grade_class(root, assignment, ready, watch=watch, **options)
            yield rows, time.perf_counter() - start
            graded |= {student: now[student] for student in ready}
        before = now
        time.sleep(every)


def _stamp(folder: Path) -> list[tuple[str, int, int]]:
    """What changes when a file of a submission does, without reading it."""
    return [(str(p), about.st_size, about.st_mtime_ns) for p, about in files_in(folder)]


class _Run:
    """One call of `grade_class`, with the course open and its lock held."""

    def __init__(
        self,
        api: NbGraderAPI,
        assignment: str,
        watch: Watch,
        scratch: Path,
        *,
        trust: bool,
        cluster: str | None,
    ) -> None:
        self.cluster = cluster
        self.api, self.watch, self.scratch, self.trust = api, watch, scratch, trust
        self.root = Path(api.coursedir.root)
        with api.gradebook as book:
            self.sheet = read_sheet(book, assignment)
        self.source = classroom.step_folder(api, api.coursedir.source_directory, ".", assignment)
        self.version = version_of(self.sheet, self.source)

    def grade(
        self, students: Sequence[str], workers: int, *, force: bool, feedback: bool
    ) -> list[StudentResult]:
        faults = {student: why for student in students if (why := _unusable(student))}
        nameless = [StudentResult(s, graded=False, note=why) for s, why in faults.items()]
        for row in nameless:
            self.watch.finished(row)
        students = [student for student in students if student not in faults]
        keys = {student: self._key(student) for student in students}
        course = self.api.coursedir
        # Workers are forked before this process opens the gradebook.
        with open_engine(course.db_url, course.course_id) as engine:
            with engine.begin() as connection:
                scores = automatic_scores(connection, self.sheet)
            engine.dispose()
            todo = [s for s in students if force or not self._is_done(s, keys[s], scores)]
            same = [s for s in students if s not in set(todo)]
            late = [s for s in same if feedback and not self._has_feedback(s)]
            rows = nameless + self._unchanged(engine, same)
            engine.dispose()
            if not todo and not late:
                return rows
            with self._workers(min(workers, max(len(todo), len(late)))) as pool:
                graded = self._grade(pool, engine, [("grade", s, keys[s]) for s in todo])
                rows += graded
                if feedback:
                    late += [row.student for row in graded if row.graded]
                    self._make_feedback(pool, late)
        return rows

    @contextmanager
    def _workers(self, count: int) -> Iterator[Any]:
        scratch = "" if self.cluster else str(self.scratch)
        arguments = (str(self.root), self.sheet, scratch, self.trust)
        if self.cluster:
            from autograde.cluster import ClusterPool

            with ClusterPool(self.cluster, _worker, *arguments) as pool:
                yield pool
            return
        with (
            kept.shared(early.wanted(self.source), count),
            Pool(count, _worker, *arguments) as pool,
        ):
            kept.leave_seats()
            yield pool

    def _key(self, student: str) -> str:
        course = self.api.coursedir
        folder = classroom.step_folder(
            self.api, course.submitted_directory, student, self.sheet.assignment
        )
        return ledger.key_of(digest_of(folder), self.version)

    def _is_done(self, student: str, key: str, scores: dict) -> bool:
        course = self.api.coursedir
        folder = classroom.step_folder(
            self.api, course.autograded_directory, student, self.sheet.assignment
        )
        entry = ledger.read(self.root, self.sheet.assignment, student)
        return ledger.is_current(entry, key, folder, scores.get(student, {}))

    def _has_feedback(self, student: str) -> bool:
        entry = ledger.read(self.root, self.sheet.assignment, student)
        there = classroom.has_feedback(self.api, self.sheet.assignment, student)
        return there and entry is not None and entry.feedback

    def _unchanged(self, engine: Engine, students: list[str]) -> list[StudentResult]:
        if not students:
            return []
        with engine.begin() as connection:
            found = results.class_results(connection, self.sheet)
        rows = []
        for student in students:
            entry = ledger.read(self.root, self.sheet.assignment, student)
            rows.append(results.add_run(found[student], entry, unchanged=True))
            self.watch.finished(rows[-1])
        return rows

    def _grade(self, pool: Any, engine: Engine, jobs: list[Job]) -> list[StudentResult]:
        self.watch.began(len(jobs))
        writer = Writer(self.api, engine, self.sheet)
        rows = []
        for job, marks in pool.run(jobs, started=lambda job: self.watch.started(job[1])):
            rows.append(self._write(writer, engine, job[1], marks))
            self.watch.finished(rows[-1])
        return rows

    def _write(
        self, writer: Writer, engine: Engine, student: str, marks: Marks | None
    ) -> StudentResult:
        fault = "It ended the process that graded it, twice." if marks is None else marks.fault
        if not fault:
            try:
                writer.write(marks)
            except StudentUnknown as error:
                fault = str(error)
        if fault:
            return StudentResult(student, graded=False, note=fault)
        with engine.begin() as connection:
            row = results.class_results(connection, self.sheet, [student])[student]
        entry = ledger.read(self.root, self.sheet.assignment, student)
        return results.add_run(row, entry, unchanged=False)

    def _make_feedback(self, pool: Any, students: list[str]) -> None:
        """Pages come last, when nobody writes to the gradebook."""
        self.watch.pages(len(students))
        assignment = self.sheet.assignment
        for job, staged in pool.run([("feedback", student) for student in students]):
            student = job[1]
            if staged:
                folder = classroom.step_folder(
                    self.api, self.api.coursedir.feedback_directory, student, assignment
                )
                ledger.publish(Path(staged), folder)
                if entry := ledger.read(self.root, assignment, student):
                    entry = msgspec.structs.replace(entry, feedback=True)
                    ledger.write(self.root, assignment, student, entry)
            else:
                self.watch.told(f"{student}: the feedback page could not be made")
            self.watch.page(student)


@contextmanager
def _worker(
    root: str, sheet: Sheet, scratch: str, trust: bool
) -> Iterator[Callable[[Job], object]]:
    """What each worker has: the course, its steps, a warm process. A context manager."""
    tempfile.tempdir = scratch or None
    with classroom.open_course(Path(root), trust=trust) as api:
        grader = Grader(api, sheet)
        grader.warm()

        def work(job: Job) -> object:
            if job[0] == "grade":
                return grader.grade(job[1], job[2])
            return _feedback(api, sheet.assignment, job[1])

        try:
            yield work
        finally:
            kept.close_all()


def _unusable(student: str) -> str:
    """Why nothing can be kept under this name of a folder; "" if it can."""
    try:
        length = len(student.encode())
    except UnicodeEncodeError:
        return "The name of its folder is not in UTF-8; rename it."
    return "The name of its folder is too long; rename it." if length > _LONGEST_NAME else ""


def _feedback(api: NbGraderAPI, assignment: str, student: str) -> str:
    """Make a student's pages in a folder of their own; returns it, or nothing if that failed."""
    staged = ledger.staging(Path(api.coursedir.root))
    try:
        return str(classroom.make_feedback(api, assignment, student, into=staged))
    except classroom.CourseError:
        shutil.rmtree(staged, ignore_errors=True)
        return ""


@contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """Where nbgrader's files and real kernels live while a class is graded; what an interrupted run
    left of its own is removed first. Protected submissions run in their warm process's folder.
    """
    ledger.clear_staging(root)
    note = root / ledger.FOLDER / "scratch"
    with contextlib.suppress(OSError):
        before = Path(note.read_text(encoding="utf-8"))
        if before.name.startswith("autograde-run-") and before.is_dir() and _is_mine(before):
            shutil.rmtree(before, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="autograde-run-"))
    folder.chmod(0o711)
    try:
        ledger.replace_file(note, str(folder).encode())
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        ledger.clear_staging(root)
        note.unlink(missing_ok=True)


def _is_mine(folder: Path) -> bool:
    return not folder.is_symlink() and (
        not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    )
