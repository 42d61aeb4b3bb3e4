"""One warm process for all tests, and a way to run a student's text and a test's text in it; small
courses that nbgrader grades.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from small_course import SmallCourse

from autograde.protect import names as cells
from autograde.protect.kept import close_all
from autograde.protect.supervisor import Bounds, Names, Outcome, Session, Step, Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    imports = ["numpy", "pandas", "matplotlib.pyplot", "sklearn.linear_model", "sklearn.pipeline"]
    with Zygote(imports) as warm:
        yield warm


@pytest.fixture
def judge(zygote: Zygote) -> Callable[..., Outcome]:
    """`judge(student, test)`: the last test's outcome, after a student's cell ran."""

    def run(student: str, *tests: str, seconds: float = 10, setup: str = "", **options) -> Outcome:
        names = Names(
            frozenset(cells.bound(student, imports=True)),
            frozenset(cells.used_in_functions(student)),
        )
        with Session(zygote, names, bounds=Bounds(memory=2_000_000_000)) as session:
            if setup:
                session.run(Step(student=setup, trusted=setup))
            session.run(Step(student=student))
            for test in tests:
                outcome = session.run(Step(trusted=test, test=True, seconds=seconds, **options))
            return outcome

    return run


@pytest.fixture(scope="session")
def empty_gradebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """nbgrader takes a second to make one; all courses here start with a copy."""
    path = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    with Gradebook(f"sqlite:///{path}"):
        pass
    yield path
    close_all()


@pytest.fixture
def course(tmp_path: Path, empty_gradebook: Path) -> Callable[..., SmallCourse]:
    """`course(cells)`: an assignment of these cells, released; `.grade(change)` grades a copy."""
    return lambda *cells, **options: SmallCourse(
        tmp_path / "course", empty_gradebook, cells, **options
    )
