"""The same class through plain nbgrader, otter and ours, in one run: how many times faster, at what
memory, and with the same scores.

    python benchmarks/grading.py            # 100 submissions for ours, 6 for each of the others
    python benchmarks/grading.py --quick    # 100, 4 and no otter: under a minute
    python benchmarks/grading.py --large    # ours with 100 to 2,000 too: cost and memory
    python benchmarks/grading.py --large --figure x.html   # also draws it

An assignment of six solutions and six tests with hidden parts (`grading_class`), the same answers
for everybody's students of the same name. The three take turns on the same machine, so that what
else it does meets all; a figure is the median of the turns. Imports are in nobody's time, feedback
pages are made by nobody, and each goes the fastest way that it offers for a folder of notebooks:

- **nbgrader** by its own Python interface, one submission after another, as it grades: copies,
  checks, restores the instructor's cells, starts a kernel, runs solutions and tests in it, writes
  the gradebook. No sandbox; a test runs in the process of the code that it judges.
- **otter** by `otter.api.grade_submission`, one notebook after another: a kernel in a temporary
  folder, tests in it, a score. No sandbox (its containers, which need Docker, cost more), and no
  gradebook, collection or repair of notebooks, which gives it less to do than the other two.
- **ours** as `mlsys grade run`: all that nbgrader does, with the same gradebook and notebooks, on
  all cores, with the submission in a sandbox, the tests in another process, and the digests and
  the ledger by which an interrupted class is continued. `cpu_over_nbgrader` leaves the cores out.

What the others are not asked: to survive hostile work, of which `tests/autograde/hostile` has more.

otter needs an environment of its own: `python -m venv DIR`, `DIR/bin/pip install
otter-grader==6.1.6` with DIR = ~/.cache/mlsys/peers/otter.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from grading_class import ASSIGNMENT, hand_in, make_course, make_otter, name_of
from grading_measure import RUN, Run, graded
from report import Figure, report

from autograde import classroom

OTTER = Path.home() / ".cache/mlsys/peers/otter" / ("Scripts" if sys.platform == "win32" else "bin")
RUN_OTTER = Path(__file__).with_name("grading_otter.py")
STARTS = 3  # of a class of two, for the time before the first submission
SIZES = (100, 250, 500, 1000, 2000)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a turn each, and no otter")
    parser.add_argument("--large", action="store_true", help="ours with up to 2,000 too")
    parser.add_argument("--figure", type=Path, help="with --large: where to draw it, .html")
    chosen = parser.parse_args()
    if chosen.figure and not chosen.large:
        parser.error("--figure draws what --large measures; give both")
    if chosen.figure:
        chosen.figure.parent.mkdir(parents=True, exist_ok=True)
    count, theirs, rounds = (100, 4, 1) if chosen.quick else (100, 6, 2)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        courses = {
            name: a_course(root / name, ours=name == "ours") for name in ("ours", "nbgrader")
        }
        hand_in(courses["ours"], range(count))
        hand_in(courses["nbgrader"], range(theirs))
        if not chosen.quick and (OTTER / "otter").exists():
            courses["otter"] = make_otter(root / "otter", range(theirs))
        turns = take_turns(courses, count, theirs, rounds)
        few = a_course(root / "few", ours=True)
        hand_in(few, range(2))
        figures = compare(turns, [graded(sys.executable, RUN, "ours", few) for _ in range(STARTS)])
        if chosen.large:
            for figure in figures:  # what follows may be cut short
                print(figure.name, figure.value, figure.note, file=sys.stderr, flush=True)
            runs = [our_class(courses["ours"], size) for size in SIZES]
            figures += growth(runs)
            if chosen.figure:
                from grading_figures import picture
                from monitoring_figures import save

                each = {name: [_each(run) for run in found] for name, found in turns.items()}
                print(save(picture(each, SIZES, runs, exponent(runs)), chosen.figure))
    return report("grading", figures)


def a_course(root: Path, *, ours: bool) -> Path:
    make_course(root, ours=ours)
    with classroom.open_course(root) as api:
        classroom.generate(api, ASSIGNMENT)
    return root


def our_class(course: Path, size: int) -> Run:
    hand_in(course, range(size))
    run = graded(sys.executable, RUN, "ours", course)
    tell("ours", run)
    return run


def tell(name: str, run: Run) -> None:
    """A line for who waits: the whole takes minutes."""
    told = f"{run.seconds:.1f} s, CPU {run.cpu:.1f} s, peak {run.peak_mb:.0f} MB"
    print(f"{name}, {len(run.points):,} submissions: {told}", file=sys.stderr, flush=True)


def take_turns(courses: dict[str, Path], count: int, theirs: int, rounds: int) -> dict:
    """Some of nbgrader's, some of otter's, the whole class of ours, and again: by grader, a run
    for each round."""
    turns: dict[str, list[Run]] = {name: [] for name in courses}
    share = theirs // rounds
    for turn in range(rounds):
        students = [name_of(n) for n in range(turn * share, (turn + 1) * share)]
        for name, place in courses.items():
            if name == "nbgrader":
                run = graded(sys.executable, RUN, name, place, *students)
            elif name == "otter":
                run = graded(OTTER / "python", RUN_OTTER, place, *students)
            else:
                run = graded(sys.executable, RUN, name, place)
                assert len(run.points) == count, "a submission was left out"
            tell(name, run)
            turns[name].append(run)
    return turns


def _each(run: Run) -> float:
    return run.seconds / len(run.points)


def compare(turns: dict[str, list[Run]], starts: list[Run]) -> list[Figure]:
    ours, plain = turns["ours"], turns["nbgrader"]
    cpus = [
        b.cpu / len(b.points) / (a.cpu / len(a.points)) for a, b in zip(ours, plain, strict=True)
    ]
    return [
        _throughput("nbgrader", turns, 20),
        Figure("cpu_over_nbgrader", statistics.median(cpus), note="processor time a submission"),
        _unlike("nbgrader", turns),
        Figure(
            "start_up_seconds", min(a.start_up for a in [*ours, *starts]), 2, True,
            "from the start of Python to the first submission",
        ),
        Figure("peak_mb", max(a.peak_mb for a in ours), 1000, True, "of the whole tree"),
        _throughput("otter", turns, None),
        _unlike("otter", turns),
    ]  # fmt: skip


def _throughput(peer: str, turns: dict[str, list[Run]], goal: float | None) -> Figure:
    if peer not in turns:
        return Figure(f"throughput_over_{peer}", None, goal, note=f"not asked, or none in {OTTER}")
    ratios = [_each(b) / _each(a) for a, b in zip(turns["ours"], turns[peer], strict=True)]
    mine = ", ".join(f"{_each(a):.3f} s" for a in turns["ours"])
    theirs = ", ".join(f"{_each(b):.2f} s" for b in turns[peer])
    note = f"a submission takes ours {mine}, {peer} {theirs}"
    return Figure(f"throughput_over_{peer}", statistics.median(ratios), goal, note=note)


def _unlike(peer: str, turns: dict[str, list[Run]]) -> Figure:
    if peer not in turns:
        return Figure(f"scores_unlike_{peer}", None, 0, True)
    theirs = {name: got for run in turns[peer] for name, got in run.points.items()}
    unlike = sum(run.points[name] != got for run in turns["ours"] for name, got in theirs.items())
    return Figure(f"scores_unlike_{peer}", unlike, 0, True, f"of {len(theirs)} compared")


def exponent(runs: list[Run]) -> float:
    """The power of the number of submissions with which processor time grows: 1 is linear."""
    sizes = [len(run.points) for run in runs]
    return float(np.polyfit(np.log(sizes), np.log([run.cpu for run in runs]), 1)[0])


def growth(runs: list[Run]) -> list[Figure]:
    last = runs[-1]
    many = f"{len(last.points):,} submissions"
    note = ", ".join(f"{len(run.points):,}: {run.cpu:.0f} s" for run in runs)
    peaks = ", ".join(f"{run.peak_mb:.0f}" for run in runs)
    late = runs[-1].cpu / runs[-2].cpu / (len(runs[-1].points) / len(runs[-2].points))
    return [
        Figure("growth_exponent", exponent(runs), 1.1, True, f"CPU {note}"),
        Figure("growth_of_the_last_doubling", late, 1.15, True, "CPU a submission, over before"),
        Figure("peak_mb_at_most_submissions", last.peak_mb, 1000, True, f"{many}; {peaks}"),
        Figure("memory_growth", last.growth_of_memory(), 1.1, True, f"within {many}; 1 is flat"),
    ]


if __name__ == "__main__":
    sys.exit(main())
