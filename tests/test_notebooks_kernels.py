"""The kernels of `mlsys run`: forked from a process that has the libraries, and yet like new."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
from test_notebooks import EXERCISE, TEXTS, wait_for, workbook

from mlsys.notebooks import run, warm
from mlsys.notebooks.runner import make_job, run_jobs

forked_here = pytest.mark.skipif(not warm.possible(), reason="kernels are forked on Linux only")

TELLS = """
# %%
import json, os, pathlib, random, signal, sys, threading, uuid
at_start = sorted(sys.modules)
import numpy
facts = {
    "pid": os.getpid(),
    "parent": os.getppid(),
    "parent that is watched": int(os.environ["JPY_PARENT_PID"]),
    "modules": at_start,
    "draws": [random.random(), numpy.random.random(), uuid.uuid4().hex,
              numpy.random.default_rng().random(), get_ipython().kernel.session.session],
    "alike": {
        "folder": os.getcwd(),
        "arguments": [sys.argv[0], len(sys.argv)],
        "path": sys.path,
        "flags": str(sys.flags),
        "variables": sorted(os.environ),
        "leads its session": os.getsid(0) == os.getpgid(0) == os.getpid(),
        "threads": sorted(t.name.rstrip("0123456789") for t in threading.enumerate()),
        "signals": {s.name: str(signal.getsignal(s)).split(" at ")[0]
                    for s in signal.Signals if s.name not in ("SIGKILL", "SIGSTOP")},
        "end of input": os.read(0, 1) == b"",
        "descriptors": len(os.listdir("/proc/self/fd")),
        "main": [__name__, sys.modules["__main__"].__dict__ is globals()],
    },
    "shown mark": pathlib.Path("/proc/self/environ").read_text().count(os.environ["MLSYS_RUN"]),
    "mark": os.environ["MLSYS_RUN"],
}
import ipywidgets, pandas, plotly.io, threadpoolctl
from pandas._config.config import _registered_options
facts["alike"] |= {
    "how numbers are shown": str(numpy.get_printoptions()),
    "how tables are shown": {n: str(pandas.get_option(n)).lower() for n in _registered_options},
    "how figures are shown": plotly.io.renderers.default,
    "who is told of widgets": sorted(get_ipython().kernel.comm_manager.targets),
}
numpy.ones((600, 600)) @ numpy.ones((600, 600))
facts["alike"]["threads that multiply"] = [
    pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
pathlib.Path(pathlib.Path.cwd() / "told.json").open("a").write(json.dumps(facts) + "\\n")

# %%
os.environ["LEFT"] = "by the first"
random.seed(1)
numpy.random.seed(1)
numpy.left = "by the first"
os.chdir("/")
import wave
"""
MULTIPLIES = """
# %%
import json, pathlib
import numpy, sklearn.linear_model, threadpoolctl
pathlib.Path("pools.json").write_text(json.dumps(threadpoolctl.threadpool_info()))
"""
KILLED = "# %%\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
KILLS_PARENT = "# %%\nimport os, signal, time\nos.kill(os.getppid(), 9)\ntime.sleep(300)\n"
QUIET = "# %%\nquiet = True\n"
SLEEPS = "# %%\nimport time\ntime.sleep(300)\n"
FORKS_DAEMON = """
# %%
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1024):
            try:
                os.close(number)
            except OSError:
                pass
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(300)
    os._exit(0)
os.wait();
"""
KERNEL_THAT_FAILS_ONCE = """
import pathlib, sys
tried = pathlib.Path(__file__).with_name("tried")
if not tried.exists():
    tried.touch()
    sys.exit("Address already in use")
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()
"""


def told(root):
    lines = (root / "notebooks/a_start/told.json").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """What two kernels in a row say about themselves."""
    root = tmp_path_factory.mktemp("forked")
    outcomes = run(workbook(root, {"00_a": TELLS, "01_b": TELLS}), root=root, jobs=1)
    assert [outcome.verdict for outcome in outcomes] == ["passed", "passed"], outcomes
    return told(root)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What a kernel that was started plainly says."""
    root = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSYS_WARM", "0")
        (outcome,) = run(workbook(root, {"00_a": TELLS}), root=root, jobs=1)
    assert outcome.verdict == "passed", outcome.sentence()
    return told(root)[0]


@forked_here
def test_kernels_are_forked_with_the_libraries_and_nothing_of_ours(forked, plain):
    first, second = forked
    assert first["parent"] == second["parent"] and first["pid"] != second["pid"]
    assert {"pandas", "plotly"} <= set(second["modules"])
    assert "pandas" not in plain["modules"]
    ours = [name for name in second["modules"] if name.split(".")[0] in ("mlsys", "autograde")]
    assert ours == []


@forked_here
def test_no_library_looks_for_a_running_kernel_while_it_is_preloaded():
    """There is none yet: what it would remember would be wrong in every kernel."""
    asks = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
def initialized():
    frame = sys._getframe(2)
    asked.append(frame.f_code.co_filename)
    return False
asked = []
InteractiveShell.initialized = initialized
sys.path.insert(0, sys.argv[1])
import zygote
zygote.preload()
print(json.dumps(asked))
"""
    said = subprocess.run(
        [sys.executable, "-c", asks, str(warm.ZYGOTE.parent)],
        capture_output=True,
        text=True,
        env=os.environ | warm.QUIET,
        check=True,
    )
    assert json.loads(said.stdout) == []


@forked_here
def test_nothing_of_one_lesson_is_in_the_next(forked):
    first, second = forked
    assert second["modules"] == first["modules"] and "wave" not in second["modules"]
    assert second["alike"] == first["alike"] and "LEFT" not in second["alike"]["variables"]


@forked_here
def test_no_two_kernels_draw_the_same_numbers(forked):
    draws = [number for facts in forked for number in facts["draws"]]
    assert len(set(draws)) == len(draws)


@forked_here
def test_a_forked_kernel_says_the_same_of_itself_as_one_started_plainly(forked, plain):
    alike = {**forked[1]["alike"], "folder": plain["alike"]["folder"]}
    assert alike == plain["alike"] | {"variables": alike["variables"]}
    assert set(plain["alike"]["variables"]) - {"MLSYS_WARM"} == set(alike["variables"])


@pytest.mark.parametrize(
    "warmth, asked, jobs",
    [
        pytest.param("1", None, os.cpu_count(), marks=forked_here),
        ("0", None, os.cpu_count()),
        ("0", "1", 1),
    ],
)
def test_a_lesson_multiplies_with_its_slots_share_of_the_cores_or_what_a_person_has_set(
    tmp_path, monkeypatch, warmth, asked, jobs
):
    monkeypatch.setenv("MLSYS_WARM", warmth)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    lessons = workbook(tmp_path, {"00_a": MULTIPLIES, "01_b": QUIET})
    first, _ = run(lessons, root=tmp_path, jobs=jobs)
    assert first.verdict == "passed", first.sentence()
    pools = json.loads((tmp_path / "notebooks/a_start/pools.json").read_text(encoding="utf-8"))
    assert {pool["user_api"] for pool in pools} == {"blas", "openmp"}
    assert {pool["num_threads"] for pool in pools} == {1}


@forked_here
def test_a_forked_kernel_watches_its_parent_and_shows_its_runs_mark(forked):
    first, second = forked
    assert second["parent that is watched"] == second["parent"]
    assert first["shown mark"] == second["shown mark"] == 1 and first["mark"] != second["mark"]


@forked_here
def test_a_daemon_that_a_kernel_forks_is_found_by_the_mark(tmp_path):
    quiet, daemon = run(  # the last begins first
        workbook(tmp_path, {"00_quiet": QUIET, "01_daemon": FORKS_DAEMON}), root=tmp_path, jobs=1
    )
    assert daemon.verdict == "leaked" and "left 1 running" in daemon.error
    assert quiet.verdict == "passed", quiet.sentence()


def test_a_kernel_that_is_killed_is_reported_and_the_next_one_runs(tmp_path):
    quiet, killed = run(  # the last begins first
        workbook(tmp_path, {"00_quiet": QUIET, "01_killed": KILLED}), root=tmp_path, jobs=1
    )
    assert killed.verdict == "failed" and "DeadKernelError" in killed.error
    assert quiet.verdict == "passed", quiet.sentence()


@forked_here
def test_when_the_process_that_forks_is_killed_kernels_start_plainly(tmp_path):
    tells, kills = run(  # the last begins first
        workbook(tmp_path, {"00_tells": TELLS, "01_kills": KILLS_PARENT}), root=tmp_path, jobs=1
    )
    assert kills.verdict == "failed" and "DeadKernelError" in kills.error
    assert tells.verdict == "passed", tells.sentence()
    assert "pandas" not in told(tmp_path)[0]["modules"]


@forked_here
def test_a_runner_that_is_killed_leaves_no_process(tmp_path):
    workbook(tmp_path, {"00_sleeps": SLEEPS, "01_sleeps": SLEEPS})
    line = "from mlsys.notebooks import run_command; import typer; typer.run(run_command)"
    process = subprocess.Popen(
        [sys.executable, "-c", line],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    whole = psutil.Process(process.pid)
    wait_for(lambda: len([p for p in whole.children(recursive=True) if leads_session(p)]) == 2)
    all_of_it = whole.children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(all_of_it, timeout=300)
    assert alive == []


def leads_session(process):
    """Kernels do, and nothing else that the runner starts."""
    try:
        return os.getsid(process.pid) == process.pid
    except OSError:
        return False


def test_a_loop_that_is_timed_out_keeps_what_came_before_it(tmp_path):
    text = "# %%\nprint('said', 'before')\n\n# %%\nwhile True:\n    pass\n"
    (lesson,) = workbook(tmp_path, {"00_loops": text})
    (outcome,) = run([lesson], root=tmp_path, timeout=4)
    assert outcome.verdict == "timed out"
    assert "said before" in outcome.executed.read_text(encoding="utf-8")


def test_what_was_never_run_begins_first_the_last_before_the_others_then_the_longest(tmp_path):
    names = ("00_short", "01_long", "02_new", "03_new")
    lessons = workbook(tmp_path, dict.fromkeys(names, QUIET))
    for lesson, seconds in zip(lessons, (5, 50), strict=False):
        record = tmp_path / ".mlsys/executed/a_start" / f"{lesson.stem}.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    began = []
    outcomes = run(
        lessons,
        root=tmp_path,
        jobs=1,
        on_event=lambda lesson, what, _: began.append(lesson.stem) if what == "start" else None,
    )
    assert began == ["03_new", "02_new", "01_long", "00_short"]
    assert [outcome.notebook for outcome in outcomes] == lessons


def test_two_editions_of_a_lesson_run_in_one_go_and_never_at_once(tmp_path):
    lessons = workbook(tmp_path, {"00_a": EXERCISE, "01_b": QUIET})
    plan = [
        make_job(lesson, root=tmp_path, parameters={}, profile=None, student=student)
        for lesson in lessons
        for student in (False, True)
    ]
    events = []
    outcomes = run_jobs(
        plan,
        slots=2,
        on_event=lambda lesson, what, _: events.append((lesson, what)) if what != "cell" else None,
    )
    assert [outcome.verdict for outcome in outcomes] == ["passed"] * 4, outcomes
    assert [outcome.executed for outcome in outcomes] == [job.output for job in plan]
    for lesson in lessons:
        assert [what for of, what in events if of == lesson] == ["start", "end"] * 2


def test_a_kernel_whose_port_was_taken_is_started_again(tmp_path, monkeypatch):
    spec = tmp_path / "jupyter/kernels/python3"
    spec.mkdir(parents=True)
    (spec / "start.py").write_text(KERNEL_THAT_FAILS_ONCE, encoding="utf-8")
    argv = [sys.executable, str(spec / "start.py"), "-f", "{connection_file}"]
    kernel = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    (outcome,) = run(workbook(tmp_path, {"00_passes": TEXTS["00_passes"]}), root=tmp_path)
    assert (spec / "tried").exists()
    assert outcome.verdict == "passed", outcome.sentence()
