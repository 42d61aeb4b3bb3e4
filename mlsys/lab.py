"""`mlsys lab`: JupyterLab on the student edition, or on the repository for an instructor.

The settings are files in `mlsys/jupyter/`; JupyterLab finds them through JUPYTER_CONFIG_PATH, and
keeps what a person sets in it under `.mlsys/jupyter/`, so that nobody's own JupyterLab is touched.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from dashboards.launch import port_is_free
from mlsys.place import PlaceError, find_root, stop
from mlsys.workspace import WORKSPACE, report, update

SETTINGS = Path(__file__).with_name("jupyter")
FIRST_LESSON = "a_start/00_start_here.ipynb"
PORT = 8888


def lab_command(
    instructor: Annotated[
        bool, typer.Option("--instructor", help="Open the repository: sources and the course.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: the first free from 8888.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Make or update the student edition and open it in JupyterLab; Ctrl-C stops everything."""
    try:
        root = find_root()
        if port is not None and not port_is_free(port):
            raise PlaceError(f"Port {port} is taken; leave --port out and a free one is found.")
        folder = root
        first = not (root / WORKSPACE / FIRST_LESSON).exists()
        if not instructor:
            folder = root / WORKSPACE
            report(update(root), root)
    except ValueError as error:
        raise stop(error) from None
    os.environ.update(environment(root, instructor=instructor))
    sys.stdout.flush()
    _serve(arguments(folder, port=port, browser=browser, first=first and not instructor))


def environment(root: Path, *, instructor: bool) -> dict[str, str]:
    """The variables that make JupyterLab use the workbook's settings and no one else's."""
    own = root / ".mlsys" / "jupyter"
    settings = [SETTINGS] if instructor else [SETTINGS / "student", SETTINGS]
    return {
        "JUPYTER_CONFIG_PATH": os.pathsep.join(map(str, settings)),
        "JUPYTER_CONFIG_DIR": str(own),
        "JUPYTERLAB_WORKSPACES_DIR": str(own / ("instructor" if instructor else "student")),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        # Threads of two kernels that wait by spinning take the cores from each other.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        # nbgrader calls alembic by its name.
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", ""),
    }


def arguments(folder: Path, *, port: int | None, browser: bool, first: bool) -> list[str]:
    """JupyterLab's own command line. first: nobody has been here, so the first lesson opens."""
    start = f"/lab/tree/{FIRST_LESSON}" if first and (folder / FIRST_LESSON).exists() else "/lab"
    line = [
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url={start}",
        f"--ServerApp.port={port or PORT}",
        f"--ServerApp.port_retries={0 if port else 50}",
    ]
    return line if browser else [*line, "--no-browser"]


def _serve(line: list[str]) -> None:
    """Serve in this process until it is told to stop; kernels and dashboards go with it."""
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(line)
