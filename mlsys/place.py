"""Where the workbook's folders are, and how a lesson is named on the command line.

A workbook is a folder that holds `notebooks/` and `requirements.lock`: a clone, or what a course
hands out.
"""

from pathlib import Path

import typer
from rich.console import Console

errors = Console(stderr=True, highlight=False, soft_wrap=True)


class PlaceError(ValueError):
    """A folder or a lesson that is not there; the message is one sentence."""


def find_root(start: Path | None = None) -> Path:
    """The workbook that holds `start` (default: this folder), else the one that mlsys is in."""
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parent.parent):
        if (folder / "notebooks").is_dir() and (folder / "requirements.lock").is_file():
            return folder
    raise PlaceError(
        f"No workbook at or above {here}: go to the folder that holds notebooks/ "
        "and requirements.lock."
    )


def all_lessons(folder: Path) -> list[Path]:
    """Every notebook under a folder in reading order, checkpoints and hidden folders left out."""
    return sorted(
        path
        for path in Path(folder).rglob("*.ipynb")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def find_lessons(names: list[str] | None, *, root: Path) -> list[Path]:
    """The notebooks that a person named: by number (16), slug, folder or path; all if none named.

    Raises PlaceError with one sentence for a name that fits no lesson.
    """
    lessons = all_lessons(root / "notebooks")
    if not names:
        return lessons
    found: list[Path] = []
    for name in names:
        found += [path for path in _named(name, lessons, root=root) if path not in found]
    return found


def _named(name: str, lessons: list[Path], *, root: Path) -> list[Path]:
    path = Path(name)
    for candidate in (path, root / path, root / "notebooks" / path):
        if candidate.is_file() and candidate.suffix == ".ipynb":
            return [candidate.resolve()]
        if candidate.is_dir() and name not in ("", "."):
            return all_lessons(candidate.resolve())
    if name.isdigit():
        fitting = [p for p in lessons if p.stem.split("_")[0].lstrip("0") == name.lstrip("0")]
    else:
        slug = name.removesuffix(".ipynb")
        fitting = [p for p in lessons if slug in (p.stem, p.stem.partition("_")[2])]
        fitting = fitting or [p for p in lessons if slug and slug in p.stem]
    if not fitting:
        known = ", ".join(p.stem for p in lessons) or "none yet"
        raise PlaceError(f"No lesson is called {name!r}. The lessons here: {known}.")
    return fitting


def stop(sentence: object, *, status: int = 1) -> typer.Exit:
    """Say one sentence on standard error; `raise stop(…)` ends the command."""
    errors.print(str(sentence), style="red", markup=False)
    return typer.Exit(status)
