"""`mlsys doctor`: each thing that is missing has a row and the command that mends it."""

import importlib.metadata
import json
import sys

import pytest
from typer import Typer
from typer.testing import CliRunner

from mlsys import doctor


@pytest.fixture
def root(tmp_path):
    (tmp_path / "notebooks").mkdir()
    version = importlib.metadata.version("numpy")
    (tmp_path / "requirements.lock").write_text(
        f"numpy=={version} \\\n    --hash=sha256:00\n"
        "pywin32==999 ; sys_platform == 'no-such-system' \\\n    --hash=sha256:00\n"
        f"uvicorn[standard]=={importlib.metadata.version('uvicorn')} ; python_version >= '3'\n",
        encoding="utf-8",
    )
    return tmp_path


def test_a_lock_that_is_installed_is_ok_and_markers_of_other_machines_do_not_count(root):
    (row,) = doctor.lock(root)
    assert (row.state, row.found) == ("ok", "2 packages as locked")


@pytest.mark.parametrize(
    "line, says",
    [
        ("no-such-package==1", "missing: no-such-package"),
        ("scipy==0.0.1", f"scipy {importlib.metadata.version('scipy')}, not 0.0.1"),
    ],
)
def test_what_is_not_as_locked_is_named_with_the_command_that_installs_it(root, line, says):
    with (root / "requirements.lock").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    (row,) = doctor.lock(root)
    assert row.state == "missing" and says in row.found
    assert row.mend.endswith("-m pip install --require-hashes -r requirements.lock")


def test_an_interpreter_that_is_too_old_is_missing(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 0, "final", 0))
    (row,) = doctor.python()
    assert row.state == "missing" and "3.11" in row.mend


def test_alembic_beside_the_interpreter_but_not_on_the_path_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (row,) = doctor.alembic()
    assert row.state == "optional" and row.mend.startswith("export PATH=")


def test_data_that_are_not_in_the_cache_are_optional_and_named_with_their_command(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("MLSYS_DATA", str(tmp_path))
    rows = {row.what: row for row in doctor.datasets()}
    assert rows["data: digits"].state == "ok"
    spam = rows["data: sms_spam"]
    assert (spam.state, spam.mend) == ("optional", "mlsys data sms_spam")


def test_data_with_the_wrong_sum_are_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("MLSYS_DATA", str(tmp_path))
    (tmp_path / "sms_spam").mkdir()
    (tmp_path / "sms_spam/SMSSpamCollection").write_text("ham\thello\n", encoding="utf-8")
    rows = {row.what: row for row in doctor.datasets()}
    assert rows["data: sms_spam"].state == "missing"
    assert rows["data: sms_spam"].mend.startswith("rm ")


def test_a_full_disk_is_missing(root, monkeypatch):
    monkeypatch.setattr(doctor, "DISK_GB", 1e9)
    assert doctor.disk(root)[0].state == "missing"


def test_a_check_that_breaks_is_a_row_and_not_a_traceback():
    def broken():
        raise OSError("the disk said no")

    (row,) = doctor._safely("disk", broken)
    assert row.state == "missing" and row.found.endswith("OSError: the disk said no")


@pytest.fixture
def command(root, monkeypatch):
    app = Typer()
    app.command()(doctor.doctor_command)
    monkeypatch.chdir(root)
    return lambda *line: CliRunner().invoke(app, line)


def test_the_whole_examination_as_json_has_every_row(command):
    said = command("--json")
    rows = {row["what"]: row for row in json.loads(said.output)}
    for what in ("Python", "environment", "lock", "kernel", "nbgrader", "disk", "memory"):
        assert rows[what]["state"] == "ok", rows[what]
    missing = [row for row in rows.values() if row["state"] == "missing"]
    assert said.exit_code == (1 if missing else 0)
    assert all(row["mend"] for row in missing)


def test_the_table_ends_with_a_verdict_and_missing_things_are_status_1(command, root):
    with (root / "requirements.lock").open("a", encoding="utf-8") as file:
        file.write("no-such-package==1\n")
    said = command()
    assert said.exit_code == 1
    assert "missing: no-such-package" in said.output
    assert said.output.rstrip().endswith("missing.")
