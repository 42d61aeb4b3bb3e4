"""The runner of lessons against plain papermill, in one run, on a copy of this checkout.

    python benchmarks/notebooks.py            # every lesson, three times over: many minutes
    python benchmarks/notebooks.py --quick    # two short lessons
    python benchmarks/notebooks.py 09 16      # these lessons

From nothing: `mlsys run` two at a time against papermill in one process, one lesson after another
(the kinder peer: its command line imports itself anew for each). With nothing changed: `mlsys run`
again. The copy has no results of former runs and leaves none behind. The first ratio needs cores
that are free: the load average at the start stands beside it. With two lessons it says how long a
start takes more than how well the set shares two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlsys.place import PlaceError, find_lessons

sys.path.insert(0, str(Path(__file__).parent))
from report import Figure, report

ROOT = Path(__file__).resolve().parent.parent
SHORT = ("01", "09")
TIMES_PLAIN, UNCHANGED_SECONDS = 1.6, 5.0
STALLED, TRIES = 180, 3  # seconds in one cell, tries of one lesson
_PLAIN = """
import json, sys, time
from pathlib import Path
from nbclient.exceptions import CellTimeoutError
from papermill import execute_notebook
failed, stalled, lost = [], [], 0.0
kept, limit, tries, *lessons = sys.argv[1:]
for lesson in map(Path, lessons):
    for _ in range(int(tries)):
        begun = time.perf_counter()
        try:
            execute_notebook(lesson, Path(kept) / lesson.name, kernel_name="python3",
                             cwd=lesson.parent, progress_bar=False, execution_timeout=int(limit))
        except CellTimeoutError:
            lost += time.perf_counter() - begun
            stalled.append(lesson.stem)
            continue
        except Exception as error:
            failed.append(f"{lesson.stem}: {type(error).__name__}")
        break
    else:
        failed.append(f"{lesson.stem}: stalled")
print(json.dumps({"failed": failed, "stalled": stalled, "lost": lost}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", help="numbers or slugs; default: all")
    parser.add_argument("--quick", action="store_true", help="two short lessons")
    arguments = parser.parse_args()
    wanted = list(SHORT) if arguments.quick else arguments.lessons or None
    with tempfile.TemporaryDirectory(prefix="mlsys-notebooks-") as folder:
        try:
            return report("notebooks", compare(Path(folder), wanted))
        except PlaceError as error:
            parser.error(str(error))


def compare(folder: Path, wanted: Sequence[str] | None) -> list[Figure]:
    copy = folder / "checkout"
    copy_checkout(copy)
    lessons = find_lessons(wanted, root=copy)
    busy = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    plain_seconds, plain = plain_papermill(lessons, folder / "plain")
    stalled = f", stalls not counted: {' '.join(plain['stalled'])}" if plain["stalled"] else ""
    ours_seconds, ours = mlsys_run(lessons, copy)
    again_seconds, again = mlsys_run(lessons, copy)
    ran_again = [o["notebook"] for o in again if o["verdict"] != "cached"]
    bad = [Path(o["notebook"]).stem for o in ours if o["verdict"] != "passed"]
    return [
        Figure(
            "times_plain_papermill", plain_seconds / ours_seconds, TIMES_PLAIN,
            note=f"{len(lessons)} lessons: papermill one after another {plain_seconds:.1f} s,"
            f" mlsys run two at a time {ours_seconds:.1f} s, {os.cpu_count()} cores{busy}{stalled}",
        ),
        Figure("seconds_nothing_changed", again_seconds, UNCHANGED_SECONDS, at_most=True),
        Figure("lessons_run_again", len(ran_again), 0, at_most=True),
        Figure(
            "lessons_failed", len(bad), 0, at_most=True,
            note="; ".join([*bad, *(f"plain papermill: {one}" for one in plain["failed"])]),
        ),
    ]  # fmt: skip


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


def plain_papermill(lessons: Sequence[Path], output: Path) -> tuple[float, dict]:
    """Seconds for all lessons one after another, and what failed or stalled.

    In about one of a hundred cells with `interact` nbclient waits for ever (jupyter/nbclient#312).
    Such a lesson is run again, and the time of the try that stalled is not counted.
    """
    output.mkdir()
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _PLAIN, *map(str, (output, STALLED, TRIES, *lessons))],
        capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"papermill itself failed: {done.stderr.strip().splitlines()[-1]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return seconds - said["lost"], said


def mlsys_run(lessons: Sequence[Path], copy: Path) -> tuple[float, list[dict]]:
    """Seconds of the command, and its outcomes."""
    command = [sys.executable, "-m", "mlsys", "run", "--json", "--jobs", "2", *map(str, lessons)]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, env=environment())
    seconds = time.perf_counter() - begun
    try:
        # The outcomes are the last thing printed; a line for each lesson may stand before them.
        lines = done.stdout.splitlines()
        return seconds, json.loads("\n".join(lines[lines.index("[") :]))
    except ValueError:
        raise SystemExit(f"mlsys run failed: {(done.stderr or done.stdout).strip()}") from None


def environment() -> Mapping[str, str]:
    """The same for both: this environment's programs first, and no warnings of the debugger."""
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")
    return {**os.environ, "PATH": path, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


if __name__ == "__main__":
    sys.exit(main())
