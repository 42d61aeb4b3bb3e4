"""Builds the feedback page's content from a graded notebook, its grades and the report of the run:
plain values that the template only has to place. All text in them is HTML that is safe.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from nbformat.notebooknode import NotebookNode

from autograde.feedback import safe
from autograde.feedback.shield import Markers, Seen, error_name, look, message

_MOST_PAGE = 12_000_000  # characters of HTML of all cells
_MOST_RICH = 300_000  # characters of text and code that are read to be set and coloured
_MOST_OUTPUTS = 50  # of one cell
_FULL = '<p class="remark">More stands here than a page can hold.</p>'
_NOT_SHOWN = "What this cell printed is not shown, since a hidden test had run before."


@dataclass(frozen=True)
class Check:
    """A named part of a test."""

    name: str
    points: str
    passed: bool
    what: str


@dataclass(frozen=True)
class Result:
    """A graded cell: `state` is "full", "part", "none" or "waits"."""

    anchor: str
    name: str
    kind: str
    score: str
    points: str
    state: str
    what: str
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Part:
    """A cell on the page."""

    anchor: str
    kind: str
    body: str
    outputs: str = ""
    remark: str = ""
    result: Result | None = None
    answer: bool = False
    comment: str = ""


@dataclass
class _Budget:
    """What a page may still hold."""

    page: int = _MOST_PAGE
    rich: int = _MOST_RICH

    def is_rich(self, text: str) -> bool:
        self.rich -= len(text)
        return self.rich >= 0

    def fitting(self, made: str) -> str:
        """The HTML, or a remark in its place."""
        if len(made) > self.page:
            return _FULL
        self.page -= len(made)
        return made


@dataclass(frozen=True)
class Page:
    """A feedback page."""

    title: str
    score: str
    max_score: str
    share: int
    penalty: str
    quarantined: str
    repairs: tuple[str, ...]
    results: tuple[Result, ...]
    waiting: int
    parts: tuple[Part, ...]
    styles: str


def build_page(
    notebook: NotebookNode,
    about: Mapping[str, Any],
    *,
    report: Mapping[str, Any],
    repairs: Sequence[str],
    quarantined: str,
    waiting: Set[str],
    markers: Sequence[Markers],
    show_hidden: bool,
    show_after: bool,
) -> Page:
    """The page of one notebook; `about` is nbgrader's word on it, `report` the run's, `waiting` are
    the cells that a person has still to grade.
    """
    budget = _Budget()
    python = notebook.metadata.get("kernelspec", {}).get("language", "python") == "python"
    seen = look(notebook.cells, markers, show_hidden=show_hidden, show_after=show_after)
    parts = [
        _part(place, one, report, waiting, budget, python=python, quarantined=bool(quarantined))
        for place, one in enumerate(seen)
    ]
    results = tuple(part.result for part in parts if part.result)
    score, most = float(about.get("score") or 0), float(about.get("max_score") or 0)
    penalty = float(about.get("late_penalty") or 0)
    return Page(
        title=safe.escaped(about.get("notebook", ""), most=200),
        score=_points(max(0.0, score)),
        max_score=_points(most),
        share=round(100 * min(1.0, max(0.0, score) / most)) if most else 0,
        penalty=_points(penalty) if penalty > 0 else "",
        quarantined=safe.escaped(quarantined, most=1_000),
        repairs=tuple(safe.escaped(sentence, most=400) for sentence in repairs[:40]),
        results=results,
        waiting=sum(result.state == "waits" for result in results),
        parts=tuple(parts),
        styles=safe.code_styles(),
    )


def _points(value: float) -> str:
    return f"{round(value, 2):g}"


def _part(
    place: int,
    seen: Seen,
    report: Mapping[str, Any],
    waiting: Set[str],
    budget: _Budget,
    *,
    python: bool,
    quarantined: bool,
) -> Part:
    cell = seen.cell
    about = cell.metadata.get("nbgrader", {})
    anchor = f"cell-{place}"
    result = None
    if about.get("grade") or about.get("task"):
        result = _result(anchor, seen, about, report, waiting, quarantined=quarantined)
    comment = about.get("comment")
    answer = bool(about.get("solution"))
    common: dict[str, Any] = {
        "result": result,
        "answer": answer,
        "comment": safe.markdown(comment) if isinstance(comment, str) and comment else "",
    }
    rich = budget.is_rich(seen.source)
    if cell.cell_type == "markdown":
        if rich:
            body = safe.markdown(seen.source, cell.get("attachments"))
        else:
            body = safe.preformatted(seen.source, "prose")
        return Part(anchor, "prose", budget.fitting(body), **common)
    if cell.cell_type != "code":
        return Part(anchor, "raw", budget.fitting(safe.preformatted(seen.source)), **common)
    body = ""
    if seen.source.strip():
        body = budget.fitting(safe.code(seen.source, python=python and rich))
    outputs, remark = "", ""
    if seen.secret:
        remark = "This test has a part that is not shown."
    elif seen.shielded:
        remark = _after(cell)
    if not seen.shielded:
        outputs = _outputs(cell, budget)
    return Part(anchor, "code", body, outputs, remark, **common)


def _after(cell: NotebookNode) -> str:
    errors = [out for out in cell.get("outputs", []) if out.output_type == "error"]
    if errors:
        return f"This cell ended with {_kind(errors[0])}. {_NOT_SHOWN}"
    return _NOT_SHOWN if cell.get("outputs") else ""


def _kind(error: NotebookNode) -> str:
    return safe.escaped(error_name(str(error.get("ename", ""))))


def _result(
    anchor: str,
    seen: Seen,
    about: Mapping[str, Any],
    report: Mapping[str, Any],
    waiting: Set[str],
    *,
    quarantined: bool,
) -> Result:
    name = str(about.get("grade_id", ""))
    score, most = float(about.get("score") or 0), float(about.get("points") or 0)
    by_person = bool(about.get("solution") or about.get("task"))
    state = "full" if score >= most else "part" if score > 0 else "none"
    if name in waiting:
        state = "waits"
    kind = "task" if about.get("task") else "answer" if by_person else "test"
    checks = tuple(_checks(report.get("checks", {}).get(name, []), seen))
    return Result(
        anchor,
        safe.escaped(name, most=80),
        kind,
        _points(score),
        _points(most),
        state,
        _what(seen, name, report, state, by_person=by_person, quarantined=quarantined),
        checks,
    )


def _what(
    seen: Seen,
    name: str,
    report: Mapping[str, Any],
    state: str,
    *,
    by_person: bool,
    quarantined: bool,
) -> str:
    """One sentence on what happened, which tells nothing of a hidden test but its kind of error."""
    if quarantined:
        return "Nothing could be graded."
    if state == "waits":
        why = report.get("review", {}).get(name, "")
        if not why or seen.secret or seen.shielded:
            return "A person will look at it."
        return f"A person decides: {safe.escaped(why, most=300)}"
    limit = report.get("events", {}).get(name, "")
    if limit:
        return f"A limit was hit: {safe.escaped(limit, most=300)}"
    if by_person:
        return ""
    errors = [out for out in seen.cell.get("outputs", []) if out.output_type == "error"]
    if state == "full":
        return "Passed."
    if not errors:
        return "Part of its checks failed." if state == "part" else "Failed."
    error = errors[-1]
    if error.get("ename") == "CellTimeoutError":
        return "Stopped: it ran longer than a cell may."
    if error.get("ename") == "NotImplementedError":
        said = message(error, seen.openly)
        return f"Not written yet: {safe.escaped(said)}." if said else "Not written yet."
    if said := message(error, seen.openly):
        return _failed(error, said)
    if seen.secret and error.get("ename") == "AssertionError":
        return "Failed: a result is not what the test expects."
    if seen.secret or seen.shielded:
        return f"Failed with {_kind(error)}."
    return _failed(error, str(error.get("evalue", "")))


def _failed(error: NotebookNode, said: str) -> str:
    first = safe.plain(said, most=300).strip().split("\n")[0]
    if error.get("ename") == "AssertionError" and first:
        return f"Failed: {safe.escaped(first)}"
    text = f": {first}" if first else "."
    return f"Failed with {safe.escaped(error.get('ename', ''), most=80)}{safe.escaped(text)}"


def _checks(checks: Sequence[Sequence[Any]], seen: Seen) -> list[Check]:
    found = []
    for name, points, passed, what in checks[:100]:
        shown = "" if passed or seen.secret or seen.shielded else safe.escaped(what, most=300)
        found.append(
            Check(safe.escaped(name, most=100), _points(float(points)), bool(passed), shown)
        )
    return found


def _outputs(cell: NotebookNode, budget: _Budget) -> str:
    """A cell's outputs, bounded each and all together."""
    done = []
    for output in cell.get("outputs", [])[:_MOST_OUTPUTS]:
        done.append(budget.fitting(_output(output)))
        if done[-1] == _FULL:
            break
    if len(cell.get("outputs", [])) > _MOST_OUTPUTS:
        done.append(f'<p class="remark">The first {_MOST_OUTPUTS} outputs are shown.</p>')
    return "\n".join(done)


def _output(output: NotebookNode) -> str:
    kind = output.get("output_type")
    if kind == "stream":
        return safe.preformatted(output.get("text", ""), str(output.get("name", "")))
    if kind == "error":
        lines = [str(line) for line in output.get("traceback", [])]
        if not lines:
            lines = [f"{output.get('ename', '')}: {output.get('evalue', '')}"]
        return safe.preformatted("\n".join(lines[-60:]), "error")
    data = output.get("data", {})
    if drawn := safe.picture(data):
        return f'<div class="picture">{drawn}</div>'
    text = data.get("text/plain") or data.get("text/markdown") or data.get("text/latex")
    if isinstance(text, list):
        text = "".join(map(str, text))
    if text:
        return safe.preformatted(text)
    return '<p class="remark">A kind of output that this page does not show.</p>' if data else ""
