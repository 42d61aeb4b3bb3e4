"""Files that are made to cost time or memory, or to be another file when they are read: each ends
in a sentence, or in the honest part of it. A trap that springs makes its test run for ever.
"""

import gzip
import json
import os
import socket
import threading
import tracemalloc
from pathlib import Path

import pytest
from handed_in import RELEASED, notebook, place, solved, source_of, write

from autograde.intake import prepare
from autograde.intake import reading as reading_module
from autograde.intake.reading import Unusable, read_bytes, read_notebook
from autograde.sheet import digest_of

CELL = b'{"cells":[{"cell_type":"markdown","id":"a",%s}],"metadata":{%s},"nbformat":4}'
MANY = b'"ab",' * 1_000_000 + b'"ab"'


@pytest.mark.parametrize(
    "content",
    [
        b"{\n" + b"<<<<<<< \n" * 500_000,
        b"{\n" + b"<<<<<<< \n" * 3_000 + b"=======\n" * 300_000,
        b'{"cells":[' + b'"\\' * 10_000_000,
        b'{"cells":[' + b'"\\"' * 5_000_000,
        b'{"cells":[' + b", " * 1_000_000,
        b'{"cells":[{"metadata":{"x":' + b"9" * 2_000_000 + b"}}]",
    ],
    ids=["merge", "merges", "quotes", "escapes", "commas", "digits"],
)
def test_text_that_makes_a_pattern_search_for_ever_is_refused(content):
    with pytest.raises(Unusable, match="is not a notebook"):
        read_notebook(content, "hw1.ipynb")


@pytest.mark.parametrize(
    "content",
    [
        CELL % (b'"metadata":{"x":[%s]}' % MANY, b""),
        CELL % (b'"attachments":{"x":[%s]}' % MANY, b""),
        CELL % (b'"x":[%s]' % MANY, b""),
        CELL % (b"", b'"widgets":[%s]' % MANY),
        CELL % (b"", b'"x":{%s}' % b",".join(b'"%07d":1' % n for n in range(500_000))),
    ],
    ids=["metadata", "attachments", "unknown", "widgets", "names"],
)
def test_what_is_not_graded_is_not_built(content):
    tracemalloc.start()
    read = read_notebook(content.replace(b",}", b"}"), "hw1.ipynb")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3 * len(content)  # built it would be twelve times its length
    assert (len(read.cells), read.metadata) == (1, {})


def test_too_much_metadata_leave_the_assignments_marks_in_place(submitted, take_in):
    content = solved()
    for one in content["cells"]:
        one["metadata"]["bulk"] = [1] * 100_000
    content["metadata"]["widgets"] = {"state": [1] * 300_000}
    write(submitted / "hw1.ipynb", content)
    done, read, _ = take_in()
    assert (done.quarantined, done.repairs) == ("", ())
    assert "math.pi" in source_of(read, "area")


def test_a_cell_of_millions_of_pieces_is_too_much():
    with pytest.raises(Unusable, match="pieces of text"):
        read_notebook(CELL % (b'"source":[%s]' % (b'"",' * 3_000_000 + b'""'), b""), "hw1.ipynb")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip.compress(b"x", mtime=0), "compressed file"),
        (b"\x89PNG\r\n\x1a\n\xff", "picture"),
        (b"PK\x03\x04\xff\xfe", "zip archive"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"\xef\xbb\xbf<html>", "web page"),
        ('{"cells":[]}'.encode("utf-32-le"), "no valid JSON"),
        ('{"cells":["é"]}'.encode("latin-1"), "not in UTF-8"),
    ],
    ids=["gzip", "png", "zip", "pdf", "html", "utf-32", "latin-1"],
)
def test_another_kind_of_file_is_named_whatever_its_bytes(content, why):
    with pytest.raises(Unusable, match=why):
        read_notebook(content, "hw1.ipynb")


@pytest.mark.parametrize("version", [(4, 0), (4, 5), (4, 99), (5, 0), (-1, 3), ("4", None)])
def test_cells_are_read_whatever_the_format_calls_itself(version, submitted, take_in):
    content = solved() | {"nbformat": version[0], "nbformat_minor": version[1]}
    write(submitted / "hw1.ipynb", content)
    done, read, _ = take_in()
    assert not done.quarantined
    assert (read["nbformat"], read["nbformat_minor"]) == (4, 5)


def test_what_strict_json_has_not_is_read_without_it():
    text = '"source": "x = \'\\ud800\'", "metadata": {"a": NaN, "b": -Infinity, "c": 1e999}'
    read = read_notebook((CELL % (text.encode(), b"")).replace(b",}", b"}"), "hw1.ipynb")
    assert read.cells[0].source == "x = '?'"
    assert read.cells[0].metadata == {"a": None, "b": None, "c": None}


@pytest.mark.parametrize("what", ["folder", "pipe", "socket", "device"])
def test_what_is_no_file_has_its_kind_in_the_reason(what, submitted, take_in, monkeypatch):
    path = submitted / "hw1.ipynb"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "socket":
        monkeypatch.chdir(submitted)  # an address of this kind is short
        socket.socket(socket.AF_UNIX).bind(path.name)
    else:
        path = Path("/dev/zero")
        with pytest.raises(Unusable, match="a device"):
            read_bytes(path)
        return
    assert "is missing" in take_in()[0].quarantined


def test_a_file_replaced_after_the_walk_is_not_read(submitted, tmp_path, monkeypatch):
    """Its folder becomes a link to the instructor's, between the look at it and the reading."""
    secret = write(tmp_path / "source" / "hw1.ipynb", solved())
    write(submitted / "sub" / "hw1.ipynb", solved())
    release = write(tmp_path / "release" / "hw1.ipynb", notebook()).parent
    (tmp_path / "into").mkdir()
    real = reading_module.open_plain

    def swapping(path: Path):
        folder = submitted / "sub"
        if not folder.is_symlink():
            folder.rename(tmp_path / "gone")
            folder.symlink_to(secret.parent)
        return real(path)

    monkeypatch.setattr(reading_module, "open_plain", swapping)
    done = prepare(submitted, tmp_path / "into", release=release, notebooks=[RELEASED])
    assert "was replaced while it was read" in done.quarantined


def test_a_folder_that_changes_all_the_time_ends_in_a_notebook_or_a_sentence(submitted, tmp_path):
    """A thread replaces the notebook by a link, a pipe and itself while it is taken in."""
    write(tmp_path / "secret.ipynb", b"the reference solution")
    release = write(tmp_path / "release" / "hw1.ipynb", notebook()).parent
    stop, path = threading.Event(), submitted / "hw1.ipynb"

    def replace() -> None:
        aside = tmp_path / "aside"
        while not stop.is_set():
            for make in (
                lambda: write(aside, solved()),
                lambda: aside.symlink_to(tmp_path / "secret.ipynb"),
                lambda: os.mkfifo(aside),
            ):
                make()
                aside.replace(path)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for number in range(60):
            into = tmp_path / f"into-{number}"
            into.mkdir()
            digest_of(submitted)
            done = prepare(submitted, into, release=release, notebooks=[RELEASED])
            assert done.quarantined or (into / "hw1.ipynb").is_file()
            assert b"reference" not in b"".join(p.read_bytes() for p in into.iterdir())
    finally:
        stop.set()
        thread.join()


def test_a_folder_that_goes_while_it_is_read_is_a_sentence(submitted, tmp_path):
    submitted.rmdir()
    release = write(tmp_path / "release" / "hw1.ipynb", notebook()).parent
    done = prepare(submitted, tmp_path / "into", release=release, notebooks=[RELEASED])
    assert done.quarantined == "hw1 cannot be read: No such file or directory."


@pytest.mark.parametrize("folder", ["a", "zz"])
def test_a_student_cannot_hand_in_the_time_of_handing_in(folder, submitted, take_in):
    write(submitted / "timestamp.txt", b"2026-10-05 12:00 UTC")
    write(submitted / folder / "hw1.ipynb", solved())
    write(submitted / folder / "Timestamp.txt", b"2026-09-01 12:00 UTC")
    write(submitted / folder / "timestamp.txt", b"2026-09-01 12:00 UTC")
    done, _, into = take_in()
    assert (into / "timestamp.txt").read_bytes() == b"2026-10-05 12:00 UTC"
    assert {path.name for path in into.iterdir()} == {"hw1.ipynb", "timestamp.txt"}
    assert "timestamp.txt of the student's own was left out." in " ".join(done.repairs)


def test_a_digest_follows_no_link_and_reads_no_holes(submitted, tmp_path, monkeypatch):
    monkeypatch.setattr("autograde.sheet._MOST_BYTES", 60_000_000)
    write(tmp_path / "elsewhere" / "file", b"1")
    submitted.rmdir()
    submitted.symlink_to(tmp_path / "elsewhere")
    before = digest_of(submitted)
    write(tmp_path / "elsewhere" / "file", b"2")
    assert digest_of(submitted) == before
    submitted.unlink()
    submitted.mkdir()
    for number in range(1_900):
        with (submitted / f"{number}").open("wb") as file:
            file.truncate(60_000_000)
    full = digest_of(submitted)
    (submitted / "0").write_bytes(b"changed")
    assert digest_of(submitted) != full


def test_a_picture_in_an_answer_is_kept(submitted, take_in):
    content = solved()
    cell = content["cells"][place(content, "why")]
    cell["attachments"] = {"p.png": {"image/png": "iVBORw0KGgo" * 100_000}}
    write(submitted / "hw1.ipynb", json.dumps(content).encode())
    _, read, _ = take_in()
    assert read["cells"][place(read, "why")]["attachments"] == cell["attachments"]
