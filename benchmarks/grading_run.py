"""One run of one grader on a class that `grading_class` made, in a process of its own:

    python benchmarks/grading_run.py ours COURSE [JOBS]
    python benchmarks/grading_run.py nbgrader COURSE STUDENT...

prints one line of JSON: seconds and CPU seconds without imports, the points of each student and,
of ours, the seconds from the start of the process until a worker that is ready, with a warm process
that has imported what the assignment does, begins with the first submission. Libraries are compiled
to bytecode beforehand, as they are on a user's machine from the second run on.
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
TOLD_EVERY = 100  # submissions: who waits for thousands sees how far it is


def cpu() -> float:
    """Of this process and of all that have ended below it."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def ours(course: Path, jobs: int | None) -> dict:
    """The whole class with sandbox and protected tests, as `mlsys grade run` without feedback."""
    born = time.time() - _age()
    from autograde import early

    early.start(course, ASSIGNMENT)
    with early.lean():
        from autograde.parallel import StudentResult, Watch, grade_class
    from autograde.protect import kept

    imported, before, first, done = time.perf_counter(), cpu(), [], []

    def finished(row: StudentResult) -> None:
        done.append(row)
        if len(done) % TOLD_EVERY == 0:
            spent = time.perf_counter() - imported
            print(f"ours, {len(done):,} graded after {spent:.0f} s", file=sys.stderr, flush=True)

    watch = Watch(started=lambda student: first.append(time.time()), finished=finished)
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


def _age() -> float:
    """Seconds since this process began, which is before Python itself was there."""
    with contextlib.suppress(OSError, AttributeError):  # psutil's answer is a second too much
        after_boot = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - after_boot / os.sysconf("SC_CLK_TCK")
    import psutil

    return time.time() - psutil.Process().create_time()


def keep_bytecode(modules: str) -> None:
    """If this Python keeps no bytecode, run the program anew in one that does and end with it: else
    every process would compile all that it imports, again. The first time, bytecode of `modules`
    is made beforehand.
    """
    if not sys.dont_write_bytecode:
        return
    place = Path.home() / ".cache/mlsys/bytecode"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(place)
    if not place.joinpath(*Path(sys.prefix).parts[1:]).is_dir():  # where it mirrors our libraries
        command = [sys.executable, "-c", f"import {modules}"]
        subprocess.run(command, env=env, check=True, timeout=600)
    again = [sys.executable, *sys.argv]
    sys.exit(subprocess.run(again, env=env, check=False).returncode)


if __name__ == "__main__":
    keep_bytecode("autograde.parallel, ipykernel.kernelapp, pandas, sklearn.linear_model")
    scripts = sysconfig.get_path("scripts")  # alembic, which nbgrader calls, and the kernel
    os.environ["PATH"] = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    kind, place, *more = sys.argv[1:]
    if kind == "ours":
        found = ours(Path(place), int(more[0]) if more else None)
    else:
        found = nbgrader(Path(place), more)
    print(json.dumps(found))
