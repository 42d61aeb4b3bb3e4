"""From what a step showed to the outputs of its cell in the graded notebook, as nbgrader reads
them: a test's standard error, its named checks, what a person must decide. Where something is
installed on this machine is no business of a student's, and is left out.
"""

import re
import sysconfig
from pathlib import Path
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode

from autograde.protect.plan import is_test
from autograde.protect.steps import Outcome, Output


def record(
    cell: NotebookNode, place: int, test: bool, outcome: Outcome, report: dict[str, Any]
) -> None:
    """Put the outputs of one step into its cell, and into the run's report what it has to tell."""
    name = cell.metadata.get("nbgrader", {}).get("grade_id", str(place))
    report["seconds"][name] = outcome.seconds
    if outcome.event:
        report["events"][name] = outcome.event
    if is_test(cell) and not test:
        report["unprotected"].append(name)
    cell.execution_count = place + 1
    cell.outputs = [node for output in outcome.outputs if (node := _node(output, place + 1))]
    if is_test(cell):
        cell.outputs = [_as_standard_output(output) for output in cell.outputs]
    if outcome.checks:
        report["checks"][name] = [
            [check, points, passed, without_places(message)]
            for check, points, passed, message in outcome.checks
        ]
        _score_checks(cell, outcome)
    if outcome.review and is_test(cell):
        report["review"][name] = outcome.review
        text = f"a person must decide: {outcome.review}"
        cell.outputs.append(
            nbformat.v4.new_output(
                "error", ename="NeedsReview", evalue=text, traceback=[f"NeedsReview: {text}"]
            )
        )


def _node(output: Output, count: int) -> NotebookNode | None:
    if output.output_type == "stream" and output.name in ("stdout", "stderr"):
        return nbformat.v4.new_output("stream", name=output.name, text=without_places(output.text))
    if output.output_type == "error":
        return nbformat.v4.new_output(
            "error", ename=output.ename, evalue=without_places(output.evalue),
            traceback=[without_places(line) for line in output.traceback],
        )  # fmt: skip
    if output.output_type == "display_data":
        return nbformat.v4.new_output("display_data", data=dict(output.data))
    if output.output_type == "execute_result":
        return nbformat.v4.new_output(
            "execute_result", data=dict(output.data), execution_count=count
        )
    return None


def _as_standard_output(output: NotebookNode) -> NotebookNode:
    """nbgrader takes standard error in a test for a failure; a warning is none."""
    if output.output_type == "stream" and output.name == "stderr":
        output.name = "stdout"
    return output


def _score_checks(cell: NotebookNode, outcome: Outcome) -> None:
    """Give the cell the points of its named checks, as nbgrader's partial credit."""
    points = float(cell.metadata.nbgrader["points"])
    failed_outside = any(output.output_type == "error" for output in cell.outputs)
    passed = sum(worth for _, worth, well, _ in outcome.checks if well)
    lost = sum(worth for _, worth, well, _ in outcome.checks if not well)
    earned = passed if failed_outside else points - lost
    earned = max(0.0, min(points, earned))
    kept = []
    for output in cell.outputs:
        if output.output_type == "error":
            text = "\n".join(output.traceback) + "\n"
            kept.append(nbformat.v4.new_output("stream", name="stdout", text=text))
        elif output.output_type != "execute_result":
            kept.append(output)
    if earned < points:
        kept.append(
            nbformat.v4.new_output(
                "execute_result",
                data={"text/plain": f"{earned:g}"},
                execution_count=cell.execution_count,
            )
        )
    cell.outputs = kept


def without_places(text: str) -> str:
    """A text in which files are named from the folder of their library, or of the submission."""
    return _PLACES.sub("", text) if "/" in text or "\\" in text else text


def _places() -> re.Pattern[str]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.add(str(Path(__file__).parents[1]))
    folders |= {str(Path(folder).resolve()) for folder in folders}
    # Packages may lie within the standard library's folder.
    known = "|".join(re.escape(f) for f in sorted(folders, key=len, reverse=True) if len(f) > 4)
    own = r"[^\s\"'<>|:]*[/\\]autograde-\w{6,10}[/\\](?:work|helpers|library)"
    return re.compile(rf"(?:{known}|{own})[/\\]")


_PLACES = _places()
