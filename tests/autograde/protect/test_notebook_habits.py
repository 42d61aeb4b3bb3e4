"""What students do in a notebook beside Python, without a kernel: it works as in JupyterLab."""

import sys
from collections.abc import Callable, Iterator

import pytest

from autograde import sandbox
from autograde.protect.supervisor import Bounds, Names, Outcome, Session, Step, Zygote

WORKS = {row.layer for row in sandbox.doctor() if row.works}


@pytest.fixture
def run(zygote: Zygote) -> Iterator[Callable[[str], Outcome]]:
    """`run(source)`: what a student's cell comes to."""
    with Session(zygote, Names(), bounds=Bounds(memory=2_000_000_000)) as session:
        yield lambda source: session.run(Step(source, seconds=120))


def text_of(outcome: Outcome) -> str:
    return "".join(o.text or o.data.get("text/plain", "") or o.ename for o in outcome.outputs)


def test_a_cell_that_asks_for_input_fails_at_once_and_the_next_test_is_in_step(judge, run):
    asked = run("input('name? ')")
    assert text_of(asked) == "StdinNotImplementedError" and asked.event == ""
    patched = "from unittest.mock import patch\nwith patch('builtins.input', return_value='3'):\n"
    assert judge("def f(): return int(input())", patched + "    assert f() == 3").outputs == []


def test_magics_that_remember_something_do_not_fail(run):
    run("import os\nos.mkdir('sub')")
    assert text_of(run("%cd -q sub\nos.path.basename(os.getcwd())")) == "'sub'"
    assert text_of(run("%bookmark here")) == ""
    assert text_of(run("%load_ext autoreload\n%autoreload 2")) == ""


def test_a_task_that_a_cell_starts_goes_on_in_those_that_follow(run):
    run("import asyncio\nasync def work():\n    return 5\ntask = asyncio.create_task(work())")
    assert text_of(run("await task")) == "5"


def test_a_display_that_is_updated_is_shown_once(run):
    assert text_of(run("shown = display('one', display_id=True)\nshown.update('two')")) == "'two'"


@pytest.mark.skipif(
    sys.platform != "linux" or "user" not in WORKS, reason="a container may give a user no /proc"
)
def test_processes_share_locks_and_programs_find_themselves_in_proc(run):
    pool = "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as pool:\n"
    assert text_of(run(pool + "    print(pool.map(abs, [-1, -2]))")) == "[1, 2]\n"
    many = "import joblib\njoblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-i) for i in range(3))"
    assert text_of(run(many)) == "[0, 1, 2]"
    assert text_of(run("import duckdb\nduckdb.sql('select 6 * 7').fetchall()")) == "[(42,)]"
    assert text_of(run("import psutil\npsutil.pids()[0]")) == "1"
