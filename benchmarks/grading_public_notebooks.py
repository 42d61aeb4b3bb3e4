"""Finds the notebooks of public courses: takes a repository's files at one commit out of a checkout
or a bare mirror, and reads those notebooks that hold test cells, each text once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grading_public_otter as otter
import nbformat
from nbformat.notebooknode import NotebookNode

from autograde.protect import names as cells
from autograde.protect.plan import is_test
from autograde.provisioner import needs


@dataclass(frozen=True)
class Work:
    """A notebook with its author's answers and tests. `tool` is what it was written for."""

    repository: str
    path: str
    tool: str
    notebook: NotebookNode
    folder: Path

    @property
    def imports(self) -> tuple[str, ...]:
        sources = [cell.source for cell in self.notebook.cells if cell.cell_type == "code"]
        return tuple(
            sorted({name for source in sources for name in cells.imported_modules(source)})
        )

    def missing(self) -> str:
        """What it needs and this machine has not; empty if nothing."""
        if not needs.is_python(self.notebook):
            return f"a kernel for {needs.language_of(self.notebook)}"
        tops = {name.partition(".")[0] for name in self.imports}
        beside = {path.stem for path in self.folder.iterdir()}
        return ", ".join(sorted(top for top in tops - beside if not importlib.util.find_spec(top)))


def find_repository(folder: Path, repository: str) -> Path | None:
    """Where a checkout or a mirror of `owner/name` lies under `folder`."""
    owner, name = repository.split("/")
    for place in (f"{owner}+{name}/repo", f"{owner}+{name}", f"{owner}/{name}", name):
        if (folder / place).is_dir():
            return folder / place
    return None


def take(place: Path, commit: str, target: Path) -> bool:
    """Write the plain files of a commit into `target`, but those that a partial mirror lacks; False
    where git does not have the commit.
    """
    git = ["git", "-c", "safe.directory=*", "-C", str(place)]
    listed = subprocess.run([*git, "ls-tree", "-r", "-z", commit], capture_output=True)
    with subprocess.Popen(
        [*git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        for entry in listed.stdout.rstrip(b"\0").split(b"\0") if listed.stdout else ():
            about, _, name = entry.partition(b"\t")
            mode, _, number = about.split()
            if mode not in (b"100644", b"100755"):
                continue
            reader.stdin.write(number + b"\n")
            reader.stdin.flush()
            said = reader.stdout.readline().split()
            if said[-1] == b"missing":
                continue
            content = reader.stdout.read(int(said[2]) + 1)[:-1]
            path = Path(os.path.normpath(target / os.fsdecode(name)))
            if path.is_relative_to(target):  # a tree that somebody forged may say otherwise
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        reader.stdin.close()
    return listed.returncode == 0


def find_work(repository: str, folder: Path) -> Iterator[Work]:
    """The notebooks with test cells under `folder`, in the order of their paths; of those with the
    same code the first.
    """
    seen: set[str] = set()
    for path in sorted(folder.rglob("*.ipynb")):
        place = path.relative_to(folder).as_posix()
        try:
            notebook = nbformat.read(path, as_version=4)
        except Exception:  # whatever stands in such a file
            continue
        tool = _prepare(notebook, path.parent)
        text = "\0".join(c.source for c in notebook.cells if c.cell_type == "code")
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        if tool and digest not in seen:
            seen.add(digest)
            yield Work(repository, place, tool, notebook, path.parent)


def _prepare(notebook: NotebookNode, folder: Path) -> str:
    """Bring a notebook into nbgrader's form with a name for each cell; says which tool it is for,
    or nothing if it has no tests.
    """
    tool = "nbgrader"
    if otter.is_source(notebook):
        tool, notebook.cells = "otter", otter.from_source(notebook)
    elif otter.is_checked(notebook) and not any(map(is_test, notebook.cells)):
        tool, notebook.cells = "otter", otter.from_checked(notebook, folder)
    names: set[str] = set()
    for place, cell in enumerate(notebook.cells):
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if about := cell.metadata.get("nbgrader"):
            name = str(about.get("grade_id") or f"cell {place + 1}")
            about.grade_id = name if name not in names else f"{name} ({place + 1})"
            names.add(about.grade_id)
    return tool if any(map(is_test, notebook.cells)) else ""
