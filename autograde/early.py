"""Starts the warm process of an assignment before anything else is imported: nbgrader takes
seconds, and so do the libraries of a submission, each on a core of its own. Nothing here is
needed for grading to work.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autograde.protect import kept, names


def start(course: Path, assignment: str) -> None:
    """Have what the source notebooks import be imported. Where it cannot be read in the usual
    place nothing is started, and grading does it later.
    """
    for imports in wanted(course / "source" / assignment):
        kept.line_for(imports)


def wanted(source: Path) -> Iterator[tuple[str, ...]]:
    """What each notebook in a source folder imports, in order."""
    for path in sorted(source.glob("*.ipynb")):
        try:
            cells = json.loads(path.read_bytes())["cells"]
            texts = [_text(cell) for cell in cells if cell["cell_type"] == "code"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # whoever reads it next says what is wrong
        modules = [module for text in texts for module in names.imported_modules(text)]
        yield tuple(dict.fromkeys(modules))


def _text(cell: dict[str, Any]) -> str:
    text = cell["source"]
    return "".join(text) if isinstance(text, list) else str(text)
