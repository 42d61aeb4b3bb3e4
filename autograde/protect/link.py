"""The trusted side's end of the connection to the student's process: asks, waits no longer than the
deadline, decodes the answer with references turned into stand-ins, and serves what the student's
code calls of what the test handed to it.
"""

import builtins
import hashlib
import io
import itertools
import pickle
import sys
import threading
import time
import types
from collections.abc import Sequence
from typing import Any

from autograde.protect import claims, codec, errors, proxies
from autograde.protect.codec import CodecError
from autograde.protect.errors import Lost, Refused, Stopped
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
_MOST_LENT = 64
FILE = "<test>"  # what the code of test cells says it is from
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
        self.newest: Any = None  # what the last reference made, if it made something
        self.classes: dict[int, type] = {}
        self.handed: dict[int, Any] = {}
        self.lent: dict[int, tuple[Any, bytes]] = {}  # by place: an object and its state's digest
        self.places = itertools.cycle(range(_MOST_LENT))
        self.deadline: float | None = None
        self.call_seconds: float | None = None
        self.write_back = False
        self.hung = False
        self.lost = ""
        self.stdin = sys.stdin
        self.depth = 0
        self.changed: set[str] = set()
        self.changing: dict[int, tuple[int | str, ...]] = {}
        self.meant: frozenset[int] = frozenset()  # lines at which the test itself raises
        self.compared: frozenset[str] = frozenset()  # arguments that the test asserts unchanged

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

    def call(self, number: int, arguments: tuple, keywords: dict, frame: Any = None) -> Any:
        only = self.changing.get(number, ())
        return self._call(["call", _Number(number)], arguments, keywords, frame, only)

    def method(
        self, owner: Any, name: str, arguments: tuple, keywords: dict, frame: Any = None
    ) -> Any:
        return self._call(["method", owner, name], arguments, keywords, frame)

    def operate(self, owner: Any, name: str, *arguments: Any) -> Any:
        return self.ask("operate", owner, name, list(arguments))

    def _call(
        self,
        what: list[Any],
        arguments: tuple,
        keywords: dict,
        frame: Any,
        only: Sequence[int | str] = (),
    ) -> Any:
        given = dict(enumerate(arguments)) | keywords
        kept = () if self.write_back else self._asserted_unchanged(given, frame)
        back = self.write_back or bool(only) or bool(kept)
        answer = self.ask(*what, list(arguments), keywords, back)
        try:
            result, place, *seen = codec.typed(answer, list)
            after = dict(enumerate(seen[0])) | seen[1] if back else {}
            changes = [(where, given[where], after[where]) for where in given if back]
            same = given.get(place)
        except (TypeError, ValueError, LookupError) as error:
            raise CodecError(f"the student's process sent no result: {error}") from None
        for where, old, new in changes:
            if self.write_back or where in only:
                put_back(old, new)
            elif where in kept and not self._are_equal(old, new):
                raise AssertionError("the call changed an argument in place")
        is_own = place is not None and type(same) is type(result) and self._are_equal(same, result)
        return same if is_own else result

    def _asserted_unchanged(self, given: dict, frame: Any) -> list[int | str]:
        """The arguments that are variables of the test which it compares afterwards."""
        if not self.compared or frame is None:
            return []
        variables = [frame.f_locals.get(name, self) for name in self.compared]
        return [where for where, value in given.items() if any(value is v for v in variables)]

    def _are_equal(self, left: Any, right: Any) -> bool:
        try:
            packed = [codec.encode(value, refer=self.refer) for value in (left, right)]
            return packed[0] == packed[1] or bool(left == right)
        except (CodecError, TypeError, ValueError):
            return False

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
            except (Overdue, Stopped):
                self.hung = True
                self.lent.clear()  # perhaps it was not sent
                raise Stopped("a call of the student's code did not end") from None
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
                value, printed, changed, warned = rest
                self.changed.update(str(name) for name in changed)
                for name, text in printed:
                    (sys.stderr if name == "stderr" else sys.stdout).write(codec.typed(text, str))
            except (TypeError, ValueError, RecursionError) as error:
                raise CodecError(f"the student's process sent no answer: {error}") from None
            for category, text in warned:
                errors.warn(category, text)
            if state == "ok":
                return value
            if state == "stop" and may_end:
                raise StopIteration(value)
            if isinstance(value, list):
                raise self._rebuilt(value)
            raise CodecError("the student's process sent no answer")

    def _rebuilt(self, description: list[Any]) -> Exception:
        """An exception; its class, if it is the student's, is asked for when it is first met."""
        if len(description) > 3 and type(description[3]) is int:
            self.class_of(description[3])
        return errors.rebuild(description, self.classes)

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
            if builtins.input is _input and sys.stdin is self.stdin:
                raise EOFError("there is nobody to ask: the test gives no input")
            return builtins.input(*arguments)
        target = self.handed[number]
        if how in ("get", "set"):
            name = codec.typed(arguments[0], str)
            if name.startswith(_CLOSED_NAMES) or isinstance(target, _CLOSED):
                raise AttributeError(name)
            if how == "set" and callable(getattr(type(target), name, None)):
                raise AttributeError(f"{name} is a method of the test's own object")
            if how == "set":
                return setattr(target, name, arguments[1])
            return getattr(target, name)
        if how not in _HANDED:
            raise AttributeError(how)
        if how == "__call__":
            return target(*arguments, **keywords)
        return getattr(type(target), how)(target, *arguments)

    def is_meant(self, error: Any, trace: Any) -> bool:
        """Whether the test itself raised an error, which is no assertion, in the open."""
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if not isinstance(error, Exception) or isinstance(error, AssertionError):
            return False
        here = trace is not None and trace.tb_frame.f_code.co_filename == FILE
        return here and trace.tb_lineno in self.meant

    # References.

    def write(self, message: list[Any]) -> bytes:
        """Raises Refused for what cannot be handed over: that is not the student's fault."""
        try:
            return codec.encode(message, refer=self.lend)
        except CodecError as error:
            self.lent.clear()  # it was not sent
            raise Refused(f"what the test hands over cannot be sent: {error}") from None

    def lend(self, value: Any) -> Any:
        """A reference, and for a copy of an object whether it is the one that they have already:
        a generator of random numbers goes on where the student's code left it, unless the test
        has drawn from it since.
        """
        reference = self.refer(value)
        if reference is None or reference[0] != "p":
            return reference
        digest = hashlib.blake2b(reference[1]).digest()
        for place, (known, state) in self.lent.items():
            if known is value and state == digest:
                return ["p", place]
        place = next(self.places)
        self.lent[place] = value, digest
        return ["p", place, reference[1]]

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
        if isinstance(value, type):
            for number, known in self.classes.items():
                if known is value:
                    return ["o", number]
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
        says = value.__doc__ if kind is types.FunctionType else None
        return ["b", number, str(getattr(value, "__name__", kind.__name__)), special, says]

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
            self.newest, proxy = None, self.proxies[number]
            if isinstance(proxy, proxies.Remote):
                object.__setattr__(proxy, "_made", False)
            return proxy
        if kind == "f":
            proxy = proxies.Function(self, number, codec.typed(rest[0], str))
        elif kind == "o":
            proxy = object.__new__(self.class_of(codec.typed(rest[0], int)))
            for name, value in (("_number", number), ("_talk", self), ("_made", False)):
                object.__setattr__(proxy, name, value)
        else:
            raise CodecError("an unknown reference")
        self.proxies[number] = self.newest = proxy
        return proxy

    def class_of(self, number: int) -> type:
        """The stand-in for a class over there, made when it is first met."""
        if number not in self.classes:
            about = self.ask("describe", number)
            names = [name for _, name in about["mro"]]
            if about["module"] == "builtins" and "BaseException" in names:
                self.classes[number] = errors.find_class(about["mro"])
            elif "BaseException" in names:
                self.classes[number] = proxies.exception_class(number, about, self)
            else:
                claim = claims.library_class(about["mro"])
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
