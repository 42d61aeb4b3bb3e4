"""Several people at one course: real processes that start at the same moment, and every row of the
gradebook that is left. What must happen first is waited for by the gradebook itself: whoever grades
cannot begin while the test writes to it.
"""

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from gradebooks import files_of, rows_of
from grading import grade, grade_and_tell, started
from submissions import KINDS, PA0, hand_in_kind, limit_cells, open_api

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

STUDENTS = ["empty", "partly", "perfect"]
Run = tuple[subprocess.Popen[bytes], Path, Path]  # what it writes to standard output and error
DEADLINE = 300  # seconds, for a machine that does much else


@pytest.fixture(scope="module")
def alone(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The class, graded by one run that nobody disturbs."""
    course = class_in(generated, tmp_path_factory.mktemp("alone"))
    grade(course, jobs=1, feedback=False)
    return course


def test_of_three_who_start_at_once_one_grades_one_is_refused_and_one_waits(
    generated, alone, tmp_path
):
    course = class_in(generated, tmp_path)
    with gradebook_held(course) as free, ExitStack() as ended:
        runs = [
            ended.enter_context(a_run(course, tmp_path / f"{number}", *words))
            for number, words in enumerate([[], [], ["--wait", f"{DEADLINE}"]])
        ]
        until(lambda: sum(has_spoken(run) for run in runs) == 2)
        free()
        for process, _, _ in runs:
            process.wait(DEADLINE)
        outcomes = [outcome(run) for run in runs]
    assert sorted(outcomes[:2], key=str) in (
        [("graded", STUDENTS), ("refused", [])],
        [("refused", []), ("refused", [])],
    )
    waited = ("graded", STUDENTS) in outcomes[:2]
    assert outcomes[2] == ("unchanged" if waited else "graded", STUDENTS)
    assert rows_of(course) == rows_of(alone)
    assert files_of(course) == files_of(alone)


def test_nbgrader_autograde_is_refused_while_a_run_goes_on(generated, alone, tmp_path):
    course = class_in(generated, tmp_path)
    with gradebook_held(course) as free, a_run(course, tmp_path / "run") as (run, _, _):
        until((course / ".autograde" / "owner.json").exists)
        plain = subprocess.run(
            [sys.executable, "-m", "nbgrader", "autograde", PA0],
            cwd=course, capture_output=True, text=True, timeout=DEADLINE,
        )  # fmt: skip
        free()
        assert run.wait(DEADLINE) == 0
    assert plain.returncode != 0
    assert f"Process {run.pid} on " in plain.stderr
    assert "Traceback" not in plain.stderr
    assert rows_of(course) == rows_of(alone)
    assert files_of(course) == files_of(alone)


def test_points_given_by_hand_while_a_run_writes_are_kept_and_so_are_the_runs(alone, tmp_path):
    course = Path(shutil.copytree(alone, tmp_path / "course"))
    told = {"jobs": 1, "force": True}
    with started(grade_and_tell, course, **told) as (grader, channel):
        channel.recv()  # it begins
        given = 0
        while grader.is_alive() or given < 2:
            given += 1
            for student in STUDENTS:
                give(course, student, "ten_gigabytes", given)
        grader.join()
    assert grader.exitcode == 0
    expected, found = rows_of(alone), rows_of(course)
    for student in STUDENTS:
        before = {name: rest for name, *rest in grades_of(expected[student])}
        after = {name: rest for name, *rest in grades_of(found[student])}
        auto, by_hand, *_ = after.pop("ten_gigabytes")
        assert (auto, by_hand) == (before.pop("ten_gigabytes")[0], given)
        assert after == before


def test_points_entered_on_a_page_that_was_opened_before_a_run_change_only_themselves(
    alone, tmp_path
):
    course = Path(shutil.copytree(alone, tmp_path / "course"))
    with open_api(course).gradebook as book:
        page = book.find_grade("ten_gigabytes", PA0, PA0, "partly")
        test = book.find_grade("test_top_words_more", PA0, PA0, "partly")
        assert (page.auto_score, test.auto_score) == (None, 0)
        hand_in_kind(course, "partly", KINDS["perfect"])
        grade(course, ["partly"], jobs=1, feedback=False)
        page.manual_score, page.needs_manual_grade = 7, False
        book.db.commit()
    (row,) = grade(course, ["partly"], jobs=1, feedback=False).rows
    assert (row.score, row.failed, row.note) == (84 + 7, (), "unchanged")


def class_in(generated: Path, folder: Path) -> Path:
    course = Path(shutil.copytree(generated, folder / "course"))
    limit_cells(course, seconds=DEADLINE)  # nobody's loop has no end
    for student in STUDENTS:
        hand_in_kind(course, student, KINDS[student])
    return course


@contextmanager
def a_run(course: Path, to: Path, *words: str) -> Iterator[Run]:
    """`mlsys grade run` as a process."""
    command = [sys.executable, "-m", "mlsys", "grade", "run", PA0, "--course", str(course)]
    out, errors = to.with_suffix(".out"), to.with_suffix(".err")
    with out.open("wb") as stdout, errors.open("wb") as stderr:
        process = subprocess.Popen(
            [*command, "--jobs", "1", "--json", *words], stdout=stdout, stderr=stderr
        )
    try:
        yield process, out, errors
    finally:
        process.kill()
        process.wait()


def has_spoken(run: Run) -> bool:
    """Whether this run was refused, or says that it waits."""
    process, _, errors = run
    return process.poll() is not None or b"Waiting: Process " in errors.read_bytes()


def outcome(run: Run) -> tuple[str, list[str]]:
    """What became of a run, and of which students it reports."""
    process, out, errors = run
    if process.returncode == 2:
        assert out.read_bytes() == b""
        (sentence,) = errors.read_text().splitlines()
        assert sentence.startswith("Process ")
        assert sentence.endswith("grades this course; try again when it is done.")
        return "refused", []
    assert process.returncode == 0, errors.read_text()
    told = json.loads(out.read_text())
    students = [row["student"] for row in told["students"]]
    assert told["summary"]["run"] in (0, len(students))
    return ("graded" if told["summary"]["run"] else "unchanged"), students


@contextmanager
def gradebook_held(course: Path) -> Iterator[Callable[[], None]]:
    """Write to the gradebook, as the formgrader does for an instant, until the function that this
    yields is called."""
    book = sqlite3.connect(course / "gradebook.db", isolation_level=None)
    try:
        book.execute("BEGIN IMMEDIATE")
        yield lambda: book.execute("COMMIT")
    finally:
        book.close()


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def give(course: Path, student: str, cell: str, points: float) -> None:
    """What the formgrader does when points are entered."""
    with open_api(course).gradebook as book:
        grade = book.find_grade(cell, PA0, PA0, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        book.db.commit()


def grades_of(row: dict) -> list[tuple]:
    return row["notebooks"][PA0]["grades"]
