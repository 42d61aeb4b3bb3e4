"""Where submissions stand once they are taken in: a folder of the course that grading reads instead
of the submitted one. Who handed in anything is read here too, with names that nbgrader would lose.
"""

import os
import shutil
import tempfile
from pathlib import Path

import nbformat
from nbgrader.coursedir import CourseDirectory

from autograde.intake.cells import blank
from autograde.intake.prepare import Prepared, prepare

STAGED = ".autograde/taken_in"


def path_of(coursedir: CourseDirectory, step: str, student: str, assignment: str) -> Path:
    """A folder of the course, by the course's own structure of folders."""
    return Path(coursedir.format_path(step, student, assignment))


def students(coursedir: CourseDirectory, assignment: str) -> list[str]:
    """Everyone of whom there is anything for the assignment: a folder, a file, a broken link."""
    parts = path_of(coursedir, coursedir.submitted_directory, "{student}", "{assignment}").parts
    if "{student}" not in parts:
        return []
    place = parts.index("{student}")
    above = Path(*(assignment if part == "{assignment}" else part for part in parts[:place]))
    below = Path(*(assignment if part == "{assignment}" else part for part in parts[place + 1 :]))
    if not above.is_dir():
        return []
    names = sorted(entry.name for entry in os.scandir(above) if not entry.name.startswith("."))
    return [name for name in names if os.path.lexists(above / name / below)]


def wanted(coursedir: CourseDirectory, assignment: str) -> tuple[Path, list[str]]:
    """The folder of released notebooks, and the names of the assignment's notebooks."""
    release = path_of(coursedir, coursedir.release_directory, ".", assignment)
    source = path_of(coursedir, coursedir.source_directory, ".", assignment)
    there = release if any(release.glob("*.ipynb")) else source
    return release, sorted(path.stem for path in there.glob("*.ipynb"))


def stage(coursedir: CourseDirectory, assignment: str, student: str) -> Prepared:
    """Take one submission in, in one step: the folder is the old one or the new one, whole.

    Where nothing can be graded, the released notebooks stand there with the reason on top.
    """
    submitted = path_of(coursedir, coursedir.submitted_directory, student, assignment)
    staged = path_of(coursedir, STAGED, student, assignment)
    release, names = wanted(coursedir, assignment)
    staged.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=staged.parent))
    try:
        done = prepare(submitted, fresh, release=release, notebooks=names)
        if done.quarantined:
            _stand_in(fresh, release, names, done.quarantined)
        fresh.chmod(0o755)
        _replace(fresh, staged)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return done


def _stand_in(into: Path, release: Path, names: list[str], reason: str) -> None:
    for path in into.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in names:
        if (release / f"{name}.ipynb").is_file():
            notebook = blank(nbformat.read(release / f"{name}.ipynb", as_version=4), reason)
            nbformat.write(notebook, into / f"{name}.ipynb")


def _replace(fresh: Path, old: Path) -> None:
    if old.is_symlink() or old.is_file():
        old.unlink()
    if old.exists():
        gone = Path(tempfile.mkdtemp(prefix=".old-", dir=old.parent))
        old.replace(gone / "old")
        fresh.replace(old)
        shutil.rmtree(gone, ignore_errors=True)
    else:
        fresh.replace(old)
