"""The law of an update: nothing that a student did is lost, nothing comes twice."""

import copy

import nbformat
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mlsys.merge import changed_cells, merge

WORDS = st.sampled_from(["a = 1", "b = 2", "print(a)", "", "# title", "x\ny"])
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["change", "delete", "insert", "move", "retype"]),
        st.integers(0, 9),
        st.integers(0, 9),
        WORDS,
    ),
    max_size=6,
)


def cell(source, own, kind="code"):
    made = new_code_cell(source) if kind == "code" else new_markdown_cell(source)
    made["id"] = own
    return made


def notebook(*sources):
    cells = [cell(s, f"c{n}", "code" if n % 3 else "markdown") for n, s in enumerate(sources)]
    return new_notebook(cells=cells)


def edited(nb, edits, who):
    """The notebook after edits; what a person adds has ids of their own."""
    nb = copy.deepcopy(nb)
    for number, (what, at, to, text) in enumerate(edits):
        if what == "insert":
            nb.cells.insert(at % (len(nb.cells) + 1), cell(f"{who} {text}", f"{who}{number}"))
        elif nb.cells:
            at %= len(nb.cells)
            if what == "change":
                nb.cells[at].source = f"{text} # {who} {number}"
            elif what == "delete":
                del nb.cells[at]
            elif what == "move":
                nb.cells.insert(to % len(nb.cells), nb.cells.pop(at))
            elif what == "retype":
                old = nb.cells[at]
                kind = "markdown" if old.cell_type == "code" else "code"
                nb.cells[at] = cell(old.source, old.id, kind)
    return nb


BASES = st.lists(WORDS, max_size=7).map(lambda sources: notebook(*sources))


def said(c):
    return c.cell_type, c.source


def plain(nb):
    return [(c.id, *said(c)) for c in nb.cells]


@given(BASES, EDITS, EDITS)
@settings(max_examples=100)
def test_what_a_student_wrote_survives_word_for_word(base, theirs, ours):
    mine, new = edited(base, theirs, "me"), edited(base, ours, "course")
    was = {c.id: said(c) for c in base.cells}
    merged = {c.id: c for c in merge(base, mine, new).notebook.cells}
    for c in mine.cells:
        if was.get(c.id) != said(c):
            assert merged[c.id] == c


@given(BASES, EDITS)
@settings(max_examples=100)
def test_a_lesson_left_alone_becomes_exactly_the_new_one(base, ours):
    new = edited(base, ours, "course")
    result = merge(base, copy.deepcopy(base), new)
    assert result.notebook == new
    assert result.conflicts == ()


@given(BASES, EDITS)
@settings(max_examples=100)
def test_an_update_without_news_changes_nothing(base, theirs):
    mine = edited(base, theirs, "me")
    assert merge(base, mine, base).notebook == mine


@given(BASES, EDITS, EDITS)
@settings(max_examples=100)
def test_updating_twice_is_updating_once(base, theirs, ours):
    mine, new = edited(base, theirs, "me"), edited(base, ours, "course")
    once = merge(base, mine, new).notebook
    assert merge(new, once, new).notebook == once
    # The same after a crash that wrote the lesson and not yet its base.
    assert plain(merge(base, once, new).notebook) == plain(once)


@given(BASES, EDITS, EDITS, EDITS)
@settings(max_examples=100)
def test_ids_stay_unique_and_the_notebook_valid_over_two_updates(base, theirs, ours, later):
    mine, new = edited(base, theirs, "me"), edited(base, ours, "course")
    newer = edited(new, later, "again")
    result = merge(new, merge(base, mine, new).notebook, newer).notebook
    own = [c.id for c in result.cells]
    assert len(set(own)) == len(own)
    nbformat.validate(result)


@given(BASES, EDITS, EDITS)
@settings(max_examples=100)
def test_what_a_student_deleted_stays_away_and_what_is_new_arrives(base, theirs, ours):
    mine, new = edited(base, theirs, "me"), edited(base, ours, "course")
    there = {c.id for c in merge(base, mine, new).notebook.cells}
    deleted = {c.id for c in base.cells} - {c.id for c in mine.cells}
    arrived = {c.id for c in new.cells} - {c.id for c in base.cells}
    assert not deleted & there
    assert arrived <= there


@given(BASES, EDITS, EDITS)
@settings(max_examples=100)
def test_a_student_who_moved_cells_keeps_their_order(base, theirs, ours):
    mine, new = edited(base, theirs, "me"), edited(base, ours, "course")
    shared = {c.id for c in base.cells} & {c.id for c in mine.cells}
    order = [c.id for c in mine.cells if c.id in shared]
    if order == [c.id for c in base.cells if c.id in shared]:
        return
    there = [c.id for c in merge(base, mine, new).notebook.cells]
    own = [c.id for c in mine.cells if c.id in there]
    assert [i for i in there if i in own] == own


def test_a_conflict_keeps_both_and_the_new_code_does_not_run():
    base = notebook("# one", "def f():\n    raise NotImplementedError")
    mine, new = copy.deepcopy(base), copy.deepcopy(base)
    mine.cells[1].source = "def f():\n    return 42"
    new.cells[1].source = 'def f():\n    "Better words."\n    raise NotImplementedError'
    merged = merge(base, mine, new)
    kinds = [c.cell_type for c in merged.notebook.cells]
    assert kinds == ["markdown", "code", "markdown", "raw"]
    assert merged.notebook.cells[1].source == mine.cells[1].source
    assert merged.notebook.cells[3].source == new.cells[1].source
    assert merged.conflicts == ("c1",)


def test_outputs_stay_with_a_cell_that_nobody_changed_and_go_with_one_that_the_course_did():
    base = notebook("# one", "a = 1", "b = 2")
    mine, new = copy.deepcopy(base), copy.deepcopy(base)
    for c in mine.cells[1:]:
        c.outputs, c.execution_count = [new_output("stream", text="ran")], 3
    new.cells[2].source = "b = 3"
    kept, changed = merge(base, mine, new).notebook.cells[1:]
    assert kept.outputs == mine.cells[1].outputs and kept.execution_count == 3
    assert changed.outputs == [] and changed.execution_count is None


def test_a_students_change_of_metadata_stays_beside_the_courses_own():
    base = notebook("# one", "a = 1")
    mine, new = copy.deepcopy(base), copy.deepcopy(base)
    mine.cells[1].metadata.collapsed = True
    mine.metadata.kernelspec = {"name": "mine"}
    new.cells[1].metadata.tags = ["parameters"]
    merged = merge(base, mine, new).notebook
    assert merged.cells[1].metadata == {"collapsed": True, "tags": ["parameters"]}
    assert merged.metadata.kernelspec == {"name": "mine"}


def test_cells_that_lost_their_ids_are_known_by_what_they_say():
    base = notebook("# one", "a = 1", "b = 2")
    mine, new = copy.deepcopy(base), copy.deepcopy(base)
    for c in mine.cells:
        del c["id"]
    mine.cells[2].source = "b = 99"
    new.cells[0].source = "# first"
    merged = merge(base, mine, new).notebook
    assert [c.source for c in merged.cells] == ["# first", "a = 1", "b = 99"]


def test_a_copied_cell_with_its_originals_id_gets_its_own():
    base = notebook("# one", "a = 1")
    mine = copy.deepcopy(base)
    mine.cells.append(cell("a = 7", "c1"))
    merged = merge(base, mine, base).notebook
    assert [c.source for c in merged.cells] == ["# one", "a = 1", "a = 7"]
    assert len({c.id for c in merged.cells}) == 3


def test_changed_cells_are_those_whose_text_differs():
    base = notebook("# one", "a = 1", "b = 2")
    mine = copy.deepcopy(base)
    mine.cells[1].source = "a = 3"
    mine.cells[2].execution_count = 5
    del mine.cells[0]
    assert changed_cells(base, mine) == {"c1"}
