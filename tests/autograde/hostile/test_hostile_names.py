"""A class whose folders have names that no gradebook or spreadsheet should be given, and a machine
that refuses to write: everybody else is graded, and what is not has one sentence.
"""

import csv
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from gradebooks import rows_of
from grading import grade
from submissions import KINDS, PA0, hand_in_kind, open_api, submitted_notebook

from autograde import ledger
from autograde.classroom import CourseError
from autograde.export import CsvExport

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

FORGED = f"eve,,,,100,0,100,100\n{PA0},,,ada"
FORMULAS = ("=cmd()", "-rf")


def renamed(course: Path, student: str, name: bytes) -> None:
    folder = course / "submitted"
    (folder / student).rename(folder / os.fsdecode(name))


@pytest.fixture(scope="module")
def named(generated, tmp_path_factory) -> tuple[Path, dict]:
    """The class with all those names, graded with its feedback."""
    course = tmp_path_factory.mktemp("names") / "course"
    shutil.copytree(generated, course)
    hand_in_kind(course, "ada", KINDS["perfect"])
    for name in ("[ada]", "*", "a\nb", FORGED, *FORMULAS):
        hand_in_kind(course, name, KINDS["written_only"])
    for name in (b"\xff\xfe", b"x" * 255):
        hand_in_kind(course, "moved", KINDS["perfect"])
        renamed(course, "moved", name)
    return course, {row.student: row for row in grade(course, jobs=2).rows}


def test_everybody_with_a_name_that_can_be_kept_is_graded(named):
    course, rows = named
    refused = {name: row.note for name, row in rows.items() if not row.graded}
    assert refused == {
        "\udcff\udcfe": "The name of its folder is not in UTF-8; rename it.",
        "x" * 255: "The name of its folder is too long; rename it.",
    }
    assert set(rows_of(course)) == set(rows) - set(refused)
    assert len(rows) == 9
    assert rows["ada"].score > 0


def test_a_name_that_is_a_pattern_gets_nobody_elses_page(named):
    """nbgrader, which makes the pages, would give `*` that of another student."""
    course, _ = named
    made = {path.parent.parent.name for path in (course / "feedback").glob(f"*/*/{PA0}.html")}
    assert made == {"ada", *FORMULAS}


def test_the_exported_grades_are_the_gradebooks_whatever_the_names(named, tmp_path):
    course, _ = named
    api = open_api(course)
    plugin = CsvExport(parent=api)
    plugin.to = str(tmp_path / "grades.csv")
    with api.gradebook as book:
        plugin.export(book)
    with (tmp_path / "grades.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert not [line for line in lines if None in line or None in line.values()]
    exported = {line["student_id"]: float(line["raw_score"]) for line in lines}
    held = {name: about["score"] for name, about in rows_of(course).items()}
    assert exported == {f"'{n}" if n in FORMULAS else n: score for n, score in held.items()}


def test_a_damaged_note_of_a_run_has_the_submission_graded_again(class_of):
    damages = {"perfect": b'{"key":"\xff"}', "late": b"[" * 5_000, "partly": b'{"key":1}'}
    course = class_of(damages)
    before = grade(course, feedback=False).rows
    for student, damage in damages.items():
        ledger.path_of(course, PA0, student).write_bytes(damage)
    again = grade(course, feedback=False)
    assert sorted(again.ran) == sorted(damages)
    assert [row.score for row in again.rows] == [row.score for row in before]
    assert all(ledger.read(course, PA0, student) for student in damages)


@pytest.mark.parametrize("damage", ["text", "folder", "locked"])
def test_a_gradebook_that_cannot_be_used_is_one_sentence(damage, class_of):
    course = class_of(["written_only"])
    path = course / "gradebook.db"
    holder = sqlite3.connect(path, isolation_level=None)
    if damage == "text":
        path.write_bytes(b"grades " * 1_000)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CourseError, match=r"The gradebook .*cannot be used: ") as raised:
        grade(course, jobs=1, feedback=False)
    assert len(str(raised.value).splitlines()) == 1
    holder.close()
    if damage == "locked":
        assert grade(course, jobs=1, feedback=False).ran == ["written_only"]


def test_a_folder_that_cannot_be_written_is_one_sentence(class_of):
    """A file stands in its place, which refuses root as well."""
    course = class_of(["written_only"])
    for step in (".autograde", "autograded", "feedback"):
        (course / step).write_text("not a folder")
        with pytest.raises(CourseError, match=r"\. What is graded stays graded"):
            grade(course, jobs=1)
        (course / step).unlink()
    assert [row.graded for row in grade(course, jobs=1).rows] == [True]
    assert (course / "feedback" / "written_only" / PA0 / f"{PA0}.html").is_file()


def test_a_submission_that_goes_before_it_is_read_does_not_stop_the_class(class_of):
    course = class_of(["perfect", "written_only"])
    path = submitted_notebook(course, "written_only")
    shutil.rmtree(path.parent)
    path.parent.symlink_to("/proc")  # who walks there never ends
    rows = {row.student: row for row in grade(course, jobs=2, feedback=False).rows}
    assert "a symbolic link" in rows["written_only"].quarantined
    assert rows["perfect"].score > 0
