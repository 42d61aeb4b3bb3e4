"""What all tests share: the data they may use, and the tools of this environment on the path."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).parent.parent

# A checkout may have real public files beside it; without them the tests use the cache folder,
# and what needs the real messages says so.
SHARED = REPOSITORY.parent / "shared" / "data"
if "MLSYS_DATA" not in os.environ and SHARED.is_dir():
    os.environ["MLSYS_DATA"] = str(SHARED)

# nbgrader calls `alembic`, and notebooks start `python3`, by name.
os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]

# Two workers whose OpenMP threads wait for each other by spinning are 20 times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Two cores that also run servers are no place for hypothesis' clock. Where nobody looks, the same
# change meets the same examples; a developer's runs draw new ones.
settings.register_profile("workbook", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("workbook")


@pytest.fixture
def ledger(tmp_path, monkeypatch) -> Path:
    """A ledger of this test's own."""
    path = tmp_path / "ledger.jsonl"
    monkeypatch.setenv("MLSYS_LEDGER", str(path))
    return path


# The longest files first, so that two workers end at about the same time.
LONGEST = (
    "test_lessons.py",
    "test_parallel.py",  # and with it those that read the same class
    "test_hostile_class.py",
    "test_jupyterlab.py",
    "test_dashboards.py",
    "test_set_up.py",
)
# Files of one worker: they read a class that takes long to grade, once for all of them.
ONE_CLASS = {
    f"tests/autograde/test_{name}.py"
    for name in ("cluster", "course", "feedback", "grade_cli", "parallel", "resume")
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort whole files; within a file the order stays."""

    def rank(item: pytest.Item) -> int:
        return LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST)

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadfile`, in which files that share a fixture of the session count as one."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFixture(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "the graded class" if file in ONE_CLASS else file

    return ByFixture(config, log)
