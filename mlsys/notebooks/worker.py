"""The process that executes notebooks by papermill, one after another, as its parent asks.

papermill is slow to import and blocks, so each slot of the runner keeps one such process. It sends
a message for each cell that starts, and a verdict; to time it, to weigh it and to kill it is its
parent's.
"""

import json
import os
import re
import signal
import sys
import tempfile
import threading
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

MARK = "MLSYS_RUN"
"""The environment variable by which the processes that a notebook leaves behind are known."""

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
ON_PURPOSE = "raises-exception"

# A kernel is told free ports before it takes them. Where other servers start at the same instant
# one can be gone, and the kernel ends before its first word: nothing has run, so it may try again.
NO_KERNEL = "Kernel died before replying to kernel_info"
KERNEL_STARTS = 3
STUBBED = ("NotImplementedError", "AssertionError")


def main(pipe: connection.Connection, environment: dict[str, str]) -> None:
    """Answer tasks from the pipe until it closes; kernels get the environment given.

    A task is a dict: source and output (paths), folder, parameters, student, mark, and kernels:
    where to ask for a forked one, or None.
    """
    # Ctrl-C reaches the whole terminal; the parent decides what it means. A handler, unlike
    # SIG_IGN, is not inherited by the kernel.
    signal.signal(signal.SIGINT, lambda *_: None)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    bin_folder = str(Path(sys.executable).parent)
    os.environ["PATH"] = bin_folder + os.pathsep + os.environ.get("PATH", "")
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    os.environ.pop("JPY_PARENT_PID", None)
    os.environ.update(environment)
    skip_grammar()
    with tempfile.TemporaryDirectory(prefix="mlsys-ipython-") as profile:
        # A person's start-up files must not change a lesson; two kernels share no history.
        os.environ["IPYTHONDIR"] = profile
        while True:
            try:
                task = pipe.recv()
            except (EOFError, OSError):
                return
            if task is None:
                return
            pipe.send(("done", execute(task, pipe)))


def skip_grammar() -> None:
    """Spare this process seconds: nbformat imports jsonschema, that the grammar of international
    web addresses, for a format that no notebook uses. jsonschema does without where it is missing.
    """
    if "jsonschema" not in sys.modules:
        sys.modules.setdefault("rfc3987_syntax", None)


def execute(task: dict[str, Any], pipe: connection.Connection) -> dict[str, Any]:
    """Run one notebook; a dict with `error` (one line, or None) and `cell` (number and id)."""
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    from mlsys.notebooks.engine import engine_name

    if task["kernels"]:
        from mlsys.notebooks import provisioner

        provisioner.use(task["kernels"], lambda pid: pipe.send(("kernel", pid)))
    os.environ[MARK] = task["mark"]
    _write_to(Path(task["output"]).with_suffix(".log"))
    reached: list[int] = [0]

    def announce(number: int, total: int) -> None:
        reached[0] = number
        pipe.send(("cell", number, total))

    trouble: str | None = None
    for _ in range(KERNEL_STARTS):
        trouble = None
        try:
            execute_notebook(
                task["source"],
                task["output"],
                parameters=task["parameters"],
                cwd=task["folder"],
                kernel_name="python3",
                engine_name=engine_name(),
                progress_bar=False,
                start_timeout=120,
                announce=announce,
            )
        except PapermillExecutionError:
            pass  # read from the outputs below: papermill does not know which errors are meant
        except Exception as error:  # whatever stops a notebook is its verdict, never ours
            trouble = one_line(type(error).__name__, str(error))
        if trouble is None or reached[0] or NO_KERNEL not in trouble:
            break
    return _judge(task, reached[0], trouble)


def _judge(task: dict[str, Any], reached: int, trouble: str | None) -> dict[str, Any]:
    if trouble is not None:
        return {"error": trouble, "cell": cell_at(task, reached)}
    source = _cells(Path(task["source"]))
    place = {cell.get("id"): number for number, cell in enumerate(source, start=1)}
    output = Path(task["output"])
    for cell in _cells(output):
        errors = [out for out in cell.get("outputs", []) if out["output_type"] == "error"]
        if not errors or _is_meant(cell, errors[0], student=task["student"]):
            continue
        said = one_line(errors[0]["ename"], errors[0]["evalue"] or _line_of(errors[0]))
        return {"error": said, "cell": [place.get(cell.get("id")), cell.get("id")]}
    _remove_error_notes(output)
    return {"error": None, "cell": None}


def _is_meant(cell: dict[str, Any], error: dict[str, Any], *, student: bool) -> bool:
    """An error that the lesson shows on purpose, or a stub of the student edition that says so."""
    if ON_PURPOSE not in cell["metadata"].get("tags", []):
        return False
    if student and "nbgrader" in cell["metadata"]:
        return error["ename"] in STUBBED and bool(error["evalue"].strip())
    return True


def cell_at(task: dict[str, Any], reached: int) -> tuple[int, str | None] | None:
    """The source's cell that papermill had reached, counted without the cell that it injects."""
    cells = _cells(Path(task["source"]))
    tagged = [i for i, c in enumerate(cells) if "parameters" in c["metadata"].get("tags", [])]
    if task["parameters"] and reached > (tagged[0] + 1 if tagged else 0):
        reached -= 1
    return (reached, cells[reached - 1].get("id")) if 0 < reached <= len(cells) else None


def _remove_error_notes(output: Path) -> None:
    """Take out the red notes that papermill writes before an error that was meant."""
    raw = json.loads(output.read_text(encoding="utf-8"))
    kept = [
        c for c in raw["cells"] if "papermill-error-cell-tag" not in c["metadata"].get("tags", [])
    ]
    if len(kept) < len(raw["cells"]):
        raw["cells"] = kept
        output.write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def one_line(name: str, said: str) -> str:
    """An error as one line without colours: the class, and the first line of what it says."""
    lines = [line.strip() for line in ANSI.sub("", said).splitlines() if line.strip()]
    first = lines[0] if lines else ""
    return f"{name}: {first}"[:300] if first else name


def _line_of(error: dict[str, Any]) -> str:
    """The source line at which an error without words was raised."""
    trace = ANSI.sub("", "\n".join(error.get("traceback", [])))
    lines = re.findall(r"^-+> *\d+ (.*)$", trace, re.MULTILINE)
    return lines[0].strip() if lines else ""


def _cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def _write_to(log: Path) -> None:
    """Send what this process and its kernel print from now on to a log: the terminal is a table."""
    with log.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _end_with_parent() -> None:
    """If the runner is killed, take the kernel along: nobody would ever read its result."""
    import psutil

    parent = parent_process()
    if parent is None:
        return
    connection.wait([parent.sentinel])
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.Error:
            continue
    os._exit(1)
