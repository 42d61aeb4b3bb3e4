"""Bundles of learning platforms: whose file is whose, and nothing outside is touched."""

import io
import json
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from handed_in import solved
from hypothesis import given, settings
from hypothesis import strategies as st
from nbgrader.api import Base, Gradebook
from nbgrader.coursedir import CourseDirectory
from sqlalchemy import create_engine

from autograde.intake import BundleError, collect
from autograde.intake.names import is_notebook, looks_like, match, plain_stem, safe_name

NOTEBOOK = json.dumps(solved()).encode()


@pytest.fixture
def course(tmp_path: Path) -> CourseDirectory:
    root = tmp_path / "course"
    (root / "source" / "hw1").mkdir(parents=True)
    found = CourseDirectory(root=str(root))
    found.db_url = f"sqlite:///{root / 'gradebook.db'}"
    return found


def bundle(root: Path, files: dict[str, bytes | str], *, name: str = "submissions.zip") -> Path:
    path = root / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return path


def zipped(files: dict[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return buffer.getvalue()


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def submitted(course: CourseDirectory) -> set[str]:
    folder = Path(course.root) / "submitted"
    return tree(folder) if folder.is_dir() else set()


GRADESCOPE = """---
submission_11:
  :submitters:
  - :name: Jane Doe
    :sid: 'jdoe'
    :email: jane@example.edu
  :created_at: 2026-10-01 23:58:00.000000000 Z
  :history:
  - :id: 10
    :created_at: 2026-10-01 20:00:00.000000000 Z
submission_12:
  :submitters:
  - :name: Bo Li
    :email: bo.li@example.edu
    :sid: ''
  - :name: Cy Wu
    :email: cy@example.edu
  :created_at: 2026-10-02 10:00:00.000000000 Z
"""
SHAPES = {
    "canvas": (
        {
            "doejane_LATE_101_5001_hw1.ipynb": NOTEBOOK,
            "doejane_LATE_101_5002_data.csv": "1",
            "libo_102_5003_hw1-1.ipynb": NOTEBOOK,
            "anon_aB3xZ_5004_hw1.ipynb": NOTEBOOK,
        },
        {"doejane/hw1/hw1.ipynb", "doejane/hw1/data.csv", "libo/hw1/hw1-1.ipynb",
         "anon_aB3xZ/hw1/hw1.ipynb"},
    ),
    "moodle": (
        {
            "Jane Doe_11_assignsubmission_file_/hw1.ipynb": NOTEBOOK,
            "Jane Doe_11_assignsubmission_file_/data/x.csv": "1",
            "Jane Doe_11_assignsubmission_onlinetext_/onlinetext.html": "<p>hello",
            "Bo O'Li_12_assignsubmission_file/hw1.ipynb": NOTEBOOK,
            "Cy Wu_13_assignsubmission_file_hw1.ipynb": NOTEBOOK,
        },
        {"Jane_Doe/hw1/hw1.ipynb", "Jane_Doe/hw1/data/x.csv", "Bo_O'Li/hw1/hw1.ipynb",
         "Cy_Wu/hw1/hw1.ipynb"},
    ),
    "blackboard": (
        {
            "Home_work 1_j_doe_attempt_2026-10-01-20-00-00.txt": "Name: Jane Doe (j_doe)\n",
            "Home_work 1_j_doe_attempt_2026-10-01-20-00-00_hw1.ipynb": b"old",
            "Home_work 1_j_doe_attempt_2026-10-01-23-58-00.txt": "Name: Jane Doe (j_doe)\n",
            "Home_work 1_j_doe_attempt_2026-10-01-23-58-00_hw1.ipynb": NOTEBOOK,
            "Home_work 1_bli_attempt_2026-10-01-23-59-00_hw1.ipynb": NOTEBOOK,
        },
        {"j_doe/hw1/hw1.ipynb", "j_doe/hw1/timestamp.txt", "bli/hw1/hw1.ipynb",
         "bli/hw1/timestamp.txt"},
    ),
    "gradescope": (
        {
            "assignment_9_export/submission_metadata.yml": GRADESCOPE,
            "assignment_9_export/submission_11/hw1.ipynb": NOTEBOOK,
            "assignment_9_export/submission_12/hw1.ipynb": NOTEBOOK,
        },
        {f"{who}/hw1/{file}" for who in ("jdoe", "bo.li", "cy")
         for file in ("hw1.ipynb", "timestamp.txt")},
    ),
    "folders": (
        {"all/jane/hw1.ipynb": NOTEBOOK, "all/bo/hw1/hw1.ipynb": NOTEBOOK, "all/bo/x.py": "1"},
        {"jane/hw1/hw1.ipynb", "bo/hw1/hw1.ipynb", "bo/hw1/x.py"},
    ),
    "nbgrader": (
        {"submitted/jane/hw1/hw1.ipynb": NOTEBOOK, "submitted/bo/hw1/hw1.ipynb": NOTEBOOK},
        {"jane/hw1/hw1.ipynb", "bo/hw1/hw1.ipynb"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_each_platforms_bundle_lands_where_nbgrader_looks(shape, course, tmp_path):
    files, wanted = SHAPES[shape]
    rows = collect(bundle(tmp_path, files), course, "hw1")
    assert submitted(course) == wanted
    assert {row.student for row in rows} == {path.split("/")[0] for path in wanted}
    assert not any(row.problem for row in rows)
    for path in wanted:
        if path.endswith(".ipynb"):
            assert (Path(course.root) / "submitted" / path).read_bytes() == NOTEBOOK
    assert not list((Path(course.root) / ".autograde").iterdir())


def test_the_last_attempt_counts_and_the_time_is_kept(course, tmp_path):
    rows = collect(bundle(tmp_path, SHAPES["blackboard"][0]), course, "hw1")
    jane = next(row for row in rows if row.student == "j_doe")
    assert "Handed in 2 times; the last one of 2026-10-01-23-58-00 counts." in jane.notes
    stamp = Path(course.root) / "submitted" / "j_doe" / "hw1" / "timestamp.txt"
    assert stamp.read_text() == "2026-10-01 23:58:00 UTC\n"


def test_a_second_bundle_replaces_and_loses_nothing(course, tmp_path):
    collect(bundle(tmp_path, {"jane/hw1.ipynb": b"first", "bo/hw1.ipynb": b"same"}), course, "hw1")
    again = {"jane/hw1.ipynb": b"second", "bo/hw1.ipynb": b"same"}
    rows = collect(bundle(tmp_path, again, name="later.zip"), course, "hw1")
    notes = {row.student: " ".join(row.notes) for row in rows}
    assert "was there already" in notes["bo"]
    assert "replaces an earlier submission" in notes["jane"]
    folder = Path(course.root) / "submitted" / "jane" / "hw1"
    assert (folder / "hw1.ipynb").read_bytes() == b"second"
    kept = list((Path(course.root) / ".autograde" / "replaced").rglob("hw1.ipynb"))
    assert [path.read_bytes() for path in kept] == [b"first"]


def test_a_later_submission_is_not_replaced_by_an_earlier_bundle(course, tmp_path):
    folder = Path(course.root) / "submitted" / "jdoe" / "hw1"
    folder.mkdir(parents=True)
    (folder / "hw1.ipynb").write_bytes(b"later")
    (folder / "timestamp.txt").write_text("2026-10-05 00:00:00 UTC")
    rows = collect(bundle(tmp_path, SHAPES["gradescope"][0]), course, "hw1")
    assert "later submission" in next(row for row in rows if row.student == "jdoe").problem
    assert (folder / "hw1.ipynb").read_bytes() == b"later"


def test_the_gradebooks_own_names_win(course, tmp_path):
    Base.metadata.create_all(create_engine(course.db_url))
    with Gradebook(course.db_url) as book:
        book.add_student("s1", first_name="Jane", last_name="Doe")
        book.add_student("s2", first_name="Bo", last_name="Li", lms_user_id="102")
        book.add_student("s3", email="cy@example.edu")
    collect(bundle(tmp_path, SHAPES["canvas"][0]), course, "hw1")
    collect(bundle(tmp_path, SHAPES["gradescope"][0]), course, "hw1")
    students = {path.split("/")[0] for path in submitted(course)}
    assert students == {"s1", "s2", "s3", "anon_aB3xZ"}


def test_a_students_own_archive_is_opened_once(course, tmp_path):
    inner = zipped({"hw1.ipynb": NOTEBOOK, "more.zip": zipped({"x.txt": "deep"})})
    rows = collect(bundle(tmp_path, {"jane/work.zip": inner, "bo/hw1.ipynb": b"1"}), course, "hw1")
    assert {"jane/hw1/hw1.ipynb", "jane/hw1/more.zip"} <= submitted(course)
    assert "work.zip was unpacked." in rows[1].notes


def refused(rows) -> str:
    return " ".join(row.problem + " ".join(row.notes) for row in rows)


@pytest.mark.parametrize(
    "path",
    [
        "../evil.py", "jane/../../evil.py", "jane/..\\..\\evil.py", "/etc/evil.py", "C:/evil.py",
        "c:evil.py", "\\\\server\\share\\evil.py", "jane/" + "x/" * 40 + "y", "jane/" + "n" * 2000,
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused_and_the_rest_goes_on(path, course, tmp_path):
    before = tree(tmp_path)
    found = bundle(tmp_path, {"jane/hw1.ipynb": NOTEBOOK, "bo/hw1.ipynb": NOTEBOOK, path: b"bad"})
    rows = collect(found, course, "hw1")
    new = tree(tmp_path) - before - {found.name}
    assert new == {"course/submitted/jane/hw1/hw1.ipynb", "course/submitted/bo/hw1/hw1.ipynb"}
    assert any(row.problem for row in rows if row.student == "")


def test_links_in_an_archive_are_not_made(course, tmp_path):
    link = zipfile.ZipInfo("jane/secret")
    link.external_attr = 0o120777 << 16
    path = bundle(tmp_path, {"jane/hw1.ipynb": NOTEBOOK, "bo/hw1.ipynb": NOTEBOOK})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    rows = collect(path, course, "hw1")
    assert "jane/hw1/secret" not in submitted(course)
    assert "is a link or a device" in refused(rows)


def test_bombs_are_refused_before_they_are_unpacked(course, tmp_path):
    bomb = b"\0" * 30_000_000
    files = {"jane/hw1.ipynb": NOTEBOOK, "jane/bomb": bomb, "bo/work.zip": zipped({"b": bomb})}
    rows = collect(bundle(tmp_path, files), course, "hw1")
    assert submitted(course) == {"jane/hw1/hw1.ipynb"}
    assert refused(rows).count("as only a bomb is") == 2


def test_an_entry_bigger_than_it_says_is_refused(course, tmp_path):
    path = bundle(tmp_path, {"jane/a.txt": b"x" * 50_000, "jane/hw1.ipynb": b"1", "bo/b": b"1"})
    data = path.read_bytes().replace((50_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    rows = collect(path, course, "hw1")
    assert "jane/hw1/a.txt" not in submitted(course)
    assert "a.txt is" in refused(rows)


def test_overlapping_entries_end_the_collection_before_anything_is_written(course, tmp_path):
    path = bundle(tmp_path, {"jane/hw1.ipynb": NOTEBOOK, "bo/hw1.ipynb": NOTEBOOK})
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        second = archive.infolist()[1].header_offset
    at = data.rindex(b"PK\x01\x02") + 42
    assert int.from_bytes(data[at : at + 4], "little") == second
    path.write_bytes(data[:at] + (0).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(BundleError, match="overlap"):
        collect(path, course, "hw1")
    assert not (Path(course.root) / "submitted").exists()


def test_encrypted_and_damaged_entries_are_named(course, tmp_path):
    path = bundle(
        tmp_path, {"jane/hw1.ipynb": NOTEBOOK, "bo/hw1.ipynb": NOTEBOOK, "bo/c": b"c" * 99}
    )
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\x01\x02")
    data[first + 8] |= 1  # the flag of encryption, in the list of contents
    with zipfile.ZipFile(path) as archive:
        damaged = archive.infolist()[2].header_offset + 30 + len("bo/c") + 1
    data[damaged] ^= 0xFF
    path.write_bytes(data)
    rows = collect(path, course, "hw1")
    assert submitted(course) == {"bo/hw1/hw1.ipynb"}
    assert "is encrypted" in refused(rows)
    assert "is damaged" in refused(rows)


def test_what_is_no_archive_is_one_sentence(course, tmp_path):
    for content in (b"", b"hello", b"PK\x05\x06" + b"\0" * 18, NOTEBOOK):
        path = tmp_path / "x.zip"
        path.write_bytes(content)
        with pytest.raises(BundleError) as caught:
            collect(path, course, "hw1")
        assert str(caught.value).endswith(".")
    with pytest.raises(BundleError, match="cannot be read"):
        collect(tmp_path / "nowhere.zip", course, "hw1")


def test_a_name_twice_and_names_of_nbgraders_own_are_said(course, tmp_path):
    path = bundle(tmp_path, {"jane/hw1.ipynb": NOTEBOOK, "jane/timestamp.txt": b"1999-01-01",
                             "jane/HW1.ipynb": b"other", "bo/x": b"1"})  # fmt: skip
    rows = collect(path, course, "hw1")
    assert "jane/hw1/timestamp.txt" not in submitted(course)
    assert "stands there twice" in refused(rows)


def test_look_alike_students_are_told_apart(course, tmp_path):
    files = {"jane/hw1.ipynb": NOTEBOOK, "j\u0430ne/hw1.ipynb": b"forged", "bo/hw1.ipynb": b"1"}
    rows = collect(bundle(tmp_path, files), course, "hw1")
    assert {path.split("/")[0] for path in submitted(course)} == {"jane", "bo"}
    assert "looks like" in refused(rows)


def test_two_people_of_one_name_both_land(course, tmp_path):
    files = {f"Jane Doe_{n}_assignsubmission_file_/hw1.ipynb": f"{n}" for n in (11, 12)}
    collect(bundle(tmp_path, files), course, "hw1")
    assert submitted(course) == {"Jane_Doe_11/hw1/hw1.ipynb", "Jane_Doe_12/hw1/hw1.ipynb"}


@pytest.mark.parametrize("name", ["[a-z]*", "con", "NUL.txt", "a\u202eb", "x. ", "..x", "a/b", "…"])
def test_odd_names_become_names_that_every_system_can_write(name, course, tmp_path):
    safe = safe_name(name)
    assert safe
    assert not set(safe) & set('*?[]{}<>:"|\\/\u202e')
    assert not safe.endswith((" ", "."))
    assert safe.split(".")[0].lower() not in ("con", "nul")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_a_safe_name_is_one_plain_part_of_a_path_and_stays(name):
    safe = safe_name(name)
    assert safe_name(safe) == safe
    if safe:
        assert Path(safe).name == safe
        assert safe not in (".", "..")
        assert len(safe.encode()) <= 130
        assert safe.isprintable()
        assert looks_like(safe) == looks_like(safe_name(safe))


STEMS = st.sampled_from(["hw1", "HW 1", "pa0_python", "Übung 3", "a-b"])
ADDED = st.sampled_from(["", " (1)", "(12)", "-Copy1", " - Copy", " copy 3", "-Copy2 (1)"])
ENDS = st.sampled_from([".ipynb", ".IPYNB", ".ipynb.txt", ".ipynb.json"])


@settings(max_examples=200, deadline=None)
@given(STEMS, ADDED, ENDS, st.booleans())
def test_every_way_of_copying_maps_back_to_the_notebook(stem, added, end, upper):
    name = f"{stem.upper() if upper else stem}{added}{end}"
    assert is_notebook(name)
    assert match([name], [stem])[stem] == [name]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=8), st.lists(STEMS, unique=True, max_size=3))
def test_a_file_is_never_taken_for_two_notebooks(names, stems):
    found = match([f"{name}.ipynb" for name in names], stems)
    taken = [name for files in found.values() for name in set(files)]
    assert len(taken) == len(set(taken))
    assert set(found) == set(stems)
    assert all(plain_stem(plain_stem(name)) == plain_stem(name) for name in names)


PARTS = st.sampled_from(
    ["..", ".", "", "a", "jane", "C:", "CON", "x\\y", "\u202e", "*", "\0z", "é", "e\u0301", "~"]
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=60, deadline=None)
@given(names=st.lists(st.lists(PARTS, min_size=1, max_size=5), min_size=1, max_size=6))
def test_whatever_names_an_archive_has_nothing_is_written_outside(names, tmp_path_factory):
    root = tmp_path_factory.mktemp("any")
    course = CourseDirectory(root=str(root / "course"))
    course.db_url = f"sqlite:///{root / 'none.db'}"
    path = bundle(root, {"bo/hw1.ipynb": b"1"})
    with zipfile.ZipFile(path, "a") as archive:
        for number, parts in enumerate(names):
            info = zipfile.ZipInfo("x")
            info.filename = "/".join(parts) or "."
            archive.writestr(info, f"{number}")
    try:
        collect(path, course, "hw1")
    except BundleError:
        assert not (root / "course" / "submitted").exists()
    outside = {name for name in tree(root) if not name.startswith("course/submitted/")}
    assert outside == {"submissions.zip"}
    assert not any(found.is_symlink() for found in root.rglob("*"))


def test_times_of_gradescope_are_read_from_its_description(course, tmp_path):
    collect(bundle(tmp_path, SHAPES["gradescope"][0]), course, "hw1")
    stamp = (Path(course.root) / "submitted/jdoe/hw1/timestamp.txt").read_text()
    assert datetime.strptime(stamp.strip(), "%Y-%m-%d %H:%M:%S UTC") == datetime(
        2026, 10, 1, 23, 58
    )
