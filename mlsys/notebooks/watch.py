"""Finds what a notebook has started: how much memory it takes, and what is left behind it."""

import time
from pathlib import Path

import psutil

from mlsys.notebooks.worker import MARK

LIST_EVERY = 1.0  # seconds
LEAVE_WITHIN = 30.0  # seconds that processes of a kernel have to end after it
GUARDIAN = "guardian.py"  # of mlsys.services: stops servers and removes their folders by itself


class Watch:
    """Looks at what a worker has started: how much memory it takes, and what stays behind."""

    def __init__(self, pid: int, mark: str) -> None:
        self._roots = [psutil.Process(pid)]
        self._mark = mark
        self._known: dict[int, psutil.Process] = {}
        self._list_at = 0.0
        self.peak = 0

    def add(self, pid: int) -> None:
        """A kernel that is no child of the worker's."""
        try:
            self._roots.append(psutil.Process(pid))
            self._known[pid] = self._roots[-1]
        except psutil.Error:
            pass  # it has ended already; what it left carries its mark

    def look(self) -> None:
        """Weigh what is known. Once a second ask who else is there, which reads all of /proc."""
        if (now := time.monotonic()) >= self._list_at:
            self._list_at = now + LIST_EVERY
            self._list()
        total = 0
        for process in list(self._known.values()):
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        self.peak = max(self.peak, total)

    def _list(self) -> None:
        for root in self._roots:
            try:
                for process in root.children(recursive=True):
                    self._known.setdefault(process.pid, process)
            except psutil.Error:
                continue

    def kill(self) -> None:
        """End all that is known, and what that has started since; `end` does who tidies up."""
        self._list()
        for process in list(self._known.values()):
            try:
                if not any(part.endswith(GUARDIAN) for part in process.cmdline()):
                    process.kill()
            except psutil.Error:
                continue

    def end(self) -> list[str]:
        """Name what still runs when it had time to end, and kill it."""
        left = {process.pid: process for process in self._known.values() if process.is_running()}
        left |= {process.pid: process for process in self._marked()}
        _, alive = psutil.wait_procs(left.values(), timeout=LEAVE_WITHIN)
        named = []
        for process in alive:
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                program, *rest = process.cmdline() or [process.name()]
                named.append(" ".join([Path(program).name, *rest])[:60])
                process.kill()
            except psutil.Error:
                continue
        return named

    def _marked(self) -> list[psutil.Process]:
        """Processes that carry this run's mark in their environment, whoever their parent is."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found
