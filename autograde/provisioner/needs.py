"""Says whether a notebook runs in a real kernel, and why one would be better for it. Only the
instructor's own notebook is asked: where tests run beside the student's code is not the student's
to choose. What is Python runs protected unless the instructor asks otherwise.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from autograde.protect import names as cells

if TYPE_CHECKING:
    from nbformat.notebooknode import NotebookNode

_PYTHON = re.compile(r"i?python|xpython|xeus-python|conda-(env|root).*-py", re.IGNORECASE)
# Cell magics that work without a kernel, and whose names tests can look up.
_WORKING = {
    "bash", "sh", "script", "perl", "ruby", "python", "python3", "pypy", "html", "javascript", "js",
    "latex", "svg", "markdown", "writefile", "file", "time", "timeit", "capture", "prun", "debug",
    "system", "sx", "!",
}  # fmt: skip
_OF_A_KERNEL = re.compile(
    r"get_ipython\(\)\s*\.\s*kernel\b|\bfrom\s+ipykernel\b|\bimport\s+ipykernel\b|\bjupyter_ui_poll\b"
    r"|\.comm\s*\.|^\s*%(gui|connect_info|matplotlib\s+(widget|notebook|qt|tk|gtk|osx))",
    re.MULTILINE,
)
_TAKEN_IN = re.compile(r"\b\w+\.outputs\b")
_CELL_MAGIC = re.compile(r"\A\s*%%(\w+|!)")


def language_of(notebook: "NotebookNode") -> str:
    """The language of a notebook's kernel in lower case, "python" where nothing is said."""
    spec = notebook.metadata.get("kernelspec", {})
    said = spec.get("language") or notebook.metadata.get("language_info", {}).get("name")
    name = str(spec.get("name", "python3"))
    if said:
        return str(said).lower()
    return "python" if _PYTHON.match(name) else name.lower()


def kernel_of(notebook: "NotebookNode") -> str:
    """The name of the kernelspec that a notebook asks for."""
    return str(notebook.metadata.get("kernelspec", {}).get("name") or "python3")


def is_python(notebook: "NotebookNode") -> bool:
    return _PYTHON.match(language_of(notebook)) is not None


def wants_kernel(notebook: "NotebookNode") -> bool:
    """Whether the instructor's notebook must run in a real kernel: another language, or asked for
    in its metadata, `"autograde": {"real_kernel": true}`.
    """
    asked = notebook.metadata.get("autograde", {}).get("real_kernel")
    return bool(asked) or not is_python(notebook)


def reasons(notebook: "NotebookNode") -> Iterator[tuple[str, int, str]]:
    """Cells of a Python notebook that only a real kernel runs as they are meant: the cell's name,
    the line, and what is there.
    """
    has_widgets = any("ipywidgets" in cell.source for cell in notebook.cells)
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        name = cell.metadata.get("nbgrader", {}).get("grade_id") or f"cell {place + 1}"
        magic = _CELL_MAGIC.match(cell.source)
        if magic and magic[1] not in _WORKING:
            yield name, 1, f"tests cannot look up what %%{magic[1]} defines"
        for kind in (_OF_A_KERNEL, _TAKEN_IN) if has_widgets else (_OF_A_KERNEL,):
            for found in kind.finditer(cells.without_cell_magic(cell.source)):
                line = cell.source.count("\n", 0, found.start()) + 1
                yield name, line, f"`{found[0].strip()}` needs a kernel"
