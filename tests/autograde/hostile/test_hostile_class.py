"""A class of which most try to get points that they have not earned, to read what they may not or
to break the grader, and twenty-one are honest: graded in one go, under an outer guard. No point is
gained, no secret read, nothing outside touched, no process left; every honest score is exact.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import guard
import nbformat
import pytest
import reading
import shapes

from autograde import sandbox
from autograde.protect.folder import remove_tree

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the sandbox's layers are Linux's"),
    pytest.mark.skipif(
        sys.platform == "linux" and not sandbox.is_enough(sandbox.doctor()),
        reason="this machine's sandbox is not enough for hostile work; mlsys grade doctor says why",
    ),
]
HONEST, HOSTILE = reading.all_of("honest"), reading.all_of("submissions")
GUARD_SECONDS = 900  # of a run that takes two minutes on a calm machine
PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock")


class Listener:
    """A socket that hands a secret to whoever connects, and counts them."""

    def __init__(self, family: int, address: object, secret: str) -> None:
        self.secret, self.callers = secret, 0
        self.socket = socket.socket(family)
        self.socket.bind(address)
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                line, _ = self.socket.accept()
            except OSError:
                return
            self.callers += 1
            with line:
                line.sendall(self.secret.encode())


def left_around() -> set[str]:
    found = set()
    for folder in map(Path, PLACES):
        if folder.is_dir():
            found |= {str(entry) for entry in folder.iterdir() if "hostile" in entry.name}
    return found


@pytest.fixture(scope="module")
def run() -> Iterator[SimpleNamespace]:
    """The whole class, graded once; every test looks at another side of what came of it."""
    user = guard.some_user()
    base = Path(tempfile.mkdtemp(prefix="classroom-"))
    base.chmod(0o755)
    course, home = base / "course", base / "home"
    secrets = {
        name: f"canary-{name}-{uuid4().hex}"
        for name in ("hidden", "sources", "environment", "home", "sibling", "port", "unix", "free")
    }
    for folder in (course, home / ".ssh", base / "tmp"):
        folder.mkdir(parents=True)
    (home / ".ssh" / "id_course").write_text(secrets["home"])
    (base / "secret.txt").write_text(secrets["free"])
    if os.geteuid() == 0:
        for path in (base, *base.rglob("*")):
            os.chown(path, user, user)
    abstract = f"canary-{uuid4().hex}"
    listeners = [
        Listener(socket.AF_INET, ("127.0.0.1", 0), secrets["port"]),
        Listener(socket.AF_UNIX, str(base / "agent"), secrets["unix"]),
        Listener(socket.AF_UNIX, "\0" + abstract, secrets["unix"]),
    ]
    (base / "agent").chmod(0o777)
    told = {"COURSE": str(course), "HOME": str(home), "UNIX": str(base / "agent"),
            "PORT": listeners[0].socket.getsockname()[1], "ABSTRACT": abstract}  # fmt: skip
    before = left_around()
    try:
        with guard.cgroup() as groups:
            settings = {"user": user, "groups": groups, "course": str(course), "told": told,
                        "secrets": secrets, "seconds": 2, "jobs": 3, "only": [],
                        "snapshot": True, "result": str(base / "result.json")}  # fmt: skip
            (base / "settings.json").write_text(json.dumps(settings))
            # No word of the secrets but in the environment: the settings are not left to be read.
            environment = {
                "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(base / "tmp"),
                "LANG": "C.UTF-8", "COURSE_TOKEN": secrets["environment"],
                "PYTHONDONTWRITEBYTECODE": "1",
            }  # fmt: skip
            done = subprocess.run(
                [sys.executable, str(Path(guard.__file__).with_name("class_run.py")),
                 str(base / "settings.json")],
                env=environment, cwd=base, timeout=GUARD_SECONDS, capture_output=True, text=True,
                start_new_session=True,
            )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        result = json.loads((base / "result.json").read_text())
        yield SimpleNamespace(
            course=course, base=base, secrets=secrets, result=result, listeners=listeners,
            left=left_around() - before, user=user, said=done.stdout + done.stderr,
        )  # fmt: skip
    finally:
        for listener in listeners:
            listener.socket.close()
        remove_tree(base)


def outputs(run: SimpleNamespace, student: str, assignment: str = "hw") -> str:
    """All that the graded notebook shows of what the student's code and the tests put out."""
    path = run.course / "autograded" / student / assignment / f"{assignment}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    return "\n".join(json.dumps(cell.get("outputs", [])) for cell in notebook.cells)


def test_there_are_sixty_attacks_and_twenty_honest_submissions_each_with_its_line():
    assert len(HOSTILE) >= 60 and len(HONEST) >= 20
    lines = [one.says for one in (*HOSTILE.values(), *HONEST.values())]
    assert all(len(line) > 15 for line in lines) and len(set(lines)) == len(lines)
    assert all(one.cells for one in HOSTILE.values())


def test_the_class_is_finished_and_everybody_has_a_result(run):
    students = {*HONEST, *HOSTILE, *shapes.SHAPES}
    assert set(run.result["scores"]["hw"]) == students
    assert all(len(scores) == 7 for scores in run.result["scores"]["hw"].values())
    assert {name for name, (graded, _) in run.result["notes"].items() if graded} == students


@pytest.mark.parametrize("student", HONEST)
def test_an_honest_score_is_exact(run, student):
    assert run.result["scores"]["hw"][student] == HONEST[student].earns(), outputs(run, student)


@pytest.mark.parametrize("student", HOSTILE)
def test_an_attack_is_carried_out_and_gains_nothing(run, student):
    scores = run.result["scores"]["hw"][student]
    gained = {test: score for test, score in scores.items() if score}
    shown = outputs(run, student)
    assert not gained, shown[-3000:]
    stopped = ("ProcessEnded", "CellTimeoutError", "Lost")
    assert "tried" in shown or any(word in shown for word in stopped), shown[-3000:]


@pytest.mark.parametrize("student", shapes.SHAPES)
def test_a_hostile_file_gains_nothing(run, student):
    scores = run.result["scores"]["hw"][student]
    assert not any(scores.values()), outputs(run, student)[-3000:]
    assert shapes.SHAPES[student].__doc__


@pytest.mark.parametrize("student", [*HOSTILE, *shapes.SHAPES])
def test_an_attack_reads_no_secret(run, student):
    shown = outputs(run, student)
    assert [name for name, secret in run.secrets.items() if secret in shown] == []


@pytest.mark.parametrize("student", [n for n, one in HOSTILE.items() if one.gains_in_process()])
def test_the_same_attack_gains_points_where_tests_run_in_its_own_process(run, student):
    scores = run.result["scores"]["open"][student]
    gained = {test for test, score in scores.items() if score}
    assert gained >= HOSTILE[student].gains_in_process(), outputs(run, student, "open")[-3000:]


def test_nobody_was_called_and_nothing_outside_was_touched(run):
    assert [listener.callers for listener in run.listeners] == [0, 0, 0]
    assert run.result["changed"] == []
    assert run.left == set()
    assert (run.base / "home" / ".ssh" / "id_course").read_text() == run.secrets["home"]
    assert sorted(path.name for path in (run.base / "home").iterdir()) == [".ssh"]


def test_no_process_and_no_folder_of_a_submission_is_left(run):
    assert run.result["children"] == []
    if os.geteuid() == 0:
        assert guard.processes_of(run.user) == []
    assert [path.name for path in (run.base / "tmp").glob("autograde-*")] == []
