"""The trusted process: runs the instructor's cells with clean libraries. The names that the
reference solution defines are looked up in the student's process whenever a test uses them; all
else is the instructor's own. Says of each cell what it showed, what it found, and whether a person
must decide.
"""

import ast
import asyncio
import builtins
import contextlib
import inspect
import io
import pickle
import select
import signal
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from autograde import checks
from autograde.protect import abroad, codec, proxies
from autograde.protect import names as cells
from autograde.protect.errors import Refused, Stopped
from autograde.protect.link import FILE, Link
from autograde.protect.shell import Recorder, Stream, brief_traceback, seed_all
from autograde.protect.wire import Closed, Wire


class Namespace(dict):
    """Globals of the test cells: the student's names are fetched, and fetched anew when a call may
    have changed them. A name that a test binds is the test's until a student's cell binds it again.
    """

    def __init__(self, link: Link, student: set[str], passed_on: set[str]) -> None:
        super().__init__(__name__="__main__", __builtins__=builtins)
        self.link, self.student, self.passed_on = link, student, passed_on
        self.fetched: dict[str, Any] = {}
        self.own: set[str] = set()
        self.testing = False
        self.writes: dict[str, list[int | str]] = {}
        self.imports: set[str] = set()
        self.answers: dict[str, Any] = {}  # what they mean here; a look-up past us must not find it
        self.imported: dict[str, bool] = {}

    def fetch(self, names: set[str]) -> None:
        wanted = sorted(names & self.student - self.own - self.fetched.keys())
        if wanted:
            found = codec.typed(self.link.ask("names", wanted), dict)
            self.fetched.update({n: v for n, v in found.items() if n in wanted})
            for name in wanted:
                self.link.expect_changes(self.fetched.get(name), self.writes.get(name, ()))

    def has_imported(self, name: str) -> bool:
        """Whether a name that a student was to import is there and means what it means here."""
        if name not in self.imported:
            homes = codec.typed(self.link.ask("imported", sorted(self.imports)), dict)
            for known in self.imports:
                home = codec.home_of(self.answers.get(known))
                self.imported[known] = home != "" and homes.get(known) == home
        return self.imported[name]

    def __getitem__(self, name: str) -> Any:
        if name in self.imports and name not in self.own:
            if not self.testing or self.has_imported(name):
                return self.answers[name]
            return codec.typed(self.link.ask("names", [name]), dict)[name]
        if name not in self.student or name in self.own:
            return dict.__getitem__(self, name)
        for changed in self.link.changed:
            self.fetched.pop(changed, None)
        self.link.changed.clear()
        if name not in self.fetched:
            self.fetch({name})
        return self.fetched[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self.imports and not self.testing:
            self.answers[name] = value
            return
        dict.__setitem__(self, name, value)
        if name in self.student or name in self.imports:
            self.own.add(name)
        if self.testing and name in self.passed_on:
            with contextlib.suppress(codec.CodecError, Refused):
                self.link.ask("assign", name, value)

    def __missing__(self, name: str) -> Any:
        if name in cells.HISTORY and self.testing:
            raise Refused(f"the test reads {name}: the notebook's history is in the other process")
        raise KeyError(name)

    def __delitem__(self, name: str) -> None:
        """A test deletes a name to see that the student's code uses it, and sets it again."""
        if name in self.own or name not in self.student | self.imports:
            self.own.discard(name)
            dict.__delitem__(self, name)
        elif name not in self:
            raise KeyError(name)
        if name in self.student | self.imports:
            self.fetched.pop(name, None)
            self.imported.clear()
            self.link.ask("unassign", name)

    def __contains__(self, name: object) -> bool:
        try:
            self[name]
        except KeyError:
            return False
        return True

    def keys(self) -> list[str]:
        """What `dir()` and `"x" in globals().keys()` see: the student's names as well."""
        wanted = (self.student | self.imports) - self.own
        there = self.link.ask("defined", sorted(wanted))
        return [*dict.keys(self), *(name for name in there if name in wanted)]

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def bound(self, names: list[str]) -> None:
        """A student's cell has run: what it binds is the student's again."""
        self.fetched.clear()
        self.imported.clear()
        for name in self.student.intersection(names):
            self.own.discard(name)
            dict.pop(self, name, None)


class _Main(types.ModuleType):
    """`__main__` for what looks names up there: `unittest.mock.patch("__main__.helper")`."""

    def __getattr__(self, name: str) -> Any:
        namespace = self.__dict__["_namespace"]
        if name.startswith("__") or name not in namespace:
            raise AttributeError(f"module '__main__' has no attribute {name!r}")
        return namespace[name]

    def __setattr__(self, name: str, value: Any) -> None:
        namespace = self.__dict__["_namespace"]
        testing, namespace.testing = namespace.testing, True
        namespace[name] = value
        namespace.testing = testing

    def __delattr__(self, name: str) -> None:
        dict.pop(self.__dict__["_namespace"], name, None)


class _NoIPython:
    """Magics in an instructor's cell have no effect here. A test that stands on one would pass for
    want of it, so it is not judged.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def __getattr__(self, name: str) -> Any:
        def ignore(*arguments: Any, **keywords: Any) -> None:
            idle = name == "run_line_magic" and arguments[:1] and arguments[0] in cells.IDLE_MAGICS
            if self._namespace.testing and not idle:
                what = f"%{arguments[0]}" if "magic" in name and arguments else name
                raise Refused(f"the test asks IPython for {what}, which a real kernel would do")

        return ignore


class Trusted:
    """Serves the supervisor: cells in, outcomes out."""

    def __init__(self, control: Wire, calls: Wire) -> None:
        self.control = control
        self.link = Link(calls)
        self.namespace = Namespace(self.link, set(), set())
        self.namespace["get_ipython"] = lambda: _NoIPython(self.namespace)
        with contextlib.suppress(ImportError):
            from IPython.display import display

            dict.__setitem__(self.namespace, "display", display)
        main = _Main("__main__")
        main.__dict__["_namespace"] = self.namespace
        sys.modules["__main__"] = main
        self.used: set[str] = set()

    def serve(self) -> None:
        """Answer until the supervisor is gone."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        with contextlib.suppress(Closed):
            while True:
                poll.poll()
                order = msgspec.json.decode(self.control.receive())
                if order["op"] == "names":
                    self.namespace.student.update(order["student"])
                    self.namespace.passed_on.update(order["passed_on"])
                    self.namespace.writes.update(order["writes"])
                    self.namespace.imports.update(order["imports"])
                    sys.path.append(order["helpers"])
                    continue
                self.namespace.bound(order["bound"])
                self.namespace.testing = False  # the other side is seeded by its own order
                if order["seed"] is not None:
                    seed_all(order["seed"])
                outcome = self.run(
                    order["source"], order["seconds"], test=order["op"] == "test",
                    write_back=order["write_back"], call_seconds=order["call_seconds"],
                )  # fmt: skip
                self.control.send(msgspec.json.encode(outcome))

    def seeded(self, library: str, value: Any) -> None:
        """A test has seeded a global generator: the student's code draws from its own."""
        if self.namespace.testing:
            self.link.ask("seed", library, value)

    def run(
        self,
        source: str,
        seconds: float,
        *,
        test: bool,
        write_back: bool = False,
        call_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Run one cell within `seconds` and say what came of it."""
        link, recorder = self.link, Recorder()
        checks.verdicts.clear()
        checks.collecting = True
        link.hung, link.write_back, link.call_seconds = False, write_back, call_seconds
        link.deadline = time.monotonic() + seconds
        self.namespace.testing = test
        outcome: dict[str, Any] = {"refused": "", "overdue": False, "failed": False}
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = Stream(recorder, "stdout", 1), Stream(recorder, "stderr", 2)
        signal.signal(signal.SIGALRM, _ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            try:
                self._execute(source, recorder)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Refused as refusal:
            outcome["refused"] = str(refusal)
        except Stopped:
            outcome["overdue"] = True
        except BaseException as error:
            outcome["failed"] = True
            lines = brief_traceback(error)
            lines += getattr(error, "__dict__", {}).get("_student_traceback", [])
            recorder.error(error, lines)
        finally:
            sys.stdout, sys.stderr = before
            link.deadline = None
        outcome["hung"] = link.hung
        outcome["lost"] = bool(link.lost)
        outcome["checks"] = [[v.name, v.points, v.passed, v.message] for v in checks.verdicts]
        outcome["outputs"] = recorder.take()
        return outcome

    def _execute(self, source: str, recorder: Recorder) -> None:
        tree = _Types().visit(ast.parse(source, FILE))
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not _is_silenced(source):
            last = ast.Expression(tree.body.pop().value)
        self.used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        if last is not None:
            self.used |= {node.id for node in ast.walk(last) if isinstance(node, ast.Name)}
        self.link.compared = cells.asserted_unchanged(source, self.namespace.student)
        self.link.meant = cells.meant_errors(source, self.namespace.student)
        with contextlib.suppress(ValueError):  # together they may be too big for one message
            self.namespace.fetch(self.used)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._evaluate(compile(tree, FILE, "exec", flags=flags))
        if last is not None:
            value = self._evaluate(compile(last, FILE, "eval", flags=flags))
            if value is not None:
                recorder.display("execute_result", {"text/plain": repr(value)[:10_000]})

    def _evaluate(self, code: types.CodeType) -> Any:
        value = eval(code, self.namespace)
        if inspect.CO_COROUTINE & code.co_flags:
            return asyncio.run(value)
        return value


class _Types(ast.NodeTransformer):
    """Reads `type(x) is C` as `type(x) == C`, which a stand-in can answer."""

    def visit_Compare(self, node: ast.Compare) -> ast.Compare:
        self.generic_visit(node)
        asked = node.left.func if isinstance(node.left, ast.Call) else None
        if isinstance(asked, ast.Name) and asked.id == "type":
            equal = {ast.Is: ast.Eq, ast.IsNot: ast.NotEq}
            node.ops[0] = equal.get(type(node.ops[0]), type(node.ops[0]))()
        return node


def _is_silenced(source: str) -> bool:
    return source.rstrip().endswith(";")


def _ring(number: int, frame: Any) -> None:
    raise Stopped("the cell's time is over")


def _know_sources() -> None:
    """Let `inspect` read the sources of the student's functions and classes, and say which of them
    are coroutines or generators.
    """
    for name in ("iscoroutinefunction", "isgeneratorfunction", "isasyncgenfunction"):
        setattr(inspect, name, _asking(name, getattr(inspect, name)))
    original, lines = inspect.getsource, inspect.getsourcelines

    def getsource(value: Any) -> str:
        if proxies.is_proxy(value) and not isinstance(type(value), proxies.StandIn):
            return proxies.source_of(value)
        return original(value)

    def getsourcelines(value: Any) -> tuple[list[str], int]:
        if proxies.is_proxy(value) and not isinstance(type(value), proxies.StandIn):
            return proxies.source_of(value).splitlines(keepends=True), 1
        return lines(value)

    inspect.getsource, inspect.getsourcelines = getsource, getsourcelines


def _asking(name: str, original: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def ask(value: Any) -> bool:
        if type(value) in (proxies.Function, proxies.Method):
            return proxies.nature_of(value, name)
        return original(value)

    return ask


def _forbid_pickles() -> None:
    """A pickle that the student's code wrote would run the student's code here."""

    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise Refused("the test unpickles a file or bytes, which could run the student's code")

    pickle.load = pickle.loads = pickle.Unpickler = refuse
    pickle._Unpickler.load = refuse


def main(control: Wire, calls: Wire) -> None:
    """Become the trusted process; returns when the supervisor is gone."""
    seed_all(None)
    # The working folder is the student's to write: no module is ever imported from there.
    sys.path[:] = [folder for folder in sys.path if folder not in ("", str(Path.cwd()))]
    sys.stdin = io.StringIO()
    _know_sources()
    _forbid_pickles()
    abroad.share_temporary_files()
    trusted = Trusted(control, calls)
    abroad.share_seeds(trusted.seeded)
    trusted.serve()
