"""What stands on the trusted side for the student's functions, classes and objects. A call goes to
the student's process and its answer comes back as data, or as another of these. Nothing here ever
claims to be a plain value, and nothing of the student's runs here.

An operator between plain data and an object that student code returned would hand the expected
value over and believe the student's verdict, so it raises `Refused`; so does `got.equals(data)`,
and subclassing. An object is the test's own from the call of its class until student code returns
it: a class may make the same object twice, and a method may return the object itself.
"""

import dataclasses
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from autograde.protect import claims, errors
from autograde.protect.codec import CodecError, is_plain
from autograde.protect.errors import Refused

# Methods of plain values that judge what they are given.
_VERDICTS = {
    "equals", "identical", "eq", "ne", "lt", "le", "gt", "ge", "compare", "isin", "startswith",
    "endswith", "issubset", "issuperset", "isdisjoint",
}  # fmt: skip
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
        "sklearn_clone", "sklearn_tags", "sklearn_is_fitted",
    )
}  # fmt: skip
# What may return the object itself and leave it the test's own.
_RETURN_ITSELF = {"__enter__", "__aenter__", "__iter__", "__aiter__"}


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
        if isinstance(made, Remote) and made is cls._link.newest:
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
        """`type(model) == LinearRegression` is believed where `isinstance` is."""
        return cls is other or (cls._stands_for is not None and cls._stands_for is other)

    def __hash__(cls) -> int:
        return type.__hash__(cls)  # not the library's: no table of types takes one for the other


class Function:
    """A student's function: called over there, described by data."""

    def __init__(self, talk: Any, number: int, name: str) -> None:
        self.__dict__.update(_talk=talk, _number=number, __name__=name, __qualname__=name)
        self.__dict__["__module__"] = "__main__"

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._talk.call(self._number, arguments, keywords, sys._getframe(1))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") or name == "__wrapped__":
            return self._talk.ask("get", self, name)
        if name == "__signature__":
            return signature(self._talk.ask("signature", self))
        if name == "__annotations__":
            return self._talk.ask("annotations", self)
        if name == "__code__" and sys._getframe(1).f_globals.get("__name__") == "doctest":
            return None  # it asks for the line only
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
        if self.__name__ in _VERDICTS:
            for other in arguments:
                _may_judge(self.__self__, self.__name__, other)
        link, frame = _talk(self.__self__), sys._getframe(1)
        return link.method(self.__self__, self.__name__, arguments, keywords, frame)

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
            annotation=note[0] if note else inspect.Parameter.empty,
        )
        for name, kind, default, note in parts[:-1]
    ]
    note = parts[-1]
    return inspect.Signature(found, return_annotation=note[0] if note else inspect.Signature.empty)


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


def _is_made(proxy: Any) -> bool:
    return object.__getattribute__(proxy, "_made")


def _may_judge(judge: Any, name: str, other: Any) -> None:
    if not is_proxy(other) and not _is_made(judge):
        raise Refused(
            f"{name} between plain data and a {type(judge).__name__} that the student's code "
            "returned; compare its attributes instead"
        )


def _binary(name: str) -> Callable[[Any, Any], Any]:
    def forward(self: Any, other: Any) -> Any:
        if name in type(self)._plain and not is_proxy(other) and not _is_made(self):
            return getattr(_plain(self), name)(other)
        _may_judge(self, name, other)
        return _itself(self, name, other) if name[2] == "i" else _talk(self).operate(
            self, name, other)  # fmt: skip

    return forward


def _plain(self: Any) -> Any:
    """The value of an object whose class derives from a plain type, compared here as that."""
    value = _talk(self).ask("plain", self)
    if not is_plain(type(value)):
        raise CodecError("the student's process sent no plain value")
    return value


def _itself(self: Any, name: str, *arguments: Any) -> Any:
    """An operation that may return the object, which stays the test's own if it was."""
    made = _is_made(self)
    found = _talk(self).operate(self, name, *arguments)
    if found is self:
        object.__setattr__(self, "_made", made)
    return found


def _exit(self: Any, kind: Any, error: Any, trace: Any) -> bool:
    """The student's context manager hears of an error that the test raises by its own word, and may
    swallow it; but never of one that a wrong answer has caused.
    """
    if not _talk(self).is_meant(error, trace):
        error = None
    return bool(_talk(self).ask("exit", self, error)) and error is not None


def _contains(self: Any, item: Any) -> bool:
    """Who returned an object is not asked what is in it: it is looked through."""
    if is_proxy(item) or _is_made(self):
        return bool(_talk(self).operate(self, "__contains__", item))
    if "__iter__" not in type(self)._special:
        _may_judge(self, "__contains__", item)
    return any(found is item or found == item for found in iter(self))


def _forward(name: str) -> Callable[..., Any]:
    if name == "__next__":
        return lambda self: _talk(self).ask("next", self)
    if name == "__call__":
        return lambda self, *a, **k: _talk(self).call(number_of(self), a, k)
    if name == "__exit__":
        return _exit
    if name == "__deepcopy__":
        return lambda self, memo: _talk(self).operate(self, name)
    if name == "__array__":
        return lambda self, dtype=None, copy=None: _talk(self).operate(self, name)
    if name == "__contains__":
        return _contains
    if name in _RETURN_ITSELF:
        return lambda self: _itself(self, name)
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
        "_special": special,
        "_plain": {n for n in map(str, about["plain"]) if n in BINARY and n[2] != "i"},
        "__annotations__": about["notes"],
        "__dataclass_fields__": {n: _field(n) for n in map(str, about["fields"])},
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
    if not about["fields"]:
        del names["__dataclass_fields__"]
    if about["module"] == "builtins":
        claim = claims.OF_PYTHON.get(about["name"])
        names |= _COROUTINE if claim is types.CoroutineType else {}
    names["_stands_for"] = claim if claims.is_named(claim, about) else None
    if claim is not None:
        names["__class__"] = property(lambda self: posed)
    bases = tuple(link.class_of(base) for base in about["bases"][:1])
    if not all(isinstance(base, StandIn) for base in bases):
        bases = ()
    kind = StandIn(str(about["name"]), bases or (Remote,), names, by_us=True)
    posed = kind if claim is None else claims.posing_as(claim, kind)
    return kind


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


def _field(name: str) -> dataclasses.Field:
    """What `dataclasses` looks at to tell that a class is one of its own, and to go through it."""
    field = dataclasses.field()
    field.name, field._field_type = name, dataclasses._FIELD
    return field


def exception_class(number: int, about: dict[str, Any], link: Any) -> type[Exception]:
    """A real class for a student's exception class, so that tests can catch and raise it."""
    parents = [link.class_of(base) for base in about["bases"][:1]]
    parent = parents[0] if parents else errors.find_class(about["mro"][1:])
    return type(str(about["name"]), (parent,), {"__module__": "__main__"})
