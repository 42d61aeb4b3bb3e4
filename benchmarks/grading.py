"""The same class through plain nbgrader, otter and ours, in one run: how many times faster, at what
memory, and with the same scores.

    python benchmarks/grading.py            # 100 submissions for ours, 6 for nbgrader, 2 for otter
    python benchmarks/grading.py --quick    # 20, 2 and no otter
    python benchmarks/grading.py --large    # ours with 100, 500 and 2,000 too: cost and memory

An assignment of six solutions and six tests with hidden parts (`grading_class`). Ours runs with
sandbox and protected tests on all cores. The runs alternate, so that what else the machine does
meets both. otter needs an environment of its own: `python -m venv DIR`, `DIR/bin/pip install
otter-grader==6.1.6` with DIR = ~/.cache/mlsys/peers/otter.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from grading_class import ASSIGNMENT, hand_in, make_course, make_otter, name_of
from report import Figure, report

from autograde import classroom

OTTER = Path.home() / ".cache/mlsys/peers/otter" / ("Scripts" if sys.platform == "win32" else "bin")
RUN = Path(__file__).with_name("grading_run.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true")
    chosen = parser.parse_args()
    count, theirs, rounds = (20, 2, 1) if chosen.quick else (100, 6, 2)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        courses = {name: a_course(root / name, ours=name == "ours") for name in ("ours", "plain")}
        hand_in(courses["ours"], range(count))
        hand_in(courses["plain"], range(theirs))
        figures = compare(courses, count, theirs, rounds)
        if not chosen.quick:
            figures += with_otter(root / "otter", courses)
        if chosen.large:
            figures += growth(courses["ours"], (100, 500, 2000))
    return report("grading", figures)


def a_course(root: Path, *, ours: bool) -> Path:
    make_course(root, ours=ours)
    with classroom.open_course(root) as api:
        classroom.generate(api, ASSIGNMENT)
    return root


def graded(python: Path | str, kind: str, place: Path, *more: str) -> dict:
    """What one run says of itself, and `peak_mb`: the resident memory of all its processes."""
    command = [str(python), str(RUN), kind, str(place), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak = [0.0]
        watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
        watcher.start()
        said = process.communicate()[0]
    if process.returncode:
        raise SystemExit(
            f"{kind} ended with status {process.returncode}; see above."
        )
    watcher.join()
    return json.loads(said.splitlines()[-1]) | {"peak_mb": peak[0]}


def _watch(pid: int, peak: list[float]) -> None:
    """Proportional shares where the system tells them: forked processes share most pages."""
    while psutil.pid_exists(pid):
        total = 0
        try:
            whole = psutil.Process(pid)
            for process in (whole, *whole.children(recursive=True)):
                try:
                    told = process.memory_full_info()
                    total += getattr(told, "pss", told.rss)
                except psutil.Error:
                    continue
        except psutil.Error:
            return
        peak[0] = max(peak[0], total / 1e6)
        time.sleep(0.2)


def compare(courses: dict[str, Path], count: int, theirs: int, rounds: int) -> list[Figure]:
    """Alternating: some of nbgrader's, the whole class of ours, and again."""
    ours, plain, share = [], [], theirs // rounds
    for turn in range(rounds):
        students = [name_of(n) for n in range(turn * share, (turn + 1) * share)]
        plain.append(graded(sys.executable, "nbgrader", courses["plain"], *students))
        ours.append(graded(sys.executable, "ours", courses["ours"]))
    ratios = [b["seconds"] / share / (a["seconds"] / count) for a, b in zip(ours, plain)]
    cpus = [b["cpu"] / share / (a["cpu"] / count) for a, b in zip(ours, plain)]
    points = {name: got for one in plain for name, got in one["points"].items()}
    unlike = sum(ours[0]["points"][name] != got for name, got in points.items())
    each = ", ".join(f"{a['seconds'] / count:.3f} s" for a in ours)
    peers = ", ".join(f"{b['seconds'] / share:.2f} s" for b in plain)
    return [
        Figure(
            "throughput_over_nbgrader", statistics.median(ratios), 20,
            note=f"a submission takes ours {each}, nbgrader {peers}",
        ),
        Figure("cpu_over_nbgrader", statistics.median(cpus), note="processor time a submission"),
        Figure("scores_unlike_nbgrader", unlike, 0, True, f"of {len(points)} compared"),
        Figure(
            "start_up_seconds", min(a["start_up"] for a in ours), 2, True,
            "from the start of Python to the first submission",
        ),
        Figure("peak_mb", max(a["peak_mb"] for a in ours), 1000, True, "of the whole tree"),
    ]  # fmt: skip


def with_otter(folder: Path, courses: dict[str, Path]) -> list[Figure]:
    if not (OTTER / "otter").exists():
        return [Figure("throughput_over_otter", None, note=f"there is no otter in {OTTER}")]
    make_otter(folder, range(2))
    theirs = graded(OTTER / "python", "otter", folder, name_of(0), name_of(1))
    ours = graded(sys.executable, "ours", courses["ours"])
    count = len(ours["points"])
    unlike = sum(ours["points"][name] != got for name, got in theirs["points"].items())
    ratio = theirs["seconds"] / 2 / (ours["seconds"] / count)
    return [
        Figure("throughput_over_otter", ratio, note=f"otter {theirs['seconds'] / 2:.1f} s each"),
        Figure("scores_unlike_otter", unlike, 0, True, "of 2 compared"),
    ]


def growth(course: Path, sizes: tuple[int, ...]) -> list[Figure]:
    """Cost by the number of submissions: 1 is linear."""
    seen = []
    for size in sizes:
        hand_in(course, range(size))
        seen.append(graded(sys.executable, "ours", course))
    first, last = seen[0], seen[-1]
    exponent = math.log(last["cpu"] / first["cpu"]) / math.log(sizes[-1] / sizes[0])
    note = ", ".join(f"{size}: {one['seconds']:.0f} s" for size, one in zip(sizes, seen))
    return [
        Figure("growth_exponent", exponent, 1.1, True, note),
        Figure("peak_mb_at_most_submissions", last["peak_mb"], 1000, True, f"{sizes[-1]:,}"),
    ]


if __name__ == "__main__":
    sys.exit(main())
