# ruff: noqa: E501  (whole programs stand in one line each)
"""The kinds of test cells that instructors write run outside the student's process unchanged."""

import pytest
from judging import verdict
from nbformat.v4 import new_notebook
from test_plan import ANSWER, TEST, cell

from autograde.protect.analysis import lint
from autograde.protect.plan import Known, is_test, plan, read_course
from autograde.protect.supervisor import Session

STACK = """
class Stack:
    limit = 3
    def __init__(self, items=()):
        self.items = list(items)
    def push(self, item):
        if len(self.items) >= self.limit:
            raise OverflowError("full")
        self.items.append(item)
        return self
    def __len__(self):
        return len(self.items)
    def __iter__(self):
        return iter(self.items)
    def __getitem__(self, i):
        return self.items[i]
    def __contains__(self, item):
        return item in self.items
    def __repr__(self):
        return f"Stack({self.items})"
    @classmethod
    def of(cls, *items):
        return cls(items)
    @property
    def top(self):
        return self.items[-1]
class Tall(Stack):
    limit = 100
"""

KINDS = {
    "values": ("x, y, z = 3, [1, (2, 3)], {'a': {1}}", "assert (x, y, z) == (3, [1, (2, 3)], {'a': {1}})"),
    "function": ("def f(a, *, b=1): return a + b", "assert f(1) == 2 and f(1, b=3) == 4"),
    "type first": ("def f(): return [1]", "got = f()\nassert type(got) is list and isinstance(got, list)"),
    "subclass flattened": (
        "from collections import defaultdict\nclass D(dict): pass\ndef f(): return D(a=1)",
        "assert type(f()) is dict and f() == {'a': 1}",
    ),
    "counter": ("from collections import Counter\ndef f(t): return Counter(t)",
                "assert f('aab').most_common(1) == [('a', 2)]"),
    "named tuple": ("from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
                    "assert f().x == 1 and f() == (1, 2)"),
    "numpy": ("import numpy as np\ndef f(a): return a @ a.T",
              "import numpy as np\na = np.eye(3)\nnp.testing.assert_allclose(f(a), np.eye(3))\n"
              "assert f(a).shape == (3, 3) and f(a).dtype == float"),
    "numpy scalar": ("import numpy as np\ndef f(a): return np.mean(a)",
                     "assert abs(f([1, 2]) - 1.5) <= 1e-9 and isinstance(f([1]), float)"),
    "pandas": ("import pandas as pd\ndef f(d): return d.groupby('k').v.sum()",
               "import pandas as pd\nd = pd.DataFrame({'k': list('aab'), 'v': [1, 2, 3]})\n"
               "pd.testing.assert_series_equal(f(d), d.groupby('k').v.sum())"),
    "pandas with zones": ("def f(d): return d.tz_convert('UTC')",
                          "import pandas as pd\ni = pd.date_range('2026', periods=2, tz='Europe/Rome')\n"
                          "assert (f(i) == i).all() and str(f(i).tz) == 'UTC'"),
    "raises": ("def f(x):\n    if x < 0: raise ValueError(f'bad {x}')",
               "try:\n    f(-1)\nexcept ValueError as e:\n    assert str(e) == 'bad -1'\nelse:\n    assert False"),
    "pytest.raises": ("def f(): return {}['k']",
                      "import pytest\nwith pytest.raises(KeyError, match='k'):\n    f()"),
    "own exception": ("class Full(ValueError): pass\ndef f(): raise Full('full', 3)",
                      "try:\n    f()\nexcept Full as e:\n    assert e.args == ('full', 3)\n"
                      "assert issubclass(Full, ValueError)\ntry:\n    f()\nexcept ValueError: pass"),
    "library exception": ("import json\ndef f(): json.loads('{')",
                          "import json\ntry:\n    f()\nexcept json.JSONDecodeError as e:\n    assert e.pos == 1"),
    "exit becomes an error": ("def f(): raise SystemExit(0)",
                              "try:\n    f()\nexcept RuntimeError as e:\n    assert 'SystemExit' in str(e)"),
    "class": (STACK, "s = Stack()\nassert len(s) == 0\ns.push(1).push(2)\nassert s.items == [1, 2]\n"
              "assert s.top == 2 and list(s) == [1, 2] and s[0] == 1 and 2 in s\n"
              "assert type(s) is Stack and isinstance(s, Stack)"),
    "class attributes": (STACK, "assert Stack.limit == 3 and Stack.of(1, 2).items == [1, 2]\n"
                         "assert Stack.__name__ == 'Stack'\nassert issubclass(Tall, Stack)\n"
                         "assert isinstance(Tall(), Stack) and not isinstance(Stack(), Tall)"),
    "set attribute": (STACK, "s = Stack()\ns.items = [5]\nassert s.top == 5 and vars(s) == {'items': [5]}\n"
                      "assert hasattr(s, 'push') and not hasattr(s, 'pop') and callable(s.push)"),
    "repr": (STACK, "assert repr(Stack([1])) == 'Stack([1])' and f'{Stack()}' == 'Stack([])'"),
    "operators between the student's objects": (
        "class V:\n    def __init__(s, x): s.x = x\n    def __add__(s, o): return V(s.x + o.x)\n"
        "    def __eq__(s, o): return s.x == o.x\n    def __hash__(s): return hash(s.x)\n"
        "    def __lt__(s, o): return s.x < o.x",
        "assert (V(1) + V(2)).x == 3\nassert V(1) != V(2) and len({V(1), V(1)}) == 1\n"
        "assert sorted([V(2), V(1)])[0].x == 1"),
    "generator": ("def f(n):\n    for i in range(n): yield i * i",
                  "g = f(3)\nassert next(g) == 0 and list(g) == [1, 4]\n"
                  "import types\nassert isinstance(g, types.GeneratorType)"),
    "iterates what the test gives": ("def f(xs):\n    for x in xs: yield x + 1",
                                     "import itertools\n"
                                     "assert list(itertools.islice(f(itertools.count()), 3)) == [1, 2, 3]"),
    "lambda passed down": ("def f(g, x): return g(g(x))", "assert f(lambda v: v * 3, 2) == 18"),
    "callback keeps state": ("def f(g):\n    for i in range(3): g(i)",
                             "seen = []\nf(seen.append)\nassert seen == [0, 1, 2]"),
    "callback raises": ("def f(g):\n    try:\n        g()\n    except KeyError as e:\n        return e.args[0]",
                        "def g(): raise KeyError('k')\nassert f(g) == 'k'"),
    "test's object": ("def f(model, x): return model.predict(x) + model.bias",
                      "class Fake:\n    bias = 10\n    def predict(self, x): return x * 2\n"
                      "assert f(Fake(), 4) == 18"),
    "mock": ("def f(client): return client.get('/x').status",
             "from unittest.mock import Mock\nclient = Mock()\nclient.get.return_value.status = 200\n"
             "assert f(client) == 200\nclient.get.assert_called_once_with('/x')"),
    "patch a global": ("RATE = 2\ndef f(x): return x * RATE",
                       "RATE = 5\nassert f(2) == 10"),
    "patch by name": ("def helper(): return 1\ndef f(): return helper() + 1",
                      "from unittest.mock import patch\nwith patch('__main__.helper', lambda: 41):\n"
                      "    assert f() == 42\nassert f() == 2"),
    "patch input": ("def f(): return int(input('n? ')) + 1",
                    "from unittest.mock import patch\nwith patch('builtins.input', return_value='3'):\n"
                    "    assert f() == 4"),
    "captured output": ("def f(): print('hello')",
                        "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n"
                        "    f()\nassert out.getvalue() == 'hello\\n'"),
    "file object": ("def f(h): return [line.strip() for line in h]",
                    "import io\nassert f(io.StringIO('a\\nb')) == ['a', 'b']"),
    "files": ("def f(p): open(p, 'w').write('x,y')",
              "f('out.csv')\nassert open('out.csv').read() == 'x,y'"),
    "files from the test": ("def f(p): return open(p).read()",
                            "open('in.txt', 'w').write('abc')\nassert f('in.txt') == 'abc'"),
    "global changes": ("count = 0\ndef f():\n    global count\n    count += 1",
                       "f()\nf()\nassert count == 2"),
    "signature": ("def f(a: int, b=2) -> int:\n    'Adds.'\n    return a + b",
                  "import inspect\nassert list(inspect.signature(f).parameters) == ['a', 'b']\n"
                  "assert inspect.signature(f).parameters['b'].default == 2\n"
                  "assert f.__doc__ == 'Adds.' and f.__name__ == 'f' and callable(f)"),
    "source": ("def f(x):\n    return sorted(x)", "import inspect\nassert 'sorted' in inspect.getsource(f)"),
    "unittest": ("def f(x): return x + 1",
                 "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(1), 2)\n"
                 "r = unittest.TextTestRunner(stream=__import__('io').StringIO()).run(\n"
                 "    unittest.defaultTestLoader.loadTestsFromTestCase(T))\nassert r.wasSuccessful() and r.testsRun == 1"),
    "async": ("import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1",
              "import asyncio\nassert asyncio.run(f(1)) == 2"),
    "top-level await": ("async def f(x): return x + 1", "assert await f(1) == 2"),
    "threads": ("def f(x): return x + 1",
                "from concurrent.futures import ThreadPoolExecutor\n"
                "assert list(ThreadPoolExecutor(4).map(f, range(8))) == list(range(1, 9))"),
    "enum": ("from enum import Enum\nclass C(Enum):\n    RED = 1\n    BLUE = 2",
             "assert C.RED.value == 1 and C.RED is C.RED and [c.name for c in C] == ['RED', 'BLUE']"),
    "dataclass": ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: int = 2",
                  "p = P(1)\nassert (p.x, p.y) == (1, 2) and P(1) == P(1) and P(1) != P(2)"),
    "context manager": ("class M:\n    def __enter__(self): self.on = True; return self\n"
                        "    def __exit__(self, *e): self.on = False",
                        "with M() as m:\n    assert m.on\nassert not m.on"),
    "abstract": ("from abc import ABC, abstractmethod\nclass A(ABC):\n    @abstractmethod\n    def f(self): ...",
                 "import pytest\nwith pytest.raises(TypeError):\n    A()"),
    "partial": ("def f(a, b): return a - b", "from functools import partial\nassert partial(f, b=1)(3) == 2"),
    "deepcopy": (STACK, "import copy\ns = Stack([1])\nt = copy.deepcopy(s)\nt.push(2)\nassert s.items == [1]"),
    "recursion error": ("def f(n): return f(n + 1)", "import pytest\nwith pytest.raises(RecursionError):\n    f(0)"),
    "property based": ("def f(x): return abs(x)",
                       "import random\nfor _ in range(50):\n    n = random.randint(-9, 9)\n    assert f(n) == max(n, -n)"),
    "text": ("def f(s): return s[::-1]", "assert f('añ\\ud800') == '\\ud800ña'"),
    "big": ("def f(n): return 2 ** n", "assert f(500) == 2 ** 500"),
    "nothing": ("def f(): pass", "assert f() is None"),
    "dir": ("x = 1\nclass C:\n    def go(self): pass", "assert 'x' in dir() and 'y' not in dir()\n"
            "assert 'x' in globals() and 'x' in locals()\nassert 'go' in dir(C) and 'go' in dir(C())"),
    "decorator": ("import functools\ndef twice(f):\n    @functools.wraps(f)\n    def both(*a): return f(*a), f(*a)\n"
                  "    return both",
                  "def g(x):\n    'Adds.'\n    return x + 1\nh = twice(g)\nassert h(1) == (2, 2)\n"
                  "assert h.__name__ == 'g' and h.__doc__ == 'Adds.' and h.__wrapped__ is g"),
    "uses a helper": ("def helper(): return 1\ndef f(): return helper()",
                      "kept = helper\ndel helper\ntry:\n    f()\nexcept NameError:\n    pass\n"
                      "else:\n    assert False\nfinally:\n    helper = kept\nassert f() == 1"),
    "source lines": ("class C:\n    def __init__(self):\n        print('made')",
                     "import inspect\nassert any('print' in line for line in inspect.getsourcelines(C().__init__)[0])"),
    "matplotlib": ("import matplotlib.pyplot as plt\ndef f(y):\n    fig, ax = plt.subplots()\n"
                   "    ax.plot(y, label='up')\n    ax.set_title('T')\n    ax.legend()\n    return ax",
                   "ax = f([1, 2, 4])\nassert ax.get_title() == 'T' and len(ax.lines) == 1\n"
                   "assert list(ax.lines[0].get_ydata()) == [1, 2, 4]\n"
                   "assert ax.get_legend().get_texts()[0].get_text() == 'up'"),
    "sklearn": ("from sklearn.linear_model import LogisticRegression\nimport numpy as np\n"
                "X, y = np.array([[0.], [1.], [2.], [3.]]), np.array([0, 0, 1, 1])\n"
                "model = LogisticRegression().fit(X, y)",
                "import numpy as np\nfrom sklearn.base import BaseEstimator, ClassifierMixin, is_classifier\n"
                "from sklearn.linear_model import LogisticRegression\n"
                "assert isinstance(model, LogisticRegression) and isinstance(model, BaseEstimator)\n"
                "assert model.predict(np.array([[0.], [3.]])).tolist() == [0, 1]\n"
                "assert model.score(np.array([[0.], [3.]]), [0, 1]) == 1.0 and model.coef_.shape == (1, 1)\n"
                "assert model.predict_proba([[0.]]).sum().round(6) == 1 and model.get_params()['C'] == 1.0"),
    "exact class": ("from sklearn.linear_model import Ridge\nclass Own(Ridge): pass\n"
                    "def f(own): return Own() if own else Ridge()\ndef g(): yield 1\ndef same(x, kind): return type(x) is kind",
                    "import types\nfrom sklearn.linear_model import Lasso, Ridge\n"
                    "assert type(f(False)) == Ridge and Ridge == type(f(False)) and type(f(False)) is Ridge\n"
                    "assert type(f(False)) in (Lasso, Ridge) and type(f(False)) is not Lasso != type(f(False))\n"
                    "assert type(f(True)) != Ridge and type(f(True)) is not Ridge and type(f(True)) is Own\n"
                    "assert type(g()) is types.GeneratorType and same(f(False), Ridge) and not same(f(True), Ridge)"),
    "sklearn pipeline": ("from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler\n"
                         "from sklearn.linear_model import Ridge\ndef f(): return make_pipeline(StandardScaler(), Ridge())",
                         "from sklearn.pipeline import Pipeline\nimport numpy as np\nm = f()\nassert isinstance(m, Pipeline)\n"
                         "X = np.arange(8.).reshape(4, 2)\nm.fit(X, X[:, 0])\nassert m.predict(X).shape == (4,)\n"
                         "assert [name for name, _ in m.steps] == ['standardscaler', 'ridge']"),
    "several library bases": ("from sklearn.base import BaseEstimator, ClassifierMixin\nimport numpy as np\n"
                              "class Majority(ClassifierMixin, BaseEstimator):\n"
                              "    def fit(self, X, y):\n        self.most_ = np.bincount(y).argmax()\n        return self\n"
                              "    def predict(self, X): return np.full(len(X), self.most_)",
                              "from sklearn.base import BaseEstimator, ClassifierMixin\nm = Majority().fit([[0]] * 3, [1, 1, 0])\n"
                              "assert isinstance(m, BaseEstimator) and isinstance(m, ClassifierMixin) and isinstance(m, Majority)\n"
                              "assert m.predict([[1], [2]]).tolist() == [1, 1] and m.score([[1]], [1]) == 1.0"),
    "gather": ("import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x * 2",
               "import asyncio\nasync def main(): return await asyncio.gather(*(f(n) for n in range(4)))\n"
               "assert await main() == [0, 2, 4, 6]\nassert asyncio.iscoroutinefunction(f)"),
    "async that fails": ("async def f(): raise ValueError('no')",
                         "import pytest\nwith pytest.raises(ValueError, match='no'):\n    await f()"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_answer_passes(judge, kind):
    student, test = KINDS[kind]
    outcome = judge(student, test)
    assert verdict(outcome) == "passed", [o.evalue + str(o.traceback) for o in outcome.outputs]


def test_a_wrong_answer_fails_with_the_tests_message(judge):
    outcome = judge("def f(x): return x", "got = f(1)\nassert got == 2, f'expected 2, got {got}'")
    assert verdict(outcome) == "AssertionError"
    assert outcome.outputs[-1].evalue == "expected 2, got 1"


def test_a_missing_name_is_a_name_error(judge):
    assert verdict(judge("g = 1", "f(1)")) == "NameError"


def test_changes_of_arguments_come_back_only_where_the_instructor_wants_it(judge):
    student = "def f(xs): xs.sort()"
    test = "xs = [2, 1]\nf(xs)\nassert xs == [1, 2]"
    assert verdict(judge(student, test)) == "AssertionError"
    assert verdict(judge(student, test, write_back=True)) == "passed"


@pytest.mark.parametrize("test", ["exec(In[-2])", "assert Out", "assert _ == 1"])
def test_a_test_of_what_cells_showed_before_waits_for_a_person(judge, test):
    assert verdict(judge("x = 1\nx", test)) == "review"
    assert [found.kind for found in lint(new_notebook(cells=[cell(test, "t", **TEST)]))] == [
        "refused"
    ]


def test_a_name_that_a_test_binds_for_a_later_cell_is_found_when_the_assignment_is_made():
    source = new_notebook(
        cells=[
            cell("def f(x): return x", "s", **ANSWER),
            cell("start, got = 1, f(1)\nassert got == start", "t", **TEST),
            cell("got = f(2)\nprint(got)", "u", **ANSWER),
            cell("print(got, f(start))", "v", **ANSWER),
        ]
    )
    found = [(f.cell, f.kind, f.what) for f in lint(source)]
    assert found == [("t", "changed", "it binds start, which a later cell uses")]


def test_a_name_of_that_history_may_be_the_tests_own(judge):
    test = "def g(Out): return Out\nassert g(2) == 2 and [f(_) for _ in (1, 2)] == [1, 2]"
    assert verdict(judge("def f(x): return x", test)) == "passed"
    assert not lint(new_notebook(cells=[cell(test, "t", **TEST)]))


def test_what_is_too_much_to_hand_over_waits_for_a_person_and_costs_nothing(judge):
    endless = "a = []\na.append(a)\nf(a)"
    assert verdict(judge("def f(x): return x", endless)) == "review"
    assert verdict(judge("def f(x): return x", endless, "assert f(1) == 1")) == "passed"


def test_the_last_expression_is_the_partial_credit(judge):
    outcome = judge("def f(x): return x", "print('half')\n(f(1) == 1) * 1.5")
    assert [o.output_type for o in outcome.outputs] == ["stream", "execute_result"]
    assert outcome.outputs[-1].data == {"text/plain": "1.5"}


def test_named_checks_score_apart(judge):
    test = (
        "from autograde.checks import check\n"
        "with check('one', points=1):\n    assert f(1) == 1\n"
        "with check('two', points=2):\n    assert f(2) == 3, 'no'\n"
    )
    outcome = judge("def f(x): return x", test)
    assert [(c[0], c[1], c[2]) for c in outcome.checks] == [("one", 1.0, True), ("two", 2.0, False)]
    assert verdict(outcome) == "passed"


def test_instructors_data_is_the_instructors_own(judge):
    student = "LIMIT = 10**9\ndef f(x): return x < LIMIT"
    outcome = judge(student, "assert X == [1, 2] and f(5)", setup="X = [1, 2]")
    assert verdict(outcome) == "passed"


def test_an_argument_that_the_reference_changes_in_place_changes_in_the_test_as_well(zygote):
    source = new_notebook(
        cells=[
            cell("def order(xs, y):\n    xs.sort()\ndef fit(X, y): return 0", "s", **ANSWER),
            cell("xs, y = [2, 1], [5]\norder(xs, y)\nassert xs == [1, 2] and 5 in y", "t", **TEST),
            cell("y = [1, 2]\nfit([0], y)\nassert sum(y) == 3", "u", **TEST),
        ]
    )
    cheat = "def order(xs, y):\n    xs.sort()\n    y[0] = 9\ndef fit(X, y): y[:] = [0]"
    assert run_notebook(zygote, source, {"s": cheat}) == ["passed", "passed"]


def test_data_that_students_are_to_change_are_looked_up_where_they_changed_them(zygote):
    source = new_notebook(
        cells=[
            cell("d, log = {'cat': 'cute'}, []\ndef note(x): log.append(x)"),
            cell("d['rat'] = 'nasty'\nnote(1)", "s", **ANSWER),
            cell("assert d == {'cat': 'cute', 'rat': 'nasty'} and log == [1]", "t", **TEST),
        ]
    )
    assert run_notebook(zygote, source, {}) == ["passed"]
    assert run_notebook(zygote, source, {"s": "pass"}) == ["AssertionError"]


def test_data_made_at_random_without_a_seed_are_the_same_on_both_sides(zygote):
    source = new_notebook(
        cells=[
            cell("import random, numpy as np\nx = np.random.rand(5)\ny = random.random()"),
            cell("top = max(x.max(), y)", "s", **ANSWER),
            cell("assert top == max(x.max(), y)", "t", **TEST),
        ]
    )
    assert run_notebook(zygote, source, {"s": "np.random.rand(9)\ntop = max(x.max(), y)"}) == [
        "passed"
    ]


def test_what_a_name_stands_for_follows_the_order_of_the_cells_also_after_a_restart(zygote):
    source = new_notebook(
        cells=[
            cell("class P:\n    kind = 'given'"),
            cell("class P:\n    kind = 'mine'", "s", **ANSWER),
            cell("assert P.kind == 'mine'", "t", **TEST),
            cell("def f(): return P.kind", "f", **ANSWER),
            cell("assert f() == 'mine'", "u", **TEST),
            cell("assert P.kind == 'mine' and f() == 'mine'", "v", **TEST),
        ]
    )
    ends = "import os\nn = []\ndef f():\n    n.append(1)\n    return P.kind\nos.getpid()"
    assert run_notebook(zygote, source, {"f": ends}) == ["passed"] * 3
    dies = "import os\ndef f():\n    os._exit(1)"
    assert run_notebook(zygote, source, {"f": dies}) == ["passed", "Lost", "Lost"]
    assert run_notebook(zygote, source, {"f": "import os\nos._exit(1)"})[0] == "passed"


def run_notebook(zygote, source, answers: dict[str, str]) -> list[str]:
    """The verdicts of a source notebook's tests for a submission with these answers."""
    course = read_course(source)
    known = {
        c.metadata.nbgrader.grade_id: Known(c.source, True) for c in source.cells if is_test(c)
    }
    for part in source.cells:
        name = part.metadata.get("nbgrader", {}).get("grade_id")
        part.source = answers.get(name, part.source)
    with Session(zygote, course.names) as session:
        steps = plan(source, course, known, seconds=10)
        return [verdict(got) for _, step in steps for got in [session.run(step)] if step.test]
