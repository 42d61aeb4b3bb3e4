"""Lessons as text and back: ids, metadata, and what is stripped."""

import json
import re

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlsys.cli import app
from mlsys.lesson_text import (
    LessonTextError,
    clean,
    ids_for,
    looks_random,
    to_notebook,
    to_text,
)

TEXT = """# For the author alone.

# %% [markdown]
# # How far is the moon?
#
# About 5 minutes.

# %% tags=["parameters"] profiles={"full": {"size": 10}}
size = 3  # full profile: 10

# %%
import math

# %%
area = math.pi * size**2
area

# %% id="the-answer"
area = 2

# %% nbgrader={"grade": true, "grade_id": "area_test", "locked": true, "points": 1}
assert area == 2
"""


@pytest.fixture
def built(tmp_path):
    (tmp_path / "lesson.py").write_text(TEXT, encoding="utf-8")
    to_notebook(tmp_path / "lesson.py", tmp_path / "lesson.ipynb")
    return tmp_path / "lesson.ipynb"


def ids(path):
    return [cell.id for cell in nbformat.read(path, 4).cells]


def test_ids_are_words_of_their_cells(built):
    assert ids(built) == [
        "how-far-is-the-moon",
        "parameters",
        "imports",
        "area-math-pi-size",
        "the-answer",
        "area_test",
    ]


def test_a_comment_above_the_first_cell_is_for_the_author(built):
    assert "author alone" not in built.read_text(encoding="utf-8")


def test_the_notebook_is_valid_and_holds_nothing_of_a_run(built):
    nb = nbformat.read(built, 4)
    nbformat.validate(nb)
    assert nb.nbformat_minor == 5
    assert nb.metadata.kernelspec.name == "python3"
    assert all(not c.outputs and c.execution_count is None for c in nb.cells if "outputs" in c)


def test_text_and_back_is_the_same_notebook(built, tmp_path):
    (tmp_path / "again.py").write_text(to_text(built), encoding="utf-8")
    to_notebook(tmp_path / "again.py", tmp_path / "again.ipynb")
    assert (tmp_path / "again.ipynb").read_bytes() == built.read_bytes()


def test_a_cell_keeps_its_id_when_its_first_words_change(built, tmp_path):
    before = ids(built)
    changed = TEXT.replace("# # How far is the moon?", "# # And how far is the moon?")
    changed = changed.replace(
        "area = math.pi * size**2\n", "disc = math.pi * size**2\narea = disc\n"
    )
    (tmp_path / "lesson.py").write_text(changed, encoding="utf-8")
    assert to_notebook(tmp_path / "lesson.py", built)
    assert ids(built) == before


def test_a_cell_put_in_between_leaves_the_other_ids_alone(built, tmp_path):
    before = ids(built)
    changed = TEXT.replace("# %%\nimport math", "# %%\nimport json\n\n# %%\nimport math")
    (tmp_path / "lesson.py").write_text(changed, encoding="utf-8")
    to_notebook(tmp_path / "lesson.py", built)
    assert [i for i in ids(built) if i in before] == before
    assert len(set(ids(built))) == len(before) + 1


def test_building_twice_writes_once(built, tmp_path):
    assert not to_notebook(tmp_path / "lesson.py", built)


def test_outputs_and_an_editors_metadata_are_stripped():
    cell = nbformat.v4.new_code_cell("1 + 1", metadata={"collapsed": True, "tags": ["a"]})
    cell.outputs = [nbformat.v4.new_output("stream", text="2")]
    cell.execution_count = 7
    nb = nbformat.v4.new_notebook(cells=[cell], metadata={"vscode": {"path": "/home/me"}})
    kept = clean(nb)
    assert kept.cells[0].metadata == {"tags": ["a"]}
    assert kept.cells[0].outputs == [] and kept.cells[0].execution_count is None
    assert "vscode" not in kept.metadata


@given(st.lists(st.text(max_size=30), max_size=12))
@settings(max_examples=60)
def test_ids_are_always_unique_valid_and_the_same_again(sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    own = ids_for(cells)
    assert len(set(own)) == len(own)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", i) and not looks_random(i) for i in own)
    assert own == ids_for(cells)


@pytest.mark.parametrize("content", ["", "x = 1\n", "\xff\xfe"])
def test_text_that_is_no_lesson_gets_a_sentence(tmp_path, content, capsys):
    source = tmp_path / "lesson.py"
    source.write_bytes(content.encode("latin-1"))
    with pytest.raises(LessonTextError, match=r"lesson.py .*\.$"):
        to_notebook(source, tmp_path / "lesson.ipynb")
    assert not (tmp_path / "lesson.ipynb").exists()


def test_a_notebook_that_is_none_gets_a_sentence_and_status_1(tmp_path):
    (tmp_path / "x.ipynb").write_text(json.dumps({"cells": 3}), encoding="utf-8")
    done = CliRunner().invoke(app, ["text", "dump", str(tmp_path / "x.ipynb")])
    assert done.exit_code == 1
    assert "is not a notebook" in done.output and "Traceback" not in done.output
