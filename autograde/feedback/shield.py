"""What of a graded notebook a student may see. A hidden test is not shown, nor its message, nor
what ran in it; and since it hands its data to functions of the student, nothing that those print
afterwards is shown either. Pure functions of cells and reports.
"""

import ast
import builtins
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from nbformat.notebooknode import NotebookNode

_BUILT_IN = {
    name
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}
# The grader's own, and those of the libraries that courses use; any other name is free text.
_KNOWN = _BUILT_IN | {
    "CellTimeoutError", "LinAlgError", "NotFittedError", "ParserError", "EmptyDataError",
    "OutOfBoundsDatetime", "JSONDecodeError", "CancelledError", "InvalidStateError",
    "ValidationError", "BrokenPipeError",
}  # fmt: skip


@dataclass(frozen=True)
class Markers:
    """The lines between which an instructor hides text."""

    begin: str
    end: str


def without(source: str, markers: Sequence[Markers]) -> str:
    """Text without what stands between markers; without an end, to the end."""
    kept, closing = [], ""
    for line in source.split("\n"):
        opened = next((pair for pair in markers if pair.begin and pair.begin in line), None)
        if closing:
            closing = "" if closing in line else closing
        elif opened:
            closing = opened.end or "\n"
        elif not any(pair.end and pair.end in line for pair in markers):
            kept.append(line)
    return "\n".join(kept).strip("\n")


def has(source: str, markers: Sequence[Markers]) -> bool:
    return any(pair.begin and pair.begin in source for pair in markers)


@dataclass(frozen=True)
class Seen:
    """A cell as its student may see it. `secret`: a hidden test has run in it; `shielded`: what it
    printed could tell of one.
    """

    cell: NotebookNode
    source: str
    secret: bool
    shielded: bool
    openly: Set[str] = frozenset()


def look(
    cells: Sequence[NotebookNode],
    markers: Sequence[Markers],
    *,
    show_hidden: bool,
    show_after: bool,
) -> Iterator[Seen]:
    """Each cell in turn; `markers` has the pair of hidden tests first."""
    before = False
    openly = said_openly(cells, markers)
    for cell in cells:
        code = cell.cell_type == "code"
        if show_hidden:
            yield Seen(cell, cell.source, False, False)
            continue
        secret = code and has(cell.source, markers[:1])
        before = before or secret
        own = code and not secret and show_after
        yield Seen(cell, without(cell.source, markers), secret, code and before and not own, openly)


def said_openly(cells: Sequence[NotebookNode], markers: Sequence[Markers]) -> frozenset[str]:
    """Names and texts in the part of the instructor's cells that students have: an error that says
    no more than one of them tells nothing.
    """
    found: set[str] = set()
    for cell in cells:
        if cell.cell_type != "code" or not cell.metadata.get("nbgrader", {}).get("locked"):
            continue
        try:
            tree = ast.parse(without(cell.source, markers))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value.strip())
    return frozenset(found)


def message(error: NotebookNode, openly: Set[str]) -> str:
    """An error's message if it was to be read in the assignment already, else ""."""
    text = str(error.get("evalue", "")).strip()
    name = re.match(r"^name '(\w+)' is not defined$", text)
    return text if text in openly or (name and name[1] in openly) else ""


def error_name(name: str) -> str:
    """A kind of exception that names nothing of a test: one that everybody knows, or none."""
    return name if name in _KNOWN else "an exception of another kind"
