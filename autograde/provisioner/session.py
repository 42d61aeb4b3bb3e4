"""Runs a submission's cells in a real kernel in the sandbox, with the deadlines, bounds and
restarts of `autograde.protect.supervisor.Session`, whose place it takes. There is one process here:
a test runs beside the student's code and can be read and fooled by it. Of what a kernel sends, the
bounded text and displays of a cell are kept.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any

import msgspec
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.manager import KernelManager

from autograde.protect.folder import copy_plain_files, holds_more_than, remove_tree
from autograde.protect.shell import Recorder
from autograde.protect.steps import Bounds, Outcome, Output, Step, error_output
from autograde.provisioner.local import SandboxedProvisioner
from autograde.sandbox import SandboxError

_READY_WITHIN = 60.0
_GRACE = 2.0  # seconds in which a kernel may obey before it is ended
_MOST_OUTPUT = 10_000_000  # characters of one cell, after which it is interrupted
_log = logging.getLogger("autograde.kernel")
_log.addHandler(logging.NullHandler())
_log.propagate = False  # what goes wrong is told in a sentence, without a traceback


class KernelEnded(RuntimeError):
    """The kernel is gone; the message says why."""


class KernelSession:
    """One submission: its folder, its kernel, and the cells that have run. A context manager."""

    def __init__(
        self,
        kernel_name: str,
        *,
        files: Path | None = None,
        bounds: Bounds | None = None,
        trust: bool = False,
        readable: tuple[str, ...] = (),
    ) -> None:
        self.kernel_name, self.bounds = kernel_name, bounds or Bounds()
        self.trust, self.readable = trust, readable
        self.parent = Path(tempfile.mkdtemp(prefix="autograde-"))
        self.parent.chmod(0o711)
        self.folder, self.files = self.parent / "work", files
        self._fill_folder()
        self.library = _library(self.parent / "library")
        self.manager: KernelManager | None = None
        self.client: BlockingKernelClient
        self.layers: list[str] = []
        self.restarts = -1
        self.done: list[Step] = []
        self.killers: set[int] = set()

    def __enter__(self) -> "KernelSession":
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        remove_tree(self.parent)

    def _fill_folder(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o777)
        if self.files is not None:
            copy_plain_files(self.files, self.folder)
        self.fonts = _fonts(self.folder / ".matplotlib")

    def run(self, step: Step) -> Outcome:
        """Run one cell; never raises for what a student did. Raises SandboxError if the kernel
        cannot be started in the first place.
        """
        start = time.monotonic()
        outcome = Outcome()
        if self._ready():
            self._perform(step, outcome, len(self.done))
        else:
            outcome.event = "not run: the submission ended its process too often"
            outcome.outputs.append(error_output("ProcessEnded", outcome.event))
        self.done.append(step)
        outcome.seconds = time.monotonic() - start
        return outcome

    def _perform(self, step: Step, outcome: Outcome, place: int) -> None:
        shown = _Shown()
        try:
            number = self.client.execute(step.student, allow_stdin=False, stop_on_error=False)
            if not self._follow(number, shown, step.seconds):
                outcome.event = shown.event or f"stopped after {step.seconds:g} s"
                self.manager.interrupt_kernel()
                obeyed = self._follow(number, shown, _GRACE, interrupted=True)
                outcome.outputs = shown.take()
                outcome.outputs.append(error_output("CellTimeoutError", outcome.event))
                if not obeyed:
                    self.killers.add(place)
                    self.kill()
                return
            if not self._settle(number, shown, step.seconds):
                raise KernelEnded("it did not say how the cell ended")
            outcome.outputs = shown.take()
        except KernelEnded as error:
            outcome.event = f"its process ended in this cell ({error})"
            outcome.outputs = [*shown.take(), error_output("ProcessEnded", outcome.event)]
            self.killers.add(place)
            self.kill()

    def _follow(
        self, number: str, shown: "_Shown", seconds: float, *, interrupted: bool = False
    ) -> bool:
        """Collect a cell's outputs until the kernel is idle; False if it is not by then, or shows
        too much and has not been interrupted for that. Raises KernelEnded.
        """
        stop = time.monotonic() + seconds
        while (left := stop - time.monotonic()) > 0:
            message = self._message(self.client.get_iopub_msg, min(left, 0.25))
            if message is None:
                self._require_alive()
            elif _of(message, number) and shown.add(message):
                return True
            if shown.event and not interrupted:
                return False
        return False

    def _settle(self, number: str, shown: "_Shown", seconds: float) -> bool:
        """A kernel that shows no error may still say in its reply that there was one; False if no
        reply comes.
        """
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            message = self._message(self.client.get_shell_msg, 0.25)
            if message is None:
                self._require_alive()
            elif _of(message, number):
                shown.add_reply(message)
                return True
        return False

    def _message(self, get: Callable[..., Any], seconds: float) -> dict[str, Any] | None:
        """The next message; None if there is none, empty if it is not one of this kernel."""
        try:
            return get(timeout=seconds)
        except Empty:
            return None
        except Exception:  # not signed with its key, or of no shape that the protocol knows
            return {}

    def _require_alive(self) -> None:
        if not self.manager.is_alive():
            raise KernelEnded(self.manager.provisioner.why_ended())

    def _ready(self) -> bool:
        """Have a kernel in which all earlier cells have run; False if given up."""
        while self.manager is None and self.restarts < self.bounds.restarts:
            self.restarts += 1
            try:
                self._start()
            except SandboxError:
                self.kill()
                if self.restarts == 0:
                    raise
                return False  # what the submission left in its folder does not let it start
            for place, step in enumerate(self.done):
                if self.manager is not None and place not in self.killers:
                    self._perform(step, Outcome(), place)
        return self.manager is not None

    def _start(self) -> None:
        manager = KernelManager(kernel_name=self.kernel_name, log=_log)
        try:
            spec = manager.kernel_spec
        except NoSuchKernel:
            raise SandboxError(
                f"The notebook asks for the kernel {self.kernel_name!r}, which is not installed "
                "here: install it (`jupyter kernelspec list` shows those that are)."
            ) from None
        bounds = self.bounds
        if self.restarts and holds_more_than(self.folder, bounds.folder_bytes):
            remove_tree(self.folder)  # in it no other cell could go on
            self._fill_folder()
        manager.provisioner = SandboxedProvisioner(
            parent=manager,
            kernel_spec=spec,
            kernel_id="submission",
            folder=str(self.folder),
            memory=bounds.memory,
            processes=bounds.processes,
            file_bytes=bounds.file_bytes,
            folder_bytes=bounds.folder_bytes,
            readable=[str(self.library), *self.readable],
            environment={"PYTHONPATH": str(self.library), "MPLCONFIGDIR": str(self.fonts)},
            trust_submissions=self.trust,
        )
        self.manager = manager
        ours = any("ipykernel" in part for part in spec.argv)
        manager.start_kernel(
            extra_arguments=["--HistoryManager.hist_file=:memory:"] if ours else []
        )
        self.layers = list(manager.provisioner.layers)
        self.client = manager.client()
        self.client.start_channels(stdin=False, hb=False)
        try:
            self.client.wait_for_ready(timeout=_READY_WITHIN)
        except RuntimeError as error:
            why = manager.provisioner.why_ended() or str(error)
            if words := manager.provisioner.last_words:
                why += f"; it said: {words}"
            raise SandboxError(
                f"The kernel {self.kernel_name!r} does not start in the sandbox: {why}."
            ) from None

    def kill(self) -> None:
        """End the kernel and all that it started."""
        if self.manager is None:
            return
        manager, self.manager = self.manager, None
        if hasattr(self, "client"):
            with contextlib.suppress(Exception):
                self.client.stop_channels()
        with contextlib.suppress(Exception):
            manager.shutdown_kernel(now=True)


class _Shown:
    """What one cell shows, read from a kernel's messages, whose shape nobody vouches for."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.size = 0
        self.event = ""
        self.failed = False

    def add(self, message: dict[str, Any]) -> bool:
        """Take one message in; whether it is the last of its cell."""
        kind, content = message["header"].get("msg_type"), message["content"]
        if kind == "status":
            return content.get("execution_state") == "idle"
        if kind == "stream":
            text = str(content.get("text", ""))
            self.recorder.stream("stderr" if content.get("name") == "stderr" else "stdout", text)
            self.size += len(text)
        elif kind in ("display_data", "execute_result"):
            data = content.get("data")
            data = data if isinstance(data, dict) else {}
            self.recorder.display(kind, {str(mime): value for mime, value in data.items()})
            self.size += sum(len(str(value)) for value in data.values())
        elif kind == "error":
            self._fail(content)
        elif kind == "clear_output":
            self.recorder.outputs.clear()
        if self.size > _MOST_OUTPUT and not self.event:
            self.event = f"stopped after {_MOST_OUTPUT / 1e6:.0f} MB of output"
        return False

    def add_reply(self, message: dict[str, Any]) -> None:
        content = message["content"]
        if content.get("status") == "error" and not self.failed:
            self._fail(content)

    def _fail(self, content: dict[str, Any]) -> None:
        self.failed = True
        name, text = (str(content.get("ename", "Error")), str(content.get("evalue", "")))
        lines = content.get("traceback")
        lines = [str(line) for line in lines] if isinstance(lines, list) else []
        self.recorder.outputs.append(
            {
                "output_type": "error",
                "ename": name[:200],
                "evalue": text[:10_000],
                "traceback": [line[:10_000] for line in lines[-60:]]
                or [f"{name}: {text}"[:10_000]],
            }
        )

    def take(self) -> list[Output]:
        return msgspec.convert(self.recorder.take(), list[Output])


def _of(message: dict[str, Any], number: str) -> bool:
    """Whether a message belongs to the request with this number, and is shaped like one."""
    parent = message.get("parent_header")
    return (
        isinstance(parent, dict)
        and parent.get("msg_id") == number
        and isinstance(message.get("header"), dict)
        and isinstance(message.get("content"), dict)
    )


def _library(place: Path) -> Path:
    """`autograde.checks` for tests that import it, and nothing else of ours."""
    (place / "autograde").mkdir(parents=True)
    ours = Path(__file__).parents[1]
    for name in ("__init__.py", "checks.py"):
        shutil.copyfile(ours / name, place / "autograde" / name)
        (place / "autograde" / name).chmod(0o444)
    for folder in (place, place / "autograde"):
        folder.chmod(0o755)
    return place


def _fonts(place: Path) -> Path:
    """Matplotlib's list of this machine's fonts, if it has made one: that takes ten seconds."""
    place.mkdir(exist_ok=True)
    place.chmod(0o777)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "matplotlib"
    for path in cache.glob("fontlist-*.json"):
        if not path.is_symlink():
            shutil.copyfile(path, place / path.name)
            (place / path.name).chmod(0o644)
    return place
