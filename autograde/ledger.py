"""What grading leaves beside the gradebook: for each submission one small file that says from which
files and which version of the assignment its grades came, and what happened while it ran. A run
that was interrupted, or is started again, reads here what need not be done twice.

The files stand in COURSE/.autograde/reports/ASSIGNMENT/STUDENT.json. Each is replaced in one step,
after the gradebook and the graded notebook are written; so an entry that fits means that all three
do.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

FOLDER = ".autograde"
_TRIES = 5  # how often a folder that another program has just made again is moved out of the way


class Entry(msgspec.Struct, frozen=True):
    """One submission. `key` names its content and the assignment's version; `outputs` are the
    digests of its graded notebooks; `scores` the automatic ones, by notebook and cell; `reports`
    what happened in each notebook: `review`, `events`, `seconds`, `checks`, `unprotected`. A
    submission that was put aside has its reason in `quarantined`.
    """

    key: str
    outputs: dict[str, str] = {}
    scores: dict[str, dict[str, float | None]] = {}
    reports: dict[str, dict[str, Any]] = {}
    repairs: tuple[str, ...] = ()
    quarantined: str = ""
    seconds: float = 0.0
    feedback: bool = False


def path_of(root: Path, assignment: str, student: str) -> Path:
    return root / FOLDER / "reports" / assignment / f"{student}.json"


def read(root: Path, assignment: str, student: str) -> Entry | None:
    """The entry of a submission; None if there is none, or none that can be read."""
    try:
        content = path_of(root, assignment, student).read_bytes()
        return msgspec.json.decode(content, type=Entry)
    except (OSError, ValueError, RecursionError):  # damaged, in whatever way
        return None


def write(root: Path, assignment: str, student: str, entry: Entry) -> None:
    """Put an entry in place in one step."""
    path = path_of(root, assignment, student)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, msgspec.json.encode(entry))


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, whatever happens."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    partial = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def key_of(submission: str, version: str) -> str:
    """The key of a submission's content under one version of the assignment."""
    return hashlib.sha256(f"{submission}\n{version}".encode()).hexdigest()


def outputs_in(folder: Path) -> dict[str, str]:
    """The digest of each notebook in a folder, by file name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.ipynb"))
    }


def staging(root: Path) -> Path:
    """An empty folder on the course's own disk, from which a rename can publish."""
    parent = root / FOLDER / "staging"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent))


def clear_staging(root: Path) -> None:
    """Remove what an interrupted run left; only the holder of the course's lock may."""
    shutil.rmtree(root / FOLDER / "staging", ignore_errors=True)


def publish(staged: Path, target: Path) -> None:
    """Have `target` be the folder `staged`; what it was is removed, also if another program puts
    something there meanwhile. If this is interrupted between its two renames the target is missing,
    which the next run mends.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    old = Path(tempfile.mkdtemp(dir=staged.parent))
    for attempt in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            target.rename(old / str(attempt))
        try:
            staged.rename(target)
            break
        except OSError as error:
            if attempt == _TRIES - 1 or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    shutil.rmtree(old, ignore_errors=True)


def is_current(
    entry: Entry | None, key: str, folder: Path, scores: Mapping[str, Mapping[str, float | None]]
) -> bool:
    """Whether all that grading would write is there already, in gradebook (`scores`) and folder."""
    return (
        entry is not None
        and entry.key == key
        and all(
            scores.get(notebook, {}).get(cell, 0.5j) == score
            for notebook, cells in entry.scores.items()
            for cell, score in cells.items()
        )
        and outputs_in(folder) == entry.outputs
    )
