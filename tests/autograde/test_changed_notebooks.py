"""An instructor adds, removes or renames whole notebooks of an assignment after work was graded:
the gradebook follows, and nothing that a person gave is lost."""

import json
import shutil
from pathlib import Path

import pytest
from changing import (
    ANN,
    CELLS,
    CONFIG,
    ESSAY,
    ONE,
    SOLUTION,
    comments,
    generate,
    give_by_hand,
    grades,
    hand_in,
    write_source,
)
from gradebooks import rows_of
from submissions import open_api

from autograde import changed
from autograde.parallel import Watch, grade_class

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

SECOND = {**CELLS, "test_one": (f"{ONE[0]}  # as before", ONE[1])}
BY_HAND = {
    "test_one": (1, 0.5, True),
    "test_word": (2, None, False),
    "essay": (None, 4, True),
}


def test_a_notebook_that_is_added_is_graded_and_the_others_keep_everything(graded):
    write_source(graded, CELLS, "extra")
    assert generate(graded) == [
        "hw was changed after work had been graded: added extra. Grade it again."
    ]
    hand_in(graded, "extra")
    (row,) = grade_class(graded, "hw", jobs=1, feedback=False)
    assert row.max_score == 24
    assert grades(graded, "one") == grades(graded, "two") == BY_HAND
    assert grades(graded, "extra")["test_word"] == (2, None, False)


def test_plain_nbgrader_grades_an_assignment_to_which_a_notebook_was_added(graded):
    write_source(graded, CELLS, "extra")
    for result in (
        open_api(graded).generate_assignment("hw"),
        open_api(graded).autograde("hw", ANN),
    ):
        assert result["success"], result
    assert grades(graded, "one") == BY_HAND
    assert grades(graded, "extra")["test_word"] == (0, None, False)  # was not handed in


@pytest.mark.parametrize("by_nbgrader", [True, False])
def test_a_notebook_that_cannot_be_read_beside_a_good_one_waits_for_a_person(graded, by_nbgrader):
    (graded / f"submitted/{ANN}/hw/two.ipynb").write_text("<html>")
    if by_nbgrader:
        assert open_api(graded).autograde("hw", ANN)["success"]
    (row,) = grade_class(graded, "hw", jobs=1)
    assert len(row.by_hand) >= 3 and not row.quarantined, row.by_hand
    assert any("two.ipynb is a web page" in one for one in row.repairs), row.repairs
    assert not any("not handed in" in one for one in row.repairs)
    assert grades(graded, "one") == BY_HAND
    assert grades(graded, "two")["test_word"] == (None, None, True)
    page = (graded / f"feedback/{ANN}/hw/two.html").read_text()
    assert "could not be read" in page


def test_what_a_removed_notebook_held_returns_with_the_notebook(graded):
    before = rows_of(graded, "hw")
    source = graded / "source/hw/two.ipynb"
    kept = source.read_text()
    source.unlink()
    path = changed.path_of(graded, "hw")
    assert generate(graded) == [
        "hw was changed after work had been graded: removed two, whose grades, 2 of them given by "
        f"hand, are kept in {path} until it returns. Grade it again."
    ]
    assert json.loads(path.read_text())["two"]["kept"]["essay"][ANN]["manual_comment"]
    (row,) = grade_class(graded, "hw", jobs=1)
    assert (row.score, row.max_score) == (6.5, 8)
    assert not (graded / f"feedback/{ANN}/hw/two.html").exists()
    source.write_text(kept)
    assert generate(graded) == [
        "hw was changed after work had been graded: added two. Grade it again."
    ]
    grade_class(graded, "hw", jobs=1)
    after = rows_of(graded, "hw")
    assert after[ANN]["notebooks"]["two"]["flagged"]
    assert comments(graded, "two")["essay"] == "Well said."
    assert grades(graded, "two") == BY_HAND
    assert after[ANN]["score"] == before[ANN]["score"] == 13


@pytest.mark.parametrize("how", ["by its tests", "by its metadata"])
def test_a_renamed_notebook_keeps_its_grades_and_its_answers_are_found(graded, how):
    (graded / "source/hw/two.ipynb").unlink()
    if how == "by its tests":
        write_source(graded, SECOND, "second")
    else:
        corrected = ("assert double('ab') == 'abab'", CELLS["test_word"][1])
        cells = {**SECOND, "test_word": corrected}
        write_source(graded, cells, "second", autograde={"formerly": "two"})
    assert generate(graded) == [
        "hw was changed after work had been graded: renamed two to second with all grades. "
        "Grade it again."
    ]
    (row,) = grade_class(graded, "hw", jobs=1, feedback=False)
    assert (row.score, row.max_score) == (13, 16)
    assert "two.ipynb was taken for second.ipynb" in row.note
    assert grades(graded, "second") == BY_HAND
    assert comments(graded, "second")["essay"] == "Well said."


def test_cells_and_notebooks_may_change_at_once(graded):
    (graded / "source/hw/two.ipynb").unlink()
    fewer = {name: cell for name, cell in CELLS.items() if name != "test_one"}
    write_source(graded, fewer, "one")
    said = generate(graded)
    assert len(said) == 2
    assert said[0].startswith("hw was changed after work had been graded: removed two, whose")
    assert said[1].startswith("hw/one was changed after work had been graded: removed test_one,")
    (row,) = grade_class(graded, "hw", jobs=1, feedback=False)
    assert (row.score, row.max_score) == (6, 7)


def test_a_notebook_without_tests_is_never_taken_for_another(graded):
    for name in ("one", "two"):
        (graded / f"source/hw/{name}.ipynb").unlink()
    write_source(graded, {"double": SOLUTION, "essay": ESSAY}, "prose")
    (sentence,) = (said for said in generate(graded) if said.startswith("hw was"))
    assert "added prose; removed one, two, whose grades, 4 of them given by hand" in sentence


def test_a_run_that_finds_other_notebooks_says_what_it_did(graded):
    write_source(graded, CELLS, "extra")
    said: list[str] = []
    grade_class(graded, "hw", jobs=1, feedback=False, watch=Watch(told=said.append))
    assert said == [
        "hw: student version made",
        "hw was changed after work had been graded: added extra. Grade it again.",
    ]


@pytest.fixture
def graded(once_graded: Path, tmp_path: Path) -> Path:
    """A course whose assignment has two notebooks: Ann was graded, and a person gave her points and
    a comment in both."""
    return Path(shutil.copytree(once_graded, tmp_path / "course"))


@pytest.fixture(scope="module")
def once_graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    course = tmp_path_factory.mktemp("changing")
    (course / "nbgrader_config.py").write_text(CONFIG)
    write_source(course, CELLS, "one")
    write_source(course, SECOND, "two")
    generate(course)
    for name in ("one", "two"):
        hand_in(course, name)
    grade_class(course, "hw", jobs=1, feedback=False)
    for name in ("one", "two"):
        give_by_hand(course, name)
    with open_api(course).gradebook as book:
        book.find_submission_notebook("two", "hw", ANN).flagged = True
        book.db.commit()
    return course
