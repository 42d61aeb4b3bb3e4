"""The student edition of a notebook: what nbgrader would hand out, made from the source.

nbgrader's own preprocessors clear solutions and hidden tests and lock the tests; this module gives
each stub a message of its own and leaves the rest to them. Where the result is kept is for
`mlsys.workspace`.
"""

import copy
import re
from typing import Any

REGIONS = ("SOLUTION", "HIDDEN TESTS", "MARK SCHEME")
NOT_OURS = re.compile(rf"(BEGIN|END) ({'|'.join(REGIONS)})")


class EditionError(ValueError):
    """A source that cannot be handed out; the message is one sentence."""


def student_edition(content: dict[str, Any], *, name: str, assignment: bool = False) -> Any:
    """The student's notebook of a source notebook; the source is left as it is.

    content: as JSON or nbformat gives it. assignment: a graded one, which stays exactly as
    `nbgrader generate_assignment` makes it; in a lesson, a stub names its exercise, and *Run All*
    goes on after it. Raises EditionError if the marks are wrong or something would leak.
    """
    import nbformat
    from nbformat.v4.rwbase import rejoin_lines
    from nbgrader.preprocessors import (
        ClearHiddenTests,
        ClearMarkScheme,
        ClearOutput,
        ComputeChecksums,
        LockCells,
    )

    try:
        nb = rejoin_lines(nbformat.from_dict(copy.deepcopy(content)))
        nb = nbformat.v4.upgrade(nb)
        resources: dict[str, Any] = {"unique_key": name, "output_files_dir": None}
        _check_marks(nb)
        LockCells().preprocess(nb, resources)
        _clear_solutions(nb, resources, assignment=assignment)
        for step in (ClearOutput, ClearHiddenTests, ClearMarkScheme, ComputeChecksums):
            nb, resources = step().preprocess(nb, resources)
        for cell in nb.cells:
            cell.source = cell.source.strip("\n")
            if not assignment and _is_exercise(cell):
                tags = cell.metadata.setdefault("tags", [])
                tags.extend(["raises-exception"] if "raises-exception" not in tags else [])
    except Exception as error:  # nbgrader raises RuntimeError, ValueError, KeyError and its own
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EditionError(f"{name} cannot be handed out: {said.rstrip('.')}.") from error
    for cell in nb.cells:
        if mark := NOT_OURS.search(cell.source):
            raise EditionError(f"{name} cannot be handed out: {mark.group()} left in {cell.id}.")
    return nb


def stub_message(grade_id: str) -> str:
    """What the stub of an exercise says when it runs."""
    return f"{grade_id} is yours to write"


def is_solution(cell: Any) -> bool:
    """Whether nbgrader would clear this cell's solution."""
    return bool(cell["metadata"].get("nbgrader", {}).get("solution"))


def is_test(cell: Any) -> bool:
    """Whether this cell is a test of an exercise, graded by a machine."""
    marks = cell["metadata"].get("nbgrader", {})
    return cell["cell_type"] == "code" and bool(marks.get("grade")) and not marks.get("solution")


def _check_marks(nb: Any) -> None:
    """nbgrader drops an END without its BEGIN, and would hand out what stood before it."""
    for cell in nb.cells:
        for region in REGIONS:
            begun, ended = (cell.source.count(f"{mark} {region}") for mark in ("BEGIN", "END"))
            if begun != ended:
                raise ValueError(f"{begun} BEGIN {region} and {ended} END {region} in {cell.id}")


def _clear_solutions(nb: Any, resources: dict[str, Any], *, assignment: bool) -> None:
    from nbgrader.preprocessors import ClearSolutions

    clear = ClearSolutions()
    if assignment:
        clear.preprocess(nb, resources)
        return
    resources["language"] = "python"
    for number, cell in enumerate(nb.cells):
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "this cell")
        message = stub_message(grade_id)
        clear.code_stub = {"python": f'# YOUR CODE HERE\nraise NotImplementedError("{message}")'}
        clear.preprocess_cell(cell, resources, number)


def _is_exercise(cell: Any) -> bool:
    return cell.cell_type == "code" and (is_solution(cell) or is_test(cell))
