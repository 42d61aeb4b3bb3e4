"""A submission's folder: what is copied into it, how much is in it. No link is ever followed."""

import contextlib
import os
import shutil
from pathlib import Path


def folder_bytes(folder: Path) -> int:
    """Bytes on disk below a folder; links are not followed."""
    total, stack = 0, [folder]
    while stack:
        with contextlib.suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(Path(entry.path))
                else:
                    with contextlib.suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def copy_plain_files(source: Path, target: Path, *, mode: int = 0o666, only: str = "") -> None:
    """Copy files and folders but no notebooks, links or devices; `only` files with this suffix."""
    for entry in source.iterdir():
        copy = target / entry.name
        if entry.is_symlink() or entry.suffix == ".ipynb":
            continue
        if entry.is_dir():
            copy.mkdir()
            copy.chmod(0o777 if mode & 0o200 else 0o755)
            copy_plain_files(entry, copy, mode=mode, only=only)
        elif entry.is_file() and entry.suffix in (only or entry.suffix):
            shutil.copyfile(entry, copy)
            copy.chmod(mode)
