"""Grading as a command does it: in a process of its own that has one thread, so that the grader's
workers are forked. That process is forked too, by a server which has imported the grader once for
all tests; where there is no such server it is started as any other.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from submissions import PA0

_CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
if sys.platform == "linux":
    _CONTEXT.set_forkserver_preload(["pytest", "autograde.parallel", "autograde.cli"])


@dataclass(frozen=True)
class Graded:
    """The rows that `grade_class` returned, and the students whose work was run, in order."""

    rows: list[Any]
    ran: list[str]


def grade(
    course: Path, students: Sequence[str] | None = None, *, assignment: str = PA0, **options: Any
) -> Graded:
    """`grade_class` in a process of its own; raises what it raises there."""
    return apart(_grade, course, assignment, students, options)


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work`, a function of a module, returns or raises in a process of its own."""
    with started(_answer, work, arguments) as (process, channel):
        worked, answer = channel.recv()
        process.join()
    if not worked:
        raise answer
    return answer


@contextmanager
def started(
    work: Callable[..., None], *arguments: Any, **options: Any
) -> Iterator[tuple[Any, Connection]]:
    """The process in which `work` is called with one end of a channel; and the other end."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(
        target=_begin, args=(dict(os.environ), work, theirs, *arguments), kwargs=options
    )
    process.start()
    theirs.close()
    try:
        with ours:
            yield process, ours
    finally:
        process.kill()
        process.join()


def grade_and_tell(channel: Connection, course: Path, **options: Any) -> None:
    """For `started`: grade, and say when that begins and when each student's row is there."""
    from autograde.parallel import Watch, grade_class

    def tell(*about: object) -> None:
        channel.send(None)

    watch = Watch(began=tell, finished=tell)
    grade_class(course, PA0, feedback=False, watch=watch, **options)


def _begin(
    environment: dict[str, str], work: Callable[..., None], *arguments: Any, **options: Any
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    work(*arguments, **options)


def _answer(channel: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        answer = True, work(*arguments)
    except Exception as error:
        answer = False, error
    channel.send(answer)


def _grade(course: Path, assignment: str, students: Any, options: dict[str, Any]) -> Graded:
    from autograde.parallel import Watch, grade_class

    ran: list[str] = []
    rows = grade_class(course, assignment, students, watch=Watch(started=ran.append), **options)
    return Graded(rows, ran)
