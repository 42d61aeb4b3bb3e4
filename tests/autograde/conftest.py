"""Fixtures for the grader's tests. Generating a course takes seconds, most of them alembic's, and
is done once: `class_of` copies it for any students; `graded_class` is one class, graded once for
all tests that only read it.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from submissions import DUE, KINDS, PA0, hand_in_kind, limit_cells, make_course, open_api


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workbook's course with PA0 released and its gradebook; nobody has handed in."""
    course = make_course(tmp_path_factory.mktemp("generated") / "course")
    _succeed(open_api(course).generate_assignment(PA0))
    return course


@pytest.fixture
def class_of(generated: Path, tmp_path: Path) -> Callable[[Iterable[str]], Path]:
    """`class_of(["perfect", "empty"])`: a generated course where those have handed in PA0."""

    def build(kinds: Iterable[str]) -> Path:
        course = Path(shutil.copytree(generated, tmp_path / "course"))
        for kind in kinds:
            hand_in_kind(course, kind, KINDS[kind])
        return course

    return build


@pytest.fixture(scope="session")
def graded_class(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds of students through autograde, a grade by hand, and feedback: nbgrader's own."""
    course = Path(shutil.copytree(generated, tmp_path_factory.mktemp("class") / "course"))
    api = open_api(course)
    with api.gradebook as book:
        book.update_or_create_assignment(PA0, duedate=DUE)
    for name, kind in KINDS.items():
        hand_in_kind(course, name, kind)
        if name != "endless":
            _succeed(api.autograde(PA0, name))
    limit_cells(course, seconds=3)  # for one whose loop has no end, and nobody else
    _succeed(open_api(course).autograde(PA0, "endless"))
    limit_cells(course, seconds=30)
    with api.gradebook as book:
        for cell, points in (("sources", 4), ("ten_gigabytes", 10)):
            grade = book.find_grade(cell, PA0, PA0, "perfect")
            grade.manual_score, grade.needs_manual_grade = points, False
        book.db.commit()
    for name in KINDS:
        _succeed(api.generate_feedback(PA0, name))
    return course


def _succeed(result: dict) -> None:
    assert result["success"], result["error"]
