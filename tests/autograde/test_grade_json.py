"""What the instructor's commands print for a program to read."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import changing
import nbformat
import pytest
from commands import mlsys_grade
from submissions import KINDS, PA0, hand_in, hand_in_kind, limit_cells, source_notebook

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

DEADLINE = 300  # seconds, for a machine that does much else


def told(*words: object) -> dict:
    """What a command that succeeds prints with --json, and nothing else."""
    done = mlsys_grade(*words, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_generate_tells_what_is_weak_where_and_how_to_write_it(class_of):
    course = class_of([])
    source = source_notebook(course)
    notebook = nbformat.read(source, as_version=4)
    cell = next(c for c in notebook.cells if "test_top_words_more" in str(c.metadata))
    cell.source += "\nassert not abs(1 - 2) > 3"
    nbformat.write(notebook, source)
    made = told("generate", PA0, "--course", course)
    (finding,) = made.pop("findings")
    assert made == {"assignment": PA0, "release": str(course / "release" / PA0), "changes": []}
    about = {key: finding[key] for key in ("notebook", "cell", "kind", "line")}
    line = len(cell.source.splitlines())
    assert about == {
        "notebook": PA0, "cell": "test_top_words_more", "kind": "weak", "line": line
    }  # fmt: skip
    assert "nan" in finding["what"]
    assert "<= 3" in finding["rewrite"]


def test_generate_tells_what_it_changed_in_the_gradebook(graded_class, tmp_path):
    course = shutil.copytree(graded_class, tmp_path / "course")
    source = source_notebook(course)
    shutil.copy(source, source.with_name("more.ipynb"))
    (sentence,) = told("generate", PA0, "--course", course)["changes"]
    assert sentence == f"{PA0} was changed after work had been graded: added more. Grade it again."


def test_feedback_tells_which_pages_it_wrote(graded_class, tmp_path):
    course = shutil.copytree(graded_class, tmp_path / "course")
    made = told("feedback", PA0, "--student", "late", "--course", course)
    pages = [str(course / "feedback" / "late" / PA0 / f"{PA0}.html")]
    assert made == {"assignment": PA0, "students": [{"student": "late", "pages": pages}]}


def test_export_tells_the_file_and_how_many_rows_it_has(graded_class, tmp_path):
    to = tmp_path / "grades.csv"
    made = told("export", "--to", to, "--course", graded_class)
    assert made == {"file": str(to), "rows": len(KINDS)}
    assert len(to.read_text().splitlines()) == 1 + len(KINDS)


def test_explain_tells_in_which_cell_a_limit_was_hit(class_of):
    course = class_of([])
    hand_in(course, "lea", {"merge_streams": "while True:\n    pass"})
    limit_cells(course, seconds=2)
    assert mlsys_grade("run", PA0, "--course", course).exit_code == 0
    lea = told("explain", "lea", PA0, "--course", course)
    assert lea["student"]["limits"] == ["cell merge_streams: stopped after 2 s"]
    (what,) = (cell["what"] for cell in lea["cells"] if cell["cell"] == "test_merge_streams")
    assert what == "name 'merge_streams' is not defined"  # no cell that defines it has failed


def test_explain_tells_what_a_person_has_judged_and_what_waits(tmp_path):
    task = ("Why?", {"task": True, "points": 3})
    (tmp_path / "nbgrader_config.py").write_text(changing.CONFIG)
    changing.write_source(tmp_path, {**changing.CELLS, "drawing": task})
    assert mlsys_grade("generate", "hw", "--course", tmp_path).exit_code == 0
    changing.hand_in(tmp_path)

    def run() -> dict:
        done = mlsys_grade("run", "hw", "--force", "--course", tmp_path, "--json")
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)["students"][0]

    assert (run()["tests"], run()["by_hand"]) == (2, ["essay", "drawing"])
    changing.give_by_hand(tmp_path)
    run()
    explained = told("explain", changing.ANN, "hw", "--course", tmp_path)["cells"]
    again = "graded by a person; to be confirmed, since it was run again"
    assert {cell["cell"]: cell["what"] for cell in explained} == {
        "test_one": again, "test_word": "passed", "essay": again, "drawing": "waits for a person"
    }  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is no signal there")
def test_a_watch_tells_each_round_on_a_line_of_its_own(class_of):
    course = class_of(["partly"])
    command = [sys.executable, "-m", "mlsys", "grade", "run", PA0, "--course", str(course)]
    with process([*command, "--watch", "--json", "--jobs", "1"]) as watch:
        first = json.loads(watch.stdout.readline())
        hand_in_kind(course, "second", KINDS["perfect"])
        second = json.loads(watch.stdout.readline())
        watch.send_signal(signal.SIGINT)
        rest, errors = watch.communicate()
    for round_, student, score in ((first, "partly", 64), (second, "second", 84)):
        assert round_["assignment"] == PA0
        assert [(row["student"], row["score"]) for row in round_["students"]] == [(student, score)]
        assert (round_["summary"]["run"], round_["summary"]["mean"]) == (1, score)
    assert (watch.returncode, rest) == (2, "")
    assert errors.splitlines()[-1].startswith("Stopped. What is graded stays graded")


@contextmanager
def process(command: list[str]):
    """A process that is ended if it is still there at the deadline, or after the context."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        guard = threading.Timer(DEADLINE, running.kill)
        guard.start()
        try:
            yield running
        finally:
            guard.cancel()
            running.kill()
