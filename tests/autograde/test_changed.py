"""An instructor changes an assignment's cells after work was graded: the gradebook follows, and
nothing that a person gave is lost."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from changing import (
    CELLS,
    CONFIG,
    ESSAY,
    ONE,
    SOLUTION,
    WORD,
    ZERO,
    change,
    comments,
    give_by_hand,
    grades,
    hand_in,
)

from autograde import changed
from autograde.changed import compare
from autograde.parallel import grade_class

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


def test_a_renamed_cell_keeps_its_grades_and_a_new_one_is_graded(graded):
    cells = {"double": SOLUTION, "test_first": ONE, "test_zero": ZERO, "test_word": WORD}
    said = change(graded, {**cells, "essay": ESSAY})
    assert said == [
        "hw/hw was changed after work had been graded: added test_zero; "
        "renamed test_one to test_first with all grades. Grade it again."
    ]
    assert grades(graded)["test_first"] == (1, 0.5, False)
    (row,) = grade_class(graded, "hw", jobs=1, feedback=False)
    assert row.note.find("unchanged") < 0
    assert grades(graded) == {
        "test_first": (1, 0.5, True),
        "test_zero": (1, None, False),
        "test_word": (2, None, False),
        "essay": (None, 4, True),
    }
    assert comments(graded)["essay"] == "Well said."
    released = nbformat.read(graded / "release/hw/hw.ipynb", as_version=4)
    assert released.cells[1].metadata.autograde == {"formerly": ["test_one"]}


def test_an_answer_handed_in_under_the_old_name_waits_for_a_person_under_the_new(graded):
    cells = {name: cell for name, cell in CELLS.items() if name != "essay"}
    (sentence,) = change(graded, {**cells, "why": ESSAY})
    assert "renamed essay to why with all grades" in sentence
    (row,) = grade_class(graded, "hw", jobs=1, feedback=False)
    assert "essay is now why" in row.note
    assert grades(graded)["why"] == (None, 4, True)
    nb = nbformat.read(graded / "autograded/ann/hw/hw.ipynb", as_version=4)
    texts = {c.metadata.get("nbgrader", {}).get("grade_id"): c.source for c in nb.cells}
    assert texts["why"] == "Because."


def test_names_that_change_twice_and_back_are_followed():
    record = changed.Record()
    record.rename({"a": "b", "x": "y"}, {"b", "y"})
    record.rename({"b": "c"}, {"c", "y"})
    assert record.renamed == {"a": "c", "b": "c", "x": "y"}
    record.rename({"c": "a"}, {"a", "y"})
    assert record.renamed == {"b": "a", "c": "a", "x": "y"}
    record.rename({}, {"a"})
    assert record.renamed == {"b": "a", "c": "a"}


def test_what_a_removed_cell_held_returns_with_the_cell(graded):
    (sentence,) = change(graded, {"double": SOLUTION, "test_word": WORD})
    file = changed.path_of(graded, "hw")
    assert "removed essay, test_one, whose grades, 2 of them given by hand, are kept" in sentence
    assert str(file) in sentence
    held = json.loads(file.read_text())["hw"]["kept"]
    assert held["essay"]["ann"]["manual_score"] == 4
    (row,) = grade_class(graded, "hw", jobs=1, feedback=False)
    assert (row.score, row.max_score) == (2, 2)
    (sentence,) = change(graded, CELLS)
    assert "added test_one, essay" in sentence
    assert json.loads(file.read_text())["hw"]["kept"] == {}
    grade_class(graded, "hw", jobs=1, feedback=False)
    assert grades(graded)["essay"] == (None, 4, True)
    assert grades(graded)["test_one"] == (1, 0.5, True)
    assert comments(graded)["essay"] == "Well said."


def test_a_test_that_a_person_grades_from_now_on_keeps_its_points(graded):
    by_hand = (ESSAY[0], {"task": True, "points": 5})
    said = change(graded, {**CELLS, "essay": by_hand})
    assert said == ["hw/hw was changed after work had been graded: cells have other roles. "
                    "Grade it again."]  # fmt: skip
    assert grades(graded)["essay"] == (None, 4, False)


def test_generating_again_with_the_same_cells_says_nothing_and_keeps_everything(graded):
    before = grades(graded)
    assert change(graded, {**CELLS, "test_word": (f"{WORD[0]}  # twice", WORD[1])}) == []
    assert grades(graded) == before
    assert not changed.path_of(graded, "hw").exists()


def test_a_cell_is_renamed_only_where_one_reading_is_possible():
    test, answer = frozenset({"grade"}), frozenset({"grade", "solution"})
    old = {"a": (test, "code", "assert 1"), "b": (answer, "markdown", "ANSWER")}
    assert compare(old, {"c": old["a"], "b": old["b"]}, {}).renamed == {"a": "c"}
    old |= {"b2": old["b"]}
    two = compare(old, {"a": old["a"], "x": old["b"], "y": old["b"]}, {})
    assert (two.added, two.removed, two.renamed) == (("x", "y"), ("b", "b2"), {})
    told = compare(old, {"a": old["a"], "x": old["b"], "y": old["b"]}, {"b": "y"})
    assert told.renamed == {"b": "y", "b2": "x"}
    other = compare(old, {**old, "a2": (answer, "code", "assert 1")}, {"a": "a2"})
    assert (other.added, other.removed, other.renamed) == (("a2",), (), {})


@pytest.fixture
def graded(once_graded: Path, tmp_path: Path) -> Path:
    """A course where ann was graded, and a person gave her points and a comment."""
    return Path(shutil.copytree(once_graded, tmp_path / "course"))


@pytest.fixture(scope="module")
def once_graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    course = tmp_path_factory.mktemp("changing")
    (course / "nbgrader_config.py").write_text(CONFIG)
    change(course, CELLS)
    hand_in(course)
    grade_class(course, "hw", jobs=1, feedback=False)
    give_by_hand(course)
    return course
