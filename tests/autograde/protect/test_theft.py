# ruff: noqa: E501  (whole programs stand in one line each)
"""What submissions try in order to get points that they did not earn, or to read the tests."""

import pytest
from judging import verdict

SECRET = "expected_7391"
GAINS_NOTHING = {
    "equal to everything": (
        "class All:\n    def __eq__(self, o): return True\n    def __ne__(self, o): return False\n"
        "    __hash__ = None\ndef f(): return All()", "assert f() == 5", "review"),
    "int equal to everything": (
        "class All(int):\n    def __eq__(self, o): return True\ndef f(): return All(3)",
        "assert f() == 5", "AssertionError"),
    "float that compares well": (
        "class F(float):\n    def __sub__(self, o): return 0.0\n    __rsub__ = __sub__\n"
        "    def __abs__(self): return 0.0\ndef f(): return F(3)",
        "assert abs(f() - 5) <= 1e-6", "AssertionError"),
    "array that is close to all": (
        "import numpy as np\nclass A(np.ndarray):\n    def __array_function__(self, *a, **k): return True\n"
        "    def __array_ufunc__(self, *a, **k): return True\ndef f(): return np.zeros(2).view(A)",
        "import numpy as np\nassert np.allclose(f(), [1, 2])", "AssertionError"),
    "lying length": (
        "class L(list):\n    def __len__(self): return 5\ndef f(): return L()",
        "assert len(f()) == 5", "AssertionError"),
    "list with a method that is equal to everything": (
        "class L(list):\n    def top(self): return 1\n    def __eq__(self, o): return True\ndef f(): return L()",
        "assert f() == [1]", "review"),
    "list that learns to be equal to everything": (
        "class L(list):\n    def top(self):\n        L.__eq__ = lambda s, o: True\n        return 1\ndef f(): return L()",
        "d = f()\nd.top()\nassert d == [1]", "AssertionError"),
    "patched allclose": (
        "import numpy as np\nnp.allclose = lambda *a, **k: True\ndef f(): return 0",
        "import numpy as np\nassert np.allclose(f(), 1)", "AssertionError"),
    "patched builtins": (
        "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.isinstance = lambda *a: True\ndef f(): return 3",
        "assert abs(f() - 5) <= 1", "AttributeError"),
    "input transformer": (
        "get_ipython().input_transformers_cleanup.append(lambda lines: [])\ndef f(): return 0",
        "assert f() == 1", "AssertionError"),
    "stripped asserts": (
        "import ast\nclass S(ast.NodeTransformer):\n    def visit_Assert(self, n): return ast.Pass()\n"
        "get_ipython().ast_transformers.append(S())\ndef f(): return 0", "assert f() == 1", "AssertionError"),
    "class that lies": (
        "class L:\n    __class__ = int\n    def __eq__(self, o): return True\n    __hash__ = None\n"
        "def f(): return L()", "assert isinstance(f(), int) and f() == 5", "TypeError"),
    "stop iteration": (
        "def f(x): raise StopIteration", "assert all(map(lambda x: f(x) == x, [1, 2])) or True\nlist(map(f, [1]))",
        "RuntimeError"),
    "skip": (
        "import unittest\ndef f(): raise unittest.SkipTest('x')",
        "import unittest, io\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(), 2)\n"
        "r = unittest.TextTestRunner(stream=io.StringIO()).run(\n"
        "    unittest.defaultTestLoader.loadTestsFromTestCase(T))\nassert r.wasSuccessful() and not r.skipped",
        "AssertionError"),
    "exit": ("import os\ndef f(): os._exit(0)", "assert f() == 1", "Lost"),
    "system exit": ("def f(): raise SystemExit", "f()", "Exit"),
    "keyboard interrupt": ("def f(): raise KeyboardInterrupt", "f()", "RuntimeError"),
    "refusal": ("class Refused(BaseException): pass\ndef f(): raise Refused()", "f()", "Refused"),
    "tests in the stack": (
        "import sys\ndef f():\n    g = sys._getframe()\n    while g:\n        g.f_globals['done'] = 1\n        g = g.f_back\n"
        "    return 0", "assert f() == 1", "AssertionError"),
    "other file by np.memmap": (
        "import numpy as np\nf = np.memmap", "m = f('made.bin', dtype='uint8', mode='w+', shape=3)\n"
        "assert type(m) is not type(m) or False", "AssertionError"),
    "walk from a callback": (
        "def f(g):\n    return g.__globals__", "def g(): return 1\nassert 'g' in f(g)", "AssertionError"),
    "walk from an object": (
        "def f(o):\n    return o.__class__.__init__.__globals__['answer']",
        "class O:\n    def __init__(self): pass\nanswer = 3\nassert f(O()) == 3", "AttributeError"),
    "walk from a generator": (
        "def f(g):\n    return g.gi_frame.f_globals['answer']",
        "answer = 3\nassert f(x for x in [1]) == 3", "AttributeError"),
    "walk from a method": (
        "def f(m):\n    return m.__self__.answer",
        "class O:\n    answer = 3\n    def m(self): pass\nassert f(O().m) == 3", "AttributeError"),
    "own test module": (
        "open('statistics.py', 'w').write('mean = lambda x: 1')\nopen('fractions.py', 'w').write('')\n"
        "def f(): return 1", "import statistics\nassert statistics.mean([1, 2]) == f()", "AssertionError"),
    "pickle": (
        "import pickle\nclass B:\n    def __reduce__(self): return (exec, ('import builtins; builtins.points = 1',))\n"
        "open('m.pkl', 'wb').write(pickle.dumps(B()))",
        "import pickle\npickle.load(open('m.pkl', 'rb'))", "review"),
    "forged reply": (
        "import gc, msgspec\ndef f():\n    for o in gc.get_objects():\n"
        "        if type(o).__name__ == 'Child':\n"
        "            o.calls.send(msgspec.msgpack.encode([1, 'ok', 1, [], []]))\n"
        "            for n in range(9): o.calls.send(msgspec.msgpack.encode([n, 'stop', 1, [], []]))\n"
        "    return 0", "assert all(x == 2 for x in [f()])", "CodecError"),
    "garbage": (
        "import gc, os\ndef f():\n    for o in gc.get_objects():\n"
        "        if type(o).__name__ == 'Child': o.calls.send(os.urandom(50))\n    return 0",
        "assert f() == 1", "CodecError"),
    "endless repr": (
        "class E(ValueError):\n    def __str__(self):\n        while True: pass\ndef f(): raise E()",
        "f()", "CellTimeoutError"),
    "pops itself": (
        "class Stack:\n    def push(self, x): pass\n    def pop(self): return self\n"
        "    def __eq__(self, o): return True", "s = Stack()\ns.push(1)\nassert s.pop() == 1", "review"),
    "an object made twice": (
        "class Stack:\n    one = None\n    def __new__(cls):\n        cls.one = cls.one or object.__new__(cls)\n"
        "        return cls.one\n    def __sub__(self, o): return self\n    def __abs__(self): return 0.0\n"
        "def f(): return Stack()", "s = Stack()\nassert abs(f() - 5) <= 1e-9", "review"),
    "contains everything": (
        "class All:\n    def __contains__(self, x): return True\ndef f(): return All()", "assert 5 in f()", "review"),
    "looked through, not asked": (
        "class All:\n    def __contains__(self, x): return True\n    def __iter__(self): return iter([1])\n"
        "def f(): return All()", "assert 5 in f()", "AssertionError"),
    "text that starts with everything": (
        "class Text:\n    def startswith(self, t): return True\ndef f(): return Text()",
        "assert f().startswith('Dear')", "review"),
    "frame by its own word": (
        "class DataFrame:\n    __module__ = 'pandas'\n    def equals(self, o): return True\ndef f(): return DataFrame()",
        "import pandas as pd\nassert isinstance(f(), pd.DataFrame) and f().equals(pd.DataFrame())", "AssertionError"),
    "frame that equals": (
        "class Frame:\n    def equals(self, o): return True\ndef f(): return Frame()",
        "import pandas as pd\nassert f().equals(pd.DataFrame({'a': [1]}))", "review"),
    "made here by a clone": (
        "class Timer:\n    __module__ = 'timeit'\n    def __init__(self, **k): self.k = k\n"
        "    def get_params(self, deep=False): return {'stmt': 'nonsense('}\nmodel = Timer()",
        "import timeit\nfrom sklearn.base import clone\nassert clone(model).k['stmt'] == 'other'", "RuntimeError"),
    "rejects the example": (
        "from hypothesis.errors import UnsatisfiedAssumption\ndef f(x): raise UnsatisfiedAssumption", "f(1)",
        "RuntimeError"),
    "mock that asserts nothing": (
        "def f(c): c.assert_called_once_with = lambda *a: None",
        "from unittest.mock import Mock\nc = Mock()\nf(c)\nc.assert_called_once_with(1)", "AttributeError"),
    "swallowed assertion": (
        "class f:\n    def __enter__(self): return None\n    def __exit__(self, *a): return True",
        "with f() as y:\n    assert y == 5", "AssertionError"),
    "swallowed error of a wrong value": (
        "class f:\n    def __enter__(self): return None\n    def __exit__(self, *a): return True",
        "with f() as y:\n    z = y + 1\n    assert z == 5", "TypeError"),
    "argument changed": (
        "def f(xs):\n    xs.sort()\n    return xs", "xs = [2, 1]\nold = xs.copy()\nassert f(xs) == [1, 2]\nassert xs == old",
        "AssertionError"),
    "argument handed back": ("def f(xs): return xs", "xs = [2, 1]\nassert f(xs) == xs and f(xs) is not xs", "AssertionError"),
    "one row for all": ("def f(n): return [[0] * n] * n", "m = f(2)\nm[0][0] = 1\nassert m[1][0] == 0", "AssertionError"),
    "a verdict of its own": (
        "class A:\n    def __bool__(self): return True\ndef f(): return A()", "assert f() is True", "AssertionError"),
}  # fmt: skip


@pytest.mark.parametrize("attack", GAINS_NOTHING)
def test_an_attack_gains_no_points(judge, attack):
    student, test, want = GAINS_NOTHING[attack]
    seconds = 2 if want == "CellTimeoutError" else 30
    assert verdict(judge(student, test, seconds=seconds)) == want


def test_hidden_tests_are_nowhere_in_the_students_process(judge):
    """It looks in every frame, in all that lives, in its files and in its whole memory."""
    student = """
import gc, os, sys
def find():
    needle = 'expected_' + '7391'
    found = []
    frame = sys._getframe()
    while frame:
        for v in frame.f_locals.values():
            if isinstance(v, str) and needle in v and v != needle:
                found.append(v[:50])
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, (list, tuple, dict)):
            values = list(thing.values()) if isinstance(thing, dict) else list(thing)
            found += [v[:50] for v in values if isinstance(v, str) and needle in v and v != needle]
    for root, _, files in os.walk('.'):
        for name in files:
            if needle in open(os.path.join(root, name), errors='replace').read():
                found.append(name)
    return found
"""
    test = f"secret = '{SECRET}'\nassert find() == [], find()"
    assert verdict(judge(student, f"x = '{SECRET}'", test)) == "passed"


def test_what_the_student_sees_of_the_machine_is_its_own_folder(judge, tmp_path):
    secret = tmp_path / "solution.ipynb"
    secret.write_text("the answer")
    tmp_path.chmod(0o755)
    student = f"""
import os, socket
def can(do):
    try:
        do()
    except OSError:
        return False
    return True
seen = {{
    'solution': can(lambda: open({str(secret)!r}).read()),
    'listing': can(lambda: os.listdir('/tmp')),
    'home': can(lambda: os.listdir(os.path.expanduser('~root'))),
    'proc': can(lambda: open('/proc/1/environ').read()),
    'parent memory': can(lambda: open(f'/proc/{{os.getppid()}}/mem').read()),
    'write': can(lambda: open('/tmp/x_autograde', 'w')),
    'network': can(lambda: socket.create_connection(('127.0.0.1', 9), 1)),
    'kill': can(lambda: [os.kill(p, 0) for p in range(2, 40)]),
    'setuid': can(lambda: os.setuid(0)),
    'own': can(lambda: open('mine.txt', 'w').write('x')),
}}
"""
    outcome = judge(student, "assert sorted(k for k, v in seen.items() if v) == ['own'], seen")
    assert verdict(outcome) == "passed", outcome.outputs[-1].evalue
