"""What stands on the trusted side for the student's functions, classes and objects. A call goes to
the student's process and its answer comes back as data, or as another of these. Nothing here ever
claims to be a plain value, and nothing of the student's runs here.

An operator between plain data and an object that student code returned would hand the expected
value over and believe the student's verdict, so it raises `Refused`; so does subclassing.
"""

import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from autograde.protect import errors
from autograde.protect.errors import Refused

_PLAIN_CLASSES = {"builtins", "collections", "datetime", "decimal", "fractions", "numpy", "typing"}
_COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
_ARITHMETIC = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor",
    "lshift", "rshift", "divmod",
)  # fmt: skip
BINARY = {f"__{n}__" for n in _COMPARE} | {
    f"__{side}{name}__" for name in _ARITHMETIC for side in ("", "r", "i")
}
UNARY = {
    f"__{name}__"
    for name in (
        "len", "iter", "next", "contains", "getitem", "setitem", "delitem", "bool", "hash", "neg",
        "pos", "abs", "invert", "int", "float", "index", "complex", "round", "floor", "ceil",
        "trunc", "enter", "exit", "str", "repr", "format", "reversed", "call", "array", "deepcopy",
        "copy", "missing", "bytes", "fspath", "length_hint", "aiter", "anext", "aenter", "aexit",
    )
}  # fmt: skip


class Remote:
    """Base of every stand-in for an object: its number, and whether the test made it."""

    __slots__ = ("_made", "_number", "_talk")


def number_of(proxy: Any) -> int:
    return object.__getattribute__(proxy, "_number")


def _talk(proxy: Any) -> Any:
    return object.__getattribute__(proxy, "_talk")


def source_of(proxy: Any) -> str:
    """The text of a student's function, method or class."""
    if isinstance(proxy, StandIn):
        return proxy._link.ask("source", proxy)
    if type(proxy) is Method:
        talk = _talk(proxy.__self__)
        return talk.ask("source", talk.ask("get", proxy.__self__, proxy.__name__))
    return _talk(proxy).ask("source", proxy)


def nature_of(proxy: Any, name: str) -> bool:
    """What `inspect.iscoroutinefunction` and the like say over there."""
    if type(proxy) is Method:
        talk = _talk(proxy.__self__)
        proxy = talk.ask("get", proxy.__self__, proxy.__name__)
    return _talk(proxy).ask("nature", proxy, name) is True


def is_proxy(value: Any) -> bool:
    return isinstance(type(value), StandIn) or type(value) in (Function, StandIn, Method)


class StandIn(type):
    """The class of the stand-ins for student classes: calling one makes the object over there."""

    def __new__(mcs, name: str, bases: tuple, names: dict, *, by_us: bool = False) -> type:
        if not by_us:
            raise Refused(
                "a test that subclasses a student's class cannot run outside the student's process"
            )
        return super().__new__(mcs, name, bases, names)

    def __init__(cls, name: str, bases: tuple, names: dict, *, by_us: bool = False) -> None:
        super().__init__(name, bases, names)

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        made = cls._link.call(cls._class_number, arguments, keywords)
        if isinstance(made, Remote):
            object.__setattr__(made, "_made", True)
        return made

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name != "__members__":
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        return cls._link.ask("get", cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        cls._link.ask("set", cls, name, value)

    def __dir__(cls) -> list[str]:
        return [str(name) for name in cls._link.ask("dir", cls)]

    def __iter__(cls) -> Any:
        return iter(cls._link.operate(cls, "__iter__"))

    def __len__(cls) -> int:
        return cls._link.operate(cls, "__len__")

    def __getitem__(cls, key: Any) -> Any:
        return cls._link.operate(cls, "__getitem__", key)

    def __contains__(cls, key: Any) -> bool:
        return cls._link.operate(cls, "__contains__", key)

    def __bool__(cls) -> bool:
        return True

    def __eq__(cls, other: Any) -> bool:
        return cls is other

    def __hash__(cls) -> int:
        return type.__hash__(cls)


class Function:
    """A student's function: called over there, described by data."""

    def __init__(self, talk: Any, number: int, name: str) -> None:
        self.__dict__.update(_talk=talk, _number=number, __name__=name, __qualname__=name)
        self.__dict__["__module__"] = "__main__"

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._talk.call(self._number, arguments, keywords)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            return self._talk.ask("get", self, name)
        if name == "__signature__":
            return signature(self._talk.ask("signature", self))
        if name in ("__code__", "__globals__", "__closure__", "__defaults__", "__kwdefaults__"):
            raise Refused(f"{name} of a student's function cannot be read; use inspect.signature")
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            self.__dict__[name] = value
        else:
            self._talk.ask("set", self, name, value)

    def __repr__(self) -> str:
        return f"<function {self.__name__} of the submission>"

    @property
    def __doc__(self) -> str | None:
        return self._talk.ask("get", self, "__doc__")

    @property
    def __class__(self) -> type:
        return types.FunctionType


class Method:
    """A method of a student's object, found over there when it is called."""

    __slots__ = ("__name__", "__self__")

    def __init__(self, owner: Any, name: str) -> None:
        self.__self__, self.__name__ = owner, name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if self.__name__ == "score" and (local := local_score(self.__self__)):
            return local(*arguments, **keywords)
        return _talk(self.__self__).method(self.__self__, self.__name__, arguments, keywords)

    @property
    def __signature__(self) -> inspect.Signature:
        talk = _talk(self.__self__)
        return signature(talk.ask("signature", talk.ask("get", self.__self__, self.__name__)))

    @property
    def __doc__(self) -> str | None:
        talk = _talk(self.__self__)
        return talk.ask("get", talk.ask("get", self.__self__, self.__name__), "__doc__")

    def __repr__(self) -> str:
        return f"<method {self.__name__} of the submission>"


def signature(parts: list[Any]) -> inspect.Signature:
    """A signature from its description."""
    found = [
        inspect.Parameter(
            str(name),
            inspect._ParameterKind(kind),
            default=default[0] if default else inspect.Parameter.empty,
            annotation=note or inspect.Parameter.empty,
        )
        for name, kind, default, note in parts
    ]
    return inspect.Signature(found)


def local_score(owner: Any) -> Callable[..., float] | None:
    """scikit-learn's score of an estimator, computed here from what `predict` says."""
    kind = owner.__class__
    if not kind.__module__.startswith("sklearn."):
        return None
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.metrics import accuracy_score, r2_score

    if not issubclass(kind, ClassifierMixin | RegressorMixin):
        return None
    measure = accuracy_score if issubclass(kind, ClassifierMixin) else r2_score
    return lambda X, y, sample_weight=None: measure(
        y, owner.predict(X), sample_weight=sample_weight
    )


def _binary(name: str) -> Callable[[Any, Any], Any]:
    def forward(self: Any, other: Any) -> Any:
        if not is_proxy(other) and not object.__getattribute__(self, "_made"):
            raise Refused(
                f"{name} between plain data and a {type(self).__name__} that the student's code "
                "returned; compare its attributes instead"
            )
        return _talk(self).operate(self, name, other)

    return forward


def _forward(name: str) -> Callable[..., Any]:
    if name == "__next__":
        return lambda self: _talk(self).ask("next", self)
    if name == "__call__":
        return lambda self, *a, **k: _talk(self).call(number_of(self), a, k)
    if name == "__exit__":
        return lambda self, *exc: _talk(self).operate(self, name, None, None, None)
    if name == "__deepcopy__":
        return lambda self, memo: _talk(self).operate(self, name)
    if name == "__array__":
        return lambda self, dtype=None, copy=None: _talk(self).operate(self, name)
    return lambda self, *arguments: _talk(self).operate(self, name, *arguments)


def _get(self: Any, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
    if name in type(self)._methods:
        return Method(self, name)
    return _talk(self).ask("get", self, name)


def _set(self: Any, name: str, value: Any) -> None:
    _talk(self).ask("set", self, name, value)


def _delete(self: Any, name: str) -> None:
    _talk(self).ask("delete", self, name)


def _show(self: Any) -> str:
    return f"<{type(self).__name__} object of the submission>"


def make_class(link: Any, number: int, about: dict[str, Any], claim: type | None) -> type:
    """The stand-in for one student class, with just the special methods that it has."""
    special = {str(name) for name in about["special"]}
    names: dict[str, Any] = {
        "_link": link,
        "_class_number": number,
        "_methods": frozenset(map(str, about["methods"])),
        "__module__": "__main__",
        "__doc__": about["doc"],
        "__slots__": (),
        "__getattr__": _get,
        "__setattr__": _set,
        "__delattr__": _delete,
        "__repr__": _show,
        "__copy__": _forward("__copy__"),
        "__deepcopy__": _forward("__deepcopy__"),
        "__dict__": property(lambda self: _talk(self).ask("get", self, "__dict__")),
        "__dir__": lambda self: [str(name) for name in _talk(self).ask("dir", self)],
        "__init__": property(lambda self: Method(self, "__init__")),
    }
    names |= {name: _binary(name) for name in special & BINARY}
    names |= {name: _forward(name) for name in special & UNARY}
    if "__eq__" in special and "__hash__" not in special:
        names["__hash__"] = None
    if about["module"] == "builtins" and about["name"] == "coroutine":
        names |= _COROUTINE
        claim = types.CoroutineType
    elif about["module"] == "builtins" and about["name"] == "generator":
        claim = types.GeneratorType
    if claim is not None:
        names["__class__"] = property(lambda self: claim)
    bases = tuple(link.class_of(base) for base in about["bases"][:1])
    if not all(isinstance(base, StandIn) for base in bases):
        bases = ()
    return StandIn(str(about["name"]), bases or (Remote,), names, by_us=True)


def _finish(self: Any, value: Any) -> None:
    raise StopIteration(_talk(self).ask("await", self))


def _awaited(self: Any) -> Any:
    return _talk(self).ask("await", self)
    yield  # a generator function: what `await` wants


_COROUTINE = {
    "send": _finish,
    "throw": lambda self, *error: (_ for _ in ()).throw(*error),
    "close": lambda self: None,
    "__await__": _awaited,
}


def library_class(mro: list[list[str]]) -> type | None:
    """The library class among a class's ancestors, for `isinstance` only. Where it has several of
    scikit-learn's (a mixin and a base), a class of them all that cannot be called.
    """
    found: list[type] = []
    for module, name in mro:
        if module.partition(".")[0] in _PLAIN_CLASSES or module in ("__main__", "abc", "enum"):
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
        return type(str(mro[0][1]), tuple(tops), {"__new__": _not_here})
    except TypeError:
        return found[0]


def _not_here(*arguments: Any, **keywords: Any) -> Any:
    raise Refused("the test makes an object of a student's class by `x.__class__(...)`; name it")


def exception_class(number: int, about: dict[str, Any], link: Any) -> type[Exception]:
    """A real class for a student's exception class, so that tests can catch and raise it."""
    parents = [link.class_of(base) for base in about["bases"][:1]]
    parent = parents[0] if parents else errors.find_class(about["mro"][1:])
    return type(str(about["name"]), (parent,), {"__module__": "__main__"})
