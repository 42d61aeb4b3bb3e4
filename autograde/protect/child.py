"""The student's side: runs the notebook's cells and answers calls of the test cells, which it never
sees. Everything in this process is the student's to change, so nothing it sends is believed to be
more than data; what makes the calls safe is on the other side, in `autograde.protect.proxies`.
"""

import asyncio
import builtins
import copy
import inspect
import os
import pickle
import random
import select
import signal
import sys
import types
import warnings
import weakref
from enum import Enum
from importlib import import_module
from typing import Any

import msgspec
from IPython.core.error import StdinNotImplementedError

from autograde.protect import abroad, codec, errors
from autograde.protect.shell import Shell, brief_traceback, capture_streams, seed_all
from autograde.protect.wire import Closed, Wire

_FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType,
    types.WrapperDescriptorType, types.MethodDescriptorType,
)  # fmt: skip
_MUTABLE = (list, dict, set, bytearray)
_IMMUTABLE = (type(None), bool, int, float, complex, str, bytes, tuple, frozenset)
_PASSIVE = {"__init__", "__new__", "__dict__", "__weakref__", "__doc__", "__module__"}


def _note(annotation: Any) -> list[Any]:
    """An annotation, if there is one: a class or None, or the text of anything else."""
    if annotation is inspect.Parameter.empty:
        return []
    plain = annotation is None or getattr(annotation, "__module__", "builtins") == "builtins"
    return [annotation if plain else inspect.formatannotation(annotation)]


class Child:
    """Serves the supervisor's cells (`control`) and the trusted process's calls (`calls`)."""

    def __init__(self, shell: Shell, control: Wire, calls: Wire) -> None:
        self.shell, self.control, self.calls = shell, control, calls
        self.objects: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}
        self.kinds: dict[tuple, type] = {}
        self.lent: dict[int, Any] = {}  # copies of the test's objects
        self.watched: dict[str, Any] = {}
        self.recorder = shell.recorder
        self.raw = os.dup(1)
        self.in_call = False  # else in a cell, where nobody waits for what is asked
        shell.has_loop = True
        capture_streams(self.recorder)
        builtins.input = self.input

    def serve(self) -> None:
        """Answer until the other side is gone."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.calls, select.POLLIN)
        try:
            while True:
                try:
                    for number, _ in poll.poll():
                        if number == self.control.fileno():
                            self.order(msgspec.json.decode(self.control.receive()))
                        else:
                            self.answer(self.read(self.calls.receive()))
                except KeyboardInterrupt:
                    continue
        except Closed:
            return

    # The supervisor's orders.

    def order(self, order: dict[str, Any]) -> None:
        self.in_call = False
        outputs = []
        if order["op"] == "run":
            if order["seed"] is not None:
                seed_all(order["seed"])
            outputs = self.run(order["source"])
        self.control.send(msgspec.json.encode({"outputs": outputs}))

    def run(self, source: str) -> list[dict[str, Any]]:
        try:
            self.shell.run_cell(source, store_history=True)
        except BaseException as error:
            self.recorder.error(error, brief_traceback(error))
        self.drain()
        return self.recorder.take()

    def drain(self) -> None:
        """What was written past Python's streams: by C, by programs that were started."""
        size = os.lseek(self.raw, 0, os.SEEK_END)
        if size:
            text = os.pread(self.raw, min(size, 1_000_000), 0).decode("utf-8", "replace")
            os.ftruncate(self.raw, 0)
            os.lseek(self.raw, 0, os.SEEK_SET)
            self.recorder.stream("stdout", text)

    # The trusted side's calls.

    def read(self, message: bytes) -> list[Any]:
        return codec.decode(message, resolve=self.resolve)

    def answer(self, request: list[Any]) -> None:
        number, name, *parts = request
        self.in_call = True
        before, self.recorder.outputs = self.recorder.outputs, []
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                reply = ["ok", getattr(self, f"do_{name}")(*parts)]
            except StopIteration as stop:
                reply = ["stop", stop.value] if name == "next" else self.failure(stop)
            except Closed:
                raise
            except BaseException as error:
                reply = self.failure(error)
        self.drain()
        printed = [[o["name"], "".join(o["parts"])] for o in self.recorder.outputs if "parts" in o]
        self.recorder.outputs, self.recorder.text = before, 0
        warned = [[errors.ancestry(w.category), str(w.message)[:1000]] for w in said[:100]]
        try:
            message = self.write([number, *reply, printed, self.changed(), warned])
        except Exception as error:
            message = self.write([number, *self.failure(error), printed, [], []])
        self.calls.send(message)

    def failure(self, error: BaseException) -> list[Any]:
        known = type(error).__module__ == "__main__"
        return ["error", errors.describe(
            error, brief_traceback(error), self.hold(type(error)) if known else None)]  # fmt: skip

    def changed(self) -> list[str]:
        """Watched names that are bound anew, or hold data that may have changed in place."""
        namespace = self.shell.user_ns
        found = []
        for name, value in self.watched.items():
            now = namespace.get(name, self)
            if now is not value or isinstance(now, _MUTABLE) or hasattr(now, "__array__"):
                found.append(name)
        return found

    def do_names(self, names: list[str]) -> dict[str, Any]:
        namespace = self.shell.user_ns
        found = {name: namespace[name] for name in names if name in namespace}
        self.watched.update(found)
        return found

    def do_defined(self, names: list[str]) -> list[str]:
        return [name for name in names if name in self.shell.user_ns]

    def do_imported(self, names: list[str]) -> dict[str, str]:
        namespace = self.shell.user_ns
        return {name: codec.home_of(namespace[name]) for name in names if name in namespace}

    def do_assign(self, name: str, value: Any) -> None:
        self.shell.user_ns[name] = value

    def do_unassign(self, name: str) -> None:
        self.shell.user_ns.pop(name, None)

    def do_seed(self, library: str, value: Any) -> None:
        (random.seed if library == "random" else sys.modules["numpy"].random.seed)(value)

    def do_call(self, target: Any, arguments: list, keywords: dict, back: bool) -> list[Any]:
        """The result, which argument it is if it is one, and what became of the arguments."""
        result = target(*arguments, **keywords)
        same = (i for i, a in enumerate(arguments) if a is result and type(a) not in _IMMUTABLE)
        return [result, next(same, None), *([arguments, keywords] if back else [])]

    def do_method(self, target: Any, name: str, arguments: list, keywords: dict, back: bool) -> Any:
        return self.do_call(getattr(target, name), arguments, keywords, back)

    def do_operate(self, target: Any, name: str, arguments: list) -> Any:
        if name in ("__deepcopy__", "__copy__"):
            return (copy.deepcopy if name == "__deepcopy__" else copy.copy)(target)
        if name == "__enter__" or not hasattr(type(target), name):
            return getattr(target, name)(*arguments)
        return getattr(type(target), name)(target, *arguments)

    def do_next(self, target: Any) -> Any:
        return next(target)

    def do_exit(self, target: Any, error: Any) -> Any:
        """Leave a context manager; `error` is an exception, or None."""
        trace = error and error.__traceback__
        return type(target).__exit__(target, error and type(error), error, trace)

    def do_await(self, target: Any) -> Any:
        async def finish() -> Any:
            return await target

        return asyncio.run(finish())

    def do_get(self, target: Any, name: str) -> Any:
        return getattr(target, name)

    def do_set(self, target: Any, name: str, value: Any) -> None:
        setattr(target, name, value)

    def do_delete(self, target: Any, name: str) -> None:
        delattr(target, name)

    def do_plain(self, target: Any) -> Any:
        return codec.flatten(target)

    def do_dir(self, target: Any) -> list[str]:
        return dir(target)

    def do_source(self, target: Any) -> str:
        return inspect.getsource(target)

    def do_nature(self, target: Any, name: str) -> bool:
        return getattr(inspect, name)(target)

    def do_signature(self, target: Any) -> list[list[Any]]:
        found = []
        for p in inspect.signature(target).parameters.values():
            default = None if p.default is p.empty else [p.default]
            found.append([p.name, int(p.kind), default, _note(p.annotation)])
        return [*found, _note(inspect.signature(target).return_annotation)]

    def do_annotations(self, target: Any) -> dict[str, Any]:
        return {name: _note(value)[0] for name, value in inspect.get_annotations(target).items()}

    def do_describe(self, number: int) -> dict[str, Any]:
        """A class as its names, its special methods and its ancestors."""
        kind = self.objects[number]
        special = {
            name
            for base in kind.__mro__[:-1]
            for name, value in vars(base).items()
            if name.startswith("__") and name.endswith("__") and value is not None
        }
        if any("__eq__" in vars(base) for base in kind.__mro__[:-1]):
            special.add("__eq__")
        methods = {
            name
            for base in kind.__mro__[:-1]
            for name, value in vars(base).items()
            if not name.startswith("__") and isinstance(value, _FUNCTIONS)
        }
        plain = [
            name
            for name in special
            if codec.is_plain(next(base for base in kind.__mro__ if name in vars(base)))
        ]
        return {
            "name": kind.__name__,
            "module": str(kind.__module__),
            "doc": kind.__doc__ if isinstance(kind.__doc__, str) else None,
            "mro": errors.ancestry(kind),
            "bases": [self.hold(b) for b in kind.__mro__[1:-1] if b.__module__ == "__main__"],
            "special": sorted(special - _PASSIVE),
            "plain": plain,  # of those, what a list, dict, str or number does by itself
            "methods": sorted(methods),
            "notes": self.do_annotations(kind),
            "fields": list(getattr(kind, "__dataclass_fields__", ())),
        }

    # References.

    def hold(self, value: Any) -> int:
        """The number under which the other side may name `value`; it stays alive."""
        number = self.numbers.get(id(value))
        if number is None:
            number = len(self.objects) + 1
            self.objects[number] = value
            self.numbers[id(value)] = number
        return number

    def write(self, value: Any) -> bytes:
        return codec.encode(value, refer=self.refer)

    def refer(self, value: Any) -> Any:
        if getattr(type(value), "_home", None):
            return ["b", value.__dict__["_number"]]
        if type(value) is types.FunctionType and "_home" in value.__dict__:
            number, given = value.__dict__["_home"]
            if given() is value:  # not a wrapper, to which `functools.wraps` copied it
                return ["b", number]
        if isinstance(value, BaseException):
            return ["x", errors.describe(value, [], None)]
        if codec.is_plain_subclass(value) and not self.has_its_own(type(value)):
            return None
        if isinstance(value, type):
            return ["k", self.hold(value)]
        if isinstance(value, _FUNCTIONS) or type(value).__name__ in ("ufunc", "partial"):
            return ["f", self.hold(value), str(getattr(value, "__name__", type(value).__name__))]
        return ["o", self.hold(value), self.hold(type(value))]

    def has_its_own(self, kind: type) -> bool:
        """Whether a subclass of a plain type adds what a test may ask for."""
        if issubclass(kind, Enum):
            return True
        bases = (base for base in kind.__mro__ if base.__module__ == "__main__")
        fields = getattr(kind, "_fields", ())
        return any(
            not name.startswith("_") and name not in fields for base in bases for name in vars(base)
        )

    def resolve(self, part: Any) -> Any:
        kind, *rest = part
        if kind == "o":
            return self.objects[rest[0]]
        if kind == "p":
            place, *packed = rest  # by the trusted side, which reads none of ours
            if packed:
                self.lent[place] = pickle.loads(packed[0])
            return self.lent[place]
        if kind == "m":
            return import_module(rest[0])
        if kind == "b":
            return self.callback(*rest)
        raise codec.CodecError(f"an unknown reference {kind!r}")

    # What the test handed to the student's code.

    def callback(self, number: int, name: str, special: list[str] | None, says: str | None) -> Any:
        if special is None:

            def function(*arguments: Any, **keywords: Any) -> Any:
                return self.call_back(number, "__call__", arguments, keywords)

            function.__name__ = function.__qualname__ = name
            function.__doc__ = says
            function._home = number, weakref.ref(function)
            return function
        kind = self.kinds.get((name, *special)) or self.kinds.setdefault(
            (name, *special), self.stub(name, special)
        )
        value = kind.__new__(kind)
        value.__dict__["_number"] = number
        return value

    def stub(self, name: str, special: list[str]) -> type:
        def forward(method: str) -> Any:
            def call(this: Any, *arguments: Any, **keywords: Any) -> Any:
                number = this.__dict__["_number"]
                if method == "__iter__" and "__next__" in special:
                    return this
                return self.call_back(number, method, arguments, keywords)

            return call

        def get(this: Any, attribute: str) -> Any:
            if attribute.startswith("_"):
                raise AttributeError(attribute)
            return self.call_back(this.__dict__["_number"], "get", (attribute,), {})

        def put(this: Any, attribute: str, value: Any) -> None:
            self.call_back(this.__dict__["_number"], "set", (attribute, value), {})

        names = {"__getattr__": get, "__setattr__": put, "_home": True}
        return type(name, (), names | {method: forward(method) for method in special})

    def call_back(self, number: int, how: str, arguments: tuple, keywords: dict) -> Any:
        """Ask the trusted side to call what it handed over; serve its calls meanwhile."""
        self.calls.send(self.write([0, "callback", number, how, list(arguments), keywords]))
        while True:
            message = self.read(self.calls.receive())
            if message[0] != 0:
                self.answer(message)
                continue
            _, state, value = message
            if state == "ok":
                return value
            if state == "stop":
                raise StopIteration
            raise value

    def input(self, prompt: str = "") -> str:
        """A test may answer, which has replaced `input`."""
        if not self.in_call:
            raise StdinNotImplementedError("nobody is there to answer input() while it is graded")
        return self.call_back(0, "input", (str(prompt),), {})


def main(shell: Shell, control: Wire, calls: Wire) -> None:
    """Become the student's process; returns when the grader is gone."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seed_all(None)
    sys.path.insert(0, "")
    abroad.share_temporary_files()
    Child(shell, control, calls).serve()
