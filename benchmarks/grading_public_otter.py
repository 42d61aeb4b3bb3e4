"""Turns notebooks of otter into nbgrader's form, so that both are run alike: the answers become
solution cells, each test case a locked test cell. Two kinds are read, none of otter's code is used:
a source notebook with `BEGIN SOLUTION` and `BEGIN TESTS` cells, and a solved notebook with
`grader.check("q1")` cells and test files in the format of OK beside it.

A case of otter passes when it shows what it showed to its author, so that text is kept with the
cell, as `wanted`.
"""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator
from pathlib import Path

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell

_BOUNDARY = re.compile(r"\A\s*(?:```otter\s+)?#\s*(BEGIN|END)\s+(SOLUTION|TESTS|QUESTION)\b")
_SOURCE = re.compile(r"#\s*(ASSIGNMENT CONFIG|BEGIN TESTS)")
_CONFIG = re.compile(r'\A\s*"""\s*# BEGIN TEST CONFIG.*?# END TEST CONFIG', re.DOTALL)
_OTTERS = re.compile(r"^.*(?:\botter\b|\bgrader\.(?:check|export)).*$", re.MULTILINE)
_CHECK = re.compile(r"^\s*grader\.check\(\s*['\"]([\w.-]+)['\"]", re.MULTILINE)


def is_source(notebook: NotebookNode) -> bool:
    """Whether `otter assign` would read it."""
    return any(c.cell_type != "code" and _SOURCE.search(c.source) for c in notebook.cells)


def is_checked(notebook: NotebookNode) -> bool:
    """Whether its tests are in files beside it."""
    return any(c.cell_type == "code" and _CHECK.search(c.source) for c in notebook.cells)


def from_source(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells of a source notebook in nbgrader's form."""
    found, block = [], ""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            if boundary := _BOUNDARY.match(cell.source):
                block = boundary[2] if boundary[1] == "BEGIN" else ""
        elif block == "TESTS":
            found.append(_test(_CONFIG.sub("", cell.source, 1).strip(), _recorded(cell)))
        else:
            found.append(_ordinary(cell.source, answer=block == "SOLUTION"))
    return found


def from_checked(notebook: NotebookNode, folder: Path) -> list[NotebookNode]:
    """The code cells of a notebook with `grader.check`, each call followed by its file's cases. The
    cell before a call is the answer.
    """
    found: list[NotebookNode] = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        questions = _CHECK.findall(cell.source)
        if questions and found and not found[-1].metadata.nbgrader.grade:
            found[-1].metadata.nbgrader |= _about(solution=True)
        found.append(_ordinary(cell.source, answer=False))
        for question in questions:
            for code in _cases(folder / "tests" / f"{question}.py"):
                found += [_test(text, wanted) for text, wanted in _examples(code)]
    return found


def _cases(path: Path) -> Iterator[str]:
    """The texts of a test file's cases, read as data; none where it is no such file."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        values = [node.value for node in tree.body if isinstance(node, ast.Assign)]
        for suite in ast.literal_eval(values[-1])["suites"]:
            yield from (str(case["code"]) for case in suite["cases"])
    except (OSError, SyntaxError, ValueError, LookupError, TypeError):
        return


def _examples(code: str) -> Iterator[tuple[str, str]]:
    """A case's examples as cells: each ends where something must be shown."""
    lines = ""
    for example in doctest.DocTestParser().get_examples(code):
        lines += example.source
        if example.want:
            yield lines, example.want
            lines = ""
    if lines:
        yield lines, ""


def _recorded(cell: NotebookNode) -> str:
    """What a cell showed when its author ran it."""
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            texts.append(output.text)
        elif output.output_type == "execute_result":
            texts.append(output.data.get("text/plain", ""))
    return "".join(texts)


def _about(*, solution: bool = False, test: bool = False) -> dict[str, object]:
    return {"solution": solution, "grade": test, "locked": test}


def _ordinary(source: str, *, answer: bool) -> NotebookNode:
    """A cell that is no test, without the lines that start or ask otter."""
    about = _about(solution=answer)
    return new_code_cell(_OTTERS.sub("", source), metadata={"nbgrader": about})


def _test(source: str, wanted: str) -> NotebookNode:
    return new_code_cell(source, metadata={"nbgrader": _about(test=True), "wanted": wanted})
