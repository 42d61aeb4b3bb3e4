"""Courses and submissions to grade in tests. A course is a temporary copy of the workbook's own
source; a submission starts from its released notebook, as a student's does, and is changed cell by
cell. `make_course` and `hand_in` are what other tests of the grader need; `KINDS` are the students.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import nbformat

REPOSITORY = Path(__file__).parents[2]
PA0 = "pa0_python_warm_up"
ANSWER = "merge_streams holds every pair twice, so memory ends first."
SOURCES = "My neighbour, and the page on heapq."

# A list instead of a generator: right on lists, too late on a stream.
EAGER_MEAN = """
def running_mean(values, window):
    values = list(values)
    heads = [values[max(0, i - window + 1) : i + 1] for i in range(len(values))]
    return [sum(head) / len(head) for head in heads]
"""
# Right but for ties, and for more words than there are.
TIES_AS_THEY_COME = """
def top_words(messages, k):
    words = [w.strip(string.punctuation) for m in messages for w in m.lower().split()]
    return Counter(w for w in words if w).most_common(k)
"""
CRASHING_LEVELS = """
def count_levels(lines):
    counts = {}
    for line in lines:
        counts[line.split()[1]] = counts.get(line.split()[1], 0) + 1
    return counts
"""
NO_PYTHON = """
def longest_healthy_run(pings):
    return (0, 0
"""
NEVER_STOPS = """
def merge_streams(streams):
    while True:
        pass
"""

DUE = datetime(2026, 10, 1, 12, 0)
FUNCTIONS = {
    "count_levels": (5, 5),
    "longest_healthy_run": (5, 5),
    "running_mean": (6, 8),
    "top_words": (6, 6),
    "read_readings": (6, 8),
    "merge_streams": (6, 6),
    "config_problems": (6, 6),
}
"""Points of PA0's functions: the visible test cell, and the one that is filled in for grading."""


@dataclass(frozen=True)
class Kind:
    """One student: what stands in which cell, what that must lose, and when it was handed in.

    `solves` takes the reference solution for all that `cells` does not name; `loses` names the
    test cells that must get 0; `answers` says whether sources and the written answer are there.
    """

    cells: Mapping[str, str] = field(default_factory=dict)
    solves: bool = True
    loses: tuple[str, ...] = ()
    answers: bool = True
    at: datetime = DUE - timedelta(days=1)

    def scores(self) -> dict[str, float | None]:
        """The score that the grader must give to each cell; None where a person decides."""
        by_person = None if self.answers else 0
        scores: dict[str, float | None] = {"sources": by_person, "ten_gigabytes": by_person}
        for name, points in FUNCTIONS.items():
            for cell, worth in zip((f"test_{name}", f"test_{name}_more"), points):
                scores[cell] = 0 if cell in self.loses or not self.solves else worth
        return scores


KINDS = {
    "perfect": Kind(),
    "partly": Kind(
        {"running_mean": EAGER_MEAN, "top_words": TIES_AS_THEY_COME},
        loses=("test_running_mean", "test_running_mean_more", "test_top_words_more"),
    ),
    "erroring": Kind(
        {"count_levels": CRASHING_LEVELS, "longest_healthy_run": NO_PYTHON},
        loses=(
            "test_count_levels",
            "test_count_levels_more",
            "test_longest_healthy_run",
            "test_longest_healthy_run_more",
        ),
        answers=False,
    ),
    "empty": Kind(solves=False, answers=False),
    "late": Kind(at=DUE + timedelta(minutes=90)),
    "endless": Kind(
        {"merge_streams": NEVER_STOPS}, loses=("test_merge_streams", "test_merge_streams_more")
    ),
    "written_only": Kind(solves=False),
}


def make_course(root: Path, *, cell_seconds: int = 10) -> Path:
    """A copy of the workbook's course, nothing generated yet; returns `root`."""
    course = REPOSITORY / "autograde" / "course"
    shutil.copytree(course / "source", root / "source")
    shutil.copy(course / "nbgrader_config.py", root)
    limit_cells(root, seconds=cell_seconds)
    return root


def limit_cells(course: Path, *, seconds: int) -> None:
    """The time that each cell may take, from now on."""
    with (course / "nbgrader_config.py").open("a", encoding="utf-8") as config:
        config.write(f"\nc.ExecutePreprocessor.timeout = {seconds}\n")


def open_api(course: Path):
    """nbgrader's own API on a course, with nothing of ours between."""
    from nbgrader.apps import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def source_notebook(course: Path) -> Path:
    return course / "source" / PA0 / f"{PA0}.ipynb"


def released_notebook(course: Path) -> Path:
    return course / "release" / PA0 / f"{PA0}.ipynb"


def submitted_notebook(course: Path, student: str) -> Path:
    return course / "submitted" / student / PA0 / f"{PA0}.ipynb"


def cells_by_id(notebook: Path) -> dict[str, str]:
    """The source of each cell that nbgrader knows, by its grade id."""
    cells = nbformat.read(notebook, as_version=4).cells
    return {c.metadata.nbgrader.grade_id: c.source for c in cells if "nbgrader" in c.metadata}


def reference_solutions(course: Path) -> dict[str, str]:
    """The cells with which a perfect student fills the stubs."""
    source = cells_by_id(source_notebook(course))
    return {name: source[name] for name in FUNCTIONS}


def hand_in(
    course: Path, student: str, cells: Mapping[str, str], *, at: datetime | None = None
) -> Path:
    """Put the released notebook with `cells` changed where nbgrader collects it."""
    notebook = nbformat.read(released_notebook(course), as_version=4)
    by_id = {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}
    for name, source in cells.items():
        by_id[name].source = source.strip("\n")
    path = submitted_notebook(course, student)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    if at is not None:
        (path.parent / "timestamp.txt").write_text(f"{at:%Y-%m-%d %H:%M:%S} UTC")
    return path


def hand_in_kind(course: Path, student: str, kind: Kind) -> Path:
    """Hand in what a student of this kind would; the course must have been generated."""
    cells = reference_solutions(course) if kind.solves else {}
    if kind.answers:
        cells |= {"sources": SOURCES, "ten_gigabytes": ANSWER}
    return hand_in(course, student, {**cells, **kind.cells}, at=kind.at)
