"""A class graded by workers: the same rows and bytes as nbgrader's, nothing done twice."""

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import psutil
import pytest
from fragile import fragile
from gradebooks import files_of, rows_of
from grading import apart, grade, grade_and_tell, started
from nbgrader.api import Gradebook
from submissions import (
    DUE,
    KINDS,
    PA0,
    hand_in_kind,
    open_api,
    source_notebook,
    submitted_notebook,
)

from autograde import classroom, ledger
from autograde.lock import Busy, only_one
from autograde.parallel import Watch, grade_class, watch_class
from autograde.sandbox import kernel
from autograde.workers import Pool

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

HONEST = [name for name in KINDS if name != "endless"]


def ungraded(course: Path, to: Path) -> Path:
    """A copy of a graded course as it was before anything was graded."""
    shutil.copytree(course, to)
    for step in ("autograded", "feedback", ledger.FOLDER):
        shutil.rmtree(to / step)
    with open_api(to).gradebook as book:
        for student in [student.id for student in book.students]:
            book.remove_student(student)
    return to


@pytest.fixture(scope="module")
def by_workers(graded_class, tmp_path_factory):
    """The class of `graded_class`, graded by two workers; its rows as they came."""
    course = ungraded(graded_class, tmp_path_factory.mktemp("workers") / "course")
    return course, grade(course, HONEST, jobs=2).rows


def test_workers_write_into_the_gradebook_what_nbgrader_writes_row_by_row(graded_class, by_workers):
    expected, found = rows_of(graded_class), rows_of(by_workers[0])
    assert set(found) == set(HONEST)
    for student in set(HONEST) - {"perfect"}:  # who has points by hand in the other course
        assert found[student] == expected[student]


def test_workers_write_graded_notebooks_that_are_nbgraders_byte_for_byte(graded_class, by_workers):
    expected, found = files_of(graded_class), files_of(by_workers[0])
    mine = {path for path in expected if not path.startswith("endless/")}
    assert set(found) == mine
    for path in mine:
        assert found[path] == expected[path], path


def test_workers_make_the_feedback_that_nbgrader_makes(graded_class, by_workers):
    expected, found = (files_of(c, "feedback") for c in (graded_class, by_workers[0]))
    assert set(found) == {path for path in expected if not path.startswith("endless/")}
    for student in set(HONEST) - {"perfect"}:
        path = f"{student}/{PA0}/{PA0}.html"
        assert len(found[path][0]) == pytest.approx(len(expected[path][0]), rel=0.02)


def test_honest_work_scores_as_under_nbgrader_without_us(by_workers, tmp_path):
    course = ungraded(by_workers[0], tmp_path / "course")
    config = course / "nbgrader_config.py"
    text = config.read_text(encoding="utf-8").replace("autograde.configure(c)", "")
    config.write_text(text, encoding="utf-8")
    api = open_api(course)
    for student in ("perfect", "partly"):
        done = api.autograde(PA0, student)
        assert done["success"], done
    plain, ours = rows_of(course), rows_of(by_workers[0])
    assert {s: ours[s] for s in plain} == plain


def test_the_rows_that_come_back_are_the_gradebooks(by_workers):
    course, rows = by_workers
    assert [row.student for row in rows] == sorted(HONEST)
    stored = rows_of(course)
    for row in rows:
        assert (row.score, row.late_seconds) == (
            stored[row.student]["score"],
            stored[row.student]["late"],
        )
        assert row.seconds > 0
        assert not row.limits


def test_what_has_not_changed_is_not_run_again_unless_asked(by_workers, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(by_workers[0], course)
    again = grade(course, HONEST)
    assert (again.ran, [row.seconds for row in again.rows]) == ([], [None] * len(HONEST))
    assert grade(course, ["late"], force=True, jobs=1).ran == ["late"]
    hand_in_kind(course, "empty", KINDS["perfect"])
    shutil.rmtree(course / "autograded" / "partly")
    os.utime(submitted_notebook(course, "erroring"))  # touched, but the same
    assert sorted(grade(course, HONEST, jobs=2).ran) == ["empty", "partly"]
    assert rows_of(course)["empty"]["score"] == 84


def test_nbgraders_own_command_and_ours_know_of_each_others_work(by_workers, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(by_workers[0], course)
    api = open_api(course)
    assert "Skipping existing assignment" in api.autograde(PA0, "late", force=False)["log"]
    hand_in_kind(course, "new", KINDS["partly"])
    assert api.autograde(PA0, "new")["success"]
    graded = grade(course, ["late", "new"], jobs=1)
    assert graded.ran == []
    assert [row.score for row in graded.rows] == [84, 64]


def test_a_corrected_assignment_is_graded_anew_and_keeps_what_was_given_by_hand(
    by_workers, tmp_path
):
    course = tmp_path / "course"
    shutil.copytree(by_workers[0], course)
    with open_api(course).gradebook as book:
        given = book.find_grade("ten_gigabytes", PA0, PA0, "late")
        given.manual_score, given.needs_manual_grade = 7, False
        comment = book.find_comment("ten_gigabytes", PA0, PA0, "late")
        comment.manual_comment = "Good."
        book.db.commit()
    source = source_notebook(course)
    notebook = nbformat.read(source, as_version=4)
    cell = next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") ==
                "test_top_words")  # fmt: skip
    cell.source += "\nassert False, 'corrected'"
    nbformat.write(notebook, source)
    with classroom.open_course(course) as api:
        classroom.generate(api, PA0)
    (row,) = grade(course, ["late"], jobs=1).rows
    assert row.failed == ("test_top_words",)
    assert row.score == 84 - 6 + 7
    assert "ten_gigabytes" in row.by_hand  # to be confirmed, as nbgrader asks after a regrade
    stored = rows_of(course)["late"]["notebooks"][PA0]
    assert ("ten_gigabytes", None, 7, None, True, 12) in stored["grades"]
    assert ("ten_gigabytes", None, "Good.") in stored["comments"]


def test_a_late_penalty_is_taken_as_nbgrader_takes_it(by_workers, tmp_path):
    found = []
    for way in ("plain", "ours"):
        course = ungraded(by_workers[0], tmp_path / way)
        with (course / "nbgrader_config.py").open("a") as config:
            config.write('\nc.LateSubmissionPlugin.penalty_method = "zero"\n')
        with open_api(course).gradebook as book:
            book.update_or_create_assignment(PA0, duedate=DUE)
        if way == "plain":
            assert open_api(course).autograde(PA0, "late")["success"]
        else:
            (row,) = grade(course, ["late"], jobs=1, feedback=False).rows
            assert row.score == 0
        found.append(rows_of(course)["late"])
    assert found[0] == found[1]
    assert found[0]["notebooks"][PA0]["penalty"] == 84


def watch_while_a_second_hands_in(course: Path) -> list[str]:
    """Who was graded, in order: the second hands in when the first is done."""
    done: list[str] = []

    def finished(row) -> None:
        done.append(row.student)
        if row.student == "partly":
            hand_in_kind(course, "second", KINDS["perfect"])

    told = Watch(finished=finished)
    rounds = list(watch_class(course, PA0, every=0.05, rounds=5, jobs=1, watch=told))
    assert [row.student for rows, _ in rounds for row in rows] == done
    return done


def test_what_arrives_is_graded_while_we_watch(class_of):
    assert apart(watch_while_a_second_hands_in, class_of(["partly"])) == ["partly", "second"]


def test_a_busy_gradebook_is_waited_for(by_workers, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(by_workers[0], course)
    writing, wrote = threading.Event(), threading.Event()

    def hold() -> None:
        book = Gradebook(f"sqlite:///{course / 'gradebook.db'}")
        book.db.connection().exec_driver_sql("BEGIN IMMEDIATE")
        writing.set()
        wrote.wait(30)
        book.db.commit()
        book.close()

    other = threading.Thread(target=hold)
    other.start()
    writing.wait(30)
    told = {"students": ["late"], "jobs": 1, "force": True}
    with started(grade_and_tell, course, **told) as (grader, channel):
        waited = not channel.poll(2)  # it reads the grades before it says that it begins
        wrote.set()
        other.join()
        grader.join()
    assert waited
    assert grader.exitcode == 0
    (row,) = grade(course, ["late"], feedback=False).rows
    assert row.score == 84


def test_a_second_instructor_gets_one_sentence_or_waits(by_workers):
    course = by_workers[0]
    told: list[str] = []
    with only_one(course):
        child = f"""
from pathlib import Path
from autograde.lock import Busy, only_one
try:
    with only_one(Path({str(course)!r})):
        print("mine")
except Busy as busy:
    print(busy)
"""
        said = _run_python(child)
    assert said.startswith(f"Process {os.getpid()} on ")
    assert said.endswith("grades this course; try again when it is done.")
    assert _run_python(child) == "mine"
    with only_one(course, patience=1, told=told.append):
        pass
    assert told == []


def test_the_lock_ends_with_a_holder_that_is_killed(by_workers):
    child = f"""
import time
from pathlib import Path
from autograde.lock import only_one
with only_one(Path({str(by_workers[0])!r})):
    print("held", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        told: list[str] = []

        def end_the_holder(sentence: str) -> None:
            told.append(sentence)
            holder.kill()

        with only_one(by_workers[0], patience=30, told=end_the_holder):
            assert len(told) == 1
    with pytest.raises(Busy), _held_elsewhere(by_workers[0]), only_one(by_workers[0]):
        pass


@contextmanager
def _held_elsewhere(course: Path):
    text = (
        "import sys\nfrom pathlib import Path\nfrom autograde.lock import only_one\n"
        f"with only_one(Path({str(course)!r})):\n"
        "    print('held', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        yield
        holder.stdin.close()


def _run_python(text: str) -> str:
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_worker_that_ends_is_replaced_and_its_job_tried_once_more(tmp_path):
    jobs = [("never", "a"), ("once", "b"), ("always", "c"), ("never", "d")]
    with Pool(2, fragile, str(tmp_path)) as pool:
        answers = dict(pool.run(jobs))
        pids = [worker.process.pid for worker in pool.workers]
    assert answers == {
        ("never", "a"): "a done",
        ("once", "b"): "b done",
        ("always", "c"): None,
        ("never", "d"): "d done",
    }
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_entry_that_is_damaged_counts_as_none(by_workers, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(by_workers[0], course)
    path = ledger.path_of(course, PA0, "late")
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole)[:-20])
    assert ledger.read(course, PA0, "late") is None
    assert grade(course, ["late"], jobs=1).ran == ["late"]
    assert ledger.read(course, PA0, "late").scores == whole["scores"]


def left_of_a_run(course: Path, beside: bool) -> list[str]:
    """Grade where what loses its parent becomes ours, and say what does not end; `beside` another
    thread, where workers cannot be forked.
    """
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    if beside:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    count = 1 if beside else 2  # a worker that is not forked imports all anew
    grade_class(course, PA0, HONEST[:count], jobs=count, force=True)
    ours = [p for p in psutil.Process().children(recursive=True) if not _is_pythons_own(p)]
    _, left = psutil.wait_procs(ours, timeout=10)
    return [str(process) for process in left]


def _is_pythons_own(process: psutil.Process) -> bool:
    """What multiprocessing keeps for as long as its parent lives."""
    with suppress(psutil.Error):
        return "multiprocessing.resource_tracker" in " ".join(process.cmdline())
    return False


@pytest.mark.skipif(not kernel.LINUX, reason="elsewhere nobody inherits orphans")
@pytest.mark.parametrize("beside", [False, True], ids=["forked", "spawned"])
def test_nothing_is_left_of_a_run_but_its_results(by_workers, tmp_path, beside):
    course = tmp_path / "course"
    shutil.copytree(by_workers[0], course)
    assert apart(left_of_a_run, course, beside) == []
    assert {path.name for path in (course / ledger.FOLDER).iterdir()} <= {"lock", "reports"}
