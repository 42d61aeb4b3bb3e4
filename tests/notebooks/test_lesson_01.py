"""The exercises of lesson 01 judge what they say they judge.

That the lesson runs, and that its own solutions pass, is tested for all lessons together; here
are answers that a student might give, right ones of another kind and wrong ones of each kind.
"""

import hashlib
import os
import platform
import time
import zlib
from pathlib import Path

import nbformat
import pandas as pd
import pytest

LESSON = Path(__file__).parents[2] / "notebooks" / "a_start" / "01_python_for_systems.ipynb"
TESTS = {
    cell.metadata.nbgrader.grade_id: cell.source
    for cell in nbformat.read(LESSON, as_version=4).cells
    if cell.metadata.get("nbgrader", {}).get("grade")
}


def judge(name, answer, folder):
    """Run an exercise's test cell on an answer, as the notebook would."""
    names = {name: answer, "work": folder, "os": os, "pd": pd}
    exec(TESTS[f"{name}_test"], names)


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def versions():
    return {"python": platform.python_version(), "pandas": pd.__version__}


RIGHT = {
    "line by line": (
        "bad_line",
        lambda data: next(
            (
                i
                for i, line in enumerate(data.splitlines(), 1)
                if "\ufffd" in line.decode("utf-8", "replace")
            ),
            None,
        ),
    ),
    "sha256": (
        "bucket",
        lambda text, n: int(hashlib.sha256(text.encode()).hexdigest(), 16) % n,
    ),
    "a small passport": ("passport", lambda path: versions() | {"data": digest(path)}),
    "a nested passport": (
        "passport",
        lambda path: {"made by": versions(), "from": [Path(path).read_bytes().hex()]},
    ),
}

WRONG = {
    "counts lines from 0": (
        "bad_line",
        lambda data: data.count(b"\n", 0, data.find("ü".encode("latin-1"))) or None,
    ),
    "never finds one": ("bad_line", lambda data: None),
    "finds the last": (
        "bad_line",
        lambda data: max(
            (i for i, line in enumerate(data.split(b"\n"), 1) if b"\xfc" in line), default=None
        ),
    ),
    "knows Latin-1's ü only": (
        "bad_line",
        lambda data: next(
            (i for i, line in enumerate(data.split(b"\n"), 1) if b"\xfc" in line), None
        ),
    ),
    "the built-in hash": ("bucket", lambda text, n: hash(text) % n),
    "the length": ("bucket", lambda text, n: len(text) % n),
    "the first letter": ("bucket", lambda text, n: ord(text[0]) % n),
    "the last letter": ("bucket", lambda text, n: ord(text[-1]) % n),
    "the sum of the letters": ("bucket", lambda text, n: sum(map(ord, text)) % n),
    "from 1 to n": ("bucket", lambda text, n: 1 + zlib.crc32(text.encode()) % n),
    "ASCII only": ("bucket", lambda text, n: zlib.crc32(text.encode("ascii")) % n),
    "the time of day": (
        "passport",
        lambda path: versions() | {"data": digest(path), "when": time.perf_counter_ns()},
    ),
    "no data": ("passport", lambda path: versions()),
    "the size of the data": (
        "passport",
        lambda path: versions() | {"size": Path(path).stat().st_size},
    ),
    "no versions": ("passport", lambda path: {"data": digest(path)}),
    "data as text": (
        "passport",
        lambda path: versions() | {"data": Path(path).read_text(encoding="utf-8")},
    ),
    "not for JSON": ("passport", lambda path: versions() | {"data": Path(path).read_bytes()}),
    "all of the environment": (
        "passport",
        lambda path: versions() | {"data": digest(path), "env": dict(os.environ)},
    ),
}


@pytest.mark.parametrize("answer", RIGHT)
def test_another_right_answer_passes(answer, tmp_path):
    name, function = RIGHT[answer]
    judge(name, function, tmp_path)


@pytest.mark.parametrize("answer", WRONG)
def test_a_wrong_answer_fails(answer, tmp_path):
    name, function = WRONG[answer]
    with pytest.raises((AssertionError, TypeError, UnicodeError)):
        judge(name, function, tmp_path)


@pytest.mark.parametrize("name", ["bad_line", "bucket", "passport"])
def test_what_fails_says_why_in_a_sentence(name):
    checks = [line for line in TESTS[f"{name}_test"].splitlines() if line.startswith("assert")]
    assert checks and all(', "' in line or ', f"' in line for line in checks)


def test_the_order_that_looks_right_is_still_written_in_two_characters():
    source = LESSON.read_text(encoding="utf-8")
    assert "krako\u0301w" in source, (
        "an editor has put the letter together: the lesson needs it apart"
    )
