"""One run of one grader on a class that `grading_class` made, in a process of its own:

    python benchmarks/grading_run.py ours COURSE [JOBS]
    python benchmarks/grading_run.py nbgrader COURSE STUDENT...
    PEER_PYTHON benchmarks/grading_run.py otter FOLDER STUDENT...

prints one line of JSON: seconds and CPU seconds without imports, the points of each student and,
of ours, the seconds from the start of the process to the first submission.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ASSIGNMENT = "hw"


def cpu() -> float:
    """Of this process and of all that have ended below it."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def ours(course: Path, jobs: int | None) -> dict:
    """The whole class with sandbox and protected tests, as `mlsys grade run` without feedback."""
    born = time.time() - _age()
    from autograde import early

    early.start(course, ASSIGNMENT)
    from autograde.parallel import Watch, grade_class
    from autograde.protect import kept

    imported, before, first = time.perf_counter(), cpu(), []
    watch = Watch(started=lambda student: first.append(time.time()))
    rows = grade_class(course, ASSIGNMENT, jobs=jobs, force=True, feedback=False, watch=watch)
    seconds = time.perf_counter() - imported
    kept.close_all()  # processor time counts here once the warm process has ended
    return {
        "seconds": seconds,
        "cpu": cpu() - before,
        "start_up": first[0] - born,
        "points": {row.student: row.score for row in rows},
    }


def nbgrader(course: Path, students: list[str]) -> dict:
    """nbgrader's own API, one student after another, as `nbgrader autograde` does."""
    from nbgrader.apps import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    api = NbGraderAPI(CourseDirectory(config=config), config=config)
    start, before = time.perf_counter(), cpu()
    for student in students:
        done = api.autograde(ASSIGNMENT, student)
        if not done["success"]:
            raise SystemExit(done["error"] + done["log"])
    spent = {"seconds": time.perf_counter() - start, "cpu": cpu() - before}
    with api.gradebook as book:
        found = {s: book.find_submission(ASSIGNMENT, s).score for s in students}
    return {**spent, "points": found}


def otter(folder: Path, students: list[str]) -> dict:
    """`otter run`, one notebook after another."""
    program = Path(sysconfig.get_path("scripts")) / "otter"
    if not (folder / "autograder.zip").exists():
        _quiet(
            [program, "generate", "-t", "tests", "-o", "autograder.zip", "--no-environment",
             "--no-requirements"], folder,
        )  # fmt: skip
    start, before, found = time.perf_counter(), cpu(), {}
    for student in students:
        _quiet(
            [program, "run", f"submitted/{student}.ipynb", "-a", "autograder.zip",
             "-o", f"out/{student}", "--no-logo"], folder,
        )  # fmt: skip
        results = json.loads((folder / "out" / student / "results.json").read_text())
        found[student] = sum(test.get("score", 0) for test in results["tests"])
    return {"seconds": time.perf_counter() - start, "cpu": cpu() - before, "points": found}


def _quiet(command: list, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)


def _age() -> float:
    """Seconds since this process began, which is before Python itself was there."""
    with contextlib.suppress(ImportError):
        import psutil

        return time.time() - psutil.Process().create_time()
    return 0.0


if __name__ == "__main__":
    scripts = sysconfig.get_path("scripts")  # alembic, which nbgrader calls, and the kernel
    os.environ["PATH"] = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    kind, place, *more = sys.argv[1:]
    if kind == "ours":
        found = ours(Path(place), int(more[0]) if more else None)
    else:
        found = {"nbgrader": nbgrader, "otter": otter}[kind](Path(place), more)
    print(json.dumps(found))
