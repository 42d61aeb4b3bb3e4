"""The command `mlsys`: names the workbook's doors and hands over to the module behind each.

Heavy imports belong inside the commands, so that `mlsys --help` answers at once.
"""

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The ML Systems Workbook: open it, run it, grade it, look at it.",
)


@app.callback()
def workbook() -> None:
    """Keep every command under its name, also while there are few."""


@app.command("data")
def data_command(
    name: Annotated[str | None, typer.Argument(help="A data set; without it, the list.")] = None,
) -> None:
    """List the data sets, or fetch one into the cache and show its card."""
    from rich.console import Console
    from rich.markdown import Markdown

    from mlsys import data

    console = Console()
    if name is None:
        for known in data.names():
            console.print(data.card(known).splitlines()[0].replace("# ", f"{known}: "))
        return
    try:
        frame = data.load(name)
    except data.DataError as error:
        raise SystemExit(f"mlsys data: {error}") from None
    console.print(Markdown(data.card(name)))
    console.print(f"{len(frame):,} rows and {frame.shape[1]:,} columns loaded from the cache.")


def main() -> None:
    """Entry point."""
    app()
