"""Lesson 16's hidden tests: every wrong answer that a student is likely to give fails them."""

import json
from pathlib import Path

import pytest

LESSON = Path(__file__).parents[2] / "notebooks" / "d_networks" / "16_cap_consistency.ipynb"
GIVEN = {"history", "play"}  # the cells that the tests stand on

MERGES = {
    "adds what is known twice": (
        "nodes = {*one, *other}\n    return {n: one.get(n, 0) + other.get(n, 0) for n in nodes}"
    ),
    "keeps the later copy's number": "return {**one, **other}",
    "forgets nodes of one side": "return {n: max(one[n], other.get(n, 0)) for n in one}",
    "changes a copy": ("for n in other: one[n] = max(one.get(n, 0), other[n])\n    return one"),
    "keeps the copy with more likes": "return max(one, other, key=lambda c: sum(c.values()))",
}
READS = {
    "repairs nobody": "return max(replicas[n] for n in asked)[1]",
    "repairs nodes that it did not ask": (
        "best = max(replicas[n] for n in asked)\n"
        "    replicas[:] = [best] * len(replicas)\n"
        "    return best[1]"
    ),
    "tells the largest value, not the newest": (
        "best = max((replicas[n] for n in asked), key=lambda pair: str(pair[1]))\n"
        "    for n in asked: replicas[n] = best\n"
        "    return best[1]"
    ),
    "repairs with the oldest": (
        "best = max(replicas[n] for n in asked)\n"
        "    for n in asked: replicas[n] = min(replicas[m] for m in asked)\n"
        "    return best[1]"
    ),
}
BREAKS = {
    "gives up": "return None",
    "answers where nothing breaks": (
        "first, last = set(range(w)), set(range(n - r, n))\n"
        "    return [('write', 1, first), ('read', None, last)]"
    ),
    "lets the reader meet the writer": (
        "if r + w > n: return None\n"
        "    return [('write', 1, set(range(w))), ('read', None, set(range(r)))]"
    ),
    "asks fewer nodes than it must": (
        "if r + w > n: return None\n    return [('write', 1, {0}), ('read', None, {n - 1})]"
    ),
}


@pytest.fixture(scope="module")
def cells() -> dict[str, str]:
    """The source of each cell that has a grade id, and of the imports."""
    found = json.loads(LESSON.read_text(encoding="utf-8"))["cells"]
    named = {
        cell["metadata"]["nbgrader"]["grade_id"]: "".join(cell["source"])
        for cell in found
        if "nbgrader" in cell["metadata"]
    }
    return named | {"imports": next("".join(c["source"]) for c in found if c["id"] == "imports")}


def graded(cells: dict[str, str], name: str, answer: str) -> None:
    """Run the tests of the exercise on an answer; raises what they raise."""
    room: dict = {}
    for cell in ("imports", "history", "play"):
        exec(cells[cell], room)
    exec(answer, room)
    exec(cells[f"{name}_test"], room)


@pytest.mark.parametrize(
    ("name", "arguments", "body"),
    [("merge", "one, other", body) for body in MERGES.values()]
    + [("repairing", "replicas, asked", body) for body in READS.values()]
    + [("breaks", "n, r, w", body) for body in BREAKS.values()],
    ids=[*MERGES, *READS, *BREAKS],
)
def test_a_wrong_answer_is_told_so(cells, name: str, arguments: str, body: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        graded(cells, name, f"def {name}({arguments}):\n    {body}\n")


def test_other_right_answers_pass(cells) -> None:
    graded(
        cells,
        "merge",
        "def merge(one, other):\n"
        "    joined = dict(other)\n"
        "    for node, likes in one.items():\n"
        "        joined[node] = max(likes, joined.get(node, 0))\n"
        "    return joined\n",
    )
    graded(
        cells,
        "breaks",  # longer than it need be: two writes, and a read of the older one
        "def breaks(n, r, w):\n"
        "    if r + w <= n:\n"
        "        reach = set(range(w))\n"
        "        return [('write', 1, reach), ('write', 2, reach),\n"
        "                ('read', None, set(range(w, w + r)))]\n",
    )
    for name in ("merge", "repairing", "breaks"):
        graded(cells, name, cells[name])


def test_the_cells_that_the_tests_stand_on_are_read_only() -> None:
    found = json.loads(LESSON.read_text(encoding="utf-8"))["cells"]
    marks = [cell["metadata"].get("nbgrader", {}) for cell in found]
    locked = {each["grade_id"] for each in marks if each.get("locked")}
    assert locked >= GIVEN | {"merge_test", "repairing_test", "breaks_test"}
