"""Decides where each cell of a submission runs: the student's cells in the child, test cells on the
trusted side, an instructor's other cells on both as far as they need nothing of the student's. What
is the instructor's is taken from the source notebook and the gradebook, never from the submission's
word for it.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbformat.notebooknode import NotebookNode

from autograde.protect import names as cells
from autograde.protect.supervisor import Names, Step

_BEGIN, _END = "BEGIN HIDDEN TESTS", "END HIDDEN TESTS"
_BEGIN_SOLUTION, _END_SOLUTION = "BEGIN SOLUTION", "END SOLUTION"


@dataclass(frozen=True)
class Known:
    """A locked cell as the gradebook has it: the instructor's text, and whether it is a test."""

    text: str
    test: bool


@dataclass(frozen=True)
class Options:
    """What an instructor sets for one test cell, in its metadata under "autograde"."""

    unprotected: bool = False
    write_back: bool = False
    call_seconds: float | None = None


@dataclass(frozen=True)
class Course:
    """What the source notebook says of an assignment, read once for all submissions."""

    names: Names
    imports: tuple[str, ...]
    order: Mapping[str, int] = field(default_factory=dict)
    setup: tuple[tuple[int, str], ...] = ()
    seeds: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Options] = field(default_factory=dict)


def _about(cell: NotebookNode) -> dict[str, Any]:
    return cell.metadata.get("nbgrader", {})


def is_test(cell: NotebookNode) -> bool:
    """Whether a cell is an autograder test."""
    about = _about(cell)
    return cell.cell_type == "code" and bool(about.get("grade")) and not about.get("solution")


def is_solution(cell: NotebookNode) -> bool:
    return bool(_about(cell).get("solution"))


def options_of(cell: NotebookNode) -> Options:
    """The instructor's settings of a cell of the source notebook."""
    said = cell.metadata.get("autograde", {})
    seconds = said.get("call_seconds")
    return Options(
        unprotected=bool(said.get("unprotected")),
        write_back=bool(said.get("write_back")),
        call_seconds=None if seconds is None else float(seconds),
    )


def read_course(source: NotebookNode) -> Course:
    """What tests may look up, what can run on the trusted side, and what to import before."""
    code = [(i, c) for i, c in enumerate(source.cells) if c.cell_type == "code"]
    student: set[str] = set()
    passed_on: set[str] = set()
    writes: dict[str, tuple[int | str, ...]] = {}
    imports: set[str] = set()
    for _, cell in code:
        if is_solution(cell):
            imports |= _answered_by_import(cell.source)
            writes |= cells.changed_parameters(cell.source)
            student |= cells.bound(cell.source)
            passed_on |= cells.used_in_functions(cell.source)
    given = [c.source for _, c in code if not is_solution(c) and not is_test(c)]
    owned = set().union(*map(cells.bound, given)) if given else set()
    for _, cell in code:
        if is_solution(cell):
            student |= cells.changed_in_place(cell.source) & owned
    student |= _undefined(source)
    student |= _tainted(given, student)
    setup = [
        (i, text)
        for i, cell in code
        if not is_test(cell) and (text := _trusted_text(cell, student))
    ]
    modules = [m for _, cell in code for m in cells.imported_modules(cell.source)]
    return Course(
        Names(frozenset(student), frozenset(passed_on), writes, frozenset(imports - student)),
        tuple(dict.fromkeys(modules)),
        {_about(c)["grade_id"]: i for i, c in enumerate(source.cells) if "grade_id" in _about(c)},
        tuple(setup),
        _seeds(code),
        {_about(c)["grade_id"]: options_of(c) for _, c in code if is_test(c)},
    )


def _answered_by_import(source: str) -> set[str]:
    """The names that a solution imports which does nothing else: that they are there is what its
    test is about.
    """
    lines, inside = [], _BEGIN_SOLUTION not in source
    for line in source.split("\n"):
        if _BEGIN_SOLUTION in line or _END_SOLUTION in line:
            inside = _BEGIN_SOLUTION in line
        elif inside:
            lines.append(line)
    answer = "\n".join(lines)
    return set() if cells.bound(source) else cells.bound(answer, imports=True)


def _undefined(source: NotebookNode) -> set[str]:
    """Names that tests use and no cell of the source defines: a source whose solutions were never
    written down leaves them to the student.
    """
    texts = [cell.source for cell in source.cells if cell.cell_type == "code"]
    if any(cells.imports_all(text) for text in texts):
        return set()
    defined = set().union(*(cells.bound(text, imports=True) for text in texts)) if texts else set()
    tests = [cell.source for cell in source.cells if is_test(cell)]
    return set().union(*map(cells.unbound, tests)) - defined if tests else set()


def _seeds(code: list[tuple[int, NotebookNode]]) -> dict[str, int]:
    """Seeds, by text, for the instructor's cells that draw random numbers without fixing them: both
    sides run such a cell and must come to the same data, and so must a second run.
    """
    found: dict[str, int] = {}
    for _, cell in code:
        if cells.seeds(cell.source) and not is_test(cell):
            break  # from here on, what is drawn follows from the instructor's own seed
        if not is_solution(cell) and not is_test(cell) and cells.draws_at_random(cell.source):
            seed = zlib.crc32(cell.source.encode("utf-8", "replace"))
            found[cell.source] = found[cells.plain_python(cell.source)] = seed
    return found


def _tainted(sources: list[str], student: set[str]) -> set[str]:
    """Names bound by cells that use a student's name, or another such name."""
    found: set[str] = set()
    for source in sources:
        if cells.used(source) & (student | found):
            found |= cells.bound(source)
    return found


def _trusted_text(cell: NotebookNode, student: set[str]) -> str:
    if is_solution(cell) or cells.used(cell.source) & student:
        return cells.import_lines(cell.source)
    return cells.plain_python(cell.source) if cells.parse(cell.source) else ""


def course_without_source(notebook: NotebookNode, known: Mapping[str, Known]) -> Course:
    """The same without a source notebook: every name that is not the instructor's is a student's.
    Imports are the instructor's only where a known cell makes them.
    """
    student: set[str] = set()
    modules: list[str] = []
    for cell in notebook.cells:
        mine = known.get(_about(cell).get("grade_id", ""))
        if mine is not None:
            modules += cells.imported_modules(mine.text)
        elif cell.cell_type == "code":
            student |= cells.bound(cell.source, imports=True)
    return Course(Names(frozenset(student), frozenset()), tuple(dict.fromkeys(modules)))


def without_hidden_tests(source: str) -> str:
    """A cell as students have it: no hidden test ever enters the student's process."""
    kept, hidden = [], False
    for line in source.split("\n"):
        if _BEGIN in line:
            hidden = True
        elif _END in line:
            hidden = False
        elif not hidden:
            kept.append(line)
    return "\n".join(kept)


def plan(
    notebook: NotebookNode, course: Course, known: Mapping[str, Known], *, seconds: float
) -> Iterator[tuple[int | None, Step]]:
    """Steps in the order of the notebook, each with the place of its cell (None for the setup that
    the source notebook adds). What a cell with a known name does is read from `known` alone: its
    text and metadata in the submission are the student's word.
    """
    pending = list(course.setup)
    imported = {""}  # lines that the student's process has run
    last = max(
        (i for i, c in enumerate(notebook.cells) if _runs_there(c, course, known)), default=0
    )
    for place, cell in enumerate(notebook.cells):
        name = _about(cell).get("grade_id", "")
        mine = known.get(name)
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        while pending and pending[0][0] < course.order.get(name, -1):
            setup = pending.pop(0)[1]
            yield None, Step(trusted=setup, seconds=seconds, seed=course.seeds.get(setup))
        options = course.options.get(name, Options())
        if mine and mine.test and not options.unprotected:
            # What follows may use what a test imports; hidden lines are none of its business.
            lines = cells.import_lines(without_hidden_tests(mine.text))
            if place < last and not imported.issuperset(lines.split("\n")):
                imported.update(lines.split("\n"))
                yield None, Step(lines, seconds=seconds)
            yield (
                place,
                Step(
                    trusted=cells.plain_python(mine.text),
                    test=True,
                    seconds=seconds,
                    call_seconds=options.call_seconds,
                    write_back=options.write_back,
                ),
            )
            continue
        text = cell.source
        if mine:
            text = mine.text if mine.test else without_hidden_tests(mine.text)
        trusted = None
        if mine and not course.order:
            here = cells.used(mine.text) & course.names.student
            trusted = None if here else cells.plain_python(mine.text)
        imported.update(cells.import_lines(text).split("\n"))
        bound = tuple(sorted(cells.bound(text) & course.names.student))
        seed = course.seeds.get(text)
        yield (place, Step(text, trusted, seconds=seconds, bound=bound, seed=seed))


def _runs_there(cell: NotebookNode, course: Course, known: Mapping[str, Known]) -> bool:
    """Whether a cell runs in the student's process."""
    name = _about(cell).get("grade_id", "")
    mine = known.get(name)
    protected = mine and mine.test and not course.options.get(name, Options()).unprotected
    return cell.cell_type == "code" and not protected


def plan_for_kernel(
    notebook: NotebookNode, known: Mapping[str, Known], *, seconds: float
) -> Iterator[tuple[int, Step]]:
    """Every code cell for the one process of a real kernel, in order, with its place; tests and the
    instructor's other cells as the gradebook has them.
    """
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        mine = known.get(_about(cell).get("grade_id", ""))
        text = cell.source
        if mine:
            text = mine.text if mine.test else without_hidden_tests(mine.text)
        yield place, Step(text, seconds=seconds)
