"""`mlsys run` for a person: progress while lessons run, a table at the end, pages if asked for."""

import json
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mlsys.notebooks.runner import Outcome, run
from mlsys.notebooks.worker import skip_grammar
from mlsys.place import PlaceError, find_lessons, find_root, stop

COLOURS = {"passed": "green", "cached": "green", "not run": "yellow"}


def run_command(
    lessons: Annotated[
        list[str] | None,
        typer.Argument(help="Number (16), slug, folder or path of a notebook; default: all."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="How many at a time.")] = 2,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameters", "-p", metavar="NAME=VALUE", help="Set a parameter."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Sizes named in the parameters cell, such as full.")
    ] = None,
    student: Annotated[bool, typer.Option("--student", help="Run the student edition.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run what has not changed too.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a notebook may take.")] = 900,
    html: Annotated[bool, typer.Option("--html", help="Write each as a page too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcomes as JSON.")] = False,
) -> None:
    """Run lessons from top to bottom; what has not changed since it passed is not run again."""
    skip_grammar()
    try:
        root = find_root()
        paths = find_lessons(lessons, root=root)
        options = {
            "root": root,
            "jobs": jobs,
            "parameters": read_parameters(parameters or []),
            "profile": profile,
            "student": student,
            "force": force,
            "timeout": timeout,
        }
        if not paths:
            raise PlaceError(f"There is no notebook in {root / 'notebooks'}.")
        outcomes = _run_shown(paths, options, quiet=as_json)
    except ValueError as error:  # PlaceError, EditionError, LessonTextError: one sentence each
        raise stop(error) from None
    if html:
        _write_pages(outcomes)
    if as_json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=2, default=str))
    else:
        _show_table(outcomes, root)
    if not all(outcome.good for outcome in outcomes):
        raise typer.Exit(1)


def read_parameters(pairs: list[str]) -> dict[str, Any]:
    """`["pages=600", "widths=[1, 5]"]` as names and YAML values; PlaceError if one is no pair."""
    import yaml

    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise PlaceError(f"A parameter is written NAME=VALUE, not {pair!r}.")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise PlaceError(f"The value of {name} cannot be read: {value!r}.") from None
    return values


def _run_shown(paths: list[Path], options: dict[str, Any], *, quiet: bool) -> list[Outcome]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    stopped = threading.Event()
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells"),
        TimeElapsedColumn(),
        transient=True,
        disable=quiet,
    )
    rows: dict[Path, Any] = {}

    def on_event(notebook: Path, what: str, details: dict[str, Any]) -> None:
        if what == "start":
            progress.start()  # not before there is something to show
            rows[notebook] = progress.add_task(notebook.stem, total=details["cells"])
        elif what == "cell":
            progress.update(rows[notebook], completed=details["number"], total=details["of"])
        elif notebook in rows:
            progress.remove_task(rows.pop(notebook))
            outcome = details["outcome"]
            said = f"{outcome.verdict:9} {notebook.stem} ({outcome.seconds:.1f} s)"
            if quiet:
                print(said, file=sys.stderr, flush=True)  # stdout is JSON
            else:
                progress.console.print(said, highlight=False, markup=False)

    try:
        return run(paths, on_event=on_event, stop=stopped, **options)
    except KeyboardInterrupt:
        raise stop("Stopped; what had passed is remembered.", status=130) from None
    finally:
        if progress.live.is_started:
            progress.stop()


def _show_table(outcomes: list[Outcome], root: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    table = Table("lesson", "seconds", "peak MB", "verdict", box=None, pad_edge=False)
    for column in table.columns[1:3]:
        column.justify = "right"
    for outcome in outcomes:
        colour = COLOURS.get(outcome.verdict, "red")
        table.add_row(
            outcome.notebook.stem,
            f"{outcome.seconds:.1f}",
            f"{outcome.peak_mb:.0f}",
            f"[{colour}]{outcome.verdict}[/]",
        )
    console.print(table)
    for outcome in outcomes:
        if not outcome.good:
            console.print(outcome.sentence(), style="red", markup=False)
    kept = {outcome.executed.parent for outcome in outcomes if outcome.executed}
    if kept:
        place = Path(os.path.commonpath(kept))
        shown = place.relative_to(root) if place.is_relative_to(root) else place
        console.print(f"Executed notebooks: {shown}", style="dim", markup=False)


def _write_pages(outcomes: list[Outcome]) -> None:
    from mlsys.notebooks.page import write_page

    for outcome in outcomes:
        if outcome.executed and outcome.executed.exists():
            write_page(outcome.executed)
