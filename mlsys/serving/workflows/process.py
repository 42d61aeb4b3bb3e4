"""What runs in the look-up process and in the device process of `mlsys.serving.workflows.compare`.

    python -m mlsys.serving.workflows.process lookup TABLE
    python -m mlsys.serving.workflows.process device MODEL MEMORY_MB

It reads one JSON request a line and writes one JSON answer a line until its input ends. The device
limits its own memory before it loads anything large.
"""

from __future__ import annotations

import json
import mmap
import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

Answer = dict[str, Any]
MB = 1_000_000


def timed(answer: Callable[[Any], tuple[float | None, int | None]], asked: Sequence[Any]) -> Answer:
    """Answer one after another; spam, version and seconds of each."""
    spam, versions, seconds = [], [], []
    for each in asked:
        start = perf_counter()
        probability, version = answer(each)
        seconds.append(perf_counter() - start)
        spam.append(probability)
        versions.append(version)
    return {"spam": spam, "version": versions, "seconds": seconds}


def look_up(table: str) -> Callable[[Answer], Answer]:
    """Answers from rows alone."""
    rows = sqlite3.connect(table, timeout=20)

    def read(sender: int) -> tuple[float | None, int | None]:
        found = rows.execute("select spam, version from scores where sender = ?", (sender,))
        return found.fetchone() or (None, None)

    def handle(request: Answer) -> Answer:
        return timed(read, request["senders"]) if request["do"] == "answer" else {}

    return handle


def limit_memory(megabytes: int) -> str:
    """Let the operating system refuse more address space than this; "" or why it does not."""
    try:
        import resource
    except ImportError:
        return "Windows has no RLIMIT_AS: here nothing stops the process from taking more."
    try:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * MB, megabytes * MB))
    except (ValueError, OSError) as error:
        return f"This system refuses the limit ({error}): nothing stops the process here."
    if not is_refused(megabytes):
        return "This system takes the limit and does not hold to it: nothing stops the process."
    return ""


def is_refused(megabytes: int) -> bool:
    """Whether asking for this much memory fails, by asking for it (and touching none of it)."""
    try:
        mmap.mmap(-1, megabytes * MB).close()
    except (OSError, MemoryError, ValueError):
        return True
    return False


def loaded() -> list[str]:
    """The packages that this process has imported."""
    return sorted({name.partition(".")[0] for name in sys.modules})


def run_device(model: str, memory_mb: str) -> Callable[[Answer], Answer]:
    """Answers from the ONNX file alone."""
    megabytes = int(memory_mb)
    problem = limit_memory(megabytes)
    import psutil

    from mlsys.serving.workflows.compare import WorkflowError
    from mlsys.serving.workflows.onnx_model import OnnxModel

    current = OnnxModel(model)

    def read(text: str) -> tuple[float, int]:
        return current.spam(text), current.version

    def handle(request: Answer) -> Answer:
        nonlocal current
        if request["do"] == "answer":
            return timed(read, request["texts"])
        if request["do"] == "reload":
            try:
                current = OnnxModel(model)
            except WorkflowError as error:
                return {"error": f"{error} Still answering with version {current.version}."}
            return {"version": current.version}
        if request["do"] == "report":
            return {
                "pid": os.getpid(),
                "version": current.version,
                "modules": loaded(),
                "sklearn": "sklearn" in loaded(),
                "memory_mb": psutil.Process().memory_info().rss / MB,
                "limit_holds": not problem,
                "note": problem,
            }
        return {}

    return handle


def main(arguments: Sequence[str]) -> None:
    """Serve requests until standard input ends."""
    kind, *rest = arguments
    try:
        handle = {"lookup": look_up, "device": run_device}[kind](*rest)
    except (MemoryError, ImportError) as error:
        # Under a limit a library fails to load in ways of its own; its last line is enough.
        raise SystemExit(f"not enough memory to start ({type(error).__name__}: {error})") from None
    for line in sys.stdin:
        print(json.dumps(handle(json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
