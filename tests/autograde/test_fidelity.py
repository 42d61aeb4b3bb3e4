"""nbgrader's own test notebooks and its documentation's course, graded by plain nbgrader and by us:
every score, comment and wait for a person must be the same, or stand below with the reason.

The notebooks are those of the installed package. A few run always; with MLSYS_EXHAUSTIVE each of
its notebooks becomes an assignment, handed in as it is, as it was released, and with whatever
belongs to it.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import nbgrader
import pytest
from gradebooks import rows_of
from submissions import open_api

from autograde.parallel import grade_class

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

PACKAGE = Path(nbgrader.__file__).parent
APPS, STEPS = PACKAGE / "tests/apps/files", PACKAGE / "tests/preprocessors/files"
DOCS = PACKAGE / "docs/source/user_guide"
DUE = datetime(2015, 2, 1, 15)
CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "fidelity"
c.ExecutePreprocessor.timeout = 10
c.IncludeHeaderFooter.header = "source/header.ipynb"
"""
OURS = "import autograde\n\nautograde.configure(c)\n"

REFUSED = "nbgrader refuses this submission to that assignment; we restore its cells and grade it"
NOT_THERE = (
    "nbgrader leaves a cell that was not handed in to a person; we put tests back and run them"
)
ALWAYS = ("ps1", "apps-submitted-unchanged")
FEW = ("submitted-changed", "submitted-locked-cell-changed", "submitted-cheat-attempt")


@dataclass(frozen=True)
class Case:
    """An assignment: its notebooks by name, and those of each student; `differing` are students
    whose scores differ from nbgrader's, and why."""

    source: Mapping[str, Path]
    students: Mapping[str, Mapping[str, Path]]
    differing: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[Path, ...] = ()


def family(source: Path, *others: Path, **differing: str) -> Case:
    """One notebook and what is handed in for it, each by a student of the file's name."""
    students = {"itself": {"p": source}}
    for path in others:
        name = path.parents[1].name if path.is_relative_to(DOCS) else path.stem
        students[name] = {"p": path}
    why = {name.replace("_", "-"): reason for name, reason in differing.items()}
    return Case({"p": source}, students, why, (APPS / "data.txt", APPS / "jupyter.png"))


def these(folder: Path, *names: str) -> list[Path]:
    return [folder / f"{name}.ipynb" for name in names]


def documentation(assignment: str) -> Case:
    submitted = {
        student: {
            path.stem: path for path in sorted((DOCS / "submitted" / student).glob("*/*.ipynb"))
        }
        for student in ("bitdiddle", "hacker")
    }
    source = {path.stem: path for path in sorted((DOCS / "source" / assignment).glob("*.ipynb"))}
    # The second assignment has a cell more than the first, for which these were written.
    differing = dict.fromkeys(submitted, NOT_THERE) if assignment == "ps1_autotest" else {}
    return Case(source, submitted, differing)


CHANGED = ("submitted-changed", "submitted-grade-cell-changed", "submitted-locked-cell-changed")
OF_DOCS = [
    DOCS / "submitted" / student / "ps1/problem1.ipynb" for student in ("hacker", "bitdiddle")
]
FAMILIES = {
    "apps-submitted-unchanged": family(
        *these(APPS, "submitted-unchanged", *CHANGED, "submitted-cheat-attempt"),
        *these(APPS, "submitted-cheat-attempt-alternative"),
    ),
    "steps-submitted-unchanged": family(
        *these(STEPS, "submitted-unchanged", *CHANGED, "submitted-answer-cell-type-changed"),
        *these(STEPS, "submitted-grade-cell-type-changed", "no-cell-type", "cell-type-changed"),
        submitted_answer_cell_type_changed=REFUSED,
        submitted_grade_cell_type_changed=REFUSED,
        cell_type_changed=REFUSED,
        no_cell_type=NOT_THERE,
    ),
    "apps-autotest-simple": family(
        *these(APPS, "autotest-simple", "autotest-simple-changed", "autotest-simple-unchanged")
    ),
    "apps-autotest-hashed": family(
        *these(APPS, "autotest-hashed", "autotest-hashed-changed", "autotest-hashed-unchanged")
    ),
    "apps-autotest-multi": family(
        *these(APPS, "autotest-multi", "autotest-multi-changed", "autotest-multi-unchanged")
    ),
    "apps-autotest-hidden": family(
        *these(APPS, "autotest-hidden", "autotest-hidden-unchanged"),
        *these(APPS, "autotest-hidden-changed-right", "autotest-hidden-changed-wrong"),
    ),
    "apps-test": family(
        *these(APPS, "test", "test-with-output", "test-v0", "test-v1", "test-v2"),
        *these(APPS, "test-hidden-tests", "test-no-metadata"),
        *OF_DOCS,
        test_v0=REFUSED,
        test_v1=REFUSED,
        test_v2=REFUSED,
        test_hidden_tests=NOT_THERE,
        test_no_metadata=NOT_THERE,
        hacker=REFUSED,
        bitdiddle=REFUSED,
    ),
    "apps-test-hidden-tests": family(
        *these(APPS, "test-hidden-tests", "test", "test-with-output"),
        *OF_DOCS,
        test=REFUSED,
        test_with_output=REFUSED,
        hacker=REFUSED,
        bitdiddle=REFUSED,
    ),
}


def cases() -> dict[str, Case]:
    """The documentation's two assignments, and every notebook of the tests as one."""
    found = {name: documentation(name) for name in ("ps1", "ps1_autotest")}
    for tag, folder in (("apps", APPS), ("steps", STEPS)):
        for path in sorted(folder.glob("*.ipynb")):
            name = f"{tag}-{path.stem}"
            found[name] = FAMILIES.get(name) or family(path)
    return found


EVERY = cases()
if not os.environ.get("MLSYS_EXHAUSTIVE"):
    EVERY = {name: EVERY[name] for name in ALWAYS}
    some = EVERY["apps-submitted-unchanged"]
    few = {student: some.students[student] for student in FEW}
    EVERY["apps-submitted-unchanged"] = replace(some, students=few)


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two courses: nbgrader alone, and nbgrader with the three lines."""
    made = {}
    for name, lines in (("plain", ""), ("ours", OURS)):
        course = tmp_path_factory.mktemp(name)
        (course / "source").mkdir()
        shutil.copy(DOCS / "source/header.ipynb", course / "source/header.ipynb")
        shutil.copy(APPS / "autotests.yml", course / "autotests.yml")
        (course / "nbgrader_config.py").write_text(CONFIG + lines)
        made[name] = course
    with open_api(made["plain"]).gradebook:
        pass  # made once: alembic takes seconds
    shutil.copy(made["plain"] / "gradebook.db", made["ours"])
    return made


@pytest.mark.parametrize("name", EVERY)
def test_every_cell_scores_as_under_plain_nbgrader(name, courses):
    case = EVERY[name]
    plain = release(courses["plain"], name, case)
    assert release(courses["ours"], name, case) == plain
    if not plain:
        return  # a source that nbgrader refuses
    for course in courses.values():
        hand_in(course, name, case)
    api = open_api(courses["plain"])
    for student in students_of(case):
        api.autograde(name, student)
    grade_class(courses["ours"], name, feedback=False, jobs=1)
    expected, found = (rows_of(courses[kind], name) for kind in ("plain", "ours"))
    unlike = {student for student in students_of(case) if found[student] != expected.get(student)}
    assert unlike == set(case.differing), [
        difference
        for student in sorted(unlike - set(case.differing))
        for difference in differences(expected.get(student), found[student])
    ]


def release(course: Path, name: str, case: Case) -> bool:
    folder = course / "source" / name
    folder.mkdir(parents=True)
    for notebook, path in case.source.items():
        shutil.copy(path, folder / f"{notebook}.ipynb")
    for path in case.beside:
        shutil.copy(path, folder)
    api = open_api(course)
    made = api.generate_assignment(name)["success"]
    if made:
        with api.gradebook as book:
            book.update_or_create_assignment(name, duedate=DUE)
    return made


def students_of(case: Case) -> list[str]:
    return [*case.students, "released"]


def hand_in(course: Path, name: str, case: Case) -> None:
    released = {
        notebook: course / "release" / name / f"{notebook}.ipynb" for notebook in case.source
    }
    for student, notebooks in {**case.students, "released": released}.items():
        folder = course / "submitted" / student / name
        folder.mkdir(parents=True)
        for notebook, path in notebooks.items():
            shutil.copy(path, folder / f"{notebook}.ipynb")
            stamp = path.parent / "timestamp.txt"
            if stamp.is_file():
                shutil.copy(stamp, folder)
        for path in case.beside:
            shutil.copy(path, folder)


def differences(expected: dict | None, found: dict) -> list[tuple]:
    """What differs, one by one: where, nbgrader's, ours."""
    if expected is None:
        return [("not graded by nbgrader", found)]
    whole = [(k, expected[k], found[k]) for k in ("timestamp", "late", "score")]
    parts = [
        (f"{name}.{part}", theirs, ours)
        for name, notebook in expected["notebooks"].items()
        for part in ("grades", "comments")
        for theirs, ours in zip(notebook[part], found["notebooks"][name][part], strict=True)
    ]
    return [row for row in whole + parts if row[1] != row[2]]
