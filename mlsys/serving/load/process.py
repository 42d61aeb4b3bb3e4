"""The generator in a process of its own, which shares no GIL with a server in the notebook.

    python -m mlsys.serving.load.process     (a job as JSON on standard input, the result on output)

The parent sends plain values and gets plain values; nothing is unpickled. The child ends with its
parent: it watches its standard input, which closes when the parent is gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from mlsys.serving.load.arrivals import LoadError
from mlsys.serving.load.targets import from_plain, to_plain

_START_WITHIN = 30.0  # s until the child has imported what it needs, on a busy machine


def in_own_process(
    target: Any,
    loop: str,
    how: dict[str, Any],
    *,
    length: float,
    wall: float,
    begun: Callable[[subprocess.Popen], None],
) -> dict[str, Any]:
    """Run a load in a child and return its result as plain values.

    `target` as `as_cycle` gives it, or {"function": "package.module:function"}. `length` is that
    of the schedule, `wall` the longest that the load can take, s. `begun` is told of the child,
    so that it can be killed from outside. Raises LoadError for a function,
    which cannot travel, and with the child's sentence when it failed.
    """
    job = {"target": _travel(target), "loop": loop, "how": how, "length": length}
    # From the working directory on, as uvicorn does, so that a lesson's own modules are found.
    child = subprocess.Popen(
        [sys.executable, "-m", "mlsys.serving.load.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    begun(child)
    # A thread that never blocks on a full pipe is what `communicate` has; it would close the
    # input first, though, and the open input is what tells the child that we still live.
    guard = threading.Timer(wall + _START_WITHIN, child.kill)
    guard.start()
    said: list[str] = []
    listener = threading.Thread(target=lambda: said.append(child.stderr.read()), daemon=True)
    listener.start()
    try:
        child.stdin.write(json.dumps(job) + "\n")
        child.stdin.flush()
        answer = child.stdout.readline()
    except OSError:
        answer = ""
    finally:
        guard.cancel()
        child.kill()
        child.wait()
        listener.join(5)
        for pipe in (child.stdin, child.stdout, child.stderr):
            pipe.close()
    if not answer:
        last = "".join(said).strip().splitlines()[-1:] or ["no word"]
        raise LoadError(f"The generator's process ended without a result: {last[0]}")
    told = json.loads(answer)
    if "error" in told:
        raise LoadError(told["error"])
    return told["result"]


def _travel(target: Any) -> dict[str, Any]:
    if isinstance(target, dict):
        return target
    if callable(target):
        raise LoadError(
            "A function of this notebook cannot run in another process; put it in a module and"
            ' give its name as "package.module:function".'
        )
    if isinstance(target, list):
        return {"requests": [to_plain(one) for one in target]}
    return {"requests": [to_plain(target)]}


def main() -> None:
    """Do the job that comes on standard input."""
    # Late: who only starts a child does not need them.
    from mlsys.serving.load.engine import precise_loop, send_closed, send_open
    from mlsys.serving.load.generator import find_function
    from mlsys.serving.load.result import summarise

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    kinds = {"open": send_open, "closed": send_closed}
    loop = precise_loop()
    try:
        if "function" in job["target"]:
            target = find_function(job["target"]["function"])
        else:
            target = [from_plain(one) for one in job["target"]["requests"]]
            target = target[0] if job["target"]["requests"][0]["what"] == "tcp" else target
        record = loop.run_until_complete(kinds[job["loop"]](target, **job["how"]))
        result = summarise(record, name="", loop=job["loop"], seconds=job["length"])
        told = {"result": result.to_dict()}
    except LoadError as error:
        told = {"error": str(error)}
    print(json.dumps(told), flush=True)
    os._exit(0)  # threads of a plain function that hangs must not keep it


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
