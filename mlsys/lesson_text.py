"""Lessons as text: py:percent to a notebook and back, with cell ids that stay what they were.

jupytext does the conversion and gives random ids; this module sets ids from what a cell says, keeps
the ids of a notebook that is built again, and strips outputs and a machine's metadata. It leaves
the judgement of a lesson to `mlsys.lint` and its execution to `mlsys.notebooks`.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any

import typer

from mlsys.place import stop

KEPT_CELL_METADATA = ("tags", "nbgrader", "profiles", "jupyter", "slideshow")
"""Everything else in a cell's metadata belongs to an editor or a machine."""

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}[a-z0-9]|[a-z0-9]")
SAME_CELL = 0.6  # share of equal text from which an edited cell counts as the same cell


class LessonTextError(ValueError):
    """A lesson's text or notebook that cannot be read; the message is one sentence."""


def to_notebook(text: Path, notebook: Path) -> bool:
    """Write the notebook of a py:percent text; True if the file changed.

    If the notebook exists, each cell that it already has keeps its id, also after an edit.
    """
    new = read_text(Path(text))
    notebook = Path(notebook)
    old = read_notebook(notebook) if notebook.exists() else None
    return write_notebook(clean(new, like=old), notebook)


def to_text(notebook: Path) -> str:
    """The py:percent text of a notebook; an id is written only where it would not come by itself.

    `to_notebook` makes the same notebook of it, ids included.
    """
    import jupytext

    nb = clean(read_notebook(Path(notebook)))
    derived = ids_for(nb.cells)
    for cell, own in zip(nb.cells, derived):
        if cell.id != own:
            cell.metadata["id"] = cell.id
    nb.metadata = {"jupytext": {"cell_metadata_filter": "all", "notebook_metadata_filter": "-all"}}
    return jupytext.writes(nb, fmt="py:percent").lstrip("\n")


def read_text(path: Path) -> Any:
    """The notebook in a py:percent text, ids not yet set."""
    import jupytext

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LessonTextError(f"{path} cannot be read as UTF-8 text: {error}.") from error
    if "# %%" not in text:
        raise LessonTextError(f"{path} has no cell: a cell begins with a line `# %%`.")
    nb = jupytext.reads(text, fmt="py:percent")
    for cell in nb.cells:
        cell.pop("id", None)  # jupytext makes one up
    first = nb.cells[0] if nb.cells else None
    # A comment before the first mark speaks to the author, not to the reader.
    if first is not None and not text.lstrip().startswith("# %%") and _only_comments(first):
        del nb.cells[0]
    return nb


def read_notebook(path: Path) -> Any:
    """A notebook of format 4.5 from its file."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises five unrelated classes for a broken file
        raise LessonTextError(f"{path} is not a notebook: {_first_line(error)}.") from error


def write_notebook(nb: Any, path: Path) -> bool:
    """Write a notebook in one step, or not at all; True if the file's bytes changed."""
    import nbformat

    nbformat.validate(nb)
    return write_atomically(path, nbformat.writes(nb) + "\n")


def write_atomically(path: Path, text: str) -> bool:
    """Put text into a file so that a reader sees the old or the new, whole; True if it changed."""
    data = text.encode("utf-8")
    if path.exists() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


def clean(nb: Any, *, like: Any = None) -> Any:
    """The notebook as it is committed: no outputs, no counts, no machine's metadata, stable ids.

    like: the notebook whose ids the same cells keep.
    """
    import nbformat

    cells = []
    for cell in nb.cells:
        new = {
            "code": nbformat.v4.new_code_cell,
            "markdown": nbformat.v4.new_markdown_cell,
            "raw": nbformat.v4.new_raw_cell,
        }[cell.cell_type](source=cell.source.strip("\n"))
        new.metadata.update({k: cell.metadata[k] for k in KEPT_CELL_METADATA if k in cell.metadata})
        if cell.get("attachments"):
            new["attachments"] = cell.attachments
        if wanted := cell.metadata.get("id"):
            new.metadata["id"] = wanted
        elif like is None and SLUG.fullmatch(cell.get("id", "")) and not looks_random(cell.id):
            new.metadata["id"] = cell.id
        cells.append(new)
    set_ids(cells, like=like.cells if like is not None else None)
    out = nbformat.v4.new_notebook(cells=cells, metadata=json.loads(json.dumps(KERNEL)))
    out.nbformat_minor = 5
    return out


def set_ids(cells: list[Any], *, like: list[Any] | None = None) -> None:
    """Give every cell its id, in place: as asked for, as it was, or from what it says; unique."""
    kept = _ids_kept(cells, like) if like else {}
    wished = [cell.metadata.pop("id", None) or kept.get(i) for i, cell in enumerate(cells)]
    for cell, own in zip(cells, ids_for(cells, wished=wished)):
        cell["id"] = own


def ids_for(cells: Iterable[Any], *, wished: list[str | None] | None = None) -> list[str]:
    """Ids derived from cells alone: grade id, `parameters`, heading or first words; made unique."""
    cells = list(cells)
    wished = wished or [None] * len(cells)
    taken = {wish for wish in wished if wish}
    given: set[str] = set()
    ids = []
    for cell, wish in zip(cells, wished):
        base = wish or derived_id(cell)
        own, count = base, 1
        while own in given or (own in taken and own != wish):
            count += 1
            own = f"{base[: 64 - len(str(count)) - 1]}-{count}"
        given.add(own)
        ids.append(own)
    return ids


def derived_id(cell: Any) -> str:
    """The id that a cell's own words give: `hedge_delay_test`, `parameters`, `imports`, …"""
    if grade_id := cell.metadata.get("nbgrader", {}).get("grade_id"):
        return _slug(re.findall(r"[A-Za-z0-9_-]+", grade_id)) or "graded"
    if "parameters" in cell.metadata.get("tags", []):
        return "parameters"
    lines = [line for line in cell.source.splitlines() if line.strip()]
    if cell.cell_type == "code":
        statements = [line for line in lines if not line.lstrip().startswith(("#", "@"))]
        if statements and statements[0].startswith(("import ", "from ")):
            return "imports"
        lines = statements or lines
        limit = 4
    else:
        limit = 6
    text = re.sub(r"<[^>]*>|https?://\S+|^(async def|class|def)\s", " ", lines[0] if lines else "")
    words = re.findall(r"[A-Za-z0-9_]+", text)
    return _slug(words[:limit]) or ("code" if cell.cell_type == "code" else "text")


def _slug(words: list[str]) -> str:
    slug = "-".join(words).lower().strip("-_")[:56].strip("-_")
    return f"cell-{slug}" if slug and looks_random(slug) else slug


def looks_random(cell_id: str) -> bool:
    """Whether an id is of the kind that nbformat and JupyterLab make up: hexadecimal, 8 or more."""
    return re.fullmatch(r"[0-9a-f]{8,}(-[0-9a-f]{4,})*", cell_id) is not None


def _ids_kept(cells: list[Any], old: list[Any]) -> dict[int, str]:
    """Which cell of a new version has which id of the old one: equal text first, then alike."""

    def said(cell: Any) -> str:
        return f"{cell.cell_type}\n{cell.source.strip()}"

    kept: dict[int, str] = {}
    matcher = SequenceMatcher(None, [said(c) for c in old], [said(c) for c in cells], False)
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            kept.update({b + i: old[a + i].id for i in range(a_end - a)})
        elif tag == "replace":
            kept.update(_alike(old, range(a, a_end), cells, range(b, b_end)))
    return {i: own for i, own in kept.items() if not looks_random(own)}


def _alike(old: list[Any], before: range, cells: list[Any], after: range) -> dict[int, str]:
    kept: dict[int, str] = {}
    free = list(before)
    for i in after:
        for j in free:
            same_kind = old[j].cell_type == cells[i].cell_type
            alike = SequenceMatcher(None, old[j].source, cells[i].source, False)
            if same_kind and alike.quick_ratio() >= SAME_CELL and alike.ratio() >= SAME_CELL:
                kept[i] = old[j].id
                free = [k for k in free if k > j]
                break
    return kept


def _only_comments(cell: Any) -> bool:
    return cell.cell_type == "code" and all(
        line.startswith("#") for line in cell.source.splitlines() if line.strip()
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def build_command(
    source: Annotated[Path, typer.Argument(help="A lesson as py:percent text.")],
    notebook: Annotated[Path, typer.Argument(help="The notebook to write: NAME.ipynb.")],
) -> None:
    """Write the notebook of a lesson's text; cells that it already has keep their ids."""
    try:
        if notebook.suffix != ".ipynb":
            raise LessonTextError(f"Name the notebook that {source} becomes: NAME.ipynb.")
        print(f"{notebook}: {'written' if to_notebook(source, notebook) else 'nothing changed'}")
    except LessonTextError as error:
        raise stop(error) from None
