"""What is dangerous or no notebook is put aside with a sentence, and costs little."""

import json
import os
import resource

import pytest
from handed_in import notebook, place, solved, source_of, write
from hypothesis import given, settings
from hypothesis import strategies as st

from autograde.intake.reading import MOST_BYTES, Unusable, read_notebook

SECRET = b"the reference solution"


def deep(levels: int) -> bytes:
    lists = b"[" * levels + b"]" * levels
    return b'{"cells":[{"cell_type":"code","source":"","outputs":%s}],"metadata":{}}' % lists


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\0" * 4000, "is empty"),
        (b"PK\x03\x04 and more", "zip archive"),
        (b"%PDF-1.7", "PDF"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"print('hello')", "no valid JSON"),
        (b"[1, 2, 3]", "not a notebook"),
        (b'{"cells": 3}', "not a notebook"),
        (b'{"cells": [null]}', "not a notebook"),
        (b'{"metadata": {}}', "has no cells"),
        (b'{"cells": [', "no valid JSON"),
        ("{“cells”: []}".encode("cp1252"), "not in UTF-8"),
        (deep(100_000), "nested too deep"),
        (b'{"cells":[' + b"{}," * 20_000 + b"{}]}", "20,001 cells"),
        (b'{"cells":[' + b"{}," * 1_500_000 + b"{}]}", "too many"),
        (b"[" * 3_000_000, "too many"),
        (b'{"cells":[{"source":"' + b"x" * 3_000_000 + b'"}]}', "too much"),
        (b"{\n<<<<<<< HEAD\n=======\n>>>>>>> theirs\n}", "git merge"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_notebook_is_said_in_a_sentence(content, why, submitted, take_in):
    write(submitted / "hw1.ipynb", content)
    done, read, _ = take_in()
    assert why in done.quarantined
    assert done.quarantined.endswith(".")
    assert read == {}


def test_a_notebook_of_a_gigabyte_is_not_read(submitted, take_in):
    path = submitted / "hw1.ipynb"
    with path.open("wb") as file:
        file.truncate(1_000_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done, _, _ = take_in()
    assert "1,000 MB" in done.quarantined
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert MOST_BYTES < 100_000_000


def test_sixty_megabytes_of_output_are_dropped_without_being_built(submitted, take_in):
    content = solved()
    cell = content["cells"][place(content, "area")]
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 40_000_000}]
    write(submitted / "hw1.ipynb", content)
    done, read, into = take_in()
    assert not done.quarantined
    assert (into / "hw1.ipynb").stat().st_size < 10_000
    assert "math.pi" in source_of(read, "area")


@pytest.mark.parametrize("what", ["notebook", "folder", "student", "broken"])
def test_a_symbolic_link_is_never_followed(what, submitted, take_in, tmp_path):
    secret = write(tmp_path / "source" / "hw1.ipynb", solved())
    if what == "notebook":
        (submitted / "hw1.ipynb").symlink_to(secret)
    elif what == "broken":
        (submitted / "hw1.ipynb").symlink_to(tmp_path / "nowhere")
    else:
        target = submitted if what == "folder" else submitted.parent
        submitted.rmdir()
        if what == "student":
            submitted.parent.rmdir()
            write(tmp_path / "other" / "hw1" / "hw1.ipynb", solved())
            target.symlink_to(tmp_path / "other")
        else:
            target.symlink_to(secret.parent)
    done, read, _ = take_in()
    assert "a symbolic link" in done.quarantined
    assert read == {}


def test_links_and_pipes_beside_the_notebook_are_left_out_and_said(submitted, take_in, tmp_path):
    write(submitted / "hw1.ipynb", solved())
    secret = write(tmp_path / "solution.py", SECRET)
    (submitted / "soft.py").symlink_to(secret)
    (submitted / "folder").symlink_to(tmp_path)
    (submitted / "hard.py").hardlink_to(secret)
    (submitted / "zero").symlink_to("/dev/zero")
    os.mkfifo(submitted / "pipe")
    write(submitted / "own.py", b"x = 1")
    with (submitted / "sparse").open("wb") as file:
        file.truncate(10_000_000_000)
    (submitted / "same.py").hardlink_to(submitted / "own.py")
    done, read, into = take_in()
    assert read
    assert sorted(path.name for path in into.iterdir()) == ["hw1.ipynb", "own.py", "same.py"]
    for name in ("soft.py", "folder", "hard.py", "zero", "pipe", "sparse"):
        assert name in " ".join(done.repairs)


def test_a_notebook_that_is_a_hard_link_to_elsewhere_is_put_aside(submitted, take_in, tmp_path):
    secret = write(tmp_path / "source" / "hw1.ipynb", solved())
    (submitted / "hw1.ipynb").hardlink_to(secret)
    done, _, _ = take_in()
    assert "hard link" in done.quarantined


def test_too_many_files_end_the_walk(submitted, take_in):
    write(submitted / "hw1.ipynb", solved())
    for number in range(2_001):
        (submitted / f"{number}").touch()
    assert "more than 2,000 files" in take_in()[0].quarantined


def test_an_empty_folder_and_no_folder_have_a_reason(submitted, take_in):
    assert take_in()[0].quarantined == "hw1.ipynb is missing; it is empty."
    submitted.rmdir()
    submitted.write_text("not a folder")
    assert "not a folder" in take_in()[0].quarantined


def test_a_name_in_a_reason_cannot_turn_or_end_the_line(submitted, take_in):
    write(submitted / "hw1\n\x1b[31m\u202egnp.ipynb", b"[")
    why = take_in()[0].quarantined
    assert why
    assert why.isprintable()


def test_a_submissions_word_on_its_own_grading_is_taken_off(submitted, take_in):
    content = solved()
    content["metadata"]["autograde"] = {"intake": "all well"}
    content["metadata"]["widgets"] = {"application/x": {"state": {}}}
    content["cells"][0]["metadata"]["autograde"] = {"unprotected": True}
    write(submitted / "hw1.ipynb", content)
    text = json.dumps(take_in()[1])
    assert "autograde" not in text
    assert "widgets" not in text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "cells metadata nbgrader grade_id source cell_type id outputs worksheets input tags"
                " attachments nbformat nbformat_minor kernelspec language_info level".split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@given(values=st.lists(json_values, max_size=4), where=st.sampled_from(["cells", "top", "inside"]))
def test_whatever_json_comes_in_a_valid_notebook_or_a_sentence_comes_out(
    values, where, tmp_path_factory
):
    import nbformat

    from autograde.intake import prepare

    content = solved()
    if where == "cells":
        content["cells"][2:2] = [value for value in values if isinstance(value, dict)]
    elif where == "top":
        content |= {k: v for value in values if isinstance(value, dict) for k, v in value.items()}
    else:
        for one, value in zip(content["cells"], values):
            one["metadata"] = value
    root = tmp_path_factory.mktemp("any")
    write(root / "jane" / "hw1" / "hw1.ipynb", content)
    write(root / "release" / "hw1.ipynb", notebook())
    (root / "into").mkdir()
    release = root / "release"
    done = prepare(root / "jane/hw1", root / "into", release=release, notebooks=["hw1"])
    assert "person must look" not in done.quarantined
    if not done.quarantined:
        nbformat.validate(json.loads((root / "into/hw1.ipynb").read_bytes()))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_bytes_come_in_nothing_but_unusable_is_raised(data):
    for content in (data, b'{"cells":[' + data + b"]}"):
        try:
            read_notebook(content, "hw1.ipynb")
        except Unusable as reason:
            assert str(reason).endswith(".")
