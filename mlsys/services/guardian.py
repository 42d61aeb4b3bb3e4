"""The small process that owns every server: it starts them, stops them, and outlives a crash.

A notebook's kernel can be killed at any moment, and then no `finally` and no `atexit` of its own
runs. So the kernel starts no server itself: it asks this guardian, over a pipe, to do it. When the
pipe ends, for whatever reason, the guardian kills what is left and removes the folders. It knows
nothing of Valkey or PostgreSQL; what to run and how to stop it comes with each request
(`mlsys.services.process` writes them). Run as a script, on the standard library and psutil alone.

Requests and replies are JSON, one a line: `{"do": "folder" | "start" | "poll" | "signal" | "stop" |
"run", ...}` in, `{"ok": ...}` or `{"error": sentence}` out.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

POSIX = os.name == "posix"
PARENT_CHECK_S = 0.5


class Guardian:
    """The servers and folders of one Python process, by process id and by path."""

    def __init__(self) -> None:
        self.children: dict[int, subprocess.Popen[bytes]] = {}
        self.stop_rules: dict[int, dict[str, Any]] = {}
        self.folders: dict[str, list[str]] = {}

    def folder(self, name: str, owner: list[int] | None = None) -> str:
        """Make a temporary folder, owned by the given uid and gid, and remember to remove it."""
        path = tempfile.mkdtemp(prefix=f"mlsys-{name}-")
        self.folders[path] = []
        if owner:
            os.chown(path, *owner)
        return path

    def start(
        self,
        argv: list[str],
        folder: str,
        env: dict[str, str],
        log: str,
        owner: list[int] | None = None,
        cwd: str | None = None,
        stop: str = "SIGTERM",
        grace: float = 3.0,
        litter: Iterable[str] = (),
    ) -> int:
        """Start argv in a session of its own, its output appended to the file log.

        A session of its own keeps Ctrl-C and the kernel's interrupt away from the server. `litter`
        names files outside the folder that the server leaves behind.
        """
        with Path(log).open("ab") as output:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd or folder,
                env=env,
                **_in_own_session(owner),
            )
        self.children[child.pid] = child
        self.stop_rules[child.pid] = {"stop": stop, "grace": grace}
        self.folders.setdefault(folder, []).extend(litter)
        return child.pid

    def run(
        self,
        argv: list[str],
        folder: str,
        env: dict[str, str],
        owner: list[int] | None = None,
        timeout: float = 60.0,
    ) -> dict[str, Any]:
        """Run argv to its end; its return code and the end of what it printed."""
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=env,
            timeout=timeout,
            check=False,
            **_in_own_session(owner),
        )
        return {"code": done.returncode, "output": done.stdout.decode(errors="replace")[-4000:]}

    def poll(self, pid: int) -> int | None:
        """None while the process lives, else its return code."""
        return self.children[pid].poll()

    def signal(self, pid: int, name: str) -> None:
        """Send a signal by name to the process itself (not to its workers); a kill is awaited."""
        child = self.children[pid]
        if child.poll() is None:
            child.send_signal(getattr(signal, name))
            if name == "SIGKILL":
                child.wait(30)

    def stop(self, pids: list[int], folders: list[str]) -> None:
        """End the processes with all their descendants, then remove the folders."""
        family = {p: _descendants(self.children[p]) for p in pids if p in self.children}
        for pid in family:
            self._ask_to_stop(pid)
        deadline = time.monotonic() + max((self.stop_rules[p]["grace"] for p in family), default=0)
        for pid, descendants in family.items():
            child = self.children[pid]
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
            _kill_group(child, descendants)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
            psutil.wait_procs(descendants, timeout=2)
            del self.children[pid], self.stop_rules[pid]
        for path in folders:
            for left in self.folders.pop(path, []):
                Path(left).unlink(missing_ok=True)
            _remove(path)

    def _ask_to_stop(self, pid: int) -> None:
        child = self.children[pid]
        if child.poll() is not None:
            return
        if not POSIX:
            child.terminate()
            return
        child.send_signal(getattr(signal, self.stop_rules[pid]["stop"]))
        child.send_signal(signal.SIGCONT)  # a paused server cannot hear the signal before it

    def stop_all(self) -> None:
        """All of them, whatever goes wrong with one."""
        try:
            self.stop(list(self.children), [])
        finally:
            self.stop([], list(self.folders))


def _in_own_session(owner: list[int] | None) -> dict[str, Any]:
    if not POSIX:
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    if owner:
        return {
            "start_new_session": True,
            "user": owner[0],
            "group": owner[1],
            "extra_groups": [],
        }
    return {"start_new_session": True}


def _descendants(child: subprocess.Popen[bytes]) -> list[psutil.Process]:
    if child.poll() is not None:
        return []
    try:
        return psutil.Process(child.pid).children(recursive=True)
    except psutil.Error:
        return []


def _kill_group(child: subprocess.Popen[bytes], descendants: list[psutil.Process]) -> None:
    """Kill what is left: the process, its group, and descendants that left the group."""
    if POSIX:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    if child.poll() is None:
        child.kill()
    for process in descendants:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _remove(path: str) -> None:
    for _ in range(20):  # a dying process may still write a last file (Windows: still hold one)
        shutil.rmtree(path, ignore_errors=True)
        if not Path(path).exists():
            return
        time.sleep(0.05)


def _read_requests(into: queue.SimpleQueue[str | None]) -> None:
    for line in sys.stdin:
        into.put(line)
    into.put(None)


def _answer(guardian: Guardian, line: str) -> dict[str, Any]:
    request = json.loads(line)
    actions: dict[str, Callable[..., Any]] = {
        name: getattr(guardian, name) for name in ("folder", "start", "run", "poll", "signal")
    }
    actions["stop"] = guardian.stop
    try:
        return {"ok": actions[request.pop("do")](**request)}
    except Exception as error:  # whatever went wrong, the other servers still need their guardian
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Serve requests until the pipe ends or the parent is gone, then stop everything."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # only the pipe's end ends a guardian in good order
            # a handler, not SIG_IGN: the servers would inherit that and never hear SIGTERM
            signal.signal(getattr(signal, name), lambda *_: None)
    guardian = Guardian()
    requests: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    parent = os.getppid()
    # A forked worker of the parent may hold the pipe open after the parent is gone: so look at
    # the parent as well (POSIX: an orphan gets a new one).
    try:
        while not POSIX or os.getppid() == parent:
            try:
                line = requests.get(timeout=PARENT_CHECK_S)
            except queue.Empty:
                continue
            if line is None:
                break
            print(json.dumps(_answer(guardian, line)), flush=True)
    finally:  # the parent may die in the middle of a line, or before it reads the answer
        guardian.stop_all()


if __name__ == "__main__":
    main()
    os._exit(0)  # the reading thread may still wait on the pipe
