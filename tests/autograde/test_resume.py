"""The grader killed at any instant: the next run goes on, and the gradebook is the same. By default
a few instants are tried; MLSYS_EXHAUSTIVE=1 tries fifty.
"""

import os
import random
import shutil
import time
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import nbformat
import pytest
from gradebooks import files_of, rows_of
from grading import apart, grade, grade_and_tell, started
from submissions import KINDS, PA0
from test_parallel import HONEST, ungraded

from autograde import ledger
from autograde.parallel import Watch, grade_class

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

INSTANTS = 50 if os.environ.get("MLSYS_EXHAUSTIVE") else 2


@pytest.fixture(scope="module")
def whole(graded_class, tmp_path_factory):
    """The honest class never interrupted, and the course as it was before."""
    folder = tmp_path_factory.mktemp("resume")
    before = ungraded(graded_class, folder / "before")
    shutil.rmtree(before / "submitted" / "endless")
    course = folder / "whole"
    shutil.copytree(before, course)
    grade(course, jobs=2, feedback=False)
    return before, course


def killed_after(course: Path, events: int, seconds: float) -> bool:
    """Grade in a process of its own and kill it so long after so much was told; whether it was
    running. What it is told of falls into the grading, on a slow machine and on a fast one.
    """
    with started(grade_and_tell, course, jobs=2) as (grader, channel):
        try:
            for _ in range(events):
                channel.recv()
        except EOFError:
            seconds = 60
        grader.join(seconds)
        if running := grader.is_alive():
            grader.kill()
            grader.join()
        else:
            assert grader.exitcode == 0
    return running


def test_a_class_interrupted_at_random_instants_ends_with_the_same_gradebook(whole, tmp_path):
    """The same class is killed again and again until it is done, then another."""
    before, course = whole
    chance = random.Random(5780)

    def fresh(number: int) -> Path:
        return Path(shutil.copytree(before, tmp_path / f"{number}"))

    def is_the_same(here: Path) -> None:
        assert rows_of(here) == rows_of(course)
        assert files_of(here) == files_of(course)
        assert {path.name for path in (here / ledger.FOLDER).iterdir()} <= {"lock", "reports"}

    here, killed, tried = fresh(0), 0, 0
    while killed < INSTANTS:
        tried += 1
        assert tried < 3 * INSTANTS + 10
        if killed_after(here, chance.randint(1, 3), chance.uniform(0, 0.5)):
            killed += 1
            half = files_of(here) if (here / "autograded").is_dir() else {}
            assert half.items() <= files_of(course).items()  # what is there is whole
        else:
            is_the_same(here)
            shutil.rmtree(here)
            here = fresh(tried)
    grade(here, jobs=2, feedback=False)
    is_the_same(here)


def grade_and_end_at(channel: Connection, course: Path, module: str, step: str) -> None:
    """Grade, in a process that ends where it would take this step."""

    def end(*about: object, **options: object) -> None:
        os._exit(9)

    setattr(import_module(module), step, end)
    grade_class(course, PA0, ["partly"], jobs=1, feedback=False)


@pytest.mark.parametrize(
    ("module", "step"),
    [
        ("autograde.ledger", "publish"),
        ("autograde.ledger", "write"),
        ("autograde.results", "add_run"),
    ],
)
def test_a_run_stopped_between_any_two_writes_is_completed_by_the_next(
    whole, tmp_path, module, step
):
    before, course = whole
    here = tmp_path / "course"
    shutil.copytree(before, here)
    with started(grade_and_end_at, here, module, step) as (grader, _):
        grader.join(60)
        assert grader.exitcode == 9
    ran = grade(here, ["partly"], jobs=1, feedback=False).ran
    assert ran == ([] if step == "add_run" else ["partly"])
    assert rows_of(here)["partly"] == rows_of(course)["partly"]


def test_a_publication_cut_in_half_is_mended(whole, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(whole[1], course)
    graded = course / "autograded" / "late" / PA0 / f"{PA0}.ipynb"
    text = graded.read_bytes()
    graded.chmod(0o644)
    graded.write_bytes(text[: len(text) // 2])
    assert grade(course, jobs=1, feedback=False).ran == ["late"]
    assert graded.read_bytes() == text


def test_grades_lost_from_the_gradebook_are_made_again(whole, tmp_path):
    before, course = whole
    here = tmp_path / "course"
    shutil.copytree(course, here)
    shutil.copy(before / "gradebook.db", here / "gradebook.db")  # an old copy put back
    grade(here, ["late", "partly"], jobs=2, feedback=False)
    expected = rows_of(course)
    assert rows_of(here) == {student: expected[student] for student in ("late", "partly")}


def grade_one_and_interrupt(course: Path) -> None:
    def interrupt(row: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grade_class(course, PA0, jobs=2, feedback=False, watch=Watch(finished=interrupt))


def test_an_interrupt_ends_the_workers_and_keeps_what_is_done(whole, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(whole[0], course)
    apart(grade_one_and_interrupt, course)
    graded = rows_of(course)
    assert len(graded) == 1
    for student in graded:
        assert nbformat.read(course / "autograded" / student / PA0 / f"{PA0}.ipynb", 4)
    assert set(graded) < set(KINDS) & set(HONEST)
    stop = time.monotonic() + 10
    staging = course / ledger.FOLDER / "staging"
    while staging.exists() and time.monotonic() < stop:
        time.sleep(0.05)
    assert not staging.exists()
