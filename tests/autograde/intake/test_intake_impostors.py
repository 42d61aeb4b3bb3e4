"""Bundles in which somebody poses as another, or which are made to harm whoever unpacks them."""

import errno
import json
import struct
from pathlib import Path

import pytest
from handed_in import solved
from test_intake_bundles import bundle, course, submitted  # noqa: F401

from autograde.intake import BundleError, collect
from autograde.intake.archive import MOST_ENTRIES, open_zip

NOTEBOOK = json.dumps(solved()).encode()


def collected(course, tmp_path, files, name="b.zip"):  # noqa: F811
    return {row.student: row for row in collect(bundle(tmp_path, files, name=name), course, "hw1")}


def test_a_file_named_as_anothers_attempt_stays_its_owners(course, tmp_path):  # noqa: F811
    mine = "HW_mallory_attempt_2026-10-01-20-00-00"
    files = {f"{mine}_x_bob_attempt_2099-01-01-00-00-00_hw1.ipynb": NOTEBOOK}
    rows = collected(course, tmp_path, files)
    assert set(rows) == {"mallory"}
    assert "timestamp.txt" in {Path(path).name for path in submitted(course)}
    assert "2099" not in (Path(course.root) / "submitted/mallory/hw1/timestamp.txt").read_text()


def test_a_name_that_ends_as_anothers_folder_is_ones_own(course, tmp_path):  # noqa: F811
    bob = "Bob Li_12_assignsubmission_file_"
    files = {f"{bob}/hw1.ipynb": NOTEBOOK, f"{bob}_99_assignsubmission_file_/hw1.ipynb": b"forged"}
    collected(course, tmp_path, files)
    folder = Path(course.root) / "submitted"
    assert (folder / "Bob_Li" / "hw1" / "hw1.ipynb").read_bytes() == NOTEBOOK
    assert len(list(folder.iterdir())) == 2


def test_one_number_under_two_names_is_a_persons_to_judge(course, tmp_path):  # noqa: F811
    files = {
        "Bob Li_12_assignsubmission_file_/hw1.ipynb": NOTEBOOK,
        "Eve_12_assignsubmission_file_/hw1.ipynb": b"forged",
        "Cy_13_assignsubmission_file_/hw1.ipynb": NOTEBOOK,
    }
    rows = collected(course, tmp_path, files)
    assert submitted(course) == {"Cy/hw1/hw1.ipynb"}
    assert "same number, 12" in rows[""].problem
    assert rows[""].files == ("Bob Li", "Eve")


@pytest.mark.parametrize(
    "files",
    [
        {"Jane_11_assignsubmission_onlinetext_/onlinetext.html": "<p>hi",
         "Cy_13_assignsubmission_file_/hw1.ipynb": NOTEBOOK},
        {"HW_Jane_attempt_2026-10-01-20-00-00.txt": "Name: Jane (Jane)\n",
         "HW_Cy_attempt_2026-10-01-20-00-00.txt": "Name: Cy (Cy)\n",
         "HW_Cy_attempt_2026-10-01-20-00-00_hw1.ipynb": NOTEBOOK},
    ],
)  # fmt: skip
def test_who_typed_text_only_is_named_with_the_reason(files, course, tmp_path):  # noqa: F811
    rows = collected(course, tmp_path, files)
    assert rows["Jane"].problem == "It holds no file, only what was typed on the platform."
    assert "Cy/hw1/hw1.ipynb" in submitted(course)


def test_an_attempt_with_a_file_counts_before_a_later_one_without(course, tmp_path):  # noqa: F811
    files = {
        "HW_jo_attempt_2026-10-01-20-00-00_hw1.ipynb": NOTEBOOK,
        "HW_jo_attempt_2026-10-02-20-00-00.txt": "Name: Jo (jo)\n",
        "HW_cy_attempt_2026-10-02-20-00-00_hw1.ipynb": NOTEBOOK,
    }
    collected(course, tmp_path, files)
    assert "jo/hw1/hw1.ipynb" in submitted(course)


@pytest.mark.parametrize("name", ["=cmd()", "-rf", "+1", "@x y", "==1", "-", "CON", "aux.x", "..."])
def test_a_name_that_is_a_formula_an_option_or_a_device_is_changed(
    name, course, tmp_path  # noqa: F811
):  # fmt: skip
    collected(course, tmp_path, {f"{name}/hw1.ipynb": NOTEBOOK, "bo/hw1.ipynb": NOTEBOOK})
    made = {path.split("/")[0] for path in submitted(course)} - {"bo"}
    assert all(one[0] not in "=+-@." and one.split(".")[0] not in ("CON", "aux") for one in made)
    assert len(made) == (name != "...")


@pytest.mark.parametrize("count", [100_000, 4_000_000])
def test_millions_of_entries_are_counted_before_any_is_looked_at(count):
    """A student's own archive of 188 MB that is a list of nothing else."""
    entry = b"PK\x01\x02" + struct.pack("<4B4HL2L5H2L", 20, 3, 20, *[0] * 8, 1, *[0] * 6) + b"a"
    ends = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, len(entry) * count, 0, 0)
    with (
        pytest.raises(BundleError, match=f"{MOST_ENTRIES:,}"),
        open_zip(entry * count + ends, "work.zip"),
    ):
        pass


def test_a_full_disk_leaves_whole_submissions_only(course, tmp_path, monkeypatch):  # noqa: F811
    files = {f"s{n}/{file}": NOTEBOOK for n in range(3) for file in ("hw1.ipynb", "more.py")}
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "more.py" and path.parent.name == "1":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BundleError, match=r"No space left on device\. What is put in stays"):
        collected(course, tmp_path, files)
    assert submitted(course) == {"s0/hw1/hw1.ipynb", "s0/hw1/more.py"}
    monkeypatch.undo()
    collected(course, tmp_path, files)
    assert len(submitted(course)) == 6


@pytest.mark.parametrize("name", ["b.tar.gz", "a folder", "nothing"])
def test_what_is_no_archive_is_a_sentence(name, course, tmp_path):  # noqa: F811
    path = tmp_path / name
    if name == "a folder":
        path.mkdir()
    elif name != "nothing":
        path.write_bytes(b"\x1f\x8b\x08" + bytes(100))
    with pytest.raises(BundleError, match=name):
        collect(path, course, "hw1")
