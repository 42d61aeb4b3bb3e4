"""The trusted side's end of the connection to the student's process: asks, waits no longer than the
deadline, decodes the answer with references turned into stand-ins, and serves what the student's
code calls of what the test handed to it.
"""

import builtins
import io
import itertools
import pickle
import sys
import threading
import time
import types
from collections.abc import Sequence
from typing import Any

from autograde.protect import codec, errors, proxies
from autograde.protect.codec import CodecError
from autograde.protect.errors import Lost, Stopped
from autograde.protect.wire import Closed, Overdue, Wire

_HANDED = (
    "__call__", "__iter__", "__next__", "__len__", "__getitem__", "__setitem__", "__contains__",
    "__enter__", "__exit__", "__lt__", "__le__", "__gt__", "__ge__", "__add__", "__radd__",
    "__mul__", "__sub__", "__bool__", "__float__", "__int__", "__str__",
)  # fmt: skip
# What would lead from a thing that the test handed over to the test's own variables.
_CLOSED = (
    type, types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.ModuleType,
    types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType,
    types.CodeType, types.TracebackType, types.CellType,
)  # fmt: skip
_CLOSED_NAMES = ("_", "gi_", "cr_", "ag_", "f_", "tb_", "co_")
_DEEPEST = 50
_input = builtins.input


class _Pickler(pickle.Pickler):
    """Library objects by reference to their library; nothing that the test itself defined."""

    def reducer_override(self, value: Any) -> Any:
        modules = (getattr(value, "__module__", None), type(value).__module__)
        for module in modules:
            if module == "__main__" or str(module).startswith(("autograde", "unittest", "_io")):
                raise pickle.PicklingError("defined in the test")
        return NotImplemented


class Link:
    """Calls into the student's process. `deadline` and `call_seconds` bound every wait."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.lock = threading.RLock()
        self.counter = itertools.count(1)
        self.proxies: dict[int, Any] = {}
        self.classes: dict[int, type] = {}
        self.handed: dict[int, Any] = {}
        self.deadline: float | None = None
        self.call_seconds: float | None = None
        self.write_back = False
        self.hung = False
        self.lost = ""
        self.depth = 0
        self.changed: set[str] = set()
        self.changing: dict[int, tuple[int | str, ...]] = {}

    # Asking.

    def expect_changes(self, function: Any, parameters: Sequence[int | str]) -> None:
        """Note that a student's function may change these parameters in place: those that the
        reference solution changes. A function known by a second name as well may change none.
        """
        if type(function) is proxies.Function:
            number = proxies.number_of(function)
            known = self.changing.setdefault(number, tuple(parameters))
            if known != tuple(parameters):
                self.changing[number] = ()

    def call(self, number: int, arguments: tuple, keywords: dict) -> Any:
        only = self.changing.get(number, ())
        return self._call(["call", _Number(number)], arguments, keywords, only)

    def method(self, owner: Any, name: str, arguments: tuple, keywords: dict) -> Any:
        return self._call(["method", owner, name], arguments, keywords)

    def operate(self, owner: Any, name: str, *arguments: Any) -> Any:
        return self.ask("operate", owner, name, list(arguments))

    def _call(
        self, what: list[Any], arguments: tuple, keywords: dict, only: Sequence[int | str] = ()
    ) -> Any:
        back = self.write_back or bool(only)
        answer = self.ask(*what, list(arguments), keywords, back)
        if not back:
            return answer
        result, seen, named = answer
        pairs = [*zip(range(len(arguments)), arguments, seen)]
        pairs += [(name, keywords[name], named[name]) for name in keywords]
        for place, old, new in pairs:
            if self.write_back or place in only:
                put_back(old, new)
        return result

    def ask(self, operation: str, *parts: Any) -> Any:
        if self.lost:
            raise Lost(self.lost)
        with self.lock:
            number = next(self.counter)
            deadline = self.deadline
            if self.call_seconds is not None:
                own = time.monotonic() + self.call_seconds
                deadline = own if deadline is None else min(own, deadline)
            try:
                self.wire.send(self.write([number, operation, *parts]), deadline)
                return self._wait(number, deadline, may_end=operation == "next")
            except Overdue:
                self.hung = True
                raise Stopped("a call of the student's code did not end") from None
            except Stopped:
                self.hung = True
                raise
            except Closed as error:
                self.lost = f"the student's process ended: {error}"
                raise Lost(self.lost) from None

    def _wait(self, number: int, deadline: float | None, *, may_end: bool) -> Any:
        while True:
            message = self.wire.receive(deadline)
            try:
                answer = codec.decode(message, resolve=self.resolve)
                found, state, *rest = answer
                if found == 0 and state == "callback":
                    self._serve(*rest)
                    continue
                if found != number:
                    continue  # the answer to a call that was given up
                value, printed, changed = rest
                self.changed.update(str(name) for name in changed)
                for name, text in printed:
                    (sys.stderr if name == "stderr" else sys.stdout).write(codec.typed(text, str))
            except (TypeError, ValueError, RecursionError) as error:
                raise CodecError(f"the student's process sent no answer: {error}") from None
            if state == "ok":
                return value
            if state == "stop" and may_end:
                raise StopIteration
            if isinstance(value, list):
                raise errors.rebuild(value, self.classes)
            raise CodecError("the student's process sent no answer")

    def _serve(self, number: int, how: str, arguments: list, keywords: dict) -> None:
        """One call by the student's code of what the test handed to it."""
        if self.depth > _DEEPEST:
            raise RecursionError("calls between test and submission are nested too deep")
        self.depth += 1
        try:
            reply = ["ok", self._answer(number, how, arguments, keywords)]
        except StopIteration:
            reply = ["stop", None]
        except Exception as error:
            reply = ["error", error]
        finally:
            self.depth -= 1
        self.wire.send(self.write([0, *reply]), self.deadline)

    def _answer(self, number: int, how: str, arguments: list, keywords: dict) -> Any:
        if number == 0 and how == "input":
            if builtins.input is _input:
                raise EOFError("there is nobody to ask: the test gives no input")
            return builtins.input(*arguments)
        target = self.handed[number]
        if how in ("get", "set"):
            name = codec.typed(arguments[0], str)
            if name.startswith(_CLOSED_NAMES) or isinstance(target, _CLOSED):
                raise AttributeError(name)
            if how == "set":
                return setattr(target, name, arguments[1])
            return getattr(target, name)
        if how not in _HANDED:
            raise AttributeError(how)
        if how == "__call__":
            return target(*arguments, **keywords)
        return getattr(type(target), how)(target, *arguments)

    # References.

    def write(self, message: list[Any]) -> bytes:
        return codec.encode(message, refer=self.refer)

    def refer(self, value: Any) -> Any:
        kind = type(value)
        if kind is _Number:
            return ["o", value.number]
        if kind is proxies.StandIn:
            return ["o", value._class_number]
        if isinstance(kind, proxies.StandIn) or kind is proxies.Function:
            return ["o", proxies.number_of(value)]
        if codec.is_plain_subclass(value):
            return None
        if kind is types.ModuleType and value.__name__ != "__main__":
            return ["m", value.__name__]
        if isinstance(value, type) and value in self.classes.values():
            return ["o", next(n for n, c in self.classes.items() if c is value)]
        function = isinstance(value, types.FunctionType | types.MethodType | proxies.Method) or (
            isinstance(value, types.BuiltinMethodType)
            and not isinstance(value.__self__, types.ModuleType | None)
        )
        if not function and not isinstance(value, io.IOBase):
            buffer = io.BytesIO()
            try:
                _Pickler(buffer, protocol=5).dump(value)
                return ["p", buffer.getvalue()]
            except Exception:  # it cannot travel; the student's code calls it here
                pass
        number = id(value)
        self.handed[number] = value
        own = {name for base in kind.__mro__[:-1] for name in vars(base)}
        special = None if function else [name for name in _HANDED if name in own]
        return ["b", number, str(getattr(value, "__name__", kind.__name__)), special]

    def resolve(self, part: Any) -> Any:
        kind, number, *rest = part
        if kind == "b":
            return self.handed[number]
        if kind == "x":
            return errors.rebuild(number, self.classes)
        if type(number) is not int:
            raise CodecError("not a reference")
        if kind == "k":
            return self.class_of(number)
        if number in self.proxies:
            return self.proxies[number]
        if kind == "f":
            proxy = proxies.Function(self, number, codec.typed(rest[0], str))
        elif kind == "o":
            proxy = object.__new__(self.class_of(codec.typed(rest[0], int)))
            for name, value in (("_number", number), ("_talk", self), ("_made", False)):
                object.__setattr__(proxy, name, value)
        else:
            raise CodecError("an unknown reference")
        self.proxies[number] = proxy
        return proxy

    def class_of(self, number: int) -> type:
        """The stand-in for a class over there, made when it is first met."""
        if number not in self.classes:
            about = self.ask("describe", number)
            names = [name for _, name in about["mro"]]
            if "BaseException" in names:
                self.classes[number] = proxies.exception_class(number, about, self)
            else:
                claim = proxies.library_class(about["mro"])
                self.classes[number] = proxies.make_class(self, number, about, claim)
        return self.classes[number]


class _Number:
    """A reference to something over there by its number alone."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def put_back(old: Any, new: Any) -> None:
    """Make a container of the test's equal to what the student's code made of its copy."""
    if type(old) is not type(new):
        return
    if isinstance(old, list):
        old[:] = new
    elif isinstance(old, dict | set):
        old.clear()
        old.update(new)
    elif isinstance(old, bytearray):
        old[:] = new
    elif hasattr(old, "__array__") and hasattr(old, "shape"):
        if type(old).__module__.startswith("pandas"):
            old._update_inplace(new)
        elif old.shape == new.shape and old.dtype == new.dtype:
            old[...] = new
