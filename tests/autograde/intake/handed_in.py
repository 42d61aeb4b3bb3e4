"""A small assignment as it was handed out, and folders of what came back."""

import copy
import json
from pathlib import Path
from typing import Any

RELEASED = "hw1"


def cell(name: str, source: str, *, kind: str = "code", **about: bool | float) -> dict[str, Any]:
    """A cell of nbgrader's; `about` has its flags."""
    flags = {"grade": False, "solution": False, "locked": False, "task": False} | about
    marks = {"grade_id": name, "schema_version": 3, "checksum": "0" * 32, **flags}
    found = {"cell_type": kind, "id": f"id-{name}", "source": source, "metadata": {}}
    found["metadata"]["nbgrader"] = marks
    return found | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def test_cell(name: str, source: str) -> dict[str, Any]:
    return cell(name, source, grade=True, locked=True, points=2)


test_cell.__test__ = False

CELLS = [
    {"cell_type": "markdown", "id": "intro", "source": "# Homework", "metadata": {}},
    cell("setup", "import math", locked=True),
    cell("area", "def area(r):\n    raise NotImplementedError", solution=True),
    test_cell("test_area", "assert area(0) == 0"),
    cell("ring", "def ring(a, b):\n    raise NotImplementedError", solution=True),
    test_cell("test_ring", "assert ring(1, 1) == 0"),
    cell("why", "*Your answer here.*", kind="markdown", grade=True, solution=True, points=3),
]
ANSWERS = {
    "area": "def area(r):\n    return math.pi * r**2",
    "ring": "def ring(a, b):\n    return area(a) - area(b)",
    "why": "Because it is a difference.",
}


def notebook(cells: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = copy.deepcopy(CELLS if cells is None else cells)
    return {"cells": content, "metadata": {"kernelspec": kernel}, "nbformat": 4,
            "nbformat_minor": 5}  # fmt: skip


def solved() -> dict[str, Any]:
    """The assignment as an honest student hands it in."""
    done = notebook()
    for one in done["cells"]:
        name = one["metadata"].get("nbgrader", {}).get("grade_id", "")
        one["source"] = ANSWERS.get(name, one["source"])
    return done


def place(content: dict[str, Any], name: str) -> int:
    """Where the assignment's cell of that name stands (the last, if there are several)."""
    names = grade_ids(content)
    return len(names) - 1 - names[::-1].index(name)


def grade_ids(content: dict[str, Any]) -> list[str]:
    return [one["metadata"].get("nbgrader", {}).get("grade_id", "") for one in content["cells"]]


def source_of(content: dict[str, Any], name: str) -> str:
    return "".join(content["cells"][place(content, name)]["source"])


def write(path: Path, content: dict[str, Any] | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path
