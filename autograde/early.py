"""Has grading start soon. What a submission imports and what nbgrader imports take a second or more
each: `start` has the first imported by the assignment's warm process, on a core of its own, before
anything else is imported here; `lean` leaves away the parts of the second that no grading uses.
Nothing here is needed for grading to work.
"""

import contextlib
import gc
import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from autograde.protect import kept, names

_GRAMMAR = "rfc3987_syntax"
_EXTENSIONS = tuple(
    f"nbgrader.server_extensions.{name}"
    for name in ("assignment_list", "course_list", "validate_assignment", "formgrader")
)


def start(course: Path, assignment: str) -> None:
    """Have what the source notebooks import be imported. Where it cannot be read in the usual
    place nothing is started, and grading does it later.
    """
    if Path(assignment).name != assignment:
        return  # only what the instructor wrote may say what is imported
    with contextlib.suppress(OSError, ValueError):  # no process to be had: grading says why
        for imports in wanted(course.expanduser() / "source" / assignment):
            kept.line_for(imports)


def wanted(source: Path) -> Iterator[tuple[str, ...]]:
    """What each notebook in a source folder imports, in order."""
    for path in sorted(source.glob("*.ipynb")):
        try:
            cells = json.loads(path.read_bytes())["cells"]
            texts = [_text(cell) for cell in cells if cell["cell_type"] == "code"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # whoever reads it next says what is wrong
        modules = [module for text in texts for module in names.imported_modules(text)]
        yield tuple(dict.fromkeys(modules))


def _text(cell: dict[str, Any]) -> str:
    text = cell["source"]
    return "".join(text) if isinstance(text, list) else str(text)


@contextmanager
def lean() -> Iterator[None]:
    """Import nbgrader, and within the context what else grading needs, in less than half the time.

    Two things are left away. jsonschema builds a parser of web addresses for a format that occurs
    in no notebook: half of all the time. nbgrader itself imports its extensions of the Jupyter
    server for the one who might start that server. Both are as usual for whoever imports them
    later. And the garbage collector rests, since nothing imported is garbage: a sixth of the time.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        _import_without({_GRAMMAR: None}, "jsonschema")
        _import_without({name: _stand_in(name) for name in _EXTENSIONS}, "nbgrader")
        yield
    finally:
        if collected:
            gc.freeze()  # the next collection, and a fork's memory, need not look at it
            gc.enable()


def _import_without(stand_ins: dict[str, ModuleType | None], module: str) -> None:
    """Import `module` while others stand in for parts of it (None: cannot be imported). One that
    does not go without them is left to its user to import, who then gets it whole.
    """
    if module in sys.modules or any(name in sys.modules for name in stand_ins):
        return
    sys.modules.update(stand_ins)  # type: ignore[arg-type]
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _stand_in(name: str) -> ModuleType:
    """A server extension that is imported when the server loads it."""
    module = ModuleType(name)

    def load_jupyter_server_extension(app: Any) -> Any:
        return importlib.import_module(name).load_jupyter_server_extension(app)

    module.load_jupyter_server_extension = load_jupyter_server_extension  # type: ignore[attr-defined]
    return module
