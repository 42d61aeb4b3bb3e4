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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from autograde.protect import kept, names
from autograde.provisioner import needs

_FORMATS = ("rfc3987_syntax", "rfc3986_validator", "isoduration")
_SELDOM = {  # what nbgrader imports for others, and the functions of it that it binds by name
    "requests": (),
    "setuptools.archive_util": ("unpack_archive", "unpack_tarfile", "unpack_zipfile"),
    **{
        f"nbgrader.server_extensions.{name}": ("load_jupyter_server_extension",)
        for name in ("assignment_list", "course_list", "validate_assignment", "formgrader")
    },
}


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
    """What each notebook in a source folder imports, in order, if it runs in a warm process."""
    for path in sorted(source.glob("*.ipynb")):
        try:
            notebook = json.loads(path.read_bytes())
            if needs.wants_kernel(SimpleNamespace(metadata=notebook.get("metadata", {}))):
                continue
            texts = [_text(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # whoever reads it next says what is wrong
        modules = [module for text in texts for module in names.imported_modules(text)]
        yield tuple(dict.fromkeys(modules))


def _text(cell: dict[str, Any]) -> str:
    text = cell["source"]
    return "".join(text) if isinstance(text, list) else str(text)


@contextmanager
def lean() -> Iterator[None]:
    """Import nbgrader, and within the context what else grading needs, in less than half the time.

    Two things are left away. jsonschema loads grammars of addresses and durations for formats that
    occur in no notebook: half of all the time. nbgrader itself imports its extensions of the
    Jupyter server, JupyterHub's client and setuptools' archives, which no grading uses: a tenth.
    All are as usual for whoever asks for them later. And the garbage collector rests, since
    nothing imported is garbage: a sixth of the time.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        _import_without(dict.fromkeys(_FORMATS), "jsonschema")
        _import_without(
            {name: _stand_in(name, *of) for name, of in _SELDOM.items()}, "nbgrader.api"
        )
        yield
    finally:
        if collected:
            gc.freeze()  # the next collection, and a fork's memory, need not look at it
            gc.enable()


def _import_without(stand_ins: Mapping[str, ModuleType | None], module: str) -> None:
    """Import `module` while others stand in for parts of it (None: cannot be imported), unless
    those are there already. One that does not go without them is left to its user to import, who
    then gets it whole.
    """
    if module in sys.modules:
        return
    stand_ins = {name: part for name, part in stand_ins.items() if name not in sys.modules}
    sys.modules.update(stand_ins)  # type: ignore[arg-type]
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    finally:
        for name, part in stand_ins.items():
            if sys.modules.get(name) is part:
                sys.modules.pop(name, None)


def _stand_in(name: str, *functions: str) -> ModuleType:
    """A module that is imported when one of its `functions` is called, or when anything else of it
    is asked for.
    """
    module = ModuleType(name)

    def attribute(wanted: str) -> Any:
        if wanted.startswith("__"):
            raise AttributeError(wanted)  # the importing machinery looks around
        if sys.modules.get(name) is module:
            del sys.modules[name]
        return getattr(importlib.import_module(name), wanted)

    def later(function: str) -> Callable[..., Any]:
        return lambda *args, **options: attribute(function)(*args, **options)

    for function in functions:
        setattr(module, function, later(function))
    module.__getattr__ = attribute  # type: ignore[method-assign]
    return module
