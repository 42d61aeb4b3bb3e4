"""A submission's folder: what is copied into it, how much is in it, and how it is removed whatever
stands in it. No link is ever followed.
"""

import contextlib
import os
import shutil
import time
from pathlib import Path
from uuid import uuid4

_ENTRY = 4096  # bytes that a name costs at least: a disk runs out of names as well
_LONGEST_PATH = 3000  # what lies deeper could not be counted
_DEEPEST = 50


def holds_more_than(folder: Path, most: int) -> bool:
    """Whether there are more than `most` bytes on disk below a folder, where each file and folder
    counts at least four kilobytes, or folders nested deeper than can be counted.
    """
    total, stack = 0, [os.fspath(folder)]
    while stack:
        with contextlib.suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                total += _ENTRY
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                    if len(entry.path) > _LONGEST_PATH:
                        return True
                else:
                    with contextlib.suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                if total > most:
                    return True
    return False


def remove_tree(folder: Path, *, seconds: float = 10.0) -> None:
    """Remove a folder with closed folders in it, folders deeper than a path may be long, and what a
    process that is just ending still adds. Gives up after `seconds`; raises nothing.
    """
    if os.scandir not in os.supports_fd:  # Windows
        shutil.rmtree(folder, ignore_errors=True)
        return
    stop = time.monotonic() + seconds
    while time.monotonic() < stop and folder.is_dir():
        with contextlib.suppress(OSError):
            top = _enter(os.fspath(folder), None)
            try:
                _empty(top, top, 0)
            finally:
                os.close(top)
            folder.rmdir()


def _empty(place: int, top: int, depth: int) -> None:
    """Empty an open folder. No path is followed, so nobody can lead us elsewhere in between."""
    with os.scandir(place) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        with contextlib.suppress(OSError):
            if not is_folder:
                os.unlink(name, dir_fd=place)
                continue
            inner = _enter(name, place)
            try:
                if depth < _DEEPEST:
                    _empty(inner, top, depth + 1)
            finally:
                os.close(inner)
            if depth < _DEEPEST:
                os.rmdir(name, dir_fd=place)
            else:  # what lies deeper is lifted to the top, and found there in the next round
                os.rename(name, uuid4().hex, src_dir_fd=place, dst_dir_fd=top)


def _enter(name: str, place: int | None) -> int:
    how = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, how, dir_fd=place)
    except PermissionError:  # closed by its owner, who is us
        os.chmod(name, 0o700, dir_fd=place)
        return os.open(name, how, dir_fd=place)


def copy_plain_files(source: Path, target: Path, *, mode: int = 0o666, only: str = "") -> None:
    """Copy files and folders but no notebooks, links or devices; `only` files with this suffix."""
    for entry in source.iterdir():
        copy = target / entry.name
        if entry.is_symlink() or entry.suffix == ".ipynb":
            continue
        if entry.is_dir():
            copy.mkdir(exist_ok=True)
            copy.chmod(0o777 if mode & 0o200 else 0o755)
            copy_plain_files(entry, copy, mode=mode, only=only)
        elif entry.is_file() and entry.suffix in (only or entry.suffix):
            shutil.copyfile(entry, copy)
            copy.chmod(mode)
