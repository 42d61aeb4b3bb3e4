"""The instructor's commands as a person types them, without a shell."""

from typing import NamedTuple

from grading import apart
from typer.testing import CliRunner

from autograde import cli


class Done(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str
    output: str


def mlsys_grade(*words: object) -> Done:
    return apart(mlsys_grade_here, *words)


def mlsys_grade_here(*words: object) -> Done:
    """The command in this process, where a test has changed something."""
    done = CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=False)
    return Done(done.exit_code, done.stdout, done.stderr, done.output)
