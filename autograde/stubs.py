"""What stands in place of a removed solution. nbgrader puts the same text into every stub; this
preprocessor lets the text name the task, so that a student who runs all cells reads which function
is still to be written. It replaces ClearSolutions in GenerateAssignment.preprocessors and reads
its settings; the rest of generating an assignment is nbgrader's.
"""

import re

from nbconvert.exporters.exporter import ResourcesDict
from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import ClearSolutions

_DEFINITION = re.compile(r"\s*(?:async\s+)?(?:def|class)\s+(\w+)")


def name_stubs(source: str, *, fallback: str) -> str:
    """Replace each "{task}" by the name defined last above it, else by `fallback`."""
    lines, task = [], fallback
    for line in source.split("\n"):
        if match := _DEFINITION.match(line):
            task = match[1]
        lines.append(line.replace("{task}", task))
    return "\n".join(lines)


class NamedStubs(ClearSolutions):
    """Clear solutions; "{task}" in `ClearSolutions.code_stub` becomes the function's name."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: ResourcesDict, cell_index: int
    ) -> tuple[NotebookNode, ResourcesDict]:
        before = cell.source
        cell, resources = super().preprocess_cell(cell, resources, cell_index)
        if cell.cell_type == "code" and cell.source != before:
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "this task")
            cell.source = name_stubs(cell.source, fallback=grade_id)
        return cell, resources
