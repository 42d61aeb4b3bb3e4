"""The command `mlsys`: names the workbook's doors and hands over to the module behind each.

Heavy imports belong inside the commands, so that `mlsys --help` answers at once.
"""

from typing import Annotated

import typer

from autograde.cli import app as grade
from mlsys import place
from mlsys.doctor import doctor_command
from mlsys.lab import lab_command
from mlsys.lesson_text import build_command
from mlsys.lint import lint_command
from mlsys.notebooks import run_command
from mlsys.workspace import solution_command, update_command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The ML Systems Workbook: open it, run it, grade it, look at it.",
)
app.command("lab")(lab_command)
app.command("doctor")(doctor_command)
app.command("run")(run_command)
app.command("solution")(solution_command)
app.command("update")(update_command)
app.command("lint")(lint_command)
app.add_typer(grade, name="grade")

text = typer.Typer(no_args_is_help=True, help="Lessons as text: to a notebook and back.")
app.add_typer(text, name="text")
text.command("build")(build_command)


@app.command("dash")
def dash_command(
    port: Annotated[int | None, typer.Option(help="Default: the first free from 8501.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open the dashboards in a browser; Ctrl-C stops them."""
    from dashboards.launch import LaunchError, serve

    try:
        status = serve(port, open_browser=browser)
    except LaunchError as error:
        raise place.stop(error) from None
    raise typer.Exit(status)


@app.command("data")
def data_command(
    name: Annotated[str | None, typer.Argument(help="A data set; without it, the list.")] = None,
) -> None:
    """List the data sets, or fetch one into the cache and show its card."""
    from rich.console import Console
    from rich.markdown import Markdown

    from mlsys import data

    console = Console(highlight=False)
    if name is None:
        for known in data.names():
            console.print(data.card(known).splitlines()[0].replace("# ", f"{known}: "))
        return
    try:
        frame = data.load(name)
    except data.DataError as error:
        raise place.stop(error) from None
    console.print(Markdown(data.card(name)))
    console.print(f"{len(frame):,} rows and {frame.shape[1]:,} columns loaded from the cache.")


@text.command("dump")
def dump_command(lesson: str) -> None:
    """Print a lesson (number, slug or path) as py:percent text."""
    from mlsys.lesson_text import to_text

    try:
        for path in place.find_lessons([lesson], root=place.find_root()):
            typer.echo(to_text(path), nl=False)
    except ValueError as error:  # PlaceError and LessonTextError: one sentence each
        raise place.stop(error) from None


def main() -> None:
    """Entry point."""
    app()
