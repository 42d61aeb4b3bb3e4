"""The doors of set-up: the locks, the conda file, the commands that the README names."""

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from rattler import MatchSpec

REPOSITORY = Path(__file__).parent.parent
TOML = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PROJECT = TOML["project"]
PIN_OR_HASH = r"[a-z0-9._-]+==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?"
LOCKS = [REPOSITORY / "requirements.lock", *sorted((REPOSITORY / "locks").glob("*.lock"))]


def pins(lock: Path) -> dict[str, str]:
    """Name and version of each pin; a package pinned twice (by marker) keeps the first."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", lock.read_text(), flags=re.MULTILINE)
    return dict(reversed(found))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_pins_markers_and_hashes_and_no_address(lock):
    for line in lock.read_text().splitlines():
        assert re.fullmatch(PIN_OR_HASH, line)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_everything_that_the_project_names(lock):
    named = TOML["dependency-groups"].get(lock.stem) or (
        PROJECT["dependencies"] + PROJECT["optional-dependencies"].get(lock.stem, [])
    )
    wanted = {Requirement(text).name.lower() for text in named} - {"mlsys"}
    assert wanted <= set(pins(lock))


def test_tests_run_on_the_very_versions_that_students_get():
    core, test = pins(LOCKS[0]), pins(REPOSITORY / "locks" / "test.lock")
    assert core.items() <= test.items()


def test_every_extra_has_a_lock_that_make_lock_remakes():
    makefile = (REPOSITORY / "Makefile").read_text()
    for extra in PROJECT["optional-dependencies"]:
        assert (REPOSITORY / "locks" / f"{extra}.lock").exists()
        assert re.search(rf"EXTRAS = .*\b{extra}\b|--extra {extra}\b", makefile)


def test_the_conda_file_brings_python_and_pip_and_then_the_same_lock():
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *packages, pip = environment["dependencies"]
    specs = {spec.name.normalized: spec for spec in (MatchSpec(p, strict=True) for p in packages)}
    assert set(specs) == {"python", "pip"}
    assert str(specs["python"].version) == PROJECT["requires-python"]
    assert pip["pip"][-1] == "-r requirements.lock"


def test_the_conda_files_pip_section_installs_as_written_and_the_workbook_after_it(tmp_path):
    # conda writes the section to a file beside environment.yml and calls pip on it once.
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    section = environment["dependencies"][-1]["pip"]
    (tmp_path / "requirements.lock").write_text((REPOSITORY / "requirements.lock").read_text())
    (tmp_path / "section.txt").write_text("\n".join(section) + "\n")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-compile"]

    def run(*command: str) -> str:
        done = subprocess.run([python, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    run("-m", "pip", "install", *quiet, "-r", "section.txt")
    run("-m", "pip", "install", *quiet, "--no-deps", "--editable", str(REPOSITORY))
    assert "open it, run it, grade it" in run("-m", "mlsys", "--help")
    installed = run("-m", "pip", "list", "--format=freeze").lower()
    assert f"streamlit=={pins(LOCKS[0])['streamlit']}" in installed


def test_the_readme_names_the_two_commands_and_every_lesson():
    readme = (REPOSITORY / "README.md").read_text()
    assert "make lab" in readme and "make test" in readme
    for lesson in sorted((REPOSITORY / "notebooks").rglob("[0-9]*.ipynb")):
        assert f"]({lesson.relative_to(REPOSITORY).as_posix()})" in readme


def test_every_file_that_the_readme_links_to_is_there():
    readme = (REPOSITORY / "README.md").read_text()
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", readme):
        assert (REPOSITORY / target).exists(), target
