"""Notebooks that a real kernel runs: chosen by the instructor's notebook or configuration alone,
graded by nbgrader as ever, their tests marked as unprotected.
"""

import pytest
from kernelspecs import shell_kernel
from nbformat.v4 import new_code_cell, new_notebook
from small_course import answers, graded, solution

from autograde import sandbox
from autograde.parallel import grade_class
from autograde.protect.analysis import lint
from autograde.provisioner import needs

WORKS = {row.layer for row in sandbox.doctor() if row.works}
REAL = {"autograde": {"real_kernel": True}}

pytestmark = pytest.mark.skipif(
    not {"namespaces", "landlock", "seccomp"} <= WORKS, reason="a layer is missing here"
)


def test_a_notebook_with_magics_is_graded_right_and_its_tests_are_marked(course):
    hw = course(
        solution("count", "%%bash\nprintf 'a\\nb\\n' > out.txt"),
        graded("t", "%%bash\ntest $(wc -l < out.txt) -eq 2", 2),
        solution("lines", "lines = !cat out.txt"),
        graded("u", "assert get_ipython().kernel and list(lines) == ['a', 'b']", 1),
        graded("half", "len(lines) / 2", 1),
        metadata=REAL,
    )
    assert "3) run beside the student's code" in hw.log
    right = answers(
        count="%%bash\necho a > out.txt; echo b >> out.txt", lines="lines = !cat out.txt"
    )
    assert hw.grade(right) == {"t": 2, "u": 1, "half": 1}
    report = hw.report()
    assert set(report["unprotected"]) == {"t", "u", "half"} and report["kernel"] == "python3"
    assert {"namespaces", "landlock", "seccomp"} <= set(report["layers"])
    wrong = answers(count="%%bash\necho a > out.txt", lines="lines = !cat out.txt")
    assert hw.grade(wrong, "bob") == {"t": 0, "u": 0, "half": 0.5}


def test_a_course_asks_for_real_kernels_with_one_setting(course):
    hw = course(
        solution("f", "import ipywidgets as w\nbox = w.IntText()"),
        graded("t", "box.value = 4\nassert box.comm is not None and box.value == 4", 1),
        config="c.ProtectedExecute.real_kernel = True\n",
    )
    assert hw.grade(answers(f="import ipywidgets as w\nbox = w.IntText()")) == {"t": 1}
    assert hw.report()["unprotected"] == ["t"]


def test_a_submission_cannot_choose_where_its_tests_run(course):
    hw = course(solution("f", "def f(): return 5"), graded("t", "assert f() == 5", 1))
    cheat = "class A:\n    def __eq__(s, o): return True\ndef f(): return A()"
    claims = {"autograde": {"real_kernel": True}, "language_info": {"name": "sh"}}
    assert hw.grade(answers(f=cheat), **claims) == {"t": None}
    assert hw.report()["unprotected"] == [] and "kernel" not in hw.report()


def test_another_language_is_graded_in_its_own_kernel(course, monkeypatch):
    with shell_kernel(monkeypatch) as (spec, _):
        hw = course(
            solution("mean", "echo $((($1 + $2) / 2)) > mean", mark="#"),
            graded("t", "test $(cat mean) -eq 3", 2),
            metadata={"kernelspec": spec},
            config="c.ClearSolutions.code_stub = {'sh': 'false  # YOUR CODE HERE'}\n",
        )
        assert hw.grade(answers(mean="echo $(((2 + 4) / 2)) > mean")) == {"t": 2}
        assert hw.report()["kernel"] == "plain-sh" and hw.report()["unprotected"] == ["t"]
        assert hw.grade(answers(mean="echo 4 > mean"), "bob") == {"t": 0}


def test_workers_of_a_class_run_kernels_side_by_side(course):
    hw = course(
        solution("f", "%%bash\necho 3 > three"),
        graded("t", "%%bash\ntest $(cat three) -eq 3", 1),
        metadata=REAL,
    )
    for student, number in (("ada", 3), ("bob", 4)):
        hw.hand_in(answers(f=f"%%bash\necho {number} > three"), student)
    rows = grade_class(hw.root, "hw", jobs=2, feedback=False)
    assert [(row.student, row.score) for row in rows] == [("ada", 1), ("bob", 0)]


def test_the_tests_text_is_the_gradebooks_also_in_a_kernel(course):
    hw = course(
        solution("f", "def f(): return 1"), graded("t", "assert f() == 1", 1), metadata=REAL
    )  # fmt: skip
    assert hw.grade(answers(f="def f(): return 2", t="pass")) == {"t": 0}


def test_a_kernel_that_is_ended_costs_only_what_depends_on_it(course):
    hw = course(
        solution("f", "def f(): return 1"), graded("t", "assert f() == 1", 1),
        solution("g", "def g(): return 2"), graded("u", "assert g() == 2", 1),
        metadata=REAL,
    )  # fmt: skip
    ends = "import os\ndef g(): return 2\nos._exit(1)"
    assert hw.grade(answers(f="def f(): return 1", g=ends)) == {"t": 1, "u": 0}


@pytest.mark.parametrize(
    ("kernelspec", "python"),
    [
        ({"name": "python3"}, True),
        ({"name": "conda-env-ml-py", "language": "python"}, True),
        ({}, True),
        ({"name": "ir", "language": "R"}, False),
        ({"name": "bash"}, False),
    ],
)
def test_what_is_not_python_needs_a_kernel(kernelspec, python):
    said = {"kernelspec": {"display_name": "any"} | kernelspec} if kernelspec else {}
    notebook = new_notebook(metadata=said)
    assert needs.wants_kernel(notebook) is not python


def test_a_kernel_is_recommended_where_only_one_runs_what_is_there():
    def findings(source: str, *, test: bool = False) -> list[str]:
        cell = graded("c", source, 1) if test else new_code_cell(source)
        return [
            f"{f.kind}: {f.what}" for f in lint(new_notebook(cells=[cell])) if "kernel" in str(f)
        ]

    assert findings("%%cython\ndef f(int x): return x") == [
        "changed: tests cannot look up what %%cython defines"
    ]
    assert findings("k = get_ipython().kernel")[0].endswith("needs a kernel")
    assert findings("%%bash\ntest -f out", test=True) == ["refused: it asks IPython for %bash"]
    assert findings("files = !ls", test=True) == ["refused: it asks IPython for getoutput"]
    quiet = ["%%bash\nls", "%matplotlib inline\nx = 1", "%%time\nx = 1", "x = 7 % 3", "!ls"]
    assert [findings(source) for source in quiet] == [[]] * len(quiet)
    for source in ("%matplotlib inline\nassert x", "%%time\nassert x", "%time assert x"):
        assert findings(source, test=True) == []
