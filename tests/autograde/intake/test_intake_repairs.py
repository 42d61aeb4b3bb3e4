"""What is honest is mended, and said."""

import copy
import json

import pytest
from handed_in import ANSWERS, CELLS, grade_ids, notebook, place, solved, source_of, write

NAMES = [name for name in grade_ids(notebook()) if name]


def kept(content) -> bool:
    """Whether all of the student's answers are there, and the assignment is whole."""
    answers = all(source_of(content, name) == text for name, text in ANSWERS.items())
    return answers and [name for name in grade_ids(content) if name] == NAMES


def test_an_honest_submission_passes_as_it_is(submitted, take_in):
    write(submitted / "hw1.ipynb", solved())
    done, content, _ = take_in()
    assert (done.repairs, done.quarantined, done.missing) == ((), "", ())
    assert kept(content)
    assert [c["id"] for c in content["cells"]] == [c["id"] for c in CELLS]


@pytest.mark.parametrize(
    "name",
    [
        "hw1 (1).ipynb", "hw1(2).ipynb", "HW1.IPYNB", "Hw1.ipynb", "hw1-Copy1.ipynb",
        "hw1 - Copy.ipynb", "hw1 copy 2.ipynb", "Copy of hw1.ipynb", "hw1.ipynb.txt",
        "hw1.ipynb.json", " hw1 .ipynb", "hw1-1.ipynb", "ｈｗ１.ipynb", "jane_final_version.ipynb",
    ],
)  # fmt: skip
def test_a_copy_under_another_name_is_found(name, submitted, take_in):
    write(submitted / name, solved())
    done, content, into = take_in()
    assert kept(content)
    assert "was taken for hw1.ipynb" in " ".join(done.repairs)
    assert [path.name for path in into.iterdir()] == ["hw1.ipynb"]


def test_a_notebook_in_a_packed_folder_is_found_with_its_files(submitted, take_in):
    write(submitted / "homework" / "hw1.ipynb", solved())
    write(submitted / "homework" / "data" / "rings.csv", b"1,2")
    write(submitted / "__MACOSX" / "hw1.ipynb", b"junk")
    write(submitted / "timestamp.txt", b"2026-10-01 12:00 UTC")
    done, content, into = take_in()
    assert kept(content)
    assert (into / "data" / "rings.csv").read_bytes() == b"1,2"
    assert (into / "timestamp.txt").is_file()
    assert "lay in the folder homework" in " ".join(done.repairs)


def test_the_exact_name_wins_unless_it_was_never_touched(submitted, take_in):
    write(submitted / "hw1.ipynb", solved())
    write(submitted / "hw1 (1).ipynb", notebook())
    assert kept(take_in()[1])


def test_two_copies_that_differ_are_not_guessed_between(submitted, take_in):
    other = solved()
    other["cells"][place(other, "area")]["source"] = "def area(r): return 3 * r**2"
    write(submitted / "hw1 (1).ipynb", solved())
    write(submitted / "hw1 (2).ipynb", other)
    done, content, _ = take_in()
    assert "is not clear" in done.quarantined
    assert content == {}


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
        lambda text: text.encode() + b"\0" * 300,
        lambda text: text.encode() + b'"}]}',
        lambda text: text.replace("]}", ",\n]}").replace('"', '"').encode(),
        lambda text: text.replace('"metadata": {}', '"metadata": {"x": NaN}').encode(),
    ],
    ids=["mark", "utf16", "le", "be", "utf32", "padded", "tail", "commas", "nan"],
)
def test_damage_with_one_reading_is_read(encode, submitted, take_in):
    write(submitted / "hw1.ipynb", encode(json.dumps(solved(), ensure_ascii=False)))
    done, content, _ = take_in()
    assert not done.quarantined
    assert kept(content)


def test_text_that_only_looks_like_a_trailing_comma_is_left_alone(submitted, take_in):
    content = solved()
    content["cells"][place(content, "why")]["source"] = 'a "quoted,]" and \\",}'
    write(submitted / "hw1.ipynb", json.dumps(content).replace("]}", ",]}", 1).encode())
    _, read, _ = take_in()
    assert source_of(read, "why") == 'a "quoted,]" and \\",}'


def test_windows_line_ends_do_not_make_a_locked_cell_a_changed_one(submitted, take_in):
    content = solved()
    for one in content["cells"]:
        one["source"] = one["source"].replace("\n", "\r\n")
    write(submitted / "hw1.ipynb", content)
    done, read, _ = take_in()
    assert kept(read)
    assert not any("restored" in sentence for sentence in done.repairs)


@pytest.mark.parametrize("minor", [0, 2, 4])
def test_format_4_without_ids_gets_ids(minor, submitted, take_in):
    content = solved() | {"nbformat_minor": minor}
    for one in content["cells"]:
        del one["id"]
    write(submitted / "hw1.ipynb", content)
    done, read, _ = take_in()
    assert kept(read)
    assert f"format 4.{minor}" in " ".join(done.repairs)


def test_the_format_that_was_handed_out_is_no_repair(submitted, take_in):
    for path in (submitted / "hw1.ipynb", submitted.parents[2] / "release" / "hw1.ipynb"):
        content = (solved() if path.parent == submitted else notebook()) | {"nbformat_minor": 4}
        for one in content["cells"]:
            del one["id"]
        write(path, content)
    done, read, _ = take_in()
    assert kept(read)
    assert done.repairs == ()


@pytest.mark.parametrize("formerly", ["homework-one", ["older", "homework-one"]])
def test_a_notebook_under_the_name_that_it_had_before_is_found(formerly, submitted, take_in):
    released = notebook()
    released["metadata"]["autograde"] = {"formerly": formerly}
    write(submitted.parents[2] / "release" / "hw1.ipynb", released)
    write(submitted / "homework-one.ipynb", solved())
    write(submitted / "h.ipynb", notebook())
    done, read, _ = take_in()
    assert kept(read)
    assert "homework-one.ipynb was taken for hw1.ipynb." in done.repairs


def test_format_3_is_brought_to_format_4(submitted, take_in):
    cells = []
    for one in solved()["cells"]:
        text = [line + "\n" for line in one["source"].split("\n")]
        text[-1] = text[-1].rstrip("\n")
        old = {"cell_type": one["cell_type"], "metadata": one["metadata"]}
        old["input" if one["cell_type"] == "code" else "source"] = text
        if one["cell_type"] == "code":
            old |= {"language": "python", "collapsed": False, "outputs": [], "prompt_number": 1}
        cells.append(old)
    cells.insert(1, {"cell_type": "heading", "level": 2, "source": ["Part one"], "metadata": {}})
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}}
    write(submitted / "hw1.ipynb", old | {"worksheets": [{"cells": cells, "metadata": {}}]})
    done, read, _ = take_in()
    assert kept(read)
    assert "".join(read["cells"][1]["source"]) == "## Part one"
    assert "notebook format 3" in " ".join(done.repairs)


def test_a_test_cell_that_stands_twice_counts_once(submitted, take_in):
    content = solved()
    content["cells"].insert(2, copy.deepcopy(content["cells"][place(content, "test_area")]))
    write(submitted / "hw1.ipynb", content)
    done, read, _ = take_in()
    assert kept(read)
    assert "count once: test_area" in " ".join(done.repairs)


def test_of_an_answer_that_stands_twice_the_written_one_counts(submitted, take_in):
    content = solved()
    stub = copy.deepcopy(CELLS[6])
    content["cells"].append(stub)
    write(submitted / "hw1.ipynb", content)
    assert source_of(take_in()[1], "why") == ANSWERS["why"]


@pytest.mark.parametrize("name", ["setup", "test_area", "test_ring"])
def test_a_missing_instructors_cell_is_back_in_its_place(name, submitted, take_in):
    content = solved()
    del content["cells"][place(content, name)]
    write(submitted / "hw1.ipynb", content)
    done, read, _ = take_in()
    assert kept(read)
    assert f"are back: {name}" in " ".join(done.repairs)


@pytest.mark.parametrize("to", [0, 2, 7])
@pytest.mark.parametrize("name", ["setup", "test_area", "test_ring"])
def test_a_moved_instructors_cell_is_back_in_its_place(name, to, submitted, take_in):
    content = solved()
    content["cells"].insert(to, content["cells"].pop(place(content, name)))
    write(submitted / "hw1.ipynb", content)
    assert kept(take_in()[1])


def test_answers_in_another_order_stay_as_the_student_has_them(submitted, take_in):
    content = solved()
    intro, setup, area, test_area, ring, test_ring, why = content["cells"]
    content["cells"] = [intro, setup, ring, test_ring, area, test_area, why]
    write(submitted / "hw1.ipynb", content)
    done, read, _ = take_in()
    wanted = ["setup", "ring", "test_ring", "area", "test_area", "why"]
    assert [name for name in grade_ids(read) if name] == wanted
    assert done.repairs == ()


def test_a_changed_test_is_restored_whatever_the_cell_says_of_itself(submitted, take_in):
    content = solved()
    cell = content["cells"][place(content, "test_area")]
    cell["source"] = "pass"
    cell["metadata"]["nbgrader"] |= {"locked": False, "solution": True, "points": 1e6}
    write(submitted / "hw1.ipynb", content)
    done, read, _ = take_in()
    about = read["cells"][place(read, "test_area")]["metadata"]["nbgrader"]
    assert source_of(read, "test_area") == "assert area(0) == 0"
    assert (about["locked"], about["solution"], about["points"]) == (True, False, 2)
    assert "restored: test_area" in " ".join(done.repairs)


@pytest.mark.parametrize("about", [{"grade_id": "bonus", "grade": True}, {}, [], 7, "x", None])
def test_marks_of_another_assignment_become_an_ordinary_cell(about, submitted, take_in):
    content = solved()
    extra = {"cell_type": "code", "id": "x", "source": "1", "outputs": [], "execution_count": 1}
    content["cells"].append(extra | {"metadata": {"nbgrader": about}})
    write(submitted / "hw1.ipynb", content)
    _, read, _ = take_in()
    assert kept(read)
    assert "nbgrader" not in read["cells"][-1]["metadata"]


def test_a_bad_time_is_said_and_stops_nobody(submitted, take_in):
    write(submitted / "hw1.ipynb", solved())
    write(submitted / "timestamp.txt", b"yesterday, sort of")
    done, content, into = take_in()
    assert kept(content)
    assert not (into / "timestamp.txt").exists()
    assert "does not hold a date" in " ".join(done.repairs)
