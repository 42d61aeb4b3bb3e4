"""Steps for nbgrader: `ProtectedExecute` takes the place of its Execute, and runs a submission's
cells and tests in separate confined processes; `SaveScores` takes the place of SaveAutoGrades, and
leaves to a person what could not be judged; `LintTests` reads an instructor's tests when an
assignment is generated. Command line, gradebook, formgrader and feedback stay nbgrader's.

Under nbgrader's own command they ask and fill the gradebook. In a worker of `autograde.parallel`
there is none: the assignment lies in `resources["sheet"]`, the marks go to `resources["marks"]`.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import nbformat
from nbconvert.exporters.exporter import ResourcesDict
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.coursedir import CourseDirectory
from nbgrader.nbgraderformat import MetadataValidator, ValidationError
from nbgrader.preprocessors import CheckCellMetadata, Execute, NbGraderPreprocessor, SaveAutoGrades
from traitlets import Bool, Integer, List, Unicode
from traitlets.log import get_logger

from autograde import ledger, sandbox
from autograde.outputs import record
from autograde.protect import kept
from autograde.protect.analysis import lint
from autograde.protect.plan import (
    Course,
    Known,
    course_without_source,
    plan,
    plan_for_kernel,
    read_course,
)
from autograde.protect.supervisor import Bounds, Session
from autograde.protect.warm import Line
from autograde.provisioner import needs
from autograde.scoring import NotebookMarks, marks_of
from autograde.sheet import Sheet, digest_of, read_sheet, version_of

if TYPE_CHECKING:
    from autograde.provisioner.session import KernelSession

_courses: dict[tuple[Path, int], Course] = {}
_kernels: dict[tuple[Path, int], tuple[str, bool]] = {}
_known: dict[tuple[str, Path, int], dict[str, Known]] = {}
_valid: set[tuple[str, str]] = set()
_lock = threading.Lock()


class ProtectedExecute(Execute):
    """Runs the student's cells in a sandbox and the tests outside of it."""

    memory = Integer(4_000_000_000, help="Bytes of memory of a submission.").tag(config=True)
    processes = Integer(64, help="Processes and threads of a submission.").tag(config=True)
    folder_bytes = Integer(500_000_000, help="Bytes a submission may write.").tag(config=True)
    restarts = Integer(5, help="How often an ended submission goes on.").tag(config=True)
    real_kernel = Bool(
        False,
        help="Run each notebook in a sandboxed Jupyter kernel of its own, and its tests there too, "
        "unprotected. What is not Python runs so in any case.",
    ).tag(config=True)
    kernel_readable = List(
        Unicode(), help="Folders that a real kernel may read beside its own program's."
    ).tag(config=True)
    trust_submissions = Bool(
        False, help="Grade although this machine's sandbox lacks a layer that matters."
    ).tag(config=True)

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict, km: Any = None
    ) -> tuple[NotebookNode, ResourcesDict]:
        rows = _doctor()
        if not self.trust_submissions and not sandbox.is_enough(rows):
            raise sandbox.SandboxError(sandbox.what_is_missing(rows))
        known = self._known(resources)
        source = self._source(resources)
        kernel = self._kernel(resources)
        seconds = float(self.timeout or 30)
        required = tuple(
            row.layer for row in rows if row.works and row.layer in ("user", "landlock", "seccomp")
        )
        bounds = Bounds(
            memory=self.memory,
            processes=self.processes,
            folder_bytes=self.folder_bytes,
            restarts=self.restarts,
            required=("limits", *required),
        )
        report: dict[str, Any] = {
            **{part: {} for part in ("review", "events", "seconds", "checks")},
            "unprotected": [],
        }
        resources["autograde"] = report
        files = Path(resources.get("metadata", {}).get("path") or ".")
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        session: Session | KernelSession
        if kernel is not None:
            session = self._kernel_session(kernel, files, bounds)
            report["kernel"] = kernel
            steps = plan_for_kernel(nb, known, seconds=seconds)
        else:
            course = self._course(source) if source else course_without_source(nb, known)
            session = Session(
                _line(course.imports),
                course.names,
                files=files,
                helpers=source.parent if source else None,
                bounds=bounds,
            )
            steps = plan(nb, course, known, seconds=seconds)
        with session:
            for place, step in steps:
                outcome = session.run(step)
                if place is not None:
                    record(nb.cells[place], place, step.test, outcome, report)
            report["layers"] = session.layers
        return nb, resources

    def _kernel_session(self, kernel: str, files: Path, bounds: Bounds) -> "KernelSession":
        from autograde.provisioner.session import KernelSession  # half a second, seldom wanted

        return KernelSession(
            kernel,
            files=files,
            bounds=bounds,
            trust=self.trust_submissions,
            readable=tuple(self.kernel_readable),
        )

    def warm(self, resources: ResourcesDict) -> None:
        """Have the warm process for a notebook's imports ready before its first submission."""
        if (source := self._source(resources)) and self._kernel(resources) is None:
            _line(self._course(source).imports)

    def _file(self, folder: str, resources: ResourcesDict) -> Path:
        about, course = resources["nbgrader"], CourseDirectory(config=self.config)
        path = course.format_path(getattr(course, folder), ".", about["assignment"])
        return Path(path) / f"{about['notebook']}.ipynb"

    def _source(self, resources: ResourcesDict) -> Path | None:
        path = self._file("source_directory", resources)
        return path if path.is_file() else None

    def _kernel(self, resources: ResourcesDict) -> str | None:
        """The name of the real kernel that this notebook runs in; None for the usual way. What the
        submission says of it does not count.
        """
        path = self._source(resources) or self._file("release_directory", resources)
        if not path.is_file():
            return None
        key = (path, path.stat().st_mtime_ns)
        if key not in _kernels:
            notebook = nbformat.read(path, as_version=4)
            _kernels[key] = (needs.kernel_of(notebook), needs.wants_kernel(notebook))
        name, wanted = _kernels[key]
        return name if wanted or self.real_kernel else None

    def _course(self, path: Path) -> Course:
        key = (path, path.stat().st_mtime_ns)
        if key not in _courses:
            _courses[key] = read_course(nbformat.read(path, as_version=4))
        return _courses[key]

    def _known(self, resources: ResourcesDict) -> Mapping[str, Known]:
        """The instructor's own cells as the gradebook has them, by grade id. They change only when
        the assignment is generated anew, which writes the released notebook.
        """
        about = resources["nbgrader"]
        if "sheet" in resources:
            return resources["sheet"].notebooks[about["notebook"]].known()
        released = self._file("release_directory", resources)
        key = (about["db_url"], released, released.stat().st_mtime_ns if released.is_file() else 0)
        if key in _known:
            return _known[key]
        with Gradebook(about["db_url"]) as book:
            sheet = read_sheet(book, about["assignment"])
            found = sheet.find_notebook(about["notebook"], about["assignment"]).known()
        if released.is_file():
            _known[key] = found
        return found


def _doctor() -> list[sandbox.Row]:
    with _lock:
        if not hasattr(_doctor, "rows"):
            _doctor.rows = sandbox.doctor()
        return _doctor.rows


def _line(imports: tuple[str, ...]) -> Line:
    """A line to the warm process for these imports, which is started when it is first needed."""
    line = kept.line_for(imports)
    if line.about()["threads"] > 1:
        get_logger().warning(
            "Importing %s starts threads; a submission may hang that needs them.",
            ", ".join(imports),
        )
    return line


class SaveScores(SaveAutoGrades):
    """nbgrader's scores, written at once instead of cell by cell; what could not be judged waits
    for a person instead of getting 0."""

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        about, report = resources["nbgrader"], resources.get("autograde", {})
        taken = resources.get("autograde_intake", {})
        judged = not (taken.get("quarantined") or taken.get("damaged"))
        marks = marks_of(about["notebook"], nb, report, self.log, judged=judged)
        if "sheet" in resources:
            resources["marks"] = marks
            return nb, resources
        with Gradebook(about["db_url"]) as book:
            submitted = book.find_submission_notebook(
                about["notebook"], about["assignment"], about["student"]
            )
            source = submitted.notebook
            cells = [*source.grade_cells, *source.solution_cells, *source.task_cells]
            names = {cell.id: cell.name for cell in cells}
            grades = {names[grade.cell_id]: grade for grade in submitted.grades}
            comments = {names[comment.cell_id]: comment for comment in submitted.comments}
            for name, score in marks.scores.items():
                grade = _entry(grades, name)
                grade.auto_score = score
                # A score given by hand, and what no machine can judge, is a person's to confirm.
                grade.needs_manual_grade = grade.manual_score is not None or score is None
            for name, comment in marks.comments.items():
                _entry(comments, name).auto_comment = comment
            book.db.commit()
            sheet = read_sheet(book, about["assignment"])
        self._remember(nb, marks, sheet, about, taken)
        return nb, resources

    def _remember(
        self,
        nb: NotebookNode,
        marks: NotebookMarks,
        sheet: Sheet,
        about: Mapping[str, str],
        taken: Mapping[str, Any],
    ) -> None:
        """Enter in the ledger what this run will have written, so that none repeats it."""
        course = CourseDirectory(config=self.config)
        student, assignment = about["student"], about["assignment"]
        handed_in = Path(course.format_path(course.submitted_directory, student, assignment))
        source = Path(course.format_path(course.source_directory, ".", assignment))
        key = ledger.key_of(digest_of(handed_in), version_of(sheet, source))
        root = Path(course.root)
        before = ledger.read(root, assignment, student)
        if before is None or before.key != key:
            before = ledger.Entry(key)
        name = about["notebook"]
        output = hashlib.sha256(f"{nbformat.writes(nb)}\n".encode()).hexdigest()
        entry = msgspec.structs.replace(
            before,
            outputs={**before.outputs, f"{name}.ipynb": output},
            scores={**before.scores, name: dict(marks.scores)},
            reports={**before.reports, name: dict(marks.report)},
            repairs=tuple(dict.fromkeys([*before.repairs, *taken.get("repairs", ())])),
            quarantined=taken.get("quarantined", ""),
            feedback=False,
        )
        ledger.write(root, assignment, student, entry)


def _entry(entries: dict[str, Any], name: str | None) -> Any:
    if name not in entries:
        raise MissingEntry(f"No such cell in the gradebook: {name}")
    return entries[name]


class _Validator(MetadataValidator):
    """Checks each metadata once: a class hands in the same ones again and again."""

    def validate_cell(self, cell: NotebookNode) -> None:
        key = (cell.cell_type, json.dumps(cell.metadata.get("nbgrader"), sort_keys=True))
        if key in _valid:
            return
        super().validate_cell(cell)
        if len(_valid) < 100_000:
            _valid.add(key)


class CheckMetadata(CheckCellMetadata):
    """nbgrader's check of its metadata, without checking the schema itself for each cell."""

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        try:
            _Validator().validate_nb(nb)
        except ValidationError:
            return super().preprocess(nb, resources)  # which says what is wrong
        return nb, resources


class LintTests(NbGraderPreprocessor):
    """Warns, when an assignment is generated, of tests that cannot run outside the student's
    process or that a submission could fool, and says how to write them."""

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        for finding in lint(nb):
            self.log.warning("%s", finding)
        return nb, resources
