"""The runner of lessons against plain papermill, in one run, on a copy of this checkout.

    python benchmarks/notebooks.py            # every lesson, three times over: many minutes
    python benchmarks/notebooks.py --quick    # the openings of six lessons: under a minute
    python benchmarks/notebooks.py 09 16      # these lessons

From nothing: `mlsys run` two at a time against papermill in one process, one lesson after another
(the kinder peer: its command line imports itself anew for each). With nothing changed: `mlsys run`
again. The copy has no results of former runs and leaves none behind. A line for each lesson goes
to stderr as it ends. The first ratio needs cores that are free: the load average at the start
stands beside it.

`--quick` runs the first cells of six lessons that differ: one of imports and small figures, three
that wait for servers and clocks, two that simulate. They are short, so that several share the two
slots as the whole set does; a start weighs more in them than in whole lessons, for both sides. On
a machine too busy to run them in 24 seconds, it compares as many cells as papermill ended by then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psutil

from mlsys.place import PlaceError, find_lessons

sys.path.insert(0, str(Path(__file__).parent))
from report import Figure, report

ROOT = Path(__file__).resolve().parent.parent
TIMES_PLAIN, UNCHANGED_SECONDS = 1.6, 5.0
STALLED, TRIES = 180, 3  # seconds in one cell, tries of one lesson
QUICK = ("01", "09", "11", "14", "16", "36")
OPENING = 14  # cells of each
QUICK_SECONDS, QUICK_AGAIN_SECONDS = 24.0, 8.0
_PLAIN = """
import json, os, sys, time
from pathlib import Path
from nbclient.exceptions import CellTimeoutError
from papermill import execute_notebook
said = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what kernels print is not ours to say
kept, limit, tries, *lessons = sys.argv[1:]
for lesson in map(Path, lessons):
    lost, verdict = 0.0, "stalled"
    for _ in range(int(tries)):
        begun = time.perf_counter()
        try:
            execute_notebook(lesson, Path(kept) / lesson.name, kernel_name="python3",
                             cwd=lesson.parent, progress_bar=False, start_timeout=120,
                             execution_timeout=int(limit))
            verdict = "passed"
        except CellTimeoutError:
            lost += time.perf_counter() - begun
            continue
        except Exception as error:
            verdict = type(error).__name__
        break
    seconds = time.perf_counter() - begun
    print(json.dumps([lesson.stem, verdict, seconds, lost]), file=said, flush=True)
"""


@dataclass(frozen=True)
class Side:
    """How one side fared. seconds: until its last lesson, or cell, that counts; cpu: seconds of
    all its processes; verdicts: of lessons that ended; ended: it was not stopped before.
    """

    seconds: float
    cpu: float
    verdicts: dict[str, str]
    ended: bool = True
    stalled: tuple[str, ...] = ()

    def failed(self, good: str) -> list[str]:
        return [f"{lesson} {said}" for lesson, said in self.verdicts.items() if said != good]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", help="numbers or slugs; default: all")
    parser.add_argument("--quick", action="store_true", help="openings of six lessons")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlsys-notebooks-") as folder:
        try:
            return report("notebooks", compare(Path(folder), arguments.lessons, arguments.quick))
        except PlaceError as error:
            parser.error(str(error))


def compare(folder: Path, wanted: Sequence[str], quick: bool) -> list[Figure]:
    copy = folder / "checkout"
    copy_checkout(copy)
    lessons = find_lessons(list(QUICK) if quick else list(wanted) or None, root=copy)
    for lesson in lessons if quick else ():
        shorten(lesson, cells=OPENING)
    busy = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    within, again_within = (QUICK_SECONDS, QUICK_AGAIN_SECONDS) if quick else (None, None)
    say(f"{len(lessons)} lessons{busy}: plain papermill, one after another")
    plain, lessons = plain_papermill(lessons, folder / "plain", within=within)
    if not lessons:
        note = f"papermill ended no cell within {within:g} s{busy}"
        return [Figure("times_plain_papermill", None, TIMES_PLAIN, note=note)]
    say(f"{len(lessons)} lessons: mlsys run, two at a time")
    ours = mlsys_run(lessons, copy, within=within)
    say("the same with nothing changed")
    again = mlsys_run(lessons, copy, within=again_within) if ours.ended else ours
    whole = plain.ended and ours.ended
    cut = "" if plain.ended else f", as far as plain papermill came in {within:g} s"
    stopped = "" if ours.ended else " and was stopped, so the ratio is less than this"
    stalled = f", stalls not counted: {' '.join(plain.stalled)}" if plain.stalled else ""
    bad = ours.failed("passed") + [f"plain papermill: {one}" for one in plain.failed("passed")]
    figures = [
        Figure(
            "times_plain_papermill", plain.seconds / ours.seconds, TIMES_PLAIN if whole else None,
            note=f"{'openings of ' if quick else ''}{len(lessons)} lessons{cut}:"
            f" papermill one after another {plain.seconds:.1f} s, mlsys run two at a time"
            f" {ours.seconds:.1f} s{stopped}, {os.cpu_count()} cores{busy}{stalled}",
        ),
        Figure("lessons_failed", len(bad), 0, at_most=True, note="; ".join(bad)),
    ]  # fmt: skip
    if whole and plain.cpu:
        note = f"{ours.cpu:.1f} s against {plain.cpu:.1f} s"
        figures.append(Figure("cpu_seconds_to_plain_papermill", ours.cpu / plain.cpu, note=note))
    if not again.ended:
        note = f"not measured: too busy a machine{busy}"
        return [*figures, Figure("seconds_nothing_changed", None, UNCHANGED_SECONDS, True, note)]
    ran_again = again.failed("cached")
    return [
        *figures,
        Figure("seconds_nothing_changed", again.seconds, UNCHANGED_SECONDS, at_most=True),
        Figure("lessons_run_again", len(ran_again), 0, at_most=True, note="; ".join(ran_again)),
    ]


def copy_checkout(target: Path) -> None:
    """What git has or would take, as it stands now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def shorten(lesson: Path, *, cells: int) -> int:
    """Leave a lesson's first cells only; how many there are now."""
    content = json.loads(lesson.read_text(encoding="utf-8"))
    content["cells"] = content["cells"][:cells]
    lesson.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return len(content["cells"])


def plain_papermill(
    lessons: Sequence[Path], output: Path, *, within: float | None
) -> tuple[Side, list[Path]]:
    """One lesson after another; and what was run of them, if time was up before the end.

    In about one of a hundred cells with `interact` nbclient waits for ever (jupyter/nbclient#312).
    Such a lesson is run again, and the time of the try that stalled is not counted.
    """
    output.mkdir()
    verdicts, stalled, lost, seconds = {}, [], 0.0, 0.0
    command = [sys.executable, "-c", _PLAIN, *map(str, (output, STALLED, TRIES, *lessons))]
    log = output / "stderr"
    with log.open("w") as noise, started(command, cwd=output, within=within, errors=noise) as run:
        for line in run.process.stdout:
            lesson, verdict, its_seconds, its_lost = json.loads(line)
            seconds = time.perf_counter() - run.begun
            verdicts[lesson] = verdict
            lost += its_lost
            if its_lost:
                stalled.append(lesson)
            say(f"{verdict:9} {lesson} ({its_seconds:.1f} s)")
    if run.stopped:
        lessons = list(lessons[: len(verdicts) + 1])
        last = lessons.pop()
        done, ended_at = cells_done(output / last.name)
        if shorten(last, cells=done):
            lessons.append(last)
            seconds = ended_at - run.begun_at
    elif run.process.returncode:
        raise SystemExit(f"papermill itself failed: {log.read_text().strip().splitlines()[-1]}")
    side = Side(seconds - lost, run.cpu, verdicts, not run.stopped, tuple(stalled))
    return side, list(lessons)


def cells_done(executed: Path) -> tuple[int, float]:
    """How many cells papermill ended, and when the last of them did, in seconds of time.time()."""
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):
        return 0, 0.0
    done, ended_at = 0, 0.0
    for number, cell in enumerate(cells, start=1):
        about = cell["metadata"].get("papermill", {})
        if about.get("status") == "completed" and about.get("end_time"):
            ended = datetime.fromisoformat(about["end_time"]).replace(tzinfo=UTC)
            done, ended_at = number, ended.timestamp()
    return done, ended_at


def mlsys_run(lessons: Sequence[Path], copy: Path, *, within: float | None) -> Side:
    """The command, two at a time; it tells of each lesson itself."""
    command = [sys.executable, "-m", "mlsys", "run", "--json", "--jobs", "2", *map(str, lessons)]
    with started(command, cwd=copy, within=within) as run:
        printed = run.process.stdout.read()
    seconds = time.perf_counter() - run.begun
    if run.stopped:
        return Side(seconds, run.cpu, {}, ended=False)
    try:
        outcomes = json.loads(printed)
    except ValueError:
        raise SystemExit("mlsys run failed; what it said stands above.") from None
    for outcome in outcomes:
        if outcome["error"]:
            say(f"{Path(outcome['notebook']).stem}: {outcome['error']}")
    return Side(seconds, run.cpu, {Path(o["notebook"]).stem: o["verdict"] for o in outcomes})


@dataclass
class Run:
    """A side's process while it runs. begun_at: as time.time() has it; cpu: seconds, at the end."""

    process: subprocess.Popen
    begun: float
    begun_at: float
    stopped: bool = False
    cpu: float = 0.0

    def stop(self) -> None:
        """End it and all that it has started."""
        self.stopped = True
        with contextlib.suppress(psutil.Error):
            whole = psutil.Process(self.process.pid)
            for process in [*whole.children(recursive=True), whole]:
                with contextlib.suppress(psutil.Error):
                    process.kill()


@contextlib.contextmanager
def started(
    command: Sequence[str], *, cwd: Path, within: float | None, errors: IO[str] | None = None
) -> Iterator[Run]:
    """The process of a command, its stdout to be read in the block, ended when time is up."""
    cpu = children_cpu()
    begun, begun_at = time.perf_counter(), time.time()
    process = subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True
    )
    run = Run(process, begun, begun_at)
    clock = threading.Timer(within or 1e6, run.stop)
    clock.daemon = True
    clock.start()
    try:
        yield run
        process.wait()
    finally:
        clock.cancel()
        if process.poll() is None:
            run.stop()
            process.wait()
        run.cpu = children_cpu() - cpu


def children_cpu() -> float:
    """Seconds of processes that have ended; always 0 on Windows."""
    times = os.times()
    return times.children_user + times.children_system


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def environment() -> Mapping[str, str]:
    """The same for both: this environment's programs first, and no warnings of the debugger."""
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")
    return {**os.environ, "PATH": path, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


if __name__ == "__main__":
    sys.exit(main())
