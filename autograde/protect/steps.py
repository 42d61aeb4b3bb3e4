"""What goes into a session and what comes out of it: a cell to run, the bounds it runs within, and
what was shown. What a process says is bounded JSON that must fit these types.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True)
class Step:
    """One cell. `student` is the text for the student's process, `trusted` for the other; a cell
    may have both. Only a `test` is judged. `bound` are the names that the student's text binds.
    With `seed`, both sides draw the same random numbers in this cell.
    """

    student: str | None = None
    trusted: str | None = None
    test: bool = False
    seconds: float = 30.0
    call_seconds: float | None = None
    write_back: bool = False
    bound: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Names:
    """The names that tests look up in the student's process, those that they may set there, and for
    functions that change arguments in place in the reference solution: which parameters,
    each by its place and by its name. `imports` are names that stand in the tests for the grader's
    own module or function, if the student's process has imported the same.
    """

    student: frozenset[str] = frozenset()
    passed_on: frozenset[str] = frozenset()
    writes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    imports: frozenset[str] = frozenset()


class Output(msgspec.Struct):
    """A cell's output; what a hostile process sends must fit these types."""

    output_type: str
    name: str = ""
    text: str = ""
    data: dict[str, str] = {}
    metadata: dict[str, str] = {}
    ename: str = ""
    evalue: str = ""
    traceback: list[str] = []


class Reply(msgspec.Struct):
    """What a process says of a cell that it ran."""

    outputs: list[Output] = []
    layers: list[str] = []
    problem: str = ""
    refused: str = ""
    overdue: bool = False
    failed: bool = False
    hung: bool = False
    lost: bool = False
    checks: list[tuple[str, float, bool, str]] = []


@dataclass
class Outcome:
    """What came of one step. `review` says why a person must judge a test, if one must."""

    outputs: list[Output] = field(default_factory=list)
    checks: list[tuple[str, float, bool, str]] = field(default_factory=list)
    review: str = ""
    event: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Bounds:
    """What one submission may use."""

    memory: int = 4_000_000_000
    processes: int = 64
    folder_bytes: int = 500_000_000
    file_bytes: int = 100_000_000
    restarts: int = 5
    required: tuple[str, ...] = ("limits",)


def error_output(name: str, text: str) -> Output:
    """An error that the supervisor itself shows in a cell."""
    return Output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])
