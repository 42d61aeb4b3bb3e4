"""`mlsys doctor`: what is there, what is missing, and the one command that mends it.

Each check is a function that returns rows and never raises; `mlsys.services` checks its servers.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mlsys.place import PlaceError, find_root, stop

OLDEST, NEWEST = (3, 11), (3, 13)
DISK_GB = 2.0  # the core set takes 0.9 GB, a term's runs and caches the rest
MEMORY_GB = 3.0  # two lessons at a time beside JupyterLab and a browser
SET_UP = "make lab"


@dataclass(frozen=True)
class Row:
    """One line of the table. state: ok, missing (something will not work) or optional."""

    what: str
    state: str
    found: str
    mend: str = ""


def examine(root: Path) -> list[Row]:
    """All rows, in the order in which one would mend them."""
    checks: list[tuple[str, Callable[[], list[Row]]]] = [
        ("Python", python),
        ("environment", environment),
        ("lock", partial(lock, root)),
        ("kernel", kernel),
        ("alembic", alembic),
        ("nbgrader", nbgrader),
        ("servers", servers),
        ("data sets", datasets),
        ("browser", browser),
        ("disk", partial(disk, root)),
        ("memory", memory),
        ("student edition", partial(student_edition, root)),
    ]
    return [row for what, check in checks for row in _safely(what, check)]


def _safely(what: str, check: Callable[[], list[Row]]) -> list[Row]:
    try:
        return check()
    except Exception as error:  # a doctor that falls ill helps nobody: the row says so
        said = (str(error).splitlines() or [""])[0]
        found = f"the check failed: {type(error).__name__}: {said}"
        return [Row(what, "missing", found, SET_UP)]


def python() -> list[Row]:
    """The interpreter's version."""
    good = OLDEST <= sys.version_info[:2] <= NEWEST
    wanted = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    mend = "" if good else f"make lab PYTHON=python{OLDEST[0]}.{OLDEST[1]}"
    found = f"{platform.python_version()} ({wanted} wanted), {platform.system()}"
    return [Row("Python", _state(good), found, mend)]


def environment() -> list[Row]:
    """Whether packages are kept apart from the system's."""
    conda = "CONDA_PREFIX" in os.environ
    apart = sys.prefix != sys.base_prefix or conda
    found = sys.prefix if apart else f"{sys.prefix}: the system's own, shared with all else"
    return [Row("environment", _state(apart), found, "" if apart else SET_UP)]


def lock(root: Path) -> list[Row]:
    """Whether what is installed is what requirements.lock says."""
    wanted = locked(root / "requirements.lock")
    absent, other = [], []
    for name, version in wanted.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if installed != version:
            other.append(f"{name} {installed}, not {version}")
    mend = f"{_python()} -m pip install --require-hashes -r requirements.lock"
    if absent or other:
        said = [f"missing: {', '.join(absent[:4])}{_more(absent, 4)}"] if absent else []
        said += [f"{'; '.join(other[:3])}{_more(other, 3)}"] if other else []
        return [Row("lock", "missing", "; ".join(said), mend)]
    return [Row("lock", "ok", f"{len(wanted)} packages as locked")]


def locked(path: Path) -> dict[str, str]:
    """Name and version of each pin of a lock that is meant for this machine (by its marker)."""
    from packaging.markers import Marker

    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        found = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)\s*(?:;\s*([^\\]+))?", line)
        if found and (found[3] is None or Marker(found[3].strip()).evaluate()):
            pins[found[1]] = found[2]
    return pins


def kernel() -> list[Row]:
    """Whether `python3`, the kernel of all lessons, runs this interpreter."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    mend = f"{_python()} -m ipykernel install --sys-prefix"
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return [Row("kernel", "missing", "no kernel python3", mend)]
    runs = spec.argv[0] if spec.argv else ""
    # jupyter_client puts this interpreter in the place of these names.
    names = {"python", "python3", f"python3.{sys.version_info[1]}"}
    own = runs in names or (bool(runs) and Path(runs).resolve() == Path(sys.executable).resolve())
    found = f"python3 in {spec.resource_dir}" if own else f"python3 runs {runs}, another Python"
    return [Row("kernel", _state(own), found, "" if own else mend)]


def alembic() -> list[Row]:
    """nbgrader makes its gradebook by calling `alembic` from the path."""
    folder = str(Path(sys.executable).parent)
    found = shutil.which("alembic")
    if found:
        return [Row("alembic", "ok", found)]
    beside = shutil.which("alembic", path=folder)
    if beside:
        said = "not on PATH (mlsys puts it there for its own commands)"
        return [Row("alembic", "optional", said, f"export PATH={folder}:$PATH")]
    return [Row("alembic", "missing", "not installed: no gradebook", SET_UP)]


def nbgrader() -> list[Row]:
    """The Validate button and the formgrader."""
    paths = [Path(sys.prefix) / "share", Path("/usr/local/share"), Path("/usr/share")]
    there = [p for p in paths if (p / "jupyter/labextensions/@jupyter/nbgrader").is_dir()]
    server = importlib.util.find_spec("nbgrader.server_extensions") is not None
    if there and server:
        version = importlib.metadata.version("nbgrader")
        return [Row("nbgrader", "ok", f"{version}, with its JupyterLab extension")]
    mend = f"{_python()} -m pip install --force-reinstall --no-deps nbgrader"
    return [Row("nbgrader", "missing", "its JupyterLab extension is not installed", mend)]


def servers() -> list[Row]:
    """The real servers that lessons start, as `mlsys.services` finds them."""
    from mlsys import services

    rows = []
    for server in services.check():
        if server.ok:
            said = f"{server.version} ({server.found}), ready in {server.seconds:.2f} s"
            rows.append(Row(server.name, "ok", said))
        else:
            rows.append(Row(server.name, "missing", server.problem, SET_UP))
    return rows


def datasets() -> list[Row]:
    """Whether each data set can be loaded without a network, with the sum that it must have."""
    from mlsys import data

    rows = []
    for name in data.names():
        recipe = data.recipe(name)
        cached = data.cache_folder() / name / recipe.member
        if not recipe.wheel and not cached.exists():
            said = f"not in {data.cache_folder()} yet"
            rows.append(Row(f"data: {name}", "optional", said, f"mlsys data {name}"))
            continue
        try:
            rows.append(Row(f"data: {name}", "ok", str(data.locate(recipe))))
        except data.DataError as error:
            mend = SET_UP if recipe.wheel else f"rm {cached}"
            rows.append(Row(f"data: {name}", "missing", str(error).partition(":")[0], mend))
    return rows


def browser() -> list[Row]:
    """A Chromium for the tests that drive a browser; students need none but their own."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((place for name in names if (place := shutil.which(name))), None)
    found = found or _playwrights_chromium()
    if found:
        return [Row("browser", "ok", f"{found} (for make test)")]
    mend = f"{_python()} -m playwright install chromium"
    return [Row("browser", "optional", "no Chromium; make test drives one", mend)]


def _playwrights_chromium() -> str | None:
    if importlib.util.find_spec("playwright") is None:
        return None
    home = {
        "Darwin": Path.home() / "Library/Caches/ms-playwright",
        "Windows": Path(os.environ.get("LOCALAPPDATA", Path.home())) / "ms-playwright",
    }.get(platform.system(), Path.home() / ".cache/ms-playwright")
    home = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", home))
    return next((str(folder) for folder in sorted(home.glob("chromium-*"))), None)


def disk(root: Path) -> list[Row]:
    """Space where the workbook is."""
    free = shutil.disk_usage(root).free / 1e9
    good = free >= DISK_GB
    mend = "" if good else f"rm -r {root / '.mlsys'}"
    return [Row("disk", _state(good), f"{free:.1f} GB free ({DISK_GB:g} wanted)", mend)]


def memory() -> list[Row]:
    """Memory that is free now."""
    import psutil

    free = psutil.virtual_memory().available / 1e9
    good = free >= MEMORY_GB
    mend = "" if good else "mlsys run --jobs 1"
    state = "ok" if good else "optional"
    return [Row("memory", state, f"{free:.1f} GB free ({MEMORY_GB:g} wanted)", mend)]


def student_edition(root: Path) -> list[Row]:
    """Whether workspace/ has been made."""
    made = (root / "workspace" / ".mlsys" / "base").is_dir()
    if made:
        return [Row("student edition", "ok", str(root / "workspace"))]
    return [Row("student edition", "optional", "not made yet", SET_UP)]


def _state(good: bool) -> str:
    return "ok" if good else "missing"


def _more(things: list[str], shown: int) -> str:
    return f" and {len(things) - shown} more" if len(things) > shown else ""


def _python() -> str:
    """This interpreter as one would type it here."""
    executable = Path(sys.executable)
    here = Path.cwd()
    return str(executable.relative_to(here) if executable.is_relative_to(here) else executable)


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Say what is there, what is missing, and the one command that mends it."""
    try:
        rows = examine(find_root())
    except PlaceError as error:
        raise stop(error) from None
    missing = [row for row in rows if row.state == "missing"]
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        _show(rows)
        said = f"{len(missing)} missing" if missing else "Nothing that is needed is missing"
        print(f"\n{said}.")
    if missing:
        raise typer.Exit(1)


def _show(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "missing": "red", "optional": "yellow"}
    table = Table("what", "", "found, and the command that mends it", box=None, pad_edge=False)
    table.columns[2].overflow = "fold"
    for row in rows:
        said = Text(row.found)
        if row.mend:
            said.append(f"\n{row.mend}", style="bold")
        table.add_row(Text(row.what), Text(row.state, style=colours[row.state]), said)
    Console(highlight=False).print(table)
