"""Courses that somebody else made, and that switch the grader on: their own folders, gradebook and
settings, and work that plain nbgrader has graded before."""

import json
import shutil
from pathlib import Path

import pytest
from changing import ANN, CELLS, CONFIG, comments, give_by_hand, grades, hand_in, write_source
from commands import mlsys_grade
from submissions import open_api

from autograde import classroom
from autograde.parallel import grade_class

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

PLAIN, SWITCH = CONFIG.split("import autograde", 1)
SWITCH = f"import autograde{SWITCH}"
OWN = """
c.CourseDirectory.source_directory = "aufgaben"
c.CourseDirectory.release_directory = "ausgabe"
c.CourseDirectory.submitted_directory = "abgaben"
c.CourseDirectory.autograded_directory = "bewertet"
c.CourseDirectory.feedback_directory = "antworten"
c.CourseDirectory.directory_structure = "{nbgrader_step}/{assignment_id}/{student_id}"
c.CourseDirectory.db_url = "sqlite:///noten.db"
c.CourseDirectory.db_students = [{"id": "ann"}]
c.ExecutePreprocessor.timeout = 5
c.ExecutePreprocessor.kernel_name = "python3"
c.ClearSolutions.begin_solution_delimeter = "BEGIN LÖSUNG"
c.ClearSolutions.end_solution_delimeter = "END LÖSUNG"
"""


def test_a_course_of_other_folders_and_marks_is_graded_from_wherever_one_stands(
    tmp_path, monkeypatch
):
    course, elsewhere = tmp_path / "course", tmp_path / "elsewhere"
    source = write_source(course, CELLS)
    (course / "aufgaben").mkdir()
    text = source.read_text(encoding="utf-8").replace(" SOLUTION", " LÖSUNG")
    source.write_text(text, encoding="utf-8")
    (course / "source/hw").rename(course / "aufgaben/hw")
    (course / "nbgrader_config.py").write_text(f"{PLAIN}{OWN}{SWITCH}", encoding="utf-8")
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    made = mlsys_grade("generate", "hw", "--course", course)
    assert made.exit_code == 0, made.output
    released = (course / "ausgabe/hw/hw.ipynb").read_text(encoding="utf-8")
    assert "2 * x" not in released
    shutil.copytree(course / "aufgaben/hw", course / "abgaben/hw/ann")
    done = mlsys_grade("run", "hw", "--course", course, "--json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["students"]
    assert (row["student"], row["score"], row["by_hand"]) == (ANN, 3, ["essay"])
    assert done.stderr.count("`db_students` not recognized") == 1
    assert list((course / "antworten/hw/ann").glob("*.html"))
    assert {path.name for path in tmp_path.rglob("*.db")} == {"noten.db"}
    assert list(elsewhere.iterdir()) == []


def test_work_that_plain_nbgrader_graded_keeps_its_scores_and_what_was_given_by_hand(tmp_path):
    config = tmp_path / "nbgrader_config.py"
    config.write_text(PLAIN)
    write_source(tmp_path, CELLS)
    assert open_api(tmp_path).generate_assignment("hw")["success"]
    hand_in(tmp_path)
    assert open_api(tmp_path).autograde("hw", ANN)["success"]
    give_by_hand(tmp_path)
    before = grades(tmp_path)
    config.write_text(f"{PLAIN}{SWITCH}")
    (row,) = grade_class(tmp_path, "hw", jobs=1)
    assert (row.score, row.max_score, row.seconds is None) == (6.5, 8, False)
    by_hand = {"essay", "test_one"}  # to be confirmed, as nbgrader asks after a regrade
    assert grades(tmp_path) == {
        name: (auto, manual, name in by_hand) for name, (auto, manual, _) in before.items()
    }
    assert comments(tmp_path) == {"double": None, "essay": "Well said."}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("sqlite:///a.db", "sqlite:////course/a.db"),
        ("sqlite:////elsewhere/a.db", "sqlite:////elsewhere/a.db"),
        ("postgresql://ada:secret@db/grades", "postgresql://ada:secret@db/grades"),
    ],
)
def test_a_gradebook_is_named_from_the_courses_folder(given, found):
    assert classroom._anchored(given, Path("/course")) == found
