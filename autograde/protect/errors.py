"""Exceptions between the processes. An exception is described by data and rebuilt on the other side
from a class that is already there, so that `except ValueError` and `pytest.raises` work. What would
end the grader, skip a test or end a loop in silence arrives as a RuntimeError.
"""

import builtins
import sys
import warnings
from typing import Any

from autograde.protect.codec import CodecError, encode


class Refused(BaseException):
    """The test cannot be judged safely: it needs a person. Never a zero, never full marks."""


class Stopped(BaseException):
    """The deadline of a cell or a call has passed."""


class Exit(SystemExit, RuntimeError):
    """A student's `sys.exit`, which a test may expect. It ends nothing."""

    def __str__(self) -> str:
        return f"SystemExit: {super().__str__()}"


class Lost(RuntimeError):
    """The student's process ended; what it held is gone."""


# Never rebuilt: they end loops, skip tests or count as passed.
_NEVER = {
    "StopIteration", "StopAsyncIteration", "SkipTest", "_ShouldStop", "Exit", "Skipped", "Failed",
}  # fmt: skip
_DEEPEST = 3  # causes of a cause
_JUDGES = {"unittest", "_pytest", "pytest", "hypothesis", "doctest", "nose"}  # for their own use


def describe(
    error: BaseException, lines: list[str], class_id: int | None, depth: int = 0
) -> list[Any]:
    """What the other side needs to know of an exception, as plain values."""
    kind = type(error)
    try:
        text = str(error)[:10_000]
    except BaseException:
        text = "(its text failed)"
    arguments = [_plain(argument) for argument in error.args[:20]]
    fields = {
        str(name): _plain(value)
        for name, value in list(getattr(error, "__dict__", {}).items())[:20]
        if not str(name).startswith("_")
    }
    cause = error.__cause__ if depth < _DEEPEST else None
    cause = None if cause is None else describe(cause, [], None, depth + 1)
    return [ancestry(kind), text, arguments, class_id, lines[-60:], fields, cause]


def ancestry(kind: type) -> list[list[str]]:
    """A class and its ancestors by module and name."""
    return [[str(base.__module__), base.__qualname__] for base in kind.__mro__][:30]


def _plain(value: Any) -> Any:
    try:
        encode(value)
    except Exception:
        return f"<{type(value).__name__}>"
    return value


def rebuild(description: Any, known: dict[int, type]) -> Exception:
    """An exception of the named class, or of its nearest ancestor that is here."""
    try:
        names, text, arguments, class_id, lines, fields, cause = description
        kind = known.get(class_id) or find_class(names)
        name = str(names[0][1])
        error = _make(kind, arguments, text)
        if class_id not in known and kind.__name__ != name.rpartition(".")[2]:
            error = error if kind is Exit else kind(f"{name}: {text}")
        if cause is not None:
            error.__cause__ = rebuild(cause, {})
        error.__dict__.update({n: v for n, v in fields.items() if n.isidentifier() and n[0] != "_"})
        error.__dict__["_student_traceback"] = [str(line) for line in lines]
    except (TypeError, ValueError, LookupError, AttributeError) as problem:
        raise CodecError(f"not an exception: {problem}") from None
    return error


def _make(kind: type[Exception], arguments: list[Any], text: str) -> Exception:
    """An exception with these arguments, or where it would say something else, with the text."""
    if kind is Exit:
        return Exit(*arguments)
    error = kind.__new__(kind)
    error.args = tuple(arguments)
    if not _says(error, text):
        error = kind.__new__(kind)
        error.args = (text,)
    return error


def _says(error: Exception, text: str) -> bool:
    try:
        return str(error) == text
    except Exception:
        return False


def warn(category: Any, text: Any) -> None:
    """Warn here of what the student's code warned of over there."""
    kind = find_class(category)
    kind = kind if issubclass(kind, Warning) else UserWarning
    warnings.warn_explicit(str(text), kind, "<submission>", 1)


def find_class(names: list[list[str]]) -> type[Exception]:
    """The first of the claimed classes that may be raised here."""
    for module, name in names:
        if name in _NEVER or module.partition(".")[0] in _JUDGES:
            return RuntimeError
        if module == "builtins":
            kind = vars(builtins).get(name)
        else:
            loaded = sys.modules.get(module) if module not in ("__main__",) else None
            kind = vars(loaded).get(name) if loaded is not None else None
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            continue
        if kind.__module__ != module or kind.__module__.startswith("autograde"):
            continue
        if issubclass(kind, BaseExceptionGroup):
            continue  # it cannot be without the exceptions in it
        if kind is SystemExit:
            return Exit
        return kind if issubclass(kind, Exception) else RuntimeError
    return RuntimeError
