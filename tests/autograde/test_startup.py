"""What happens before the first submission runs: what is imported in which order, what is left
away, how a gradebook is made, and who may begin beside whom.
"""

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import nbformat
import nbgrader
import pytest
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, NbGraderException
from submissions import PA0, open_api

from autograde import early, ledger
from autograde.lock import Busy, only_one, share_while_converting
from autograde.protect.plan import read_course
from autograde.workers import Pool
from autograde.writer import make_database

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

LEFT_AWAY = (
    "rfc3987_syntax", "rfc3986_validator", "isoduration", "requests", "setuptools",
    "nbgrader.server_extensions",
)  # fmt: skip


def python(program: str, *words: object, cwd: Path | None = None) -> list[str]:
    """The lines that a program prints in a fresh Python."""
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def small_course(tmp_path: Path) -> Path:
    """A course whose assignment imports what no grader does; nobody has handed in."""
    folder = tmp_path / "small" / "source" / "hw"
    folder.mkdir(parents=True)
    cells = [nbformat.v4.new_code_cell("import colorsys\nfrom xml.dom import pulldom")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "hw.ipynb")
    return tmp_path / "small"


LEAN = """
import gc, sys
from autograde import early
with early.lean():
    assert not gc.isenabled()
    import autograde.parallel
assert gc.isenabled() and gc.get_freeze_count() > 0
print(*sorted(sys.modules))

import nbgrader, rfc3987_syntax
from nbgrader.server_extensions import formgrader
from jupyter_server.serverapp import ServerApp
app = ServerApp()
app.initialize([], find_extensions=False, new_httpserver=False)
nbgrader.load_assignments(app)
routers = [app.web_app.wildcard_router, *(r.target for r in app.web_app.default_router.rules)]
print(*{rule.matcher.regex.pattern for router in routers for rule in router.rules})
print(rfc3987_syntax.__file__, formgrader.__file__, sep="\\n")
"""


def test_formats_and_server_extensions_are_imported_only_for_who_asks_for_them(tmp_path):
    modules, addresses, *files = python(LEAN, cwd=tmp_path)
    assert {"nbgrader.api", "jsonschema"} <= set(modules.split())
    assert [name for name in modules.split() if name.startswith(LEFT_AWAY)] == []
    assert "/assignments" in addresses
    assert all(Path(file).is_file() for file in files)


ASKED = """
import sys
from autograde import early
with early.lean():
    import autograde.parallel
from nbgrader import utils
from nbgrader.auth import jupyterhub
assert not {"requests", "setuptools"} & set(sys.modules)
print(jupyterhub.requests.exceptions.ConnectionError.__module__)
import requests
print(jupyterhub.requests.request is requests.request)
try:
    utils.unpack_archive(__import__("os").devnull, sys.argv[1])
except Exception as error:
    print(type(error).__module__, type(error).__name__)
"""


def test_what_nbgrader_binds_by_name_is_imported_when_it_is_called(tmp_path):
    told = python(ASKED, tmp_path / "unpacked")
    assert told == ["requests.exceptions", "True", "setuptools.archive_util UnrecognizedFormat"]


def test_a_collector_that_was_off_stays_off():
    text = "import gc; gc.disable()\nfrom autograde import early\nwith early.lean(): pass\n"
    assert python(f"{text}print(gc.isenabled())") == ["False"]


def test_no_schema_of_a_notebook_asks_for_a_format_that_is_left_away():
    schemas = [
        path
        for package in (nbformat, nbgrader)
        for path in Path(package.__file__).parent.rglob("*schema*.json")
        if "node_modules" not in path.parts
    ]
    assert len(schemas) >= 5
    for path in schemas:
        assert formats_in(json.loads(path.read_text(encoding="utf-8"))) == set()


def formats_in(schema: object) -> set[object]:
    """The values of "format" anywhere in a JSON schema."""
    if isinstance(schema, list):
        return set().union(*map(formats_in, schema))
    if not isinstance(schema, dict):
        return set()
    here = {schema["format"]} if isinstance(schema.get("format"), str) else set()
    return here.union(*map(formats_in, schema.values()))


ORDER = """
import sys
seen = []
def watch(event, told):
    if event == "subprocess.Popen" and "autograde.protect.zygote" in str(told[1]):
        seen.append(str(told[1]).partition("main(")[2])
    elif event == "import" and told[0] in ("sqlalchemy", "nbformat"):
        seen.append(told[0])
sys.addaudithook(watch)
from autograde.cli import app
try:
    app(sys.argv[1:])
except SystemExit as done:
    print(done.code, file=sys.stderr)
print(*seen, sep="\\n")
"""


def test_a_run_starts_the_warm_process_before_it_imports_anything_heavy(small_course):
    first, *others = python(ORDER, "run", "hw", "--course", small_course)
    assert "colorsys" in first and "xml.dom" in first
    assert {"nbformat", "sqlalchemy"} <= set(others)
    assert not any("main(" in other for other in others)


@pytest.mark.parametrize("words", ["--help", "run --help"])
def test_help_imports_nothing_heavy(words):
    assert not {"sqlalchemy", "nbformat"} & set(python(ORDER, *words.split()))


STARTED = """
import sys
from pathlib import Path
from autograde import early
from autograde.protect import kept
early.start(Path(sys.argv[1]), sys.argv[2])
print(len(kept._mine), "nbgrader" in sys.modules)
"""


@pytest.mark.parametrize("assignment", ["nothing", "../submitted/eve", ".."])
def test_only_an_assignment_of_the_source_folder_says_what_is_imported(small_course, assignment):
    shutil.copytree(small_course / "source" / "hw", small_course / "submitted" / "eve")
    assert python(STARTED, small_course, assignment) == ["0 False"]


def test_a_notebook_that_cannot_be_read_starts_nothing(small_course):
    (small_course / "source" / "hw" / "hw.ipynb").write_text('{"cells": [{"cell_type": "code"}]}')
    assert python(STARTED, small_course, "hw") == ["0 False"]


def test_what_is_started_early_is_what_a_submission_asks_for(generated, small_course):
    for source in (generated / "source" / PA0, small_course / "source" / "hw"):
        (path,) = source.glob("*.ipynb")
        course = read_course(nbformat.read(path, as_version=4))
        assert list(early.wanted(source)) == [course.imports]


@pytest.mark.parametrize(
    "metadata",
    [
        {"autograde": {"real_kernel": True}},
        {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}},
    ],
    ids=["asked for", "another language"],
)
def test_nothing_is_started_for_a_notebook_that_runs_in_a_real_kernel(small_course, metadata):
    folder = small_course / "source" / "hw"
    cells = [nbformat.v4.new_code_cell("import wave")]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.write(notebook, folder / "other.ipynb")
    assert list(early.wanted(folder)) == [("colorsys", "xml.dom")]


@contextmanager
def asked_for_modules() -> Iterator[Callable[[tuple[str, ...]], list[str]]]:
    """For a worker: which of the modules named in a job it has."""
    import nbgrader.converters  # noqa: F401

    yield lambda job: [name for name in job if name in sys.modules]


def test_a_worker_that_cannot_be_forked_imports_as_little():
    stop = threading.Event()
    beside = threading.Thread(target=stop.wait)  # a process of two threads is not forked
    beside.start()
    try:
        with Pool(1, asked_for_modules) as pool:
            ((_, found),) = pool.run([("nbgrader.converters", *LEFT_AWAY)])
    finally:
        stop.set()
        beside.join()
    assert found == ["nbgrader.converters"]


def structure(path: Path) -> set[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
        made = {
            (kind, name, table, " ".join((sql or "").split())) for kind, name, table, sql in rows
        }
        return made | set(database.execute("SELECT version_num FROM alembic_version"))


def test_a_gradebook_is_made_as_nbgrader_makes_it(generated, tmp_path):
    make_database(f"sqlite:///{tmp_path}/gradebook.db")
    assert structure(tmp_path / "gradebook.db") == structure(generated / "gradebook.db")
    assert list(tmp_path.iterdir()) == [tmp_path / "gradebook.db"]
    mode = (generated / "gradebook.db").stat().st_mode
    assert (tmp_path / "gradebook.db").stat().st_mode == mode


def test_a_gradebook_that_is_there_stays(tmp_path):
    url = f"sqlite:///{tmp_path}/gradebook.db"
    make_database(url)
    with Gradebook(url, "course") as book:
        book.add_student("ada")
    make_database(url)
    with Gradebook(url, "course") as book:
        assert [student.id for student in book.students] == ["ada"]


def test_of_several_who_make_a_gradebook_at_once_none_fails(tmp_path):
    failed: list[BaseException] = []
    ready = threading.Barrier(4)

    def make() -> None:
        ready.wait()
        try:
            make_database(f"sqlite:///{tmp_path}/gradebook.db")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db", "course") as book:
        assert book.students == []


@pytest.mark.parametrize(
    "url", ["postgresql://nobody@nowhere/grades", "sqlite://", "sqlite:///no/such/folder/g.db"]
)
def test_other_databases_and_folders_are_left_to_nbgrader(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_database(url)
    assert list(tmp_path.iterdir()) == []


HOLDER = """
import sys
from pathlib import Path
from autograde.lock import only_one
with only_one(Path(sys.argv[1]), shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(root: Path, how: str) -> Iterator[None]:
    """Another process has the course's lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), how],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout.readline() == "held\n"
        yield
        holder.stdin.close()


@pytest.mark.parametrize(
    ("theirs", "ours", "together"),
    [("shared", True, True), ("shared", False, False), ("alone", True, False)],
    ids=["two of nbgrader's", "ours after nbgrader's", "nbgrader's after ours"],
)
def test_nbgraders_runs_go_together_and_with_nobody_else(tmp_path, theirs, ours, together):
    with held_elsewhere(tmp_path, theirs):
        if together:
            with only_one(tmp_path, shared=ours):
                pass
        else:
            with pytest.raises(Busy, match="grades this course"), only_one(tmp_path, shared=ours):
                pass
    with only_one(tmp_path):
        pass


def test_nbgraders_run_waits_for_nobody_and_changes_nothing_while_another_grades(class_of):
    course = class_of(["perfect"])
    api = open_api(course)
    api.coursedir.assignment_id = PA0
    api.coursedir.student_id = "perfect"
    converter = Autograde(coursedir=api.coursedir, parent=api)
    share_while_converting(converter)
    before = (course / "gradebook.db").read_bytes()
    with held_elsewhere(course, "alone"), pytest.raises(NbGraderException, match="grades this"):
        converter.start()
    assert (course / "gradebook.db").read_bytes() == before
    assert not (course / "autograded").exists()


def test_what_is_published_stands_although_another_removes_what_was_there(tmp_path):
    target = tmp_path / "autograded" / "ada" / "hw"
    stop = threading.Event()

    def remove() -> None:
        while not stop.is_set():
            shutil.rmtree(target, ignore_errors=True)
            with suppress(OSError):
                target.mkdir(parents=True)

    other = threading.Thread(target=remove)
    other.start()
    try:
        for number in range(30):
            staged = ledger.staging(tmp_path) / "graded"
            staged.mkdir()
            (staged / "hw.ipynb").write_text(str(number))
            ledger.publish(staged, target)
            assert not staged.exists()
    finally:
        stop.set()
        other.join()
