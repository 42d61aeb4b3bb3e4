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

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.manager import KernelManager

from autograde.protect.folder import copy_plain_files, holds_more_than, remove_tree
from autograde.protect.steps import Bounds, Outcome, Step, error_output
from autograde.provisioner.local import SandboxedProvisioner
from autograde.provisioner.shown import OutputWidgets, Shown
from autograde.sandbox import SandboxError

_READY_WITHIN = 60.0
_GRACE = 2.0  # seconds in which a kernel may obey before it is ended
_NONSENSE = ")("  # no language runs it
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
        self.widgets = OutputWidgets()
        self.layers: list[str] = []
        self.tells_failures = True
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
            if not self.tells_failures:
                outcome.review = (
                    f"the kernel {self.kernel_name!r} does not say when a cell fails, so no test "
                    "of it can"
                )
        else:
            outcome.event = "not run: the submission ended its process too often"
            outcome.outputs.append(error_output("ProcessEnded", outcome.event))
        self.done.append(step)
        outcome.seconds = time.monotonic() - start
        return outcome

    def _perform(self, step: Step, outcome: Outcome, place: int) -> None:
        number = self.client.execute(step.student, allow_stdin=False, stop_on_error=False)
        shown = Shown(number, self.widgets)
        try:
            if not self._follow(shown, step.seconds):
                outcome.event = shown.event or f"stopped after {step.seconds:g} s"
                self.manager.interrupt_kernel()
                obeyed = self._follow(shown, _GRACE, interrupted=True)
                outcome.outputs = shown.take()
                outcome.outputs.append(error_output("CellTimeoutError", outcome.event))
                if not obeyed:
                    self.killers.add(place)
                    self.kill()
                return
            if not self._settle(shown, step.seconds):
                raise KernelEnded("it did not say how the cell ended")
            if shown.asks_to_end:
                raise KernelEnded("it asked for that")
            for news in self.widgets.news():
                self.client.shell_channel.send(self.client.session.msg("comm_msg", news))
            outcome.outputs = shown.take()
        except KernelEnded as error:
            outcome.event = f"its process ended in this cell ({error})"
            outcome.outputs = [*shown.take(), error_output("ProcessEnded", outcome.event)]
            self.killers.add(place)
            self.kill()

    def _follow(self, shown: Shown, seconds: float, *, interrupted: bool = False) -> bool:
        """Collect a cell's outputs until the kernel is idle; False if it is not by then, or shows
        too much and has not been interrupted for that. Raises KernelEnded.
        """
        stop = time.monotonic() + seconds
        while (left := stop - time.monotonic()) > 0:
            message = self._message(self.client.get_iopub_msg, min(left, 0.25))
            if message is None:
                self._require_alive()
            elif shown.is_of(message) and shown.add(message):
                return True
            if shown.event and not interrupted:
                return False
        return False

    def _settle(self, shown: Shown, seconds: float) -> bool:
        """A kernel that shows no error may still say in its reply that there was one; False if no
        reply comes.
        """
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            message = self._message(self.client.get_shell_msg, 0.25)
            if message is None:
                self._require_alive()
            elif shown.is_of(message):
                shown.add_reply(message)
                return True
        return False

    def _fails_on(self, source: str) -> bool:
        """Whether the kernel says of a cell that it failed. Some show errors as any other text."""
        number = self.client.execute(source, allow_stdin=False, stop_on_error=False)
        shown = Shown(number, self.widgets)
        self._follow(shown, _READY_WITHIN)
        self._settle(shown, _READY_WITHIN)
        return shown.failed

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
            scratch=str(self.parent),
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
        self.widgets = OutputWidgets()
        self.client = manager.client()
        self.client.start_channels(stdin=False, hb=False)
        try:
            self.client.wait_for_ready(timeout=_READY_WITHIN)
            self.tells_failures = ours or self._fails_on(_NONSENSE)
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
