"""Notebooks that a real kernel runs: chosen by the instructor's notebook or configuration alone,
graded by nbgrader as ever, their tests marked as unprotected.
"""

import os
import select
from multiprocessing.connection import Connection
from pathlib import Path

import nbformat
import pytest
from grading import grade, started
from kernelspecs import shell_kernel
from nbformat.v4 import new_code_cell, new_notebook
from small_course import PYTHON, answers, graded, scores, solution

from autograde import results, sandbox
from autograde.parallel import Watch, grade_class
from autograde.protect.analysis import lint
from autograde.provisioner import needs
from autograde.sandbox.memory import family

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


def test_a_class_that_is_killed_leaves_no_kernel_and_goes_on_where_it_was(course):
    hw = course(
        solution("f", "%%bash\necho 3 > three"),
        graded("t", "%%bash\ntest $(cat three) -eq 3", 1),
        metadata=REAL,
    )
    numbers = {"ada": 3, "bob": 4, "cyd": 3, "dan": 3}
    for student, number in numbers.items():
        hw.hand_in(answers(f=f"%%bash\necho {number} > three"), student)
    with started(_grade_and_tell, hw.root) as (grader, channel):
        channel.recv()
        below = [os.pidfd_open(pid) for pid in family(grader.pid)]
        grader.kill()
        for process in below:
            assert select.select([process], [], [], 60)[0]
            os.close(process)
    again = grade(hw.root, assignment="hw", jobs=2, feedback=False)
    assert {row.student: row.score for row in again.rows} == {
        student: float(number == 3) for student, number in numbers.items()
    }
    assert len(again.ran) < len(numbers)


def _grade_and_tell(channel: Connection, root: Path) -> None:
    watch = Watch(finished=lambda row: channel.send(row.student))
    grade_class(root, "hw", jobs=2, feedback=False, watch=watch)


def test_a_kernel_for_one_notebook_is_none_for_another(course):
    hw = course(solution("f", "def f(): return 5"), graded("t", "assert f() == 5", 1))
    magic = new_notebook(
        cells=[
            solution("g", "%%writefile g.txt\n5"),
            graded("u", "read = !cat g.txt\nassert list(read) == ['5']", 1),
        ],
        metadata={"kernelspec": PYTHON} | REAL,
    )
    nbformat.write(magic, hw.root / "source" / "hw" / "magic.ipynb")
    assert hw.api.generate_assignment("hw")["success"]
    hw.hand_in(answers(f="def f(): return 5"))
    release = nbformat.read(hw.root / "release" / "hw" / "magic.ipynb", as_version=4)
    release.cells[0].source = "%%writefile g.txt\n5"
    nbformat.write(release, hw.root / "submitted" / "ada" / "hw" / "magic.ipynb")
    assert hw.api.autograde("hw", "ada")["success"]
    assert scores(hw.api, "hw", "ada") == {"t": 1, "u": 1}
    cells = results.cell_results(hw.api, "hw", "ada")
    assert {cell.cell: cell.unprotected for cell in cells} == {"t": False, "u": True}


def test_a_hidden_test_that_a_submission_prints_is_in_no_page_of_feedback(course):
    hidden = "### BEGIN HIDDEN TESTS\nassert f(31337) == 62674\n### END HIDDEN TESTS"
    hw = course(
        solution("f", "def f(x): return 2 * x"), graded("t", "f(1)\n" + hidden, 1), metadata=REAL
    )  # fmt: skip
    prints = "def f(x):\n    print(get_ipython().user_ns['In'][-1], x)\n    return 62675"
    assert hw.grade(answers(f=prints)) == {"t": 0}
    assert "31337" in str(hw.cell("t").outputs)
    assert hw.api.generate_feedback("hw", "ada")["success"]
    page = (hw.root / "feedback" / "ada" / "hw" / "hw.html").read_text()
    assert "31337" not in page and "6267" in page


def test_tests_wait_for_a_person_where_a_kernel_does_not_tell_failures(course, monkeypatch):
    with shell_kernel(monkeypatch, silent=True) as (spec, _):
        hw = course(
            solution("mean", "echo 3 > mean", mark="#"),
            graded("t", "test $(cat mean) -eq 3", 2),
            metadata={"kernelspec": spec},
            config="c.ClearSolutions.code_stub = {'sh': 'false  # YOUR CODE HERE'}\n",
        )
        assert hw.grade(answers(mean="echo 4 > mean")) == {"t": None}
        assert "'plain-sh' does not say when a cell fails" in hw.report()["review"]["t"]


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
    taken_in = "from ipywidgets import Output\nout = Output()\nlen(out.outputs)"
    assert findings(taken_in) == ["changed: `out.outputs` needs a kernel"]
    assert findings("layer.outputs") == []
    assert findings("%%bash\ntest -f out", test=True) == ["refused: it asks IPython for %bash"]
    assert findings("files = !ls", test=True) == ["refused: it asks IPython for getoutput"]
    quiet = ["%%bash\nls", "%matplotlib inline\nx = 1", "%%time\nx = 1", "x = 7 % 3", "!ls"]
    assert [findings(source) for source in quiet] == [[]] * len(quiet)
    for source in ("%matplotlib inline\nassert x", "%%time\nassert x", "%time assert x"):
        assert findings(source, test=True) == []
