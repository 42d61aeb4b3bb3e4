"""A class to grade, for `benchmarks/grading.py`: an assignment of six solutions and six tests with
hidden parts, on numpy, pandas and scikit-learn, as an nbgrader course and as otter's notebook and
tests; and honest submissions to it, right, wrong in part, failing, unfinished.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode

ASSIGNMENT = "hw"
POINTS = 2
IMPORTS = """\
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import StandardScaler"""


@dataclass(frozen=True)
class Task:
    """One function: its solution, what a student who errs writes, what the test shows and hides."""

    name: str
    solution: str
    wrong: str
    shown: str
    hidden: str


TASKS = (
    Task(
        "standardise",
        "def standardise(x):\n    return (x - x.mean(axis=0)) / x.std(axis=0)",
        "def standardise(x):\n    return (x - x.mean()) / x.std()",
        "assert standardise(np.ones((3, 2)) * [[1], [2], [3]]).shape == (3, 2)",
        "z = standardise(np.arange(12.0).reshape(6, 2) ** 2)\n"
        "assert np.allclose(z.mean(axis=0), 0)\nassert np.allclose(z.std(axis=0), 1)",
    ),
    Task(
        "moving_average",
        "def moving_average(x, k):\n    return np.convolve(x, np.ones(k) / k, mode='valid')",
        "def moving_average(x, k):\n    return np.convolve(x, np.ones(k) / k)",
        "assert np.allclose(moving_average(np.array([1.0, 3.0, 5.0]), 1), [1, 3, 5])",
        "assert np.allclose(moving_average(np.arange(6.0), 3), [1, 2, 3, 4])\n"
        "assert len(moving_average(np.zeros(50), 7)) == 44",
    ),
    Task(
        "total_by_city",
        "def total_by_city(frame):\n    return frame.groupby('city')['amount'].sum().sort_index()",
        "def total_by_city(frame):\n    return frame.groupby('city')['amounts'].sum()",
        "orders = pd.DataFrame({'city': ['b', 'a', 'b'], 'amount': [1.0, 2.0, 4.0]})\n"
        "assert total_by_city(orders)['b'] == 5",
        "totals = total_by_city(orders)\nassert isinstance(totals, pd.Series)\n"
        "assert list(totals.index) == ['a', 'b']\nassert totals.tolist() == [2, 5]",
    ),
    Task(
        "without_gaps",
        "def without_gaps(frame):\n    return frame.fillna(frame.median(numeric_only=True))",
        "def without_gaps(frame):\n    return frame.dropna()",
        "gaps = pd.DataFrame({'a': [1.0, np.nan, 5.0], 'b': [2.0, 2.0, np.nan]})\n"
        "assert not without_gaps(gaps.copy()).isna().any().any()",
        "full = without_gaps(gaps.copy())\nassert full.shape == (3, 2)\n"
        "assert full.loc[1, 'a'] == 3 and full.loc[2, 'b'] == 2",
    ),
    Task(
        "fit_classifier",
        "def fit_classifier(x, y):\n    return LogisticRegression().fit(x, y)",
        "def fit_classifier(x, y):\n    return LogisticRegression().fit(x, 1 - y)",
        "x = np.linspace(-3, 3, 60).reshape(-1, 1)\ny = (x[:, 0] > 0).astype(int)\n"
        "assert fit_classifier(x, y).predict(x).shape == (60,)",
        "model = fit_classifier(x, y)\nassert accuracy_score(y, model.predict(x)) >= 0.95\n"
        "assert model.predict(np.array([[-2.0], [2.0]])).tolist() == [0, 1]",
    ),
    Task(
        "split",
        "def split(x, share, seed):\n"
        "    order = np.random.default_rng(seed).permutation(len(x))\n"
        "    cut = int(len(x) * share)\n"
        "    return x[order[:cut]], x[order[cut:]]",
        "def split(x, share, seed):\n    raise ValueError('not done yet')",
        "first, second = split(np.arange(10), 0.8, 1)\nassert len(first) == 8",
        "both = np.concatenate(split(np.arange(100), 0.3, 2))\n"
        "assert sorted(both.tolist()) == list(range(100))\n"
        "again = np.concatenate(split(np.arange(100), 0.3, 2))\n"
        "assert both.tolist() == again.tolist()",
    ),
)


def _cell(source: str, name: str, *, solution: bool, grade: bool) -> NotebookNode:
    about = {
        "schema_version": 3, "grade_id": name, "grade": grade, "solution": solution,
        "locked": not solution, "task": False, "cell_type": "code",
    }  # fmt: skip
    if grade:
        about["points"] = POINTS
    cell = nbformat.v4.new_code_cell(source, metadata={"nbgrader": about})
    cell.id = name.replace("_", "-")
    return cell


def source_notebook() -> NotebookNode:
    """What the instructor writes, for nbgrader."""
    cells = [_cell(IMPORTS, "imports", solution=False, grade=False)]
    for task in TASKS:
        text = f"### BEGIN SOLUTION\n{task.solution}\n### END SOLUTION"
        cells.append(_cell(text, task.name, solution=True, grade=False))
        hidden = f"### BEGIN HIDDEN TESTS\n{task.hidden}\n### END HIDDEN TESTS"
        text = f"{task.shown}\n{hidden}"
        cells.append(_cell(text, f"test_{task.name}", solution=False, grade=True))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def answers(student: int) -> list[str]:
    """The six cells of a student: six of ten have all right, the others err in one to six."""
    chance = random.Random(student)
    wrong: set[int] = set()
    if student % 10 >= 6:
        wrong = set(chance.sample(range(len(TASKS)), {6: 1, 7: 2, 8: 3, 9: 6}[student % 10]))
    return [
        f"# student {student}\n{task.wrong if place in wrong else task.solution}"
        for place, task in enumerate(TASKS)
    ]


def make_course(root: Path, *, ours: bool) -> Path:
    """An nbgrader course with the assignment; plain, or with `autograde` switched on."""
    folder = root / "source" / ASSIGNMENT
    folder.mkdir(parents=True)
    nbformat.write(source_notebook(), folder / f"{ASSIGNMENT}.ipynb")
    config = "c = get_config()\nc.CourseDirectory.course_id = 'bench'\n"
    config += "c.ExecutePreprocessor.timeout = 60\n"
    if ours:
        config += "import autograde\n\nautograde.configure(c)\n"
    (root / "nbgrader_config.py").write_text(config)
    return root


def hand_in(root: Path, students: range) -> None:
    """Put those students' notebooks where nbgrader collects them, made from the student version."""
    released = nbformat.read(root / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)
    by_name = {cell.metadata.nbgrader.grade_id: cell for cell in released.cells}
    for student in students:
        for task, text in zip(TASKS, answers(student)):
            by_name[task.name].source = text
        folder = root / "submitted" / name_of(student) / ASSIGNMENT
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(released, folder / f"{ASSIGNMENT}.ipynb")


def name_of(student: int) -> str:
    return f"s{student:04d}"


_OTTER_TEST = """\
from otter.test_files import test_case

OK_FORMAT = False
name = "{name}"
points = {points}


@test_case(hidden=True)
def test_{name}(env):
    globals().update(env)
{body}
"""


def make_otter(root: Path, students: range) -> Path:
    """The same for otter: `tests/`, and a notebook for each student under `submitted/`."""
    (root / "tests").mkdir(parents=True)
    for task in TASKS:
        body = "\n".join(f"    {line}" for line in f"{task.shown}\n{task.hidden}".splitlines())
        text = _OTTER_TEST.format(name=task.name, points=POINTS, body=body)
        (root / "tests" / f"{task.name}.py").write_text(text)
    (root / "submitted").mkdir()
    for student in students:
        cells = [nbformat.v4.new_code_cell(text) for text in (IMPORTS, *answers(student))]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, root / "submitted" / f"{name_of(student)}.ipynb")
    return root
