"""What a run of a notebook depends on, as one hash: the reason to run it again, or not to.

It covers the notebook without its outputs, its parameters, the lock, the interpreter, the modules
of this repository that the notebook reaches through imports (read from the source, nothing is
imported), and the datasets that it loads by name. Data behind an address are pinned by the sums
in those modules and datasets.
"""

import ast
import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlsys.lint import without_magics

PACKAGES = ("mlsys", "autograde", "dashboards")
IN_A_STRING = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.[a-z_]\w*)+")
INSTALLED = Path(__file__).resolve().parents[2]


def fingerprint(
    notebook: dict[str, Any], *, folder: Path, root: Path, parameters: dict[str, Any], edition: str
) -> str:
    """Hash of all that a run depends on.

    notebook: as JSON gives it; folder: where it runs; edition: `source` or `student`.
    """
    cells = [
        [cell["cell_type"], "".join(cell["source"]), cell.get("id"), cell.get("metadata", {})]
        for cell in notebook["cells"]
    ]
    whole = hashlib.sha256()
    says = [cells, notebook.get("metadata", {}), parameters, edition]
    says += [sys.version, platform.platform()]
    whole.update(json.dumps(says, sort_keys=True, default=str).encode())
    code = [source for kind, source, *_ in cells if kind == "code"]
    for path in [root / "requirements.lock", *used_files(code, folder=folder, root=root)]:
        whole.update(f"\n{_shown(path, root)} {_hash(path)}".encode())
    return whole.hexdigest()


def used_files(sources: Iterable[str], *, folder: Path, root: Path) -> list[Path]:
    """Files of the repository that code reaches: modules, data beside them, datasets; sorted."""
    sources = [without_magics(source) for source in sources]
    files: set[Path] = set()
    datasets: set[str] = set()
    waiting: list[str] = []
    for source in sources:
        names, loaded = _mentions(source, "")
        waiting += names
        datasets |= loaded
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for path, module in _files_of(name, folder=folder, root=root):
            if path in files:
                continue
            files.add(path)
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            names, loaded = _mentions_of_file(path, path.stat().st_mtime_ns, package)
            waiting += names
            if path.name == "__init__.py" and "__getattr__" in path.read_text(encoding="utf-8"):
                # A package that finds its names when asked may reach any of its modules.
                waiting += [f"{module}.{p.stem}" for p in path.parent.glob("*.py")]
            datasets |= loaded
            if module.split(".")[0] in PACKAGES and module != module.split(".")[0]:
                files |= _data_beside(path)
    for name in _known_datasets(datasets, root):
        files |= {p for p in (root / "datasets" / name).rglob("*") if _counts(p)}
    return sorted(files)


@lru_cache(maxsize=4096)
def _mentions_of_file(path: Path, changed: int, package: str) -> tuple[frozenset, frozenset]:
    return _mentions(path.read_text(encoding="utf-8", errors="replace"), package)


def _mentions(source: str, package: str) -> tuple[frozenset[str], frozenset[str]]:
    """Modules that a source may import, and datasets that it loads (`*`: not spelled out)."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        # Code that Python cannot read still fails at the right place: when it runs.
        return frozenset(re.findall(r"^\s*(?:import|from)\s+([\w.]+)", source, re.M)), frozenset()
    modules: set[str] = set()
    loaded: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            modules |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A worker started by `python -m mlsys.…` is used as much as one imported.
            modules |= set(IN_A_STRING.findall(node.value))
        elif isinstance(node, ast.Call) and _is_load(node.func):
            first = node.args[0] if node.args else None
            spelled = isinstance(first, ast.Constant) and isinstance(first.value, str)
            if first is not None and (spelled or not package):
                loaded.add(first.value if spelled else "*")
    return frozenset(modules), frozenset(loaded)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parents = parts[: len(parts) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _is_load(called: ast.expr) -> bool:
    """`load(…)` or `data.load(…)`, not `json.load` and its kin."""
    if isinstance(called, ast.Attribute) and called.attr == "load":
        owner = called.value
        return isinstance(owner, ast.Name | ast.Attribute) and (
            (owner.id if isinstance(owner, ast.Name) else owner.attr) == "data"
        )
    return isinstance(called, ast.Name) and called.id == "load"


def _files_of(name: str, *, folder: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """The files that importing a module runs: each package on the way, then the module."""
    parts = name.split(".")
    homes = (root, INSTALLED) if parts[0] in PACKAGES else (folder,)
    home = next((h for h in homes if _exists(h / parts[0])), None)
    if home is None:
        return
    place = home
    for depth, part in enumerate(parts, start=1):
        place = place / part
        module = ".".join(parts[:depth])
        if (place / "__init__.py").is_file():
            yield place / "__init__.py", module
        elif place.with_suffix(".py").is_file():
            yield place.with_suffix(".py"), module
            return
        elif not place.is_dir():
            return


def _exists(place: Path) -> bool:
    return place.is_dir() or place.with_suffix(".py").is_file()


def _data_beside(path: Path) -> set[Path]:
    """Templates, tables and scripts in other languages that lie in a used subpackage."""
    return {p for p in path.parent.iterdir() if _counts(p) and p.suffix != ".py"}


def _counts(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and "__pycache__" not in path.parts


def _known_datasets(named: set[str], root: Path) -> list[str]:
    folders = {p.name for p in (root / "datasets").glob("*") if p.is_dir()}
    return sorted(folders if "*" in named else folders & named)


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _hash(path: Path) -> str:
    if not path.is_file():
        return "absent"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
