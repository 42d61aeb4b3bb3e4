"""Runs one grader in a process of its own and watches the memory of all that runs below it."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

RUN = Path(__file__).with_name("grading_run.py")
EVERY = 0.5  # seconds between two looks at memory


@dataclass(frozen=True)
class Run:
    """What one run says of itself, and `memory`: seconds since its start and megabytes."""

    seconds: float
    cpu: float
    points: dict[str, float]
    start_up: float | None = None
    memory: list[tuple[float, float]] = field(default_factory=list)

    @property
    def peak_mb(self) -> float:
        return max((mb for _, mb in self.memory), default=float("nan"))

    def growth_of_memory(self) -> float:
        """The median of the run's last quarter over that of its second: 1 is flat."""
        levels = [mb for _, mb in self.memory]
        quarter = len(levels) // 4
        if not quarter:
            return float("nan")
        second, last = (sorted(levels[quarter : 2 * quarter]), sorted(levels[-quarter:]))
        return last[quarter // 2] / second[quarter // 2]


def graded(python: Path | str, script: Path, *arguments: object) -> Run:
    """Run a grader to its end. Raises SystemExit with a sentence if it fails."""
    command = [str(python), str(script), *map(str, arguments)]
    memory: list[tuple[float, float]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watcher = threading.Thread(target=_watch, args=(process.pid, memory), daemon=True)
        watcher.start()
        said = process.communicate()[0]
    if process.returncode:
        raise SystemExit(
            f"{script.name} {arguments[0]} ended with status {process.returncode}; see above."
        )
    watcher.join()
    return Run(**json.loads(said.splitlines()[-1]), memory=memory)


def _watch(pid: int, memory: list[tuple[float, float]]) -> None:
    """Proportional shares where the system tells them: forked processes share most pages."""
    start = time.perf_counter()
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
        if total:
            memory.append((time.perf_counter() - start, total / 1e6))
        time.sleep(EVERY)
