# ruff: noqa: E501  (whole programs stand in one line each)
"""Honest work of more kinds keeps its points: what a red team found failing that passes in one
process.
"""

import pytest
from judging import verdict

SKLEARN = (
    "import numpy as np\nfrom sklearn.linear_model import LogisticRegression, Ridge\n"
    "X = np.arange(20.).reshape(10, 2)\ny = np.array([0] * 5 + [1] * 5)\n"
)
KINDS = {
    "views of a dict": (
        "def f(d): return d.keys(), d.values(), d.items()",
        "k, v, i = f({'a': 1})\nassert k == {'a'} and 'a' in k and list(v) == [1] and ('a', 1) in i"),
    "paths": (
        "from pathlib import Path\ndef f(p):\n    p = Path(p) / 'x.txt'\n    p.write_text('hi')\n    return p",
        "from pathlib import Path\nassert f('.') == Path('x.txt') and f(Path('.')).read_text() == 'hi'"),
    "nan by identity": (
        "import numpy as np, math\ndef f(xs): return [np.nan if x is None else x for x in xs]\ndef g(x): return x is np.nan",
        "import numpy as np, math\nassert f([1, None]) == [1, np.nan] and g(np.nan) and not g(math.nan)"),
    "defaultdict": (
        "from collections import defaultdict\ndef f():\n    d = defaultdict(list)\n    d['a'].append(1)\n    return d\ndef g(d): return d['z']",
        "from collections import defaultdict\nassert isinstance(f(), defaultdict) and f()['q'] == [] and g(defaultdict(set)) == set()"),
    "fold": (
        "import datetime as dt\ndef f(): return dt.datetime(2026, 10, 25, 2, fold=1)", "assert f().fold == 1"),
    "the same list back": ("def f(x): return x", "xs = [[1], 2]\nassert f(xs) is xs"),
    "shared parts": ("def f(): \n    row = [0]\n    return [row, row]", "a, b = f()\na[0] = 5\nassert b == [5] and a is b"),
    "masked array": (
        "import numpy as np\ndef f(a): return np.ma.masked_array(a, mask=[0, 1])",
        "import numpy as np\nm = f([1, 2])\nassert isinstance(m, np.ma.MaskedArray) and m.sum() == 1 and m.filled(9).tolist() == [1, 9]"),
    "intervals, periods and frequencies": (
        "import pandas as pd\ndef f(s): return pd.cut(s, bins=[0, 4, 10])\ndef g(): return pd.Period('2026-01'), pd.Interval(0, 1)\n"
        "def h(): return pd.Series([1, 2], index=pd.date_range('2026', periods=2))",
        "import pandas as pd\ns = pd.Series([1, 9])\npd.testing.assert_series_equal(f(s), pd.cut(s, bins=[0, 4, 10]))\n"
        "assert g() == (pd.Period('2026-01'), pd.Interval(0, 1)) and h().index.freq == 'D'\n"
        "pd.testing.assert_series_equal(h(), pd.Series([1, 2], index=pd.date_range('2026', periods=2)))"),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: int = 0",
        "import dataclasses as d\nassert d.is_dataclass(P) and [f.name for f in d.fields(P)] == ['x', 'y']\n"
        "assert d.asdict(P(1)) == {'x': 1, 'y': 0} and d.replace(P(1), y=5) == P(1, 5) and P.__annotations__ == {'x': int, 'y': int}"),
    "annotations": (
        "def f(a: int) -> float: return 1.0",
        "import inspect\nassert f.__annotations__ == {'a': int, 'return': float}\n"
        "assert inspect.signature(f).return_annotation is float and inspect.signature(f).parameters['a'].annotation is int"),
    "family of exceptions": (
        "class App(Exception): pass\nclass Sub(App): pass\ndef f():\n    try:\n        {}['k']\n    except KeyError as e:\n        raise Sub('s') from e",
        "import pytest\nwith pytest.raises(App) as e:\n    f()\nassert type(e.value).__name__ == 'Sub' and isinstance(e.value.__cause__, KeyError)"),
    "exit": (
        "import sys\ndef f(): sys.exit(2)", "import pytest\nwith pytest.raises(SystemExit) as e:\n    f()\nassert e.value.code == 2"),
    "warnings": (
        "import warnings\ndef f(): warnings.warn('old', DeprecationWarning)",
        "import pytest, warnings\nwith pytest.warns(DeprecationWarning, match='old'):\n    f()\n"
        "with warnings.catch_warnings(record=True) as w:\n    warnings.simplefilter('always')\n    f()\nassert len(w) == 1"),
    "context manager that swallows": (
        "from contextlib import contextmanager\nseen = []\n@contextmanager\ndef f():\n    try:\n        yield 1\n    except ValueError as e:\n        seen.append(str(e))",
        "with f() as y:\n    raise ValueError('no')\nwith f():\n    int('q')\nassert seen[0] == 'no' and y == 1 and len(seen) == 2"),
    "value of a generator": (
        "def f():\n    yield 1\n    return 3",
        "g = f()\nnext(g)\ntry:\n    next(g)\nexcept StopIteration as e:\n    assert e.value == 3"),
    "seeds": (
        "import random, numpy as np\ndef f(): return random.random(), np.random.rand()",
        "import random, numpy as np\nrandom.seed(1)\nnp.random.seed(1)\na = f()\nrandom.seed(1)\nnp.random.seed(1)\n"
        "b = f()\nassert a == b and b[0] == 0.13436424411240122"),
    "a generator of random numbers that is given twice": (
        "def f(rng): return list(rng.normal(size=2))",
        "import numpy as np\nfor make in (np.random.default_rng, np.random.RandomState):\n    given, own = make(1), make(1)\n"
        "    for _ in range(200):\n        assert f(given) == list(own.normal(size=2))\n"
        "    assert f(make(1)) == f(make(1)) and f({'rng': given}['rng']) == list(own.normal(size=2))\n"
        "    state = given.normal()\n    assert f(given) == list(make(1).normal(size=3))[1:]"),
    "what one call fits another uses": (
        SKLEARN + "def fit(m): m.fit([[0.], [1.], [2.], [3.]], [0, 0, 1, 1])\ndef f(m): return m.predict([[0.], [3.]]).tolist()",
        SKLEARN + "m = LogisticRegression()\nfit(m)\nassert f(m) == [0, 1]\n"
        "for _ in range(20):\n    fit(LogisticRegression())\nassert f(m) == [0, 1]"),
    "numbers, texts and lists with names or methods of their own": (
        "from enum import IntEnum, StrEnum\nclass N(IntEnum):\n    ONE = 1\nclass S(StrEnum):\n    A = 'a'\n"
        "class Deck(list):\n    def top(self): return self[-1]\ndef f(): return N.ONE, S.A, Deck([1, 2])",
        "n, s, d = f()\nassert n == 1 and 2 != n and n < 2 and n + 1 == 2 and 1 + n == 2 and n.name == 'ONE'\n"
        "assert s == 'a' and s + 'b' == 'ab' and d == [1, 2] and d.top() == 2 and d != [1] and d + [3] == [1, 2, 3]"),
    "temporary folders": (
        "def f(p):\n    with open(p, 'w') as h: h.write('x')",
        "import os, tempfile\nwith tempfile.TemporaryDirectory() as t:\n    f(os.path.join(t, 'q'))\n    assert open(os.path.join(t, 'q')).read() == 'x'\n"
        "with tempfile.NamedTemporaryFile() as h:\n    f(h.name)\n    assert h.read() == b'x'"),
    "replaced standard input": (
        "def f(): return int(input())", "import io\nfrom unittest.mock import patch\nwith patch('sys.stdin', io.StringIO('3\\n')):\n    assert f() == 3"),
    "membership of an object that was returned": (
        "class Bag:\n    def __init__(self, xs): self.xs = xs\n    def __iter__(self): return iter(self.xs)\ndef f(): return Bag([1, 2])",
        "assert 2 in f() and 3 not in f()"),
    "an object that stays the test's own": (
        "class V:\n    def __init__(s, x): s.x = x\n    def __iadd__(s, o):\n        s.x += o\n        return s\n    def __eq__(s, o): return s.x == o\n"
        "    def __enter__(s): return s\n    def __exit__(s, *a): pass",
        "v = V(1)\nv += 1\nv += 1\nwith v as w:\n    assert w is v and v == 3 and not v == 4"),
    "estimators": (
        SKLEARN + "model, other = LogisticRegression(), Ridge(alpha=2.5)",
        "from sklearn.base import clone, is_classifier\nfrom sklearn.model_selection import GridSearchCV, cross_val_score\n"
        "from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler\n" + SKLEARN +
        "assert is_classifier(model) and not is_classifier(other) and clone(other).alpha == 2.5\n"
        "assert cross_val_score(model, X, y, cv=5).shape == (5,)\n"
        "assert make_pipeline(StandardScaler(), model).fit(X, y).predict(X).tolist() == y.tolist()\n"
        "assert GridSearchCV(model, {'C': [.1, 1.]}, cv=5).fit(X, y).best_score_ >= .5\n"
        "assert model.__class__ == LogisticRegression and isinstance(clone(model), LogisticRegression)"),
    "clusters": (
        SKLEARN + "from sklearn.cluster import KMeans\nk = KMeans(n_clusters=2, n_init=1, random_state=0).fit(X)",
        "assert len(set(k.labels_)) == 2 and k.cluster_centers_.shape == (2, 2)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_honest_work_passes(judge, kind):
    student, test = KINDS[kind]
    outcome = judge(student, test, seconds=60)
    assert verdict(outcome) == "passed", [o.evalue + str(o.traceback) for o in outcome.outputs]
