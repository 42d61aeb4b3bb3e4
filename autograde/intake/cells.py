"""Brings a submitted notebook's cells together with those that were handed out: the instructor's
cells get their text, metadata and place back, cells that stand twice are told apart, and what is no
cell of the assignment is the student's own. A student's text is never changed.
"""

import copy
import hashlib
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode

from autograde.intake.names import shown
from autograde.intake.reading import Cell, Read

_ID = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_MOST_NAMED = 6  # names listed in one sentence
_MOST_METADATA = 100_000  # characters, of a cell or of the notebook
# What nbformat's schema wants of metadata that it names.
_TYPES = {
    "collapsed": bool,
    "deletable": bool,
    "editable": bool,
    "scrolled": bool,
    "name": str,
    "format": str,
    "title": str,
    "authors": list,
    "orig_nbformat": int,
    "tags": list,
    "jupyter": dict,
    "execution": dict,
}


def grade_id(metadata: Mapping[str, Any]) -> str:
    """The name that nbgrader gave a cell, or "" for a cell that it does not know."""
    about = metadata.get("nbgrader")
    name = about.get("grade_id") if isinstance(about, dict) else None
    return name if isinstance(name, str) else ""


def old_names(metadata: Mapping[str, Any]) -> list[str]:
    """What a cell or a notebook was called before, as the instructor says: a name, or several."""
    said = metadata.get("autograde", {}).get("formerly", ())
    return [said] if isinstance(said, str) else list(said)


def released_cells(released: NotebookNode) -> dict[str, NotebookNode]:
    """The assignment's cells by name, in their order."""
    return {name: cell for cell in released.cells if (name := grade_id(cell.metadata))}


def mend(read: Read, released: NotebookNode | None) -> tuple[dict[str, Any], list[str]]:
    """The JSON of a valid notebook of format 4.5, and a sentence for each repair.

    Without the released notebook the cells stay as they are.
    """
    repairs, cells = list(read.repairs), read.cells
    if read.minor in range(5) and not (released and released.nbformat_minor == read.minor):
        was = f"{read.name} was in notebook format 4.{read.minor}"
        repairs.append(f"{was}; it was brought to format 4.5.")
    if released is not None:
        known = released_cells(released)
        cells = _with_new_names(cells, known, repairs)
        cells = _without_strangers(cells, known, repairs)
        cells = _without_doubles(cells, known, repairs)
        cells = _with_released(cells, known, repairs)
        cells = _in_place(cells, known, repairs)
    notebook = {
        "cells": _nodes(cells, repairs),
        "metadata": _about(read.metadata, released),
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return notebook, repairs


def blank(released: NotebookNode, reason: str) -> NotebookNode:
    """The notebook as it was handed out, with the reason on top why it stands in for another."""
    notebook = copy.deepcopy(released)
    text = f"**This submission could not be read.** {_escaped(reason)}"
    note = nbformat.v4.new_markdown_cell(text, id="not-read")
    notebook.cells.insert(0, note)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for place, cell in enumerate(notebook.cells):
        if not _ID.match(str(cell.get("id", ""))):
            cell.id = _new_id(place, cell.source)
    return notebook


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>()#+!|$~&])", r"\\\1", text)


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(shown(name) for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{listed} and {more} more" if more > 0 else listed


def _with_new_names(
    cells: list[Cell], known: Mapping[str, NotebookNode], repairs: list[str]
) -> list[Cell]:
    """A cell that the instructor has renamed since is found under its new name, unless that was
    handed in as well."""
    here = {grade_id(cell.metadata) for cell in cells}
    formerly = {}
    for name, ours in known.items():
        for old in old_names(ours.metadata):
            if name not in here and old not in known:
                formerly[old] = name
    kept, renamed = [], []
    for cell in cells:
        name = grade_id(cell.metadata)
        if name in formerly:
            about = {**cell.metadata["nbgrader"], "grade_id": formerly[name]}
            cell = replace(cell, metadata={**cell.metadata, "nbgrader": about})
            renamed.append(f"{name} is now {formerly[name]}")
        kept.append(cell)
    if renamed:
        repairs.append(f"The assignment has new names for cells: {_named(renamed)}.")
    return kept


def _without_strangers(
    cells: list[Cell], known: Mapping[str, NotebookNode], repairs: list[str]
) -> list[Cell]:
    """nbgrader's marks on a cell that the assignment has not would stop the class."""
    kept, strangers = [], []
    for cell in cells:
        if "nbgrader" in cell.metadata and grade_id(cell.metadata) not in known:
            name = grade_id(cell.metadata)
            about = cell.metadata["nbgrader"]
            if name or (isinstance(about, dict) and about.get("grade")):
                strangers.append(name or "(no name)")
            cell = _plain(cell)
        kept.append(cell)
    if strangers:
        repairs.append(f"Not of this assignment, so kept as ordinary cells: {_named(strangers)}.")
    return kept


def _plain(cell: Cell) -> Cell:
    return replace(cell, metadata={k: v for k, v in cell.metadata.items() if k != "nbgrader"})


def _without_doubles(
    cells: list[Cell], known: Mapping[str, NotebookNode], repairs: list[str]
) -> list[Cell]:
    """Of a cell that stands twice the last is the one, and of an answer the last that is one."""
    places: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if name := grade_id(cell.metadata):
            places.setdefault(name, []).append(place)
    doubles = {name: there for name, there in places.items() if len(there) > 1}
    differing = []
    for name, there in doubles.items():
        handed_out = _squeezed(known[name].source)
        own = [place for place in there if _squeezed(cells[place].source) != handed_out]
        keep = own[-1] if own and not _locked(known[name]) else there[-1]
        for place in there:
            if place != keep:
                cells[place] = _plain(cells[place])
        answers = {_squeezed(cells[place].source) for place in own}
        if len(answers) > 1 and not _locked(known[name]):
            differing.append(name)
    if differing:
        repairs.append(f"Of answers given more than once the last counts: {_named(differing)}.")
    if same := [name for name in doubles if name not in differing]:
        repairs.append(f"Cells that stood there more than once count once: {_named(same)}.")
    return cells


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _locked(cell: NotebookNode) -> bool:
    return bool(cell.metadata.nbgrader.get("locked"))


def _with_released(
    cells: list[Cell], known: Mapping[str, NotebookNode], repairs: list[str]
) -> list[Cell]:
    """The instructor's text in the instructor's cells, the instructor's word on every cell."""
    done, altered, retyped = [], [], []
    for cell in cells:
        name = grade_id(cell.metadata)
        if not name:
            done.append(cell)
            continue
        ours = known[name]
        source = cell.source
        if _locked(ours):
            if source.strip() != ours.source.strip() or cell.kind != ours.cell_type:
                altered.append(name)
            source = ours.source
        elif cell.kind != ours.cell_type:
            retyped.append(name)
        attachments = cell.attachments if ours.cell_type != "code" else None
        metadata = {**cell.metadata, "nbgrader": copy.deepcopy(ours.metadata.nbgrader)}
        done.append(Cell(ours.cell_type, source, metadata, cell.id or ours.get("id"), attachments))
    if altered:
        repairs.append(f"Changed test and instruction cells were restored: {_named(altered)}.")
    if retyped:
        repairs.append(f"Cells got back their kind, code or text: {_named(retyped)}.")
    return done


def _in_place(
    cells: list[Cell], known: Mapping[str, NotebookNode], repairs: list[str]
) -> list[Cell]:
    """Missing cells of the instructor's come back, and moved ones go back, each behind the cell
    that it followed. Where a student's answers stand stays the student's choice; an answer cell
    that a person grades comes back empty, since somebody will look for it.
    """
    order = {name: rank for rank, name in enumerate(known)}
    here = [name for cell in cells if (name := grade_id(cell.metadata))]
    steady = _longest_rising(here, order, known)
    movable = {name for name in here if name not in steady and _locked(known[name])}
    rest = [cell for cell in cells if grade_id(cell.metadata) not in movable]
    by_name = {grade_id(cell.metadata): cell for cell in cells}
    missing, before = [], ""
    for name, ours in known.items():
        wanted = _locked(ours) or bool(ours.metadata.nbgrader.get("grade"))
        wanted = wanted or bool(ours.metadata.nbgrader.get("task"))
        if name in movable or (name not in by_name and wanted):
            cell = by_name.get(name)
            if cell is None:
                missing.append(name)
                cell = Cell(ours.cell_type, ours.source, copy.deepcopy(dict(ours.metadata)))
            rest.insert(_behind(rest, before), cell)
        if name in by_name or wanted:
            before = name
    moved = [name for name in movable if _follower(cells, name) != _follower(rest, name)]
    if missing:
        repairs.append(f"Cells that were missing are back: {_named(missing)}.")
    if moved:
        moved.sort(key=order.__getitem__)
        repairs.append(f"Cells that had been moved are back in their place: {_named(moved)}.")
    return rest


def _behind(cells: list[Cell], name: str) -> int:
    """The place after a cell; the assignment's first cell belongs before all its others."""
    if name:
        for place, cell in enumerate(cells):
            if grade_id(cell.metadata) == name:
                return place + 1
        return len(cells)
    named = (place for place, cell in enumerate(cells) if grade_id(cell.metadata))
    return next(named, len(cells))


def _follower(cells: list[Cell], name: str) -> str:
    """The assignment's cell that stands before the named one."""
    before = ""
    for cell in cells:
        here = grade_id(cell.metadata)
        if here == name:
            return before
        before = here or before
    return before


def _longest_rising(
    names: list[str], order: Mapping[str, int], known: Mapping[str, NotebookNode]
) -> set[str]:
    """The cells that stand in the assignment's order, as many answers as can be and then as many
    of the instructor's; what is not among them has been moved.
    """
    weights = [1 if _locked(known[name]) else len(names) + 1 for name in names]
    best: list[int] = []
    before: list[int] = []
    for place, name in enumerate(names):
        earlier = (i for i in range(place) if order[names[i]] < order[name])
        last = max(earlier, key=best.__getitem__, default=-1)
        best.append(weights[place] + (best[last] if last >= 0 else 0))
        before.append(last)
    steady, place = set(), max(range(len(names)), key=best.__getitem__, default=-1)
    while place >= 0:
        steady.add(names[place])
        place = before[place]
    return steady


def _about(metadata: Mapping[str, Any], released: NotebookNode | None) -> dict[str, Any]:
    """The notebook's own metadata, with the assignment's kernel and nothing that widgets kept."""
    if released is None:
        return _clean(metadata, {"widgets"})
    kept = _clean(metadata, {"widgets", "kernelspec", "language_info"})
    language = metadata.get("language_info")
    if isinstance(language, dict) and isinstance(language.get("name"), str):
        kept["language_info"] = language
    ours = {k: v for k, v in released.metadata.items() if k in ("kernelspec", "language_info")}
    return kept | copy.deepcopy(ours)


def _nodes(cells: list[Cell], repairs: list[str]) -> list[dict[str, Any]]:
    """Cells as nbformat's schema has them, each with an id that no other has."""
    used: set[str] = set()
    doubles, nodes = 0, []
    for place, cell in enumerate(cells):
        name = cell.id if cell.id is not None and _ID.match(cell.id) else ""
        if name in used:
            doubles += 1
        if not name or name in used:
            name = _new_id(place, cell.source)
        used.add(name)
        node: dict[str, Any] = {
            "cell_type": cell.kind,
            "id": name,
            "metadata": _clean(cell.metadata),
            "source": cell.source.splitlines(keepends=True),
        }
        if cell.kind == "code":
            node |= {"execution_count": None, "outputs": []}
        elif cell.attachments and (pictures := _pictures(cell.attachments)):
            node["attachments"] = pictures
        nodes.append(node)
    if doubles:
        cells_ = "a cell" if doubles == 1 else f"{doubles} cells"
        repairs.append(f"The internal id of {cells_} stood there twice; a new one was given.")
    return nodes


def _new_id(place: int, source: str) -> str:
    return hashlib.sha256(f"{place}\0{source}".encode("utf-8", "replace")).hexdigest()[:12]


def _clean(metadata: Mapping[str, Any], without: Set[str] = frozenset()) -> dict[str, Any]:
    """Metadata that nbformat's schema takes, of bounded size; "autograde" is the grader's word."""
    kept = {}
    for key, value in metadata.items():
        right = _TYPES.get(key, object)
        if key not in without and key != "autograde" and isinstance(value, right):
            kept[key] = value
    if "tags" in kept:
        tags = [t for t in kept["tags"] if isinstance(t, str) and re.match(r"^[^,]{1,80}$", t)]
        kept["tags"] = list(dict.fromkeys(tags))
    if "jupyter" in kept:
        kept["jupyter"] = {k: v for k, v in kept["jupyter"].items() if isinstance(v, bool)}
    if "execution" in kept:
        kept["execution"] = {k: v for k, v in kept["execution"].items() if isinstance(v, str)}
    if len(str(kept)) > _MOST_METADATA:
        kept = {k: v for k, v in kept.items() if k == "nbgrader"}
    return kept


def _pictures(attachments: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {
        name: {kind: data for kind, data in bundle.items() if isinstance(data, str)}
        for name, bundle in attachments.items()
        if isinstance(bundle, dict)
    }
