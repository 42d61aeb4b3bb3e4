"""One run of otter on a class that `grading_class` made, in a process of otter's own environment:

    PEER_PYTHON benchmarks/grading_otter.py FOLDER STUDENT...

calls `otter.api.grade_submission`, which does what `otter run` does without starting a program for
each notebook, and prints one line of JSON as `grading_run` does: seconds and CPU seconds without
imports, and each student's points.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from grading_run import cpu, keep_bytecode


def main() -> None:
    from otter import api

    folder, students = Path(sys.argv[1]), sys.argv[2:]
    scripts = sysconfig.get_path("scripts")
    os.environ["PATH"] = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    archive = folder / "autograder.zip"
    if not archive.exists():
        subprocess.run(
            [Path(scripts) / "otter", "generate", "-t", "tests", "-o", archive.name,
             "--no-environment", "--no-requirements"],
            cwd=folder, check=True, capture_output=True, timeout=600,
        )  # fmt: skip
    start, before, points = time.perf_counter(), cpu(), {}
    for student in students:
        path = folder / "submitted" / f"{student}.ipynb"
        points[student] = api.grade_submission(str(path), str(archive), quiet=True).total
    spent = {"seconds": time.perf_counter() - start, "cpu": cpu() - before}
    print(json.dumps({**spent, "points": points}))


if __name__ == "__main__":
    keep_bytecode("otter.api, ipykernel.kernelapp, pandas, sklearn.linear_model")
    main()
