"""The student's folder `workspace/`: made from the lessons, updated without touching their work.

Lessons come from `notebooks/`, assignments from the course's `source/`; the edition last handed out
is kept in `workspace/.mlsys/base/` so that an update can tell the student's changes from ours.
`mlsys.edition` makes an edition, `mlsys.merge` joins; this module reads, writes and reports.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from mlsys.lesson_text import write_atomically
from mlsys.place import PlaceError, all_lessons, find_lessons, find_root, stop

WORKSPACE = "workspace"
ASSIGNMENTS = "assignments"
LEFT_OUT = {".py", ".toml", ".cfg", ".lock"}  # tool settings beside the lessons
CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True)
class Change:
    """What an update did to one file: new, updated, kept (the student's), conflict, or broken."""

    path: Path
    what: str
    says: str = ""


def update(root: Path, *, workspace: Path | None = None) -> list[Change]:
    """Make or update the student edition; returns what changed, file by file.

    A notebook that cannot be read is never written over: the new lesson is put beside it. Raises
    EditionError, before anything is written, if a source cannot be handed out.
    """
    from mlsys.edition import student_edition

    workspace = workspace or root / WORKSPACE
    editions = [
        (place, student_edition(_content(source), name=source.stem, assignment=graded))
        for source, place, graded in _sources(root)
    ]
    changes = [_update_notebook(workspace, place, new) for place, new in editions]
    changes += [_update_file(workspace, place, source) for source, place in _other_files(root)]
    return [change for change in changes if change is not None]


def _sources(root: Path) -> Iterator[tuple[Path, Path, bool]]:
    """Each source notebook, its place in the workspace, and whether it is an assignment."""
    for path in all_lessons(root / "notebooks"):
        yield path, path.relative_to(root / "notebooks"), False
    course = root / "autograde" / "course" / "source"
    if course.is_dir():
        for path in all_lessons(course):
            yield path, Path(ASSIGNMENTS) / path.relative_to(course), True


def _other_files(root: Path) -> Iterator[tuple[Path, Path]]:
    """Pictures and data that lie beside the notebooks."""
    course = root / "autograde" / "course" / "source"
    for folder, place in ((root / "notebooks", Path()), (course, Path(ASSIGNMENTS))):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            inside = path.relative_to(folder)
            hidden = any(part.startswith((".", "__")) for part in inside.parts)
            if path.is_file() and not hidden and path.suffix not in {".ipynb", *LEFT_OUT}:
                yield path, place / inside


def _content(source: Path) -> dict[str, Any]:
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlaceError(f"{source} is not a notebook that can be read: {error}.") from error


def _update_notebook(workspace: Path, place: Path, new: Any) -> Change | None:
    from nbformat import v4

    from mlsys.merge import merge

    path, kept = workspace / place, _base(workspace, place)
    if not path.exists():
        _write(path, new)
        _write(kept, new)
        return Change(place, "new")
    try:
        mine = _read_valid(path)
    except ValueError as error:
        return _put_beside(workspace, place, new, error)
    try:
        base = _read_valid(kept)
    except ValueError:
        base = v4.new_notebook()
    merged = merge(base, mine, new)
    wrote = merged.notebook != mine and _write(path, merged.notebook)
    # The base comes last: an update cut short in between is simply done again.
    _write(kept, new)
    if merged.conflicts:
        cells = ", ".join(merged.conflicts)
        return Change(place, "conflict", f"{place}: you and the course both changed {cells}; "
                                         "yours is kept, the course's follows it")  # fmt: skip
    return Change(place, "updated") if wrote else None


def _put_beside(workspace: Path, place: Path, new: Any, error: ValueError) -> Change:
    beside = place.with_name(f"{place.stem}.new.ipynb")
    if not place.stem.endswith(".new"):
        _update_notebook(workspace, beside, new)
    says = f"{place} cannot be read ({error}); it is left as it is, and {beside.name} is the lesson"
    return Change(place, "broken", says)


def _update_file(workspace: Path, place: Path, source: Path) -> Change | None:
    path, kept = workspace / place, _base(workspace, place)
    new = source.read_bytes()
    there = path.read_bytes() if path.exists() else None
    if there is not None and there != new and (not kept.exists() or kept.read_bytes() != there):
        return Change(place, "kept", f"{place}: you changed it; yours is kept")
    for target in (path, kept):
        if not target.exists() or target.read_bytes() != new:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target.with_name(f".{target.name}.part"))
            target.with_name(f".{target.name}.part").replace(target)
    if there == new:
        return None
    return Change(place, "new" if there is None else "updated")


def _base(workspace: Path, place: Path) -> Path:
    return workspace / ".mlsys" / "base" / place


def _read_valid(path: Path) -> Any:
    """A valid notebook of format 4, with ids where its cells have usable ones.

    Raises ValueError with a short reason for a file that is not one.
    """
    import nbformat
    from nbformat.v4.rwbase import rejoin_lines

    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(type(error).__name__) from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON from line {error.lineno} on") from error
    if not isinstance(raw, dict) or raw.get("nbformat") != 4:
        raise ValueError("it is not a notebook of format 4")
    # Format 4.4 asks for no ids: the merge gives them to cells that an old editor left without.
    raw["nbformat_minor"] = 4
    try:
        nbformat.validate(raw, relax_add_props=True)
    except nbformat.ValidationError as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"it is no valid notebook: {said[:100]}") from error
    nb = rejoin_lines(nbformat.from_dict(raw))
    nb.nbformat_minor = 5
    for cell in nb.cells:
        if not CELL_ID.fullmatch(str(cell.get("id", ""))):
            cell.pop("id", None)
    return nb


def _write(path: Path, nb: Any) -> bool:
    import nbformat

    nbformat.validate(nb)
    return write_atomically(path, nbformat.writes(nb) + "\n")


def attempted(root: Path, lesson: Path, *, workspace: Path | None = None) -> set[str]:
    """Ids of the cells of a lesson that the student has changed since they were handed out."""
    from mlsys.merge import changed_cells

    workspace = workspace or root / WORKSPACE
    place = lesson.relative_to(root / "notebooks")
    try:
        return changed_cells(_read_valid(_base(workspace, place)), _read_valid(workspace / place))
    except ValueError:
        return set()


def update_command() -> None:
    """Make or update the student edition in workspace/; what a student wrote is never touched."""
    try:
        root = find_root()
        changes = update(root)
    except ValueError as error:
        raise stop(error) from None
    report(changes, root)


def report(changes: list[Change], root: Path) -> None:
    """Say what an update did: one line in all, and one for each file that needs the student."""
    counted = {what: sum(c.what == what for c in changes) for what in ("new", "updated")}
    said = ", ".join(f"{n} {what}" for what, n in counted.items() if n) or "nothing to change"
    print(f"Student edition in {root / WORKSPACE}: {said}.")
    for change in changes:
        if change.says:
            print(f"  {change.says}.")


def solution_command(
    lesson: Annotated[str, typer.Argument(help="Number (16), slug or path of the lesson.")],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Show what you have not tried yet too.")
    ] = False,
) -> None:
    """Show a lesson's solutions, each after you have tried its exercise."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.syntax import Syntax

    from mlsys.edition import is_solution

    try:
        root = find_root()
        path = find_lessons([lesson], root=root)[0]
        content = _content(path)
        tried = attempted(root, path)
    except ValueError as error:
        raise stop(error) from None
    cells = [{**cell, "source": "".join(cell["source"])} for cell in content["cells"]]
    exercises = [cell for cell in cells if is_solution(cell)]
    if not exercises:
        raise stop(f"{path.stem} has no exercise with a solution.")
    shown = [cell for cell in exercises if anyway or cell["id"] in tried]
    console = Console(highlight=False)
    for cell in shown:
        console.rule(cell["metadata"]["nbgrader"].get("grade_id", cell["id"]))
        source = _without_marks(cell["source"])
        code = cell["cell_type"] == "code"
        console.print(Syntax(source, "python") if code else Markdown(source))
    held = [c["metadata"]["nbgrader"].get("grade_id", c["id"]) for c in exercises if c not in shown]
    if held:
        said = f"Not tried yet: {', '.join(held)}. Try first, or add --anyway."
        if not shown:
            raise stop(said)
        console.print(said, style="yellow", markup=False)


def _without_marks(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.strip().startswith("### "))
