"""nbgrader with our steps in it: its command, gradebook and rules, and none of its gullibility."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.api import Gradebook
from submissions import KINDS, PA0, hand_in_kind, make_course, open_api
from traitlets.config import Config

from autograde import configure
from autograde.protect.kept import close_all

SWITCH = "\nimport autograde\n\nautograde.configure(c)\n"


def graded(name: str, source: str, points: float, **autograde) -> dict:
    about = {"grade": True, "grade_id": name, "locked": True, "points": points,
             "schema_version": 3, "solution": False, "task": False}  # fmt: skip
    return new_code_cell(source, metadata={"nbgrader": about, "autograde": autograde})


def solution(name: str, source: str) -> dict:
    about = {"grade": False, "grade_id": name, "locked": False, "schema_version": 3,
             "solution": True, "task": False}  # fmt: skip
    text = f"### BEGIN SOLUTION\n{source}\n### END SOLUTION"
    return new_code_cell(text, metadata={"nbgrader": about})


def scores(api, assignment: str, student: str) -> dict[str, float | None]:
    with api.gradebook as book:
        return {
            grade.name: None if grade.needs_manual_grade else grade.auto_score
            for notebook in book.find_submission(assignment, student).notebooks
            for grade in notebook.grades
        }


@pytest.fixture(scope="module")
def empty_gradebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """nbgrader takes a second to make one; all courses here start with a copy."""
    path = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    with Gradebook(f"sqlite:///{path}"):
        pass
    yield path
    close_all()


@pytest.fixture
def course(tmp_path: Path, empty_gradebook: Path) -> Callable[..., SimpleNamespace]:
    """`course(cells)`: an assignment of these cells, released; `.grade(change)` grades a copy."""

    def build(*cells: dict) -> SimpleNamespace:
        root = tmp_path / "course"
        (root / "source" / "hw").mkdir(parents=True)
        shutil.copy(empty_gradebook, root / "gradebook.db")
        (root / "nbgrader_config.py").write_text("c = get_config()\n" + SWITCH)
        notebook = new_notebook(cells=list(cells))
        notebook.metadata.kernelspec = {
            "name": "python3",
            "display_name": "p",
            "language": "python",
        }
        nbformat.write(notebook, root / "source" / "hw" / "hw.ipynb")
        api = open_api(root)
        made = api.generate_assignment("hw")
        assert made["success"], made["log"]

        def grade(change: Callable[[dict], None], student: str = "ada") -> dict:
            release = nbformat.read(root / "release" / "hw" / "hw.ipynb", as_version=4)
            change({c.metadata.get("nbgrader", {}).get("grade_id"): c for c in release.cells})
            target = root / "submitted" / student / "hw"
            target.mkdir(parents=True)
            nbformat.write(release, target / "hw.ipynb")
            result = api.autograde("hw", student)
            assert result["success"], result["log"]
            return scores(api, "hw", student)

        return SimpleNamespace(root=root, api=api, grade=grade, log=made["log"])

    return build


def answers(**sources: str) -> Callable[[dict], None]:
    def change(cells: dict) -> None:
        for name, source in sources.items():
            cells[name].source = source

    return change


def result_cell(course: SimpleNamespace, name: str) -> dict:
    path = course.root / "autograded" / "ada" / "hw" / "hw.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    return next(c for c in cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def test_each_kind_of_student_gets_the_score_that_the_assignment_means(tmp_path, empty_gradebook):
    root = make_course(tmp_path / "course", cell_seconds=2)
    shutil.copy(empty_gradebook, root / "gradebook.db")
    with (root / "nbgrader_config.py").open("a") as config:
        config.write(SWITCH)
    api = open_api(root)
    assert api.generate_assignment(PA0)["success"]
    for name in ("perfect", "partly", "erroring", "endless"):
        hand_in_kind(root, name, KINDS[name])
        result = api.autograde(PA0, name)
        assert result["success"], result["log"]
        assert scores(api, PA0, name) == KINDS[name].scores()


def test_a_warning_on_standard_error_costs_nothing(course):
    hw = course(
        solution("f", "def f(): return 1"),
        graded("t", "import warnings\nassert f() == 1\nwarnings.warn('old')", 2),
    )
    text = "import sys, warnings\ndef f():\n    warnings.warn('mine', DeprecationWarning)\n"
    assert hw.grade(answers(f=text + "    print('x', file=sys.stderr)\n    return 1")) == {"t": 2}
    assert not any(o.get("name") == "stderr" for o in result_cell(hw, "t").outputs)


def test_what_cannot_be_judged_waits_for_a_person_and_is_neither_zero_nor_full(course):
    hw = course(solution("f", "def f(): return 5"), graded("t", "assert f() == 5", 3))
    student = "class A:\n    def __eq__(s, o): return True\ndef f(): return A()"
    assert hw.grade(answers(f=student)) == {"t": None}
    assert "a person must decide" in str(result_cell(hw, "t").outputs)


def test_partial_credit_and_named_checks_give_part_of_the_points(course):
    hw = course(
        solution("f", "def f(x): return x + 1"),
        graded("half", "(f(1) == 2) + (f(0) == 1) * 1.5", 2.5),
        graded(
            "checks",
            "from autograde.checks import check\n"
            "with check('zero', points=1):\n    assert f(0) == 1\n"
            "with check('one', points=3):\n    assert f(1) == 2\n",
            5,
        ),
    )
    assert hw.grade(answers(f="def f(x): return 1")) == {"half": 1.5, "checks": 2}
    assert hw.grade(answers(f="def f(x): return x + 1"), "bob") == {"half": 2.5, "checks": 5}


def test_only_the_instructor_can_have_a_test_run_unprotected(course):
    hw = course(
        solution("f", "def f(): return 1"),
        graded("t", "assert f() == 2", 1),
        graded("u", "assert f() == 2", 1, unprotected=True),
    )

    def cheat(cells: dict) -> None:
        cells["t"].metadata["autograde"] = {"unprotected": True}
        cells["f"].source = "class A:\n    def __eq__(s, o): return True\ndef f(): return A()"

    assert hw.grade(cheat) == {"t": None, "u": 1}


def test_a_named_check_gives_no_points_where_nobody_counts_it(course):
    text = (
        "from autograde.checks import check\nwith check('one', points=3):\n    assert f(1) == 2\n"
    )
    hw = course(
        solution("f", "def f(x): return x + 1"), graded("u", text, 3, unprotected=True)
    )  # fmt: skip
    assert hw.grade(answers(f="def f(x): return 1")) == {"u": 0}
    assert hw.grade(answers(f="def f(x): return x + 1"), "bob") == {"u": 3}


def test_a_cell_that_ends_the_process_loses_only_what_depends_on_it(course):
    hw = course(
        solution("f", "def f(): return 1"), graded("t", "assert f() == 1", 1),
        solution("g", "def g(): return 2"), graded("u", "assert g() == 2", 1),
        solution("h", "def h(): return 3"), graded("v", "assert h() == 3 and f() == 1", 1),
    )  # fmt: skip
    got = hw.grade(
        answers(
            f="def f(): return 1",
            g="import os\ndef g(): return 2\nos.kill(os.getpid(), 9)\nos._exit(1)",
            h="def h(): return 3",
        )
    )
    assert got == {"t": 1, "u": 0, "v": 1}


def test_an_assignment_whose_source_is_gone_is_still_graded(course):
    hw = course(
        new_code_cell("import math"),
        solution("f", "def f(x): return math.sqrt(x)"),
        graded("t", "import math\nassert math.isclose(f(4), 2)", 1),
    )
    (hw.root / "source" / "hw" / "hw.ipynb").unlink()
    assert hw.grade(answers(f="import math\ndef f(x): return math.sqrt(x)")) == {"t": 1}


def test_generate_tells_of_weak_tests(course):
    hw = course(solution("f", "def f(): return 0.0"), graded("t", "assert not f() > 1e-6", 1))
    assert "t, line 1" in hw.log and "assert f() <= 1e-06" in hw.log


def test_nothing_runs_after_the_class_is_graded(course):
    before = warm_processes()
    hw = course(solution("f", "def f(): return 1"), graded("t", "assert f() == 1", 1))
    student = (
        "import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        time.sleep(600)\ndef f(): return 1"
    )
    assert hw.grade(answers(f=student)) == {"t": 1}
    close_all()
    assert warm_processes() <= before


def warm_processes() -> set[Path]:
    command = "autograde.protect.zygote"
    found = [p for p in Path("/proc").glob("[0-9]*/cmdline") if command in _text(p)]
    return {p for p in found if f"PPid:\t{os.getpid()}" in _text(p.parent / "status")}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_the_switch_replaces_three_steps_and_keeps_the_others():
    c = Config()
    c.Autograde.autograde_preprocessors = ["my.Step", "nbgrader.preprocessors.Execute"]
    configure(c)
    assert c.Autograde.autograde_preprocessors == ["my.Step", "autograde.execute.ProtectedExecute"]
    assert c.GenerateAssignment.preprocessors[0] == "autograde.execute.LintTests"
    c = Config()
    configure(c)
    names = [getattr(s, "__name__", s) for s in c.Autograde.autograde_preprocessors]
    assert names == [
        "autograde.execute.ProtectedExecute", "IgnorePattern", "ClearMetadataPreprocessor",
        "LimitOutput", "autograde.execute.SaveScores", "AssignLatePenalties",
        "autograde.execute.CheckMetadata",
    ]  # fmt: skip
