"""From a notebook that has run to what the gradebook will hold, as plain data; the rules are
nbgrader's. `Marks` is all that a worker hands to the one process that writes.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbformat.notebooknode import NotebookNode
from nbgrader import utils


@dataclass(frozen=True)
class NotebookMarks:
    """One notebook: automatic scores by cell (None where a person decides), automatic comments by
    cell, and the report of its run."""

    name: str
    scores: Mapping[str, float | None]
    comments: Mapping[str, str | None]
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Marks:
    """One submission. `staged` is the folder that becomes its graded one; `missing` are notebooks
    that were not handed in; `fault` is a sentence if it could not be graded at all.
    """

    student: str
    key: str
    staged: str = ""
    timestamp: datetime | None = None
    notebooks: tuple[NotebookMarks, ...] = ()
    missing: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    quarantined: str = ""
    seconds: float = 0.0
    fault: str = ""


def marks_of(
    name: str,
    nb: NotebookNode,
    report: Mapping[str, Any],
    log: logging.Logger,
    *,
    judged: bool = True,
) -> NotebookMarks:
    """The marks of a notebook whose outputs and metadata are final; all wait for a person unless
    it could be `judged`."""
    review = report.get("review", {})
    scores: dict[str, float | None] = {}
    comments: dict[str, str | None] = {}
    for cell in nb.cells:
        cell_name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if utils.is_grade(cell):
            waits = cell_name in review or not judged
            scores[cell_name] = None if waits else utils.determine_grade(cell, log)[0]
        if utils.is_solution(cell) or utils.is_task(cell):
            same = cell.metadata.nbgrader.get("checksum") == utils.compute_checksum(cell)
            comments[cell_name] = "No response." if same and not utils.is_task(cell) else None
    return NotebookMarks(name, scores, comments, report)
