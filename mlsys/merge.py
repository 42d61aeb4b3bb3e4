"""A three-way merge of notebooks by cell id: the edition handed out, the student's, and the new.

The student always wins: a cell that they changed, added, moved or deleted stays so. What they left
alone becomes what the new edition says. Where both changed a cell, the student's stays and the new
one follows it under a note, once. Pure functions on notebooks; files are for `mlsys.workspace`.
"""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlsys.lesson_text import derived_id

NOTE = (
    "*The course has a new version of the cell above. Yours is untouched; the new one is below. "
    "Delete the one that you do not want.*"
)
NOTE_ON_CODE = NOTE[:-1] + " It is plain text until you select it and press Y.*"


@dataclass(frozen=True)
class Merged:
    """The merged notebook, and the ids of cells that both sides had changed."""

    notebook: Any
    conflicts: tuple[str, ...]


def merge(base: Any, mine: Any, new: Any) -> Merged:
    """Bring the student's notebook (`mine`) from the edition `base` up to the edition `new`.

    All three are notebooks of format 4.5; none is changed. With no edits of the student's the
    result equals `new` (and keeps outputs of cells that stayed the same); merging the result once
    more with `new` as its own base changes nothing.
    """
    was = {cell["id"]: cell for cell in base.cells}
    will = {cell["id"]: cell for cell in new.cells}
    own_cells = _with_unique_ids(mine.cells, was, will)
    own = {cell["id"]: cell for cell in own_cells}

    cells: dict[str, Any] = {}
    follows: dict[str, list[Any]] = {}  # cells that stand right after a cell of the student's
    conflicts = []
    for cell_id, cell in own.items():
        before, after = was.get(cell_id), will.get(cell_id)
        if after is not None and _same(cell, after):
            cells[cell_id] = _taken_over(before, cell, after)
        elif before is None or not _same(cell, before):
            cells[cell_id] = cell
            if after is not None and (before is None or not _same(before, after)):
                follows[cell_id] = _conflict(after, taken={*was, *will, *own})
                conflicts += [cell_id] if follows[cell_id] else []
        elif after is not None:
            cells[cell_id] = _taken_over(before, cell, after)
        # else: the student left it alone and the course dropped it
    for cell_id, cell in will.items():
        if cell_id not in was and cell_id not in own:
            cells[cell_id] = copy.deepcopy(cell)

    order = _order(list(was), list(own), list(will), set(cells))
    result = copy.deepcopy(new)
    result.metadata = _merged_keys(base.metadata, mine.metadata, new.metadata, type(new.metadata))
    result.cells = [c for cell_id in order for c in (cells[cell_id], *follows.get(cell_id, ()))]
    return Merged(result, tuple(conflicts))


def changed_cells(base: Any, mine: Any) -> set[str]:
    """Ids of cells of `base` whose text the student changed; deleted ones are not among them."""
    own = {cell["id"]: cell for cell in _with_unique_ids(mine.cells, {}, {})}
    return {c["id"] for c in base.cells if c["id"] in own and not _same(c, own[c["id"]])}


def _same(one: Any, other: Any) -> bool:
    """Equal in what a person writes; metadata and outputs belong to editors and runs."""
    keys = ("cell_type", "source", "attachments")
    return all((one.get(key) or "") == (other.get(key) or "") for key in keys)


def _taken_over(before: Any, cell: Any, after: Any) -> Any:
    """The new edition's cell, with the outputs of the student's if its text stayed the same."""
    taken = copy.deepcopy(after)
    taken["metadata"] = _merged_keys(
        before["metadata"] if before else {}, cell["metadata"], after["metadata"],
        type(after["metadata"]),
    )  # fmt: skip
    if cell["cell_type"] == "code" and _same(cell, after):
        taken["outputs"] = copy.deepcopy(cell["outputs"])
        taken["execution_count"] = cell["execution_count"]
    return taken


def _merged_keys(base: Any, mine: Any, new: Any, kind: type) -> Any:
    """Key by key: the student's value where they changed it, else the new edition's."""
    keys = [*new, *(key for key in mine if key not in new)]
    kept = {}
    for key in keys:
        theirs = mine.get(key) != base.get(key)
        source = mine if theirs and key != "nbgrader" else new
        if key in source:
            kept[key] = copy.deepcopy(source[key])
    return kind(kept)


def _conflict(after: Any, *, taken: set[str]) -> list[Any]:
    """The note and the new cell, under ids made from the text, so that they come only once."""
    import nbformat

    mark = hashlib.sha256(after["source"].encode()).hexdigest()[:8]
    note_id, new_id = (f"{after['id'][:40]}-{word}-{mark}" for word in ("note", "new"))
    if {note_id, new_id} & taken:
        return []
    if after["cell_type"] == "code":
        # As code it would run after the student's cell and undo their work.
        cell, said = nbformat.v4.new_raw_cell(after["source"]), NOTE_ON_CODE
    else:
        cell, said = copy.deepcopy(after), NOTE
        # Two cells of one grade_id make nbgrader refuse the notebook: the student's keeps it.
        for key in ("nbgrader", "deletable", "editable"):
            cell["metadata"].pop(key, None)
    note = nbformat.v4.new_markdown_cell(said)
    note["id"], cell["id"] = note_id, new_id
    return [note, cell]


def _order(was: list[str], own: list[str], will: list[str], present: set[str]) -> list[str]:
    """The order of the cells that are there: the new edition's, unless the student moved some."""
    shared_before = [i for i in was if i in set(own)]
    shared_now = [i for i in own if i in set(was)]
    spine, other = (will, own) if shared_before == shared_now else (own, will)
    return _weave([i for i in spine if i in present], other, present)


def _weave(spine: list[str], other: Sequence[str], present: set[str]) -> list[str]:
    """Put what only `other` has into the spine, each right after what it follows in `other`."""
    result = list(spine)
    there = set(spine)
    previous = None
    for cell_id in other:
        if cell_id not in present:
            continue
        if cell_id not in there:
            result.insert(result.index(previous) + 1 if previous else 0, cell_id)
            there.add(cell_id)
        previous = cell_id
    return result


def _with_unique_ids(cells: Sequence[Any], was: dict[str, Any], will: dict[str, Any]) -> list[Any]:
    """The student's cells, each with an id of its own.

    Older editors drop ids: such a cell gets the id of the edition's cell that says the same or has
    its grade_id. A copy made by hand has its original's id: the first keeps it.
    """
    cells = [copy.deepcopy(cell) for cell in cells]
    keeper: dict[str, int] = {}
    for number, cell in enumerate(cells):
        cell_id = cell.get("id")
        if cell_id and (cell_id not in keeper):
            keeper[cell_id] = number
    taken = set(keeper)
    free = [cell for cell in was.values() if cell["id"] not in taken]
    for number, cell in enumerate(cells):
        if cell.get("id") and keeper[cell["id"]] == number:
            continue
        if not cell.get("id") and (found := _counterpart(cell, free)):
            free.remove(found)
            cell["id"] = found["id"]
        else:
            cell["id"] = _fresh(cell.get("id") or derived_id(cell), taken | set(was) | set(will))
        taken.add(cell["id"])
    return cells


def _counterpart(cell: Any, free: list[Any]) -> Any:
    grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id")
    for other in free:
        same_exercise = grade_id and other["metadata"].get("nbgrader", {}).get("grade_id")
        if _same(cell, other) or (same_exercise and same_exercise == grade_id):
            return other
    return None


def _fresh(wish: str, taken: set[str]) -> str:
    number = 1
    while (own := f"{wish[:54]}-mine-{number}") in taken:
        number += 1
    return own
