"""What a process may do, and what a limited one may: the half of a container that needs no root.

A container is an ordinary process with three things around it: limits, a view of its own
(namespaces), and a file system of its own (an image). This module gives a child the limits, an
empty environment and an empty folder, and asks it what it can still do and see. It is an
experiment, not a wall: never run with it what you do not trust.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

MEMORY_MB, FILES, FILE_MB = 300, 32, 5
PATIENCE_S = 20

LIMITS = f"""
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_MB} << 20,) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES},) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({FILE_MB} << 20,) * 2)
except (ImportError, ValueError, OSError):
    pass  # Windows has none of these; macOS does not hold the first
"""

# each is an expression or statement that sets `got`
ATTEMPTS = {
    "a secret of its parent": "got = os.environ['SECRET']",
    "the folder of its parent": "got = f'{len(os.listdir())} files'",
    "a gigabyte of memory": "got = f'{len(bytearray(10**9)) // 10**6} MB'",
    "100 open files": "files = [open(os.devnull) for _ in range(100)]; got = f'{len(files)} files'",
    "20 MB on the disk": 'got = f\'{open("big", "wb").write(bytes(20 << 20)) >> 20} MB\'',
    "the processes of the machine": "got = others()",
    "the machine's root folder": "got = f'{len(os.listdir(os.path.abspath(os.sep)))} entries'",
}

PROBE = """
import json, os, sys
def others():
    numbers = [name for name in os.listdir('/proc') if name.isdigit()]
    return f'{len(numbers)} processes'
said = {}
for name, code in json.loads(sys.argv[1]).items():
    space = {'os': os, 'others': others}
    try:
        exec(code, space)
        said[name] = str(space['got'])
    except (Exception, MemoryError) as error:
        said[name] = f'refused: {type(error).__name__}'
print(json.dumps(said))
"""


def compare(secret: str = "s3cret") -> pd.DataFrame:
    """What an ordinary child gets and what a limited one gets, for each attempt."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "ordinary").mkdir()
        (place / "limited").mkdir()
        (place / "ordinary" / "notes.txt").write_text("of the parent", encoding="utf-8")
        ordinary = _child(PROBE, place / "ordinary", {**os.environ, "SECRET": secret})
        limited = _child(LIMITS + PROBE, place / "limited", _bare())
    return pd.DataFrame({"ordinary process": ordinary, "limited process": limited})


def _child(code: str, folder: Path, env: dict[str, str]) -> dict[str, str]:
    argv = [sys.executable, "-I", "-S", "-c", code, json.dumps(ATTEMPTS)]
    done = subprocess.run(
        argv, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        return dict.fromkeys(ATTEMPTS, f"the process ended with {done.returncode}: {last}")
    return json.loads(done.stdout)


def _bare() -> dict[str, str]:
    """An environment with what Windows needs to start a program, and nothing else."""
    return {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
