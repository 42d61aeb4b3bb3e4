"""The student edition as files: what is handed out, and what an update leaves alone."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from typer import Typer
from typer.testing import CliRunner

from mlsys.edition import EditionError, student_edition
from mlsys.lesson_text import to_notebook
from mlsys.workspace import attempted, solution_command, update

MARKS = '"locked": false, "schema_version": 3, "task": false'
LESSON = f"""# %% [markdown]
# # A lesson

# %% tags=["parameters"]
size = 3  # full profile: 10

# %% nbgrader={{"grade": false, "grade_id": "double", "solution": true, {MARKS}}}
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={{"grade": true, "grade_id": "double_test", "points": 1, "solution": false, {MARKS}}}
assert double(1) == 2, "twice one is two"
### BEGIN HIDDEN TESTS
assert double(21) == 42
### END HIDDEN TESTS
"""
PLACE = Path("a_start/00_first.ipynb")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "requirements.lock").touch()
    write(tmp_path, LESSON)
    return tmp_path


def write(root, text, place=Path("notebooks") / PLACE):
    source = root / "lesson.py"
    source.write_text(text, encoding="utf-8")
    to_notebook(source, root / place)


def read(root, place=PLACE):
    return nbformat.read(root / "workspace" / place, as_version=4)


def student_writes(root, number, text):
    nb = read(root)
    nb.cells[number].source = text
    nbformat.write(nb, root / "workspace" / PLACE)


def test_no_solution_and_no_hidden_test_is_handed_out(root):
    update(root)
    handed_out = (root / "workspace" / PLACE).read_text(encoding="utf-8")
    for secret in ("2 * x", "42", "SOLUTION", "HIDDEN"):
        assert secret not in handed_out
    assert "twice one is two" in handed_out


def test_a_stub_names_its_exercise_and_the_tests_are_locked(root):
    update(root)
    _, _, stub, test = read(root).cells
    assert 'raise NotImplementedError("double is yours to write")' in stub.source
    assert stub.metadata.nbgrader.grade_id == "double"
    assert test.metadata.editable is False


def test_ids_of_the_edition_are_those_of_the_source(root):
    update(root)
    source = nbformat.read(root / "notebooks" / PLACE, as_version=4)
    assert [c.id for c in read(root).cells] == [c.id for c in source.cells]


def test_an_assignment_is_handed_out_as_nbgrader_would(root):
    write(root, LESSON, Path("autograde/course/source/pa0/warm_up.ipynb"))
    (root / "autograde/course/source/pa0/data.csv").write_text("a,b\n", encoding="utf-8")
    update(root)
    released = read(root, Path("assignments/pa0/warm_up.ipynb"))
    assert "raise NotImplementedError()" in released.cells[2].source
    assert "tags" not in released.cells[3].metadata
    assert released.cells[3].metadata.nbgrader.checksum
    assert (root / "workspace/assignments/pa0/data.csv").read_text(encoding="utf-8") == "a,b\n"


def test_an_update_keeps_what_the_student_wrote_and_brings_the_rest(root):
    update(root)
    mine = "def double(x):\n    return x + x"
    student_writes(root, 2, mine)
    write(root, LESSON.replace("size = 3", "size = 4") + "\n# %% [markdown]\n# The end.\n")
    assert [c.what for c in update(root)] == ["updated"]
    sources = [c.source for c in read(root).cells]
    assert sources[1].startswith("size = 4")
    assert sources[2] == mine
    assert sources[-1] == "The end."
    assert update(root) == []


def test_both_changed_and_both_are_kept_once(root):
    update(root)
    student_writes(root, 2, "def double(x):\n    return x + x")
    write(root, LESSON.replace("def double(x):", "def double(x, /):"))
    (change,) = update(root)
    assert change.what == "conflict" and "double" in change.says
    once = (root / "workspace" / PLACE).read_bytes()
    assert update(root) == []
    assert (root / "workspace" / PLACE).read_bytes() == once
    assert sum("def double" in c.source for c in read(root).cells) == 2


@pytest.mark.parametrize(
    "broken", ["", "{bad", "[]", '{"cells": 3, "nbformat": 4}', '{"cells": [], "nbformat": 3}']
)
def test_a_notebook_that_cannot_be_read_is_left_and_the_lesson_put_beside_it(root, broken):
    update(root)
    path = root / "workspace" / PLACE
    path.write_text(broken, encoding="utf-8")
    write(root, LESSON.replace("size = 3", "size = 4"))
    (change,) = update(root)
    assert change.what == "broken" and "00_first.new.ipynb is the lesson" in change.says
    assert path.read_text(encoding="utf-8") == broken
    beside = read(root, PLACE.with_name("00_first.new.ipynb"))
    assert beside.cells[1].source.startswith("size = 4")


def test_work_done_in_the_lesson_put_beside_is_kept_too(root):
    update(root)
    (root / "workspace" / PLACE).write_text("{bad", encoding="utf-8")
    update(root)
    beside = root / "workspace" / PLACE.with_name("00_first.new.ipynb")
    nb = nbformat.read(beside, as_version=4)
    nb.cells[2].source = "my work"
    nbformat.write(nb, beside)
    update(root)
    assert nbformat.read(beside, as_version=4).cells[2].source == "my work"


def test_a_lesson_that_the_course_dropped_stays(root):
    update(root)
    (root / "notebooks" / PLACE).unlink()
    update(root)
    assert (root / "workspace" / PLACE).exists()


def test_a_lesson_that_the_student_deleted_comes_again(root):
    update(root)
    (root / "workspace" / PLACE).unlink()
    assert [c.what for c in update(root)] == ["new"]


def test_without_the_base_nothing_of_the_students_is_lost(root):
    update(root)
    student_writes(root, 1, "size = 99")
    shutil.rmtree(root / "workspace" / ".mlsys")
    update(root)
    assert "size = 99" in [c.source for c in read(root).cells]
    assert update(root) == []


def test_a_picture_is_updated_unless_the_student_changed_it(root):
    picture, own = root / "notebooks/a_start/a.svg", root / "workspace/a_start/a.svg"
    picture.write_text("<svg>1</svg>", encoding="utf-8")
    update(root)
    picture.write_text("<svg>2</svg>", encoding="utf-8")
    update(root)
    assert own.read_text(encoding="utf-8") == "<svg>2</svg>"
    own.write_text("mine", encoding="utf-8")
    picture.write_text("<svg>3</svg>", encoding="utf-8")
    assert [c.what for c in update(root)] == ["kept"]
    assert own.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "line", ["    ### END SOLUTION\n", "### END HIDDEN TESTS\n", "### BEGIN HIDDEN TESTS\n"]
)
def test_a_source_with_a_mark_missing_is_not_handed_out(root, line):
    write(root, LESSON.replace(line, ""))
    with pytest.raises(EditionError, match="00_first cannot be handed out: "):
        update(root)
    assert not (root / "workspace").exists()


def test_the_source_is_left_as_it_is(root):
    content = json.loads((root / "notebooks" / PLACE).read_text(encoding="utf-8"))
    before = json.dumps(content)
    student_edition(content, name="00_first")
    assert json.dumps(content) == before


@pytest.fixture
def solution(root, monkeypatch):
    app = Typer()
    app.command()(solution_command)
    monkeypatch.chdir(root)
    return lambda *line: CliRunner().invoke(app, line)


def test_a_solution_is_shown_after_an_attempt_only(root, solution):
    update(root)
    before = solution("0")
    assert before.exit_code == 1 and "2 * x" not in before.output
    student_writes(root, 2, "def double(x):\n    return 3")
    lesson = root / "notebooks" / PLACE
    assert attempted(root, lesson) == {"double"}
    after = solution("first")
    assert after.exit_code == 0 and "2 * x" in after.output
    assert "SOLUTION" not in after.output and "42" not in after.output


def test_a_solution_is_shown_anyway_when_asked_for(root, solution):
    assert "2 * x" in solution("00_first", "--anyway").output


def test_a_lesson_that_is_not_there_gets_one_sentence(solution):
    said = solution("77")
    assert said.exit_code == 1
    assert said.output.count("\n") == 1 and "No lesson is called '77'" in said.output
