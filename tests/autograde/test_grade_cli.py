"""The instructor's commands on real courses: what they print, what they keep, what they refuse."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from changing import CELLS, write_source
from commands import mlsys_grade, mlsys_grade_here
from submissions import (
    KINDS,
    PA0,
    REPOSITORY,
    hand_in,
    hand_in_kind,
    make_course,
    open_api,
    released_notebook,
    source_notebook,
    submitted_notebook,
)

from autograde import cli, sandbox, show
from autograde.stubs import name_stubs

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

FULL = Path("/dev/full")
CONTENT = (".ipynb", ".html", ".txt", ".py")


def files_in(course) -> dict:
    """Every file of a course with its content; the gradebook's bytes are left to its own tests."""
    return {
        path.relative_to(course): path.read_bytes()
        for path in sorted(course.rglob("*"))
        if path.suffix in CONTENT
    }


@pytest.fixture(scope="module")
def one_run(graded_class, tmp_path_factory):
    """A class of which one student is new, one handed in again, one did nothing since, and one
    handed in no notebook; the student version was deleted."""
    course = tmp_path_factory.mktemp("cli") / "course"
    shutil.copytree(graded_class, course)
    for student in set(KINDS) - {"erroring", "late"}:
        shutil.rmtree(course / "submitted" / student)
    hand_in_kind(course, "ana", KINDS["erroring"])
    hand_in_kind(course, "erroring", KINDS["perfect"])
    later = submitted_notebook(course, "erroring").stat().st_mtime + 60
    os.utime(submitted_notebook(course, "erroring"), (later, later))
    hand_in_kind(course, "zoe", KINDS["perfect"]).write_text("PK no notebook")
    shutil.rmtree(course / "release")
    return course, mlsys_grade("run", PA0, "--course", course, "--json")


def test_a_run_names_each_student_as_it_goes_and_grades_only_what_is_new(one_run):
    _, done = one_run
    lines = [re.sub(r"[\d.]+ s", "N s", line) for line in done.stderr.splitlines()]
    assert lines[:2] == [f"{PA0}: student version made", "late: 84 / 100, unchanged"]
    assert sorted(lines[2:]) == [
        "ana: 64 / 100, N s",
        "erroring: 84 / 100, N s",
        "zoe: 0 / 100, N s, put aside",
    ]


def test_a_run_reports_each_student_in_json(one_run):
    _, done = one_run
    ana, again, late, zoe = json.loads(done.stdout)["students"]
    assert (ana["student"], ana["score"], ana["max_score"]) == ("ana", 64, 100)
    assert (ana["failed"], ana["tests"]) == (list(KINDS["erroring"].loses), 14)
    assert ana["unanswered"] == ["sources", "ten_gigabytes"]
    assert ana["note"] == "no answer in sources, ten_gigabytes"
    assert (again["failed"], again["by_hand"]) == ([], ["sources", "ten_gigabytes"])
    assert (late["late_seconds"], late["seconds"]) == (5400, None)
    assert (zoe["graded"], zoe["score"]) == (True, 0)
    assert f"{PA0}.ipynb is not a notebook" in zoe["quarantined"]
    assert len(zoe["by_hand"]) == 16


def test_a_run_sums_up_the_class_in_json(one_run):
    figures = json.loads(one_run[1].stdout)["summary"]
    assert (figures["students"], figures["run"], figures["unchanged"]) == (4, 3, 1)
    assert (figures["median"], figures["highest"], figures["max_score"]) == (74, 84, 100)
    assert figures["put_aside"] == ["zoe"]
    assert dict(figures["failed_tests"]) == dict.fromkeys(KINDS["erroring"].loses, 1)


def test_a_submission_that_is_no_notebook_waits_for_a_person_with_its_reason(one_run):
    course, done = one_run
    assert done.exit_code == 0
    graded = course / "autograded" / "zoe" / PA0 / f"{PA0}.ipynb"
    assert "is not a notebook" in graded.read_text(encoding="utf-8")
    assert any((course / "feedback" / "zoe" / PA0).glob("*.html"))
    with open_api(course).gradebook as book:
        assert {student.id for student in book.students} == {*KINDS, "ana", "zoe"}
        assert book.find_submission(PA0, "zoe").needs_manual_grade
    told = mlsys_grade("explain", "zoe", PA0, "--course", course)
    assert "is not a notebook" in told.stdout


def test_a_run_ends_with_a_table_of_the_class(one_run):
    course, _ = one_run
    done = mlsys_grade("run", PA0, "--course", course, "--student", "late", "--student", "ana")
    assert done.exit_code == 0, done.output
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert rows[0] == PA0
    assert "late 84 / 100 1 h 30 min 0 of 14 2 unchanged" in rows
    assert any(row.startswith("0 graded in ") for row in rows)
    assert "Of 100 points: mean 74.0, median 74, from 64 to 84." in rows
    assert any(row.startswith("ana 64 / 100 4 of 14 no answer in") for row in rows)


def test_explain_says_in_one_line_what_happened_in_each_cell(graded_class):
    def what(student: str) -> dict[str, str]:
        done = mlsys_grade("explain", student, PA0, "--course", graded_class, "--json")
        assert done.exit_code == 0, done.output
        return {cell["cell"]: cell["what"] for cell in json.loads(done.stdout)["cells"]}

    erroring, endless, empty = what("erroring"), what("endless"), what("empty")
    assert next(iter(erroring)) == "sources"
    assert erroring["test_count_levels"] == "IndexError: list index out of range"
    assert "failed with SyntaxError" in erroring["test_longest_healthy_run"]
    assert erroring["test_top_words"] == "passed"
    assert endless["test_merge_streams"].startswith("stopped: it ran longer than")
    assert endless["ten_gigabytes"] == "waits for a person"
    assert empty["test_top_words"] == "not written yet: top_words"
    assert empty["ten_gigabytes"] == "the answer was left as it was handed out"
    assert what("partly")["test_top_words_more"].startswith("ties by name, got [('c', 2)")
    assert what("perfect")["ten_gigabytes"] == "graded by a person"


def test_feedback_is_made_again_after_points_were_given_by_hand(graded_class, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(graded_class, course)
    with open_api(course).gradebook as book:
        grade = book.find_grade("ten_gigabytes", PA0, PA0, "late")
        grade.manual_score, grade.needs_manual_grade = 7, False
        book.db.commit()
    done = mlsys_grade("feedback", PA0, "--student", "late", "--course", course)
    assert done.exit_code == 0, done.output
    page = course / "feedback" / "late" / PA0 / f"{PA0}.html"
    assert str(page.parent) in done.stdout
    assert f"<title>{PA0}: 91 of 100</title>" in page.read_text(encoding="utf-8")


def test_export_writes_nbgraders_csv_and_nothing_else(graded_class, tmp_path):
    to = tmp_path / "grades.csv"
    done = mlsys_grade("export", "--to", to, "--assignment", PA0, "--course", graded_class)
    assert done.exit_code == 0, done.output
    assert to.read_text().startswith("assignment,duedate,timestamp,student_id,")
    assert len(to.read_text().splitlines()) == 1 + len(KINDS)
    assert list(tmp_path.iterdir()) == [to]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "pa9"], "There is no assignment 'pa9' in this course; it has pa0_python_warm_up."),
        (["run", PA0, "--student", "nobody"], f"There is no submission of {PA0} by 'nobody'."),
        (["generate", PA0, "--due", "someday"], "'someday' is not a date"),
        (["explain", "nobody", PA0], f"'nobody' has no graded submission of {PA0}"),
        (["feedback", "../.."], "There is no assignment '../..' in this course"),
        (["export", "--to", "/no/such/folder/grades.csv"], "cannot be written"),
        (["export", "--to", "."], "is a folder; name a file to write"),
        (["export", "--assignment", "pa9"], "There is no assignment 'pa9' in this course"),
        (["collect", "/no/such/bundle.zip", PA0], "bundle.zip cannot be read"),
    ],
)
def test_bad_words_get_one_sentence_and_change_nothing(graded_class, words, sentence):
    before = files_in(graded_class)
    done = mlsys_grade(*words, "--course", graded_class)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert mlsys_grade(*words, "--course", graded_class, "--json") == done
    assert files_in(graded_class) == before


@pytest.mark.skipif(os.name != "posix", reason="pipes with a name")
def test_export_does_not_replace_a_pipe_or_a_device_by_a_file(graded_class, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = mlsys_grade("export", "--to", pipe, "--course", graded_class)
    assert (done.exit_code, done.stderr) == (2, f"{pipe} is a pipe; name a file to write.\n")
    assert pipe.is_fifo()


def test_without_a_course_named_it_is_the_one_we_stand_in_or_else_the_workbooks(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert cli._default_course() == REPOSITORY / "autograde" / "course"
    monkeypatch.chdir(make_course(tmp_path / "course"))
    assert cli._default_course() == tmp_path / "course"


def test_a_folder_that_is_no_course_is_refused_and_left_as_it_was(tmp_path):
    for folder, sentence in (
        (tmp_path, "is not an nbgrader course"),
        (tmp_path / "x", "no folder"),
    ):
        done = mlsys_grade("run", PA0, "--course", folder)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
        assert sentence in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_course_without_submissions_is_refused_before_anything_is_made(tmp_path):
    course = make_course(tmp_path)
    before = files_in(course)
    done = mlsys_grade("run", PA0, "--course", course)
    assert done.exit_code == 2
    assert f"Nobody has handed in {PA0} yet" in done.stderr
    assert files_in(course) == before
    assert not (course / "gradebook.db").exists()


def test_a_source_that_cannot_be_released_leaves_the_released_one(graded_class, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(graded_class, course)
    source = source_notebook(course)
    source.write_text(source.read_text().replace("### END SOLUTION", "", 1))
    before = files_in(course)
    done = mlsys_grade("generate", PA0, "--course", course)
    assert done.exit_code == 2
    assert done.stderr == f"{PA0} cannot be generated: no end solution statement found.\n"
    assert files_in(course) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["explain", "ann", "hw"], "'ann' has no graded submission of hw; grade it first."),
        (["feedback", "hw"], "No submission of hw has been graded yet; grade it first."),
    ],
)
def test_what_was_never_graded_is_said_to_be_so(tmp_path, words, sentence):
    write_source(tmp_path, CELLS)
    (tmp_path / "submitted/ann/hw").mkdir(parents=True)
    done = mlsys_grade(*words, "--course", tmp_path)
    assert (done.exit_code, done.stderr) == (2, f"{sentence}\n")


def test_a_source_or_a_gradebook_that_is_damaged_is_named_in_one_sentence(tmp_path):
    source = write_source(tmp_path, CELLS)
    (tmp_path / "submitted/ann/hw").mkdir(parents=True)
    book = tmp_path / "gradebook.db"
    book.write_text("no database")
    for words in (["generate", "hw"], ["run", "hw"], ["explain", "ann", "hw"], ["export"]):
        done = mlsys_grade(*words, "--course", tmp_path)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert f"The gradebook sqlite:///{book} cannot be used: file is not" in done.stderr
    book.unlink()
    source.write_text(source.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    done = mlsys_grade("generate", "hw", "--course", tmp_path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{source} is not a notebook: ")
    assert not book.exists()


def test_a_run_says_that_the_source_was_changed_after_it_was_released(graded_class, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(graded_class, course)
    quiet = mlsys_grade("run", PA0, "--student", "late", "--course", course)
    later = released_notebook(course).stat().st_mtime + 60
    os.utime(source_notebook(course), (later, later))
    told = mlsys_grade("run", PA0, "--student", "late", "--course", course)
    assert quiet.exit_code == told.exit_code == 0
    assert "source is newer" not in quiet.stderr
    assert "source is newer" in told.stderr


@pytest.mark.parametrize("config", ["c.CourseDirectory.course_id = 5", "1 / 0", "c = (", "exit(1)"])
def test_a_configuration_that_cannot_be_read_is_named_in_one_sentence(tmp_path, config):
    course = make_course(tmp_path)
    (course / "nbgrader_config.py").write_text(f"c = get_config()\n{config}\n")
    done = mlsys_grade("run", PA0, "--course", course)
    assert done.exit_code == 2
    assert "nbgrader_config.py cannot be read" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, ""), (40, "40 s"), (60, "1 min"), (5400, "1 h 30 min"), (90061, "1 d 1 h")],
)
def test_lateness_is_written_as_a_person_says_it(seconds, words):
    assert show.lateness(seconds) == words


def test_a_stub_names_the_function_above_it_and_else_its_cell():
    source = 'class A:\n    def f(self):\n        raise E("{task}")\nraise E("{task}")'
    assert name_stubs(source, fallback="x").count('"f"') == 2
    assert name_stubs('raise E("{task}")', fallback="x") == 'raise E("x")'


def test_a_test_cell_that_a_student_altered_is_restored_and_that_is_said(class_of):
    course = class_of([])
    hand_in(course, "mallory", {"test_top_words": "pass"})
    done = mlsys_grade("run", PA0, "--course", course, "--jobs", 1, "--json")
    (row,) = json.loads(done.stdout)["students"]
    assert "test_top_words" in row["failed"]
    assert any("test_top_words" in repair for repair in row["repairs"])


def test_generate_shows_what_is_weak_in_the_tests(class_of):
    course = class_of([])
    source = source_notebook(course)
    weak = 'assert not abs(1 - 2) > 3\\n",\n    "assert top_words'
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("assert top_words", weak, 1), encoding="utf-8")
    done = mlsys_grade("generate", PA0, "--course", course)
    assert done.exit_code == 0, done.output
    assert re.search(r"warning: test_top_words_more, line \d+: .+ <= 3", done.stderr)


def test_doctor_lists_every_layer_and_ends_in_1_where_protection_is_not_enough():
    done = mlsys_grade("doctor", "--json")
    told = json.loads(done.stdout)
    assert {"limits", "namespaces", "landlock", "seccomp"} <= {r["layer"] for r in told["layers"]}
    assert done.exit_code == (0 if told["enough"] else 1)
    assert mlsys_grade("doctor").exit_code == done.exit_code


@pytest.mark.skipif(not FULL.exists(), reason="no device here is always full")
@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"]])
def test_a_full_disk_is_one_sentence(words):
    command = [sys.executable, "-m", "mlsys", "grade", *words]
    with FULL.open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "It could not be done: No space left on device.\n"


def test_work_that_nobody_vouches_for_needs_a_sandbox_or_a_word(class_of, monkeypatch):
    course = class_of(["perfect"])
    rows = [sandbox.Row("landlock", False, "", "")]
    monkeypatch.setattr(sandbox, "doctor", lambda: rows)
    done = mlsys_grade_here("run", PA0, "--course", course)
    assert done.exit_code == 2
    assert "--trust-submissions" in done.stderr
    assert not (course / "autograded").exists()
