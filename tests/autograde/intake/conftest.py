"""`take_in` prepares a folder as grading does; `submitted` is the folder of one student."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from handed_in import RELEASED, notebook, write

from autograde.intake import Prepared, prepare

Taken = tuple[Prepared, dict[str, Any], Path]


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    folder = tmp_path / "submitted" / "jane" / RELEASED
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def take_in(tmp_path: Path, submitted: Path) -> Callable[[], Taken]:
    """What became of the folder, the notebook that grading reads ({} if none), and its folder.

    Whatever comes out is valid for nbformat, and what was handed in is as it was.
    """
    release = tmp_path / "release"
    write(release / f"{RELEASED}.ipynb", notebook())

    def run() -> Taken:
        into = tmp_path / f"into-{len(list(tmp_path.iterdir()))}"
        into.mkdir()
        before = snapshot(submitted)
        done = prepare(submitted, into, release=release, notebooks=[RELEASED])
        assert snapshot(submitted) == before
        path = into / f"{RELEASED}.ipynb"
        if not path.is_file():
            return done, {}, into
        content = json.loads(path.read_text(encoding="utf-8"))
        nbformat.validate(content)
        return done, content, into

    return run


def snapshot(folder: Path) -> list[tuple[str, int, int]]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    paths = sorted(folder.rglob("*"))
    return [(str(p), p.lstat().st_size, p.lstat().st_mtime_ns) for p in paths]
