"""Runs a notebook of a public course four ways: with its author's answers and with none, in one
process and with the tests outside of it. What comes from strangers runs in the sandbox in any case:
without a network, bounded in time, memory and processes.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

from grading_public_notebooks import Work
from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import ClearSolutions
from nbgrader.utils import is_locked

from autograde.protect.analysis import lint
from autograde.protect.plan import Known, is_solution, is_test, plan, plan_for_kernel, read_course
from autograde.protect.supervisor import Bounds, Names, Outcome, Session
from autograde.protect.warm import Line

SECONDS = 20.0  # for one cell
BOUNDS = Bounds(memory=2_000_000_000)
_PLACE = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Judged:
    """One test cell that its author's answers pass in one process. `outside` says what came of it
    there: "same", "review", "refused" (`generate` says so beforehand) or "differs"; `why` is the
    error. `tells` is whether it fails without the answers in one process, `fooled` whether it
    passes outside nevertheless.
    """

    place: str
    tool: str
    text: str
    outside: str
    why: str
    tells: bool
    fooled: bool


def holds_answers(work: Work) -> bool:
    """Whether it is an author's notebook, not what students are handed."""
    return any(
        "raise NotImplementedError" not in cell.source
        for cell in work.notebook.cells
        if cell.cell_type == "code" and is_solution(cell)
    )


def judge(work: Work, line: Line) -> list[Judged]:
    """The test cells of a notebook that pass in one process with the answers that it holds."""
    tests = {c.metadata.nbgrader.grade_id: c for c in work.notebook.cells if is_test(c)}
    plain = _run(work, line, answers=True, protected=False)
    passed = {name for name, outcome in plain.items() if not _problem(outcome, tests[name])}
    if not passed:
        return []
    empty = _run(work, line, answers=False, protected=False)
    there = _run(work, line, answers=True, protected=True)
    nothing = _run(work, line, answers=False, protected=True)
    refused = {found.cell for found in lint(work.notebook) if found.kind == "refused"}
    found = []
    for name, cell in tests.items():
        if name not in passed:
            continue
        why = _problem(there[name], cell)
        kind = "same"
        if why:
            review = "review" if there[name].review else "differs"
            kind = "refused" if name in refused else review
        tells = bool(_problem(empty[name], cell))
        fooled = tells and not _problem(nothing[name], cell)
        place = f"{work.repository}, {work.path}, {name}"
        found.append(Judged(place, work.tool, cell.source.strip(), kind, why, tells, fooled))
    return found


def _run(work: Work, line: Line, *, answers: bool, protected: bool) -> dict[str, Outcome]:
    """The outcome of each test cell, by name."""
    notebook = copy.deepcopy(work.notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    known = {
        cell.metadata.nbgrader.grade_id: Known(cell.source, is_test(cell))
        for cell in code
        if "nbgrader" in cell.metadata and is_locked(cell)
    }
    course = read_course(work.notebook)
    if not answers:
        clear = ClearSolutions(enforce_metadata=False)
        clear.log.disabled = True
        notebook, _ = clear.preprocess(notebook, {})
    if protected:
        names, steps = course.names, plan(notebook, course, known, seconds=SECONDS)
    else:
        names, steps = Names(), plan_for_kernel(notebook, known, seconds=SECONDS)
    helpers = work.folder if protected else None
    found = {}
    with Session(line, names, files=work.folder, helpers=helpers, bounds=BOUNDS) as session:
        for place, step in steps:
            outcome = session.run(step)
            if place is not None and is_test(notebook.cells[place]):
                found[notebook.cells[place].metadata.nbgrader.grade_id] = outcome
    return found


def _problem(outcome: Outcome, cell: NotebookNode) -> str:
    """Why a test cell did not pass; empty if it did."""
    if outcome.review:
        return f"needs review: {outcome.review}"
    for output in outcome.outputs:
        if output.output_type == "error":
            return f"{output.ename}: {output.evalue}".strip().split("\n")[0][:200]
    wanted = cell.metadata.get("wanted")
    if wanted is not None and _words(_shown(outcome)) != _words(wanted):
        return f"shows {_shown(outcome).strip()[:100]!r} instead of {wanted.strip()[:100]!r}"
    return ""


def _shown(outcome: Outcome) -> str:
    """What a case of otter is judged by."""
    return "".join(
        output.data.get("text/plain", "") if output.output_type == "execute_result" else output.text
        for output in outcome.outputs
        if output.name != "stderr" and output.output_type in ("stream", "execute_result")
    )


def _words(text: str) -> list[str]:
    """A text without where things lie in memory, and how its lines are broken."""
    return _PLACE.sub("", text).split()
