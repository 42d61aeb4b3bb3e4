"""nbgrader with our steps in it: its command, gradebook and rules, and none of its gullibility."""

import json
import os
import shutil
import sysconfig
from pathlib import Path

from nbformat.v4 import new_code_cell
from small_course import SWITCH, answers, graded, scores, solution
from submissions import KINDS, PA0, hand_in_kind, limit_cells, make_course, open_api
from traitlets.config import Config

import autograde
from autograde import configure
from autograde.protect.kept import close_all


def test_each_kind_of_student_gets_the_score_that_the_assignment_means(tmp_path, empty_gradebook):
    root = make_course(tmp_path / "course", cell_seconds=30)
    shutil.copy(empty_gradebook, root / "gradebook.db")
    with (root / "nbgrader_config.py").open("a") as config:
        config.write(SWITCH)
    api = open_api(root)
    assert api.generate_assignment(PA0)["success"]
    for name in ("perfect", "partly", "erroring", "endless"):
        if name == "endless":
            limit_cells(root, seconds=2)
            api = open_api(root)
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
    assert not any(o.get("name") == "stderr" for o in hw.cell("t").outputs)


def test_what_cannot_be_judged_waits_for_a_person_and_is_neither_zero_nor_full(course):
    hw = course(solution("f", "def f(): return 5"), graded("t", "assert f() == 5", 3))
    student = "class A:\n    def __eq__(s, o): return True\ndef f(): return A()"
    assert hw.grade(answers(f=student)) == {"t": None}
    assert "a person must decide" in str(hw.cell("t").outputs)


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


def test_a_cell_whose_answer_is_an_import_is_judged_by_what_the_student_imported(course):
    hw = course(
        solution("i", "import statistics as st"),
        graded("t", "assert st.mean([1, 3]) == 2", 1),
        graded("u", "assert 'st' in globals()", 1),
    )
    assert hw.grade(answers(i="import statistics as st")) == {"t": 1, "u": 1}
    assert hw.grade(answers(i="import statistics"), "bob") == {"t": 0, "u": 0}
    assert hw.grade(answers(i="st = 5"), "cy") == {"t": 0, "u": 1}
    everything = (
        "class A:\n    def __eq__(s, o): return True\n    def mean(s, x): return A()\nst = A()"
    )
    assert hw.grade(answers(i=everything), "dan")["t"] is None


def test_what_a_test_imports_is_there_for_the_students_later_cells(course):
    hidden = "### BEGIN HIDDEN TESTS\nimport fractions\n### END HIDDEN TESTS"
    hw = course(
        solution("f", "def f(): return 1"),
        graded("t", f"import math\nassert f() == 1\n{hidden}", 1),
        solution("g", "def g(): return math.floor(2.5)"),
        graded("u", "assert g() == math.floor(2.9)", 1),
    )
    later = "def g(): return math.floor(2.5) if 'fractions' not in globals() else 0"
    assert hw.grade(answers(f="def f(): return 1", g=later)) == {"t": 1, "u": 1}


def test_a_test_that_stands_on_a_magic_is_not_passed_for_want_of_it(course):
    hw = course(
        solution("f", "%%writefile out\n1"),
        graded("t", "%%bash\ntest -f out", 1),
        graded("u", "files = !ls\nassert 'out' in files", 1),
        graded("v", "%%time\nassert open('out').read().strip() == '1'", 1),
        graded("w", "%matplotlib inline\nassert 1", 1),
    )
    assert "t, line 1: it asks IPython for %bash" in hw.log
    assert hw.grade(answers(f="%%writefile out\n2")) == {"t": None, "u": None, "v": 0, "w": 1}


def test_paths_of_this_machine_are_not_in_what_a_student_sees(course):
    show = "import traceback\ntry: f()\nexcept ValueError: print(traceback.format_exc())\nf()"
    hw = course(solution("f", "def f(): return 1"), graded("t", show, 1))
    text = "import json, numpy\nprint(numpy.__file__)\ndef f(): json.loads('x')"
    assert hw.grade(answers(f=text)) == {"t": 0}
    seen = json.dumps([hw.cell("f").outputs, hw.cell("t").outputs])
    assert "JSONDecodeError" in seen and "numpy/__init__.py" in seen
    for place in (
        sysconfig.get_path("purelib"),
        sysconfig.get_path("stdlib"),
        autograde.__path__[0],
    ):
        assert str(Path(place)) not in seen
    assert "/autograde-" not in seen


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
