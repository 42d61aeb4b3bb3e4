"""Submissions in bubblewrap's namespaces, graded by an ordinary user who may make none himself:
what they reach, what is left of them, what they score. And what `doctor` says of the cause.
"""

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from submissions import KINDS, PA0

from autograde import ledger, sandbox
from autograde.sandbox import Policy, isolate, kernel, landlock, layers
from autograde.sandbox.cause import why_no_namespaces
from autograde.sandbox.trial import survives

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")

HERE = Path(__file__).parent
GRADE = """
import sys
from pathlib import Path
from autograde.parallel import grade_class
print(len(grade_class(Path(sys.argv[1]), sys.argv[2], jobs=2, feedback=False)))
"""
BE_KILLED = """
import os, signal
from autograde.protect.supervisor import Names, Session, Step, Zygote
from autograde.sandbox.memory import family
zygote = Zygote()
session = Session(zygote, Names())
session.run(Step(student="import os, signal\\nif os.fork() == 0: os.setsid(); signal.pause()"))
print(*family(zygote.process.pid), flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The folder of an ordinary user, closed to others, with a bubblewrap in `bin` that is setuid
    root.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("there is no bubblewrap; it is in the system package of that name")
    if os.geteuid() != 0 or not layers.can_isolate():
        pytest.skip("only root can close namespaces to an ordinary user")
    folder = Path(tempfile.mkdtemp(prefix="bubble-"))  # pytest's own are closed to other users
    try:
        (folder / "bin").mkdir()
        copy = Path(shutil.copy(bwrap, folder / "bin"))
        copy.chmod(0o4755)
        user = 1_800_000_000 + random.randrange(10**7)
        os.chown(folder, user, user)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def run(home: Path) -> Callable[..., str]:
    """`run(argument, ...)`: what Python prints for the user whose namespaces are closed."""

    def run(*arguments: object) -> str:
        command = command_in(home, *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def command_in(home: Path, *arguments: object) -> list[str]:
    return [sys.executable, str(HERE / "closed.py"), str(home), *map(str, arguments)]


def facts_of(said: str) -> dict:
    facts = json.loads(said)
    if "setuid" in facts["problem"]:
        pytest.skip(f"this bubblewrap may not be setuid root: {facts['problem']}")
    assert not facts["problem"]
    return facts


@pytest.fixture(scope="module")
def facts(run: Callable[..., str]) -> dict:
    return facts_of(run(HERE / "in_bubble.py"))


@pytest.fixture(scope="module")
def unscoped(run: Callable[..., str]) -> dict:
    return facts_of(run(HERE / "in_bubble.py", "unscoped"))


def test_the_doctor_names_bubblewrap_as_what_is_used_and_why_namespaces_are_not(facts):
    rows = {row["layer"]: row for row in facts["rows"]}
    assert not rows["namespaces"]["works"] and rows["bubblewrap"]["works"]
    assert "user.max_user_namespaces = 0" in rows["namespaces"]["detail"]
    assert rows["bubblewrap"]["detail"].startswith("instead of our own namespaces")
    assert Path(facts["command"][0]).name == "bwrap"
    assert facts["layers"] == ["bubblewrap", "limits", "landlock", "seccomp"]


def test_there_is_no_network_but_its_own_loopback_and_nobody_to_be_seen(facts):
    outside, itself, another, listing, begins_anew = facts["may"]
    assert itself and begins_anew
    assert not (outside or another or listing)


def test_a_loop_is_interrupted_and_what_was_defined_before_is_kept(facts):
    assert (facts["hung"], facts["kept"]) == ("stopped after 0.5 s", "42\n")


def test_memory_counts_wherever_a_process_has_fled(facts):
    assert "more than 300 MB of memory" in facts["held"]


def test_all_that_a_submission_started_ends_with_it(facts):
    assert facts["stayed"] > 4  # two guards, the child, the trusted process, and those that hide
    assert facts["left"] == 0 and facts["closed"]


def test_two_submissions_at_once_are_refused_in_one_sentence(facts):
    assert facts["second"] == "Bubblewrap's namespaces hold one submission at a time."


def test_where_landlock_keeps_no_signals_the_warm_process_and_the_next_are_safe(unscoped):
    assert "ended the process that guards it" in unscoped["unguarded"]
    assert unscoped["next"] == "42\n"
    assert unscoped["left"] == 0 and unscoped["closed"]


def test_a_class_scores_as_it_must_with_two_workers_in_bubbles(class_of, facts, home, run):
    names = ["perfect", "partly", "erroring"]
    course = home / "course"
    shutil.move(class_of(names), course)
    for path in (course, *course.rglob("*")):
        os.chown(path, home.stat().st_uid, home.stat().st_gid)
    assert run("-c", GRADE, course, PA0) == "3\n"
    for name in names:
        entry = ledger.read(course, PA0, name)
        assert entry.scores[PA0] == KINDS[name].scores()
        assert entry.reports[PA0]["layers"] == facts["layers"]
    assert not list(home.glob("autograde-*"))


def test_a_grader_that_is_killed_leaves_no_process_and_no_folder(facts, home):
    command = command_in(home, "-c", BE_KILLED)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as closed:
        watched = [os.pidfd_open(int(pid)) for pid in closed.stdout.readline().split()]
        assert len(watched) > 6  # bubblewrap, the warm process, and what it forked
        (grader,) = Path(f"/proc/{closed.pid}/task/{closed.pid}/children").read_text().split()
        os.kill(int(grader), signal.SIGKILL)
    for process in watched:
        assert select.select([process], [], [], 60)[0]
        os.close(process)
    assert not list(home.glob("autograde-*"))


def test_namespaces_that_may_be_made_but_not_used_are_not_entered():
    """Ubuntu's AppArmor does that to an ordinary user; here Landlock forbids the same write."""

    def attempt() -> None:
        if os.geteuid() == 0:
            os.setresuid(61234, 61234, 61234)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        landlock.restrict([Path("/")], [], network=True)
        layers.can_isolate.cache_clear()
        before = Path("/proc/self/ns/user").readlink()
        assert isolate(Policy("/")) == []
        assert Path("/proc/self/ns/user").readlink() == before

    if not landlock.abi():
        pytest.skip("no Landlock")
    assert survives(attempt)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"sys/user/max_user_namespaces": "0"}, "sysctl -w user.max_user_namespaces=15000"),
        ({"sys/kernel/unprivileged_userns_clone": "0"}, "kernel.unprivileged_userns_clone=1"),
        ({"self/status": "Name:\tpython\nSeccomp:\t2\n"}, "seccomp=unconfined"),
        ({"sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, "install bubblewrap"),
        ({}, "the kernel refuses them"),
    ],
)
def test_each_cause_is_named_with_its_remedy(tmp_path, files, words):
    usual = {
        "sys/user/max_user_namespaces": "96365",
        "sys/kernel/unprivileged_userns_clone": "1",
        "sys/kernel/apparmor_restrict_unprivileged_userns": "0",
        "self/status": "Name:\tpython\nSeccomp:\t0\n",
    }
    for name, text in (usual | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert words in why_no_namespaces(tmp_path)


def test_the_doctor_is_content_with_bubblewrap_alone():
    rows = [
        sandbox.Row(layer, True, "", "")
        for layer in ("limits", "landlock", "seccomp", "bubblewrap")
    ]
    assert sandbox.is_enough(rows)
    assert not sandbox.is_enough(rows[:-1])
