"""Runs the cells of a student's notebook in this process, one at a time, and keeps what they show
as a notebook keeps it: text, rich displays, the last expression, plots, an error. IPython does the
work without a kernel, so magics and displays behave as in JupyterLab. Amounts are bounded.
"""

import io
import logging
import os
import random
import sys
import traceback
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

_MOST_TEXT = 1_000_000  # characters of one cell
_MOST_DATA = 10_000_000  # characters of one cell's displays
_ALLOWED = {
    "text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/jpeg",
    "image/svg+xml",
}  # fmt: skip

Output = dict[str, Any]
# What a first cell, a first magic and a first error import and compile is shared by all forks.
_WARMING = ("%pwd", "x = [1]\nx", "def f():\n    return 1 / 0\nf()")


class Recorder:
    """The outputs of the cell or call that runs now, in order, within bounds."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.named: dict[str, Output] = {}
        self.text = self.data = 0

    def stream(self, name: str, text: str) -> None:
        room = _MOST_TEXT - self.text
        if room <= 0:
            return
        self.text += len(text)
        if len(text) > room:
            text = text[:room] + "\n... Output truncated ...\n"
        last = self.outputs[-1] if self.outputs else {}
        if last.get("output_type") == "stream" and last["name"] == name:
            last["parts"].append(text)
        else:
            self.outputs.append({"output_type": "stream", "name": name, "parts": [text]})

    def display(
        self, kind: str, data: dict[str, Any], *, name: object = None, update: bool = False
    ) -> None:
        """Keep a display. One with a name replaces what has it in the same cell, if an `update`."""
        kept = {mime: str(value) for mime, value in data.items() if mime in _ALLOWED}
        self.data += sum(map(len, kept.values()))
        if not kept or self.data > _MOST_DATA:
            return
        if update:
            if isinstance(name, str) and name in self.named:
                self.named[name]["data"] = kept
            return
        self.outputs.append({"output_type": kind, "data": kept, "metadata": {}})
        if isinstance(name, str):
            self.named[name] = self.outputs[-1]

    def error(self, error: BaseException, lines: list[str]) -> None:
        try:
            text = str(error)[:10_000]
        except BaseException as second:
            text = f"(its text failed with {type(second).__name__})"
        self.outputs.append(
            {
                "output_type": "error",
                "ename": type(error).__name__[:200],
                "evalue": text,
                "traceback": [line[:10_000] for line in lines[-60:]],
            }
        )

    def take(self) -> list[Output]:
        taken, self.outputs, self.text, self.data = self.outputs, [], 0, 0
        self.named = {}
        for output in taken:
            if "parts" in output:
                output["text"] = "".join(output.pop("parts"))
        return taken


class Stream(io.TextIOBase):
    """Standard output or error, into the recorder."""

    encoding = "utf-8"

    def __init__(self, recorder: Recorder, name: str, number: int) -> None:
        self.recorder, self.name, self.number = recorder, name, number

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.recorder.stream(self.name, text)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.number

    def isatty(self) -> bool:
        return False


class _Hook(DisplayHook):
    recorder: Recorder

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict, md_dict: dict | None = None) -> None:
        self.recorder.display("execute_result", format_dict)

    def finish_displayhook(self) -> None:
        pass


class _Publisher(DisplayPublisher):
    recorder: Recorder

    def publish(
        self,
        data: dict,
        *args: Any,
        transient: dict | None = None,
        update: bool = False,
        **kwargs: Any,
    ) -> None:
        name = (transient or {}).get("display_id")
        self.recorder.display("display_data", data, name=name, update=update)

    def clear_output(self, wait: bool = False) -> None:
        self.recorder.outputs.clear()


class Shell(InteractiveShell):
    """IPython without a terminal, a history or colours; errors are rendered briefly."""

    displayhook_class = _Hook
    display_pub_class = _Publisher
    recorder: Recorder
    system = InteractiveShell.system_raw  # there is no terminal for programs to write to
    has_loop = False  # a loop may not be made before the fork: its files would be everybody's

    def should_run_async(self, *args: Any, **kwargs: Any) -> bool:
        """A loop runs in every cell, as in a notebook, for tasks that a cell starts."""
        return self.has_loop or super().should_run_async(*args, **kwargs)

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        error = exc_tuple[1] if exc_tuple else sys.exc_info()[1]
        if error is not None:
            self.recorder.error(error, brief_traceback(error))

    def showsyntaxerror(self, filename: Any = None, running_compiled_code: bool = False) -> None:
        self.showtraceback()

    def _format_exception_for_storage(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {}  # IPython 9 renders each error a second time for a history that nobody reads

    def ask_exit(self) -> None:
        pass

    def enable_gui(self, gui: Any = None) -> None:
        pass

    def init_history(self) -> None:
        super().init_history()
        self.history_manager.enabled = False


def brief_traceback(error: BaseException) -> list[str]:
    """Lines of a traceback, without the frames of the machinery that ran the cell."""
    try:
        trace = error.__traceback__
        while trace and trace.tb_next and _is_machinery(trace.tb_frame.f_code.co_filename):
            trace = trace.tb_next
        # Lines are read when they are printed: the machinery's files are long.
        whole = traceback.TracebackException(
            type(error), error, trace, limit=-20, lookup_lines=False, compact=True
        )
        whole.stack = traceback.StackSummary.from_list(
            [frame for frame in whole.stack if not _is_machinery(frame.filename)]
        )
        return "".join(whole.format()).rstrip("\n").split("\n")
    except BaseException as second:
        return [f"{type(error).__name__} (its traceback failed: {type(second).__name__})"]


def _is_machinery(filename: str) -> bool:
    place = filename.replace(os.sep, "/")
    return "/IPython/core/" in place or "/autograde/protect/" in place


def make_shell() -> Shell:
    """The one shell of this process; made before the fork, because it takes time."""
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.colors = "NoColor"
    config.InteractiveShell.enable_tip = False
    shell = Shell.instance(config=config)
    shell.db = {}  # what %cd remembers; the profile's folder is not the submission's to write in
    logging.getLogger("autoreload").disabled = True  # it says at length which files it cannot read
    recorder = Recorder()
    shell.recorder = shell.displayhook.recorder = shell.display_pub.recorder = recorder
    for cell in _WARMING:
        shell.run_cell(cell, store_history=True)
    recorder.take()
    shell.reset(new_session=True)
    return shell


def seed_all(seed: int | None) -> None:
    """Seed the global generators of Python and, where it is loaded, NumPy; None: from the system.
    A forked process would otherwise draw what its siblings draw.
    """
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)


def capture_streams(recorder: Recorder) -> None:
    """Point Python's standard output and error to the recorder."""
    sys.stdout = Stream(recorder, "stdout", 1)
    sys.stderr = Stream(recorder, "stderr", 2)
