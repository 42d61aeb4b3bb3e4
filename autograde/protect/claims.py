"""The library class that a student's object says it is of: for `isinstance` and `type(x) == C`. It
is looked up among the classes that are here already, is never one of what travels as data, and
no object of it is ever made on the trusted side.
"""

import sys
import types
from collections.abc import Callable
from typing import Any

_PLAIN_CLASSES = {"builtins", "collections", "datetime", "decimal", "fractions", "numpy", "typing"}
# Of pandas, only what does not travel as data: no frame is anything else than a frame.
_OF_PANDAS = (
    "pandas.api.typing", "pandas.core.groupby", "pandas.core.window", "pandas.core.resample",
    "pandas.io",
)  # fmt: skip
_NO_INSTANCES = 1 << 7  # of type.__flags__: the class cannot be called
OF_PYTHON = {
    "coroutine": types.CoroutineType, "generator": types.GeneratorType, "map": map, "zip": zip,
    "filter": filter, "enumerate": enumerate, "reversed": reversed, "property": property,
}  # fmt: skip


def library_class(mro: list[list[str]]) -> type | None:
    """The library class among a class's ancestors, for `isinstance` only. Where it has several of
    scikit-learn's (a mixin and a base), a class of them all.
    """
    found: list[type] = []
    for module, name in mro:
        root = module.partition(".")[0]
        if root in _PLAIN_CLASSES or module in ("__main__", "abc", "enum"):
            continue
        if root == "pandas" and not module.startswith(_OF_PANDAS):
            continue
        kind = vars(sys.modules.get(module, types.ModuleType("none"))).get(name)
        if isinstance(kind, type) and not issubclass(kind, type | BaseException):
            found.append(kind)
    if not found or mro[0][0] != "__main__":
        return found[0] if found else None
    ours = [kind for kind in found if kind.__module__.startswith("sklearn.")]
    tops = [k for k in ours if not any(o is not k and issubclass(o, k) for o in ours)]
    if len(tops) < 2:
        return found[0]
    try:
        return type(str(mro[0][1]), tuple(tops), {})
    except TypeError:
        return found[0]


def posing_as(claim: type, stand_in: Callable[..., Any]) -> type:
    """A class that is a subclass of `claim` and equal to it, for `isinstance` and the like. No
    object of `claim` is ever made here: a call makes one over there.
    """
    if claim.__flags__ & _NO_INSTANCES:
        return claim
    kind = type(claim)
    names = {
        "__call__": lambda cls, *arguments, **keywords: stand_in(*arguments, **keywords),
        "__eq__": lambda cls, other: other is cls or other is claim,
        "__hash__": lambda cls: hash(claim),
    }
    try:
        posing = type(kind.__name__, (kind,), names)
        return posing(claim.__name__, (claim,), {"__module__": claim.__module__})
    except Exception:  # a class that cannot be derived from is not claimed
        return stand_in


def is_named(claim: type | None, about: dict[str, Any]) -> bool:
    """Whether the class over there is said to be this one, not a subclass."""
    return claim is not None and [claim.__module__, claim.__qualname__] == about["mro"][0]
