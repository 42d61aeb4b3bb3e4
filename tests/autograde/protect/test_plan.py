"""Where each cell runs is decided by the instructor's word alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook

from autograde.protect.analysis import lint
from autograde.protect.names import bound
from autograde.protect.plan import Known, plan, read_course


def cell(source: str, name: str = "", **about) -> dict:
    extra = about.pop("autograde", {})
    metadata = {"nbgrader": {"grade_id": name, **about}} if name else {}
    return new_code_cell(source, metadata=metadata | ({"autograde": extra} if extra else {}))


TEST = {"grade": True, "solution": False, "locked": True, "points": 1}
ANSWER = {"grade": False, "solution": True, "locked": False}
HIDDEN = "assert f(1) == 2\n### BEGIN HIDDEN TESTS\nassert f(7) == 8\n### END HIDDEN TESTS"
SOURCE = new_notebook(
    cells=[
        cell("import numpy as np\nLIMIT = 3"),
        cell("from collections import deque\ndef f(x): return x + STEP", "f", **ANSWER),
        cell("model = f(1)"),
        cell("again = model + 1"),
        cell(HIDDEN, "t", **TEST),
        cell("class S:\n    pass", "s", **ANSWER),
        cell("assert S()", "u", **TEST),
    ]
)
KNOWN = {"t": Known(HIDDEN, True), "u": Known("assert S()", True)}


def test_the_students_names_are_those_that_solutions_define_and_what_follows_from_them():
    course = read_course(SOURCE)
    assert course.names.student == {"f", "S", "model", "again"}
    assert "STEP" in course.names.passed_on
    assert course.imports == ("numpy", "collections")
    assert [text for _, text in course.setup] == [
        "import numpy as np\nLIMIT = 3", "from collections import deque",
    ]  # fmt: skip


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "grade": st.booleans(), "solution": st.booleans(), "locked": st.booleans(),
            "task": st.booleans(), "points": st.integers(-1, 9),
        },
    ),
    st.sampled_from(["", HIDDEN, "x = 1\n" + HIDDEN]),
)  # fmt: skip
@settings(max_examples=40)
def test_hidden_tests_go_to_the_trusted_side_whatever_the_submission_says_of_them(about, source):
    submission = new_notebook(cells=[cell(source or "pass", "t", **about), cell("f = 1")])
    steps = [step for _, step in plan(submission, read_course(SOURCE), KNOWN, seconds=1)]
    assert all("f(7)" not in (step.student or "") for step in steps)
    assert sum(step.test and "f(7)" in step.trusted for step in steps) == 1


def test_the_instructors_setup_runs_before_the_test_that_it_precedes():
    submission = new_notebook(cells=[cell("f = 1"), cell("", "t", **TEST), cell("x", "t", **TEST)])
    steps = [step for _, step in plan(submission, read_course(SOURCE), KNOWN, seconds=1)]
    assert [bool(step.student) for step in steps] == [True, False, False, False]
    assert steps[1].trusted.startswith("import numpy") and steps[-1].test


def test_an_unprotected_test_is_taken_from_the_source_notebook_only():
    said = {"unprotected": True}
    source = new_notebook(cells=[cell("assert S()", "u", autograde=said, **TEST)])
    submission = new_notebook(
        cells=[cell("x", "u", **TEST), cell("y", "t", autograde=said, **TEST)]
    )
    steps = [step for _, step in plan(submission, read_course(source), KNOWN, seconds=1)]
    assert (steps[0].student, steps[0].test) == ("assert S()", False)
    assert steps[1].test and steps[1].student is None


LINTED = {
    "assert not err(x) > 1e-6": ("weak", "assert err(x) <= 1e-06"),
    "assert Money(3).equals(Money(3))": ("weak", "the student's own method 'equals'"),
    "assert Money(3) == Money(3)": ("weak", "__eq__"),
    "model.fit(X)\nassert model.score(X_test, y_test) > .9": ("weak", "y_test"),
    "assert model.score(X, y) > 0.9": ("weak", "'score' is the judge. Compute the score here"),
    "m = Money(3)\nassert m.score(X, y) > 0.9": ("weak", "'score' is the judge"),
    "got = model.score(X, y)\nassert .5 < got": ("weak", "'score' is the judge"),
    "ok = Money(3).equals(Money(4))\nassert not ok": ("weak", "'equals' is the judge"),
    "if not model.is_valid():\n    raise AssertionError": ("weak", "'is_valid' is the judge"),
    "assert X and model.is_valid()": ("weak", "'is_valid' is the judge"),
    "assert X is not None and not err(x) >= 3": ("weak", "assert err(x) < 3"),
    "if err(x) > 3:\n    raise ValueError(x)": ("weak", "assert err(x) <= 3"),
    "model.evaluate(X, labels_test)": ("weak", "labels_test"),
    "class Sub(Money): pass": ("refused", "subclasses"),
    "import pickle\nm = pickle.load(open('m.pkl', 'rb'))": ("refused", "unpickles"),
    "assert err.__code__.co_argcount == 1": ("refused", "inspect.signature"),
    "for i in range(100_000):\n    assert err(i) == i": ("slow", "100,000 calls"),
    "assert all(err(i) == i for i in range(50_000))": ("slow", "50,000 calls"),
    "n = 60_000\nfor i in range(n):\n    err(i)": ("slow", "60,000 calls"),
    "import numpy as np\nfor i in np.arange(70_000):\n    err(i)": ("slow", "70,000 calls"),
    "while True:\n    if err(1):\n        break": ("slow", "Loop over a range"),
    "import itertools\nfor i in itertools.count():\n    err(i)": ("slow", "Loop over a range"),
    "xs = [2, 1]\nmodel.order(xs)\nassert xs == [1, 2]": ("changed", "write_back"),
    "import matplotlib.pyplot as plt\nassert plt.gcf().axes": ("refused", "return the Axes"),
    "import sys, io\nsys.stdin = io.StringIO('3')": ("changed", "patch"),
    "from unittest.mock import patch\nwith patch('time.time', return_value=5):\n    err(3)": (
        "changed", "puts into time.time",
    ),
    "from unittest import mock\nwith mock.patch.dict(os.environ, A='1'):\n    err(3)": (
        "changed", "puts into os.environ",
    ),
    "assert isinstance(Stack(), (tuple, list))": ("changed", "derived from list is no list here"),
    "assert (": ("refused", "no Python"),
}  # fmt: skip
SOLUTION = (
    "class Money:\n    def equals(self, o): return True\n    def __eq__(self, o): return True\n"
    "    def order(self, xs):\n        xs.sort()\n"
    "def err(x): return x\nmodel = Money()\ndef order(xs):\n    xs.sort()\n"
    "class Stack(list): pass\nclass Wrong(ValueError): pass"
)


@pytest.mark.parametrize("test", LINTED)
def test_lint_names_the_weakness_and_says_how_to_write_it(test):
    found = lint(new_notebook(cells=[cell(SOLUTION, "s", **ANSWER), cell(test, "t", **TEST)]))
    kind, words = LINTED[test]
    assert any(f.kind == kind and words in str(f) for f in found), found
    assert all(f.cell == "t" and f.line >= 1 for f in found)


def test_lint_is_silent_on_good_tests():
    good = (
        "import numpy as np\ngot = err(3)\nassert isinstance(got, int) and got == 3\n"
        "assert abs(err(2) - 2) <= 1e-6\nfor i in range(100):\n    assert err(i) == i\n"
        "pred = model.predict(X)\nassert (pred == y_test).mean() >= .9\n"
        "n = 10\nwhile True:\n    n += 1\n    if err(n) > 20:\n        break\n"
        "if got > 5:\n    print(got)\nfor n in range(10):\n    assert err(n) == n\n"
        "with patch('builtins.input', return_value='3'), patch.object(model, 'order'):\n"
        "    assert isinstance(Wrong(), ValueError) and isinstance(got, dict)"
    )
    assert lint(new_notebook(cells=[cell(SOLUTION, "s", **ANSWER), cell(good, "t", **TEST)])) == []


def test_magics_that_only_time_or_capture_a_cell_hide_none_of_its_names():
    assert bound("%%time\nx = 1") == {"x"}
    assert bound("%%capture out\ny = 2") == {"out", "y"}
    assert bound("%time z = 3") == {"z"}
    assert bound("%%bash\nw=1") == set()


def test_a_solution_that_only_imports_is_the_students_to_give():
    marked = "import os\n### BEGIN SOLUTION\nimport numpy as np\n### END SOLUTION"
    source = new_notebook(cells=[cell(marked, "i", **ANSWER), cell("assert np", "t", **TEST)])
    assert read_course(source).names.imports == {"np"}
    assert read_course(SOURCE).names.imports == set()  # `deque` is there to write `f` with
