"""Reads the assignment and the submissions of the hostile class: small text files in cells, as
jupytext's percent format has them, made into the notebooks that nbgrader knows. A submission opens
with a line that says what it is. With `# Base: full`, every answer that the file does not give is
`full.py`'s; with `# Base: full mean scale`, these two are.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

HERE = Path(__file__).parent
POINTS = {"mean": 2, "scale": 2, "Stack": 3, "totals": 2, "model": 2, "words": 3, "initials": 2}


@dataclass(frozen=True)
class Submission:
    """One file: what it says it tries, its header lines, and its cells by name ("" is extra)."""

    name: str
    says: str
    header: dict[str, str]
    cells: tuple[tuple[str, str], ...]

    def earns(self) -> dict[str, float]:
        """The points of each test that an honest submission must get, exactly."""
        told = self.header.get("Earns", "nothing")
        worth = dict(part.split("=") for part in told.split() if "=" in part)
        return {f"test_{name}": float(worth.get(name, 0)) for name in POINTS}

    def seconds(self, usual: int) -> int:
        """What each cell may take. Who has the same is graded together: the honest, whose scores
        must not depend on the load, and attacks on others that end by themselves.
        """
        return int(self.header.get("Seconds", usual))

    def gains_in_process(self) -> set[str]:
        """The tests that a hostile submission fools where they run in its own process."""
        return {f"test_{n}" for n in self.header.get("In one process it gains", "").split()}


def read_cells(text: str) -> list[tuple[str, str]]:
    """The cells of a file with their marks; what stands before the first mark is left out."""
    parts = re.split(r"^# %%(.*)$", text, flags=re.M)[1:]
    found = []
    for mark, body in zip(parts[::2], parts[1::2]):
        words = mark.split()
        if words[-1:] == ["raw"]:  # not Python: it stands in comments
            body = "\n".join(line.removeprefix("# ") for line in body.split("\n"))
            words.pop()
        found.append((" ".join(words), body.strip("\n")))
    return found


def read_submission(path: Path) -> Submission:
    text = path.read_text(encoding="utf-8")
    head = [line[2:] for line in text.split("# %%")[0].splitlines() if line.startswith("# ")]
    header = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
    cells = read_cells(text)
    if "Base" in header:
        base, *only = header["Base"].split()
        given = {name for name, _ in cells}
        answers = dict(read_submission(path.with_name(f"{base}.py")).cells)
        answers.pop("", None)
        cells += [(name, answers[name]) for name in only or answers if name not in given]
    return Submission(path.stem, head[0], header, tuple(cells))


def all_of(folder: str) -> dict[str, Submission]:
    """The submissions of a folder, by name."""
    return {path.stem: read_submission(path) for path in sorted((HERE / folder).glob("*.py"))}


def assignment(*, hidden: str, sources: str, protected: bool = True) -> NotebookNode:
    """The instructor's source notebook with these secrets in its tests and its sources."""
    text = (HERE / "assignment.py").read_text(encoding="utf-8")
    cells = []
    for mark, body in read_cells(text):
        kind, name, points = (*mark.split(), "", "", "")[:3]
        about = {"schema_version": 3, "task": False, "locked": kind != "solution",
                 "grade": kind == "test", "solution": kind == "solution"}  # fmt: skip
        about["grade_id"] = f"{kind}_{name}" if kind == "test" else name or kind
        if points:
            about["points"] = int(points)
        metadata = {"nbgrader": about}
        if kind == "test" and not protected:
            metadata["autograde"] = {"unprotected": True}
        source = body.format(hidden=hidden, sources=sources)
        cells.append(new_code_cell(source, metadata=metadata))
    notebook = new_notebook(cells=cells)
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    return notebook


def fill(released: NotebookNode, submission: Submission, told: str) -> NotebookNode:
    """The released notebook as this student hands it in; `told` is a cell that stands first."""
    places = {c.metadata.nbgrader.grade_id: c for c in released.cells if "nbgrader" in c.metadata}
    extra = [new_code_cell(told)] if told else []
    for name, source in submission.cells:
        if name:
            places[name].source = source
        else:
            extra.append(new_code_cell(source))
    released.cells[1:1] = extra
    return released
