"""`mlsys run`: verdicts, the cell that failed, and what makes a notebook run again."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from typer import Typer
from typer.testing import CliRunner

from mlsys.lesson_text import to_notebook
from mlsys.notebooks import run, run_command
from mlsys.notebooks.command import read_parameters
from mlsys.notebooks.runner import make_job
from mlsys.place import PlaceError, find_lessons, find_root

SIZE = '# %% tags=["parameters"] profiles={"full": {"size": 10}}\nsize = 3  # full: 10\n\n'
EXERCISE = """
# %% nbgrader={"grade": false, "grade_id": "double", "solution": true, "locked": false}
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "double_test", "points": 1, "solution": false}
assert double(1) == 2

"""
STRAY = "import time; time.sleep(300)"
TEXTS = {
    "00_passes": SIZE
    + EXERCISE
    + "# %%\nprint('size is', size)\n\n"
    + "# %%\nimport sys\nsys.stderr.write('a warning that is no failure')\n\n"
    + '# %% tags=["raises-exception"]\n1 / 0\n',
    "01_fails": SIZE + "# %% id=\"the-cell\"\nassert size == 4, 'size is 3'\n\n# %%\nnever = 1\n",
    "02_leaks": "# %%\nimport subprocess, sys\nstart = 'import subprocess, sys; '\n"
    'start += \'subprocess.Popen([sys.executable, "-c", '
    f'"{STRAY}"], start_new_session=True)\'\n'
    "subprocess.run([sys.executable, '-c', start], check=True)\n",
    "04_widgets": "# %%\nfrom ipywidgets import interact\n\ndef say(n):\n    print(n)\n\n"
    + "# %%\ninteract(say, n=3)\ninteract(say, n=4);\n\n" * 60,
    "03_dies": '# %% id="the-end"\nimport os\nos._exit(3)\n',
}


def write(root, name, text, folder="notebooks/a_start"):
    source = root / "text.py"
    source.write_text(text, encoding="utf-8")
    to_notebook(source, root / folder / f"{name}.ipynb")
    source.unlink()
    return root / folder / f"{name}.ipynb"


def workbook(root, texts):
    (root / "requirements.lock").write_text("numpy==2.4.6\n", encoding="utf-8")
    return [write(root, name, text) for name, text in texts.items()]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A workbook after one run of four notebooks, two at a time; its outcomes by name."""
    root = tmp_path_factory.mktemp("ran")
    events = []
    outcomes = run(
        workbook(root, TEXTS),
        root=root,
        jobs=2,
        timeout=120,
        on_event=lambda notebook, what, details: events.append((notebook.stem, what)),
    )
    return root, {outcome.notebook.stem: outcome for outcome in outcomes}, events


def test_a_notebook_that_runs_through_passes_and_is_kept(ran):
    root, outcomes, _ = ran
    outcome = outcomes["00_passes"]
    assert outcome.verdict == "passed", outcome.sentence()
    assert outcome.executed == root / ".mlsys/executed/a_start/00_passes.ipynb"
    assert "size is 3" in outcome.executed.read_text(encoding="utf-8")
    assert outcome.seconds > 0 and outcome.peak_mb > 20


def test_an_error_that_a_lesson_means_to_show_is_no_failure_and_gets_no_red_note(ran):
    kept = json.loads(ran[1]["00_passes"].executed.read_text(encoding="utf-8"))
    assert "ZeroDivisionError" in json.dumps(kept)
    assert "papermill-error-cell" not in json.dumps(kept)


def test_the_failing_cell_is_named_in_one_line(ran):
    outcome = ran[1]["01_fails"]
    assert (outcome.verdict, outcome.cell) == ("failed", (2, "the-cell"))
    said = "01_fails, cell 2 (the-cell): AssertionError: size is 3"
    assert outcome.sentence() == said


def test_a_process_that_outlives_the_kernel_is_a_verdict_and_is_ended(ran):
    outcome = ran[1]["02_leaks"]
    assert outcome.verdict == "leaked"
    assert "left 1 running" in outcome.error and "time.sleep(300)" in outcome.error
    alive = [p for p in psutil.process_iter(["cmdline"]) if STRAY in (p.info["cmdline"] or [])]
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_a_kernel_that_dies_fails_at_its_cell_and_the_rest_still_run(ran):
    outcome = ran[1]["03_dies"]
    assert (outcome.verdict, outcome.cell) == ("failed", (1, "the-end"))
    assert "DeadKernelError" in outcome.error


def test_widgets_that_print_never_stall_a_run(ran):
    """nbclient alone stalls for ever in about one of a hundred such cells."""
    outcome = ran[1]["04_widgets"]
    assert outcome.verdict == "passed", outcome.sentence()


def test_events_tell_of_each_start_cell_and_end(ran):
    events = ran[2]
    assert [e for e in events if e[0] == "01_fails"] == [
        ("01_fails", "start"),
        ("01_fails", "cell"),
        ("01_fails", "cell"),
        ("01_fails", "end"),
    ]


def test_what_passed_is_not_run_again_and_what_failed_is(ran):
    root, *_ = ran
    stop = StopAtOnce()
    names = ["00_passes", "01_fails"]
    paths = [root / f"notebooks/a_start/{name}.ipynb" for name in names]
    verdicts = [o.verdict for o in run(paths, root=root, stop=stop)]
    assert verdicts == ["cached", "not run"]


class StopAtOnce:
    """A stop that is set from the beginning: whatever is not remembered would be run."""

    def is_set(self):
        return True

    def set(self):
        pass


def test_the_student_edition_runs_on_where_a_stub_says_so(tmp_path):
    (lesson,) = workbook(tmp_path, {"00_passes": TEXTS["00_passes"]})
    (outcome,) = run([lesson], root=tmp_path, student=True)
    assert outcome.verdict == "passed", outcome.sentence()
    kept = outcome.executed.read_text(encoding="utf-8")
    assert outcome.executed.name == "00_passes@student.ipynb"
    assert "NotImplementedError: double is yours to write" in re.sub(r"\\u001b\[[\d;]*m", "", kept)
    assert "2 * x" not in kept


def test_a_parameter_is_injected_and_a_loop_is_timed_out_at_its_cell(tmp_path):
    text = SIZE + '# %%\nassert size == 5\n\n# %% id="loops"\nwhile True:\n    pass\n'
    (lesson,) = workbook(tmp_path, {"00_loops": text})
    (outcome,) = run([lesson], root=tmp_path, parameters={"size": 5}, timeout=2)
    assert (outcome.verdict, outcome.cell) == ("timed out", (3, "loops"))
    assert outcome.error == "took longer than 2 s"


def test_a_run_that_is_interrupted_leaves_no_kernel(tmp_path):
    workbook(tmp_path, {"00_sleeps": "# %%\nimport time\nprint('here')\ntime.sleep(300)\n"})
    line = "from mlsys.notebooks import run_command; import typer; typer.run(run_command)"
    process = subprocess.Popen(
        [sys.executable, "-c", line],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"MLSYS_TEST": tmp_path.name},
    )
    whole = psutil.Process(process.pid)
    kernel = wait_for(
        lambda: next((p for p in whole.children(recursive=True) if is_kernel(p)), None)
    )
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130 and "Traceback" not in said
    psutil.wait_procs([kernel], timeout=20)
    assert not kernel.is_running()


def is_kernel(process):
    try:
        return "ipykernel_launcher" in process.cmdline()
    except psutil.Error:
        return False


def wait_for(found, *, seconds=300):
    """Ask again until there is an answer; the deadline only ends a broken test."""
    import time

    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if answer := found():
            return answer
        time.sleep(0.05)
    raise AssertionError("nothing was found in time")


# What a run depends on: no kernel is needed to know it.

USES = SIZE + (
    "# %%\nfrom mlsys import used\nfrom mlsys.data import load\nimport beside\nload('digits')\n"
)
MODULES = {
    "mlsys/__init__.py": "",
    "mlsys/used.py": "def f():\n    from .deep import inner\n",
    "mlsys/deep/__init__.py": "",
    "mlsys/deep/inner.py": "WORKER = ['python', '-m', 'mlsys.started']\n",
    "mlsys/deep/table.json": "{}",
    "mlsys/started.py": "",
    "mlsys/unrelated.py": "",
    "mlsys/data.py": "",
    "mlsys/lazy/__init__.py": "def __getattr__(name): ...\n",
    "mlsys/lazy/found.py": "",
    "notebooks/a_start/beside.py": "",
    "datasets/digits/card.md": "digits",
    "datasets/faces/card.md": "faces",
}


@pytest.fixture
def uses(tmp_path):
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (lesson,) = workbook(tmp_path, {"00_uses": USES})
    return lesson


def key(lesson, **options):
    root = lesson.parents[2]
    options = {"parameters": {}, "profile": None, "student": False} | options
    return make_job(lesson, root=root, **options).key


@pytest.mark.parametrize(
    "name",
    [
        "mlsys/used.py",
        "mlsys/__init__.py",
        "mlsys/deep/__init__.py",
        "mlsys/deep/inner.py",
        "mlsys/deep/table.json",
        "mlsys/started.py",
        "notebooks/a_start/beside.py",
        "datasets/digits/card.md",
        "requirements.lock",
    ],
)
def test_a_change_in_what_it_uses_runs_a_notebook_again(uses, name):
    before = key(uses)
    with (uses.parents[2] / name).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    assert key(uses) != before


@pytest.mark.parametrize("name", ["mlsys/unrelated.py", "datasets/faces/card.md", "mlsys/new.py"])
def test_a_change_elsewhere_does_not(uses, name):
    before = key(uses)
    with (uses.parents[2] / name).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    assert key(uses) == before


def test_a_package_that_finds_its_names_when_asked_counts_whole(uses):
    write(uses.parents[2], "01_lazy", "# %%\nfrom mlsys.lazy import anything\n")
    lesson = uses.with_name("01_lazy.ipynb")
    before = key(lesson)
    (uses.parents[2] / "mlsys/lazy/found.py").write_text("x = 1\n", encoding="utf-8")
    assert key(lesson) != before


def test_outputs_are_no_change_and_cells_parameters_profiles_and_editions_are(uses):
    before = key(uses)
    content = json.loads(uses.read_text(encoding="utf-8"))
    content["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "3"}]
    content["cells"][0]["execution_count"] = 9
    uses.write_text(json.dumps(content), encoding="utf-8")
    assert key(uses) == before
    others = [{"parameters": {"size": 4}}, {"profile": "full"}, {"student": True}]
    keys = {before, *(key(uses, **other) for other in others)}
    assert len(keys) == 4
    content["cells"][0]["source"] = "size = 5"
    uses.write_text(json.dumps(content), encoding="utf-8")
    assert key(uses) not in keys


def test_a_profile_sets_its_sizes_and_an_asked_for_value_wins(uses):
    root = uses.parents[2]
    full = make_job(uses, root=root, parameters={}, profile="full", student=False)
    assert full.parameters == {"size": 10} and full.output.name == "00_uses@full.ipynb"
    asked = make_job(uses, root=root, parameters={"size": 4}, profile="full", student=False)
    assert asked.parameters == {"size": 4}


def test_an_unknown_parameter_is_refused_before_anything_runs(uses):
    with pytest.raises(PlaceError, match="00_uses has no parameter 'sise'; it has: size"):
        run([uses], root=uses.parents[2], parameters={"sise": 4})


def test_parameters_are_read_as_yaml():
    pairs = ["a=3", "b=[1, 2]", "c=yes it is", "d=null", "e=0.5"]
    assert read_parameters(pairs) == {
        "a": 3,
        "b": [1, 2],
        "c": "yes it is",
        "d": None,
        "e": 0.5,
    }


@pytest.mark.parametrize("pair", ["a", "=3", "a b=3", "a=[1"])
def test_a_parameter_that_is_no_pair_gets_a_sentence(pair):
    with pytest.raises(PlaceError, match=re.escape(repr(pair.partition("=")[2] or pair)) + "|'"):
        read_parameters([pair])


@pytest.mark.parametrize("name", ["0", "00", "00_uses", "uses", "a_start", "00_uses.ipynb"])
def test_a_lesson_is_found_by_number_slug_folder_or_name(uses, name):
    assert find_lessons([name], root=uses.parents[2]) == [uses]


def test_the_root_is_found_from_inside_it(uses):
    assert find_root(uses.parent) == uses.parents[2]


@pytest.fixture
def mlsys_run(monkeypatch):
    app = Typer()
    app.command()(run_command)

    def call(root, *line):
        monkeypatch.chdir(root)
        return CliRunner().invoke(app, line)

    return call


def test_the_command_ends_with_a_table_names_failures_and_has_status_1(ran, mlsys_run):
    root, *_ = ran
    said = mlsys_run(root, "0", "1", "--html")
    assert said.exit_code == 1
    assert re.search(r"00_passes +[\d.]+ +\d+ +cached", said.output)
    assert "01_fails, cell 2 (the-cell): AssertionError: size is 3" in said.output
    page = (root / ".mlsys/executed/a_start/00_passes.html").read_text(encoding="utf-8")
    assert "size is 3" in page


def test_a_cached_set_starts_no_process(ran, mlsys_run):
    said = mlsys_run(ran[0], "0", "--json")
    (outcome,) = json.loads(said.stdout)
    assert said.exit_code == 0 and outcome["verdict"] == "cached"


def test_with_json_the_outcomes_are_on_stdout_and_a_line_for_each_lesson_on_stderr(ran, mlsys_run):
    said = mlsys_run(ran[0], "0", "1", "--json")
    assert said.exit_code == 1
    verdicts = [outcome["verdict"] for outcome in json.loads(said.stdout)]
    assert verdicts == ["cached", "failed"]
    assert re.fullmatch(r"failed +01_fails \([\d.]+ s\)\n", said.stderr)


@pytest.mark.parametrize(
    "line, says",
    [(["77"], "No lesson is called '77'"), (["0", "-p", "size"], "NAME=VALUE"),
     (["0", "-p", "sise=1"], "has no parameter 'sise'")],
)  # fmt: skip
def test_a_wrong_command_gets_one_sentence(ran, mlsys_run, line, says):
    said = mlsys_run(ran[0], *line)
    assert said.exit_code == 1 and says in said.output
    assert said.output.count("\n") == 1


def test_a_file_that_is_no_notebook_gets_one_sentence(ran, mlsys_run):
    bad = Path(ran[0]) / "bad.ipynb"
    bad.write_text('{"cells": 7}', encoding="utf-8")
    said = mlsys_run(ran[0], "bad.ipynb")
    assert said.exit_code == 1 and "is not a notebook that can be read" in said.output
