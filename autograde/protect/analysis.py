"""Reads an instructor's tests before any submission runs: what cannot run outside the student's
process, what a submission could fool, what will be slow. Each finding names the line and says how
to write it instead.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nbformat.notebooknode import NotebookNode

from autograde.protect import names as cells
from autograde.protect.plan import is_solution, is_test, options_of
from autograde.provisioner import needs

_MANY_CALLS = 20_000
_VERDICTS = {"equals", "is_correct", "is_valid", "check", "verify", "passed", "test", "validate"}
_SCORES = {"score", "evaluate", "accuracy"}
_HIDDEN_LABELS = re.compile(
    r"(y|labels?|targets?)_(test|true|hidden|eval|holdout)|(expected|answers?|truth|gold)(_\w+)?"
)
_RANGES = ("range", "np.arange", "numpy.arange")
_ORDERS = ast.Gt | ast.GtE | ast.Lt | ast.LtE
_ASK_FOR_KERNEL = (
    "A real kernel runs it, with all tests of the notebook unprotected, if the notebook has in its "
    'metadata "autograde": {"real_kernel": true}.'
)
_PATCHES = re.compile(
    r"((unittest\.)?mock\.)?patch(\.(object|dict))?|monkeypatch\.set(attr|env|item)"
)
_CROSSES = {"builtins.input", "sys.stdin"}
_DATA = re.compile(
    r"list|dict|set|frozenset|tuple|str|bytes|int|float"
    r"|(\w+\.)?(deque|Counter|OrderedDict|defaultdict|DataFrame|Series|ndarray)"
)
_CURRENT_FIGURE = {"gcf", "gca", "get_fignums"}
_UNPICKLES = {
    ("pickle", "load"), ("pickle", "loads"), ("joblib", "load"), ("pd", "read_pickle"),
    ("torch", "load"), ("dill", "load"), ("cloudpickle", "load"),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One weakness of one test. `kind` is "refused" if the test cannot run protected, "weak" if a
    submission could gain from it, "slow" or "changed" if it runs but not as it did in one process,
    "unprotected" if it runs in the student's.
    """

    cell: str
    line: int
    kind: str
    what: str
    rewrite: str

    def __str__(self) -> str:
        return f"{self.cell}, line {self.line}: {self.what}. {self.rewrite}"


def lint(notebook: NotebookNode) -> list[Finding]:
    """Findings in the test cells of a source notebook, in order; and for one that runs in a real
    kernel, or should, that.
    """
    if needs.wants_kernel(notebook):
        return [_of_kernel(notebook)]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    solutions = [cell.source for cell in code if is_solution(cell)]
    facts = _Facts(solutions)
    findings = [
        Finding(name, line, "changed", what, _ASK_FOR_KERNEL)
        for name, line, what in needs.reasons(notebook)
    ]
    findings += _passed_on(code)
    for cell in code:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if is_test(cell) and not options_of(cell).unprotected:
            tree = cells.parse(cell.source)
            if tree is None:
                findings.append(Finding(name, 1, "refused", "it is no Python", "Correct it."))
                continue
            found = _Reader(name, facts, options_of(cell).write_back).read(tree)
            findings += sorted(found, key=lambda finding: finding.line)
    return findings


def _of_kernel(notebook: NotebookNode) -> Finding:
    tests = sum(map(is_test, notebook.cells))
    return Finding(
        "this notebook", 1, "unprotected",
        f"it runs in the kernel {needs.kernel_of(notebook)!r}; its tests ({tests}) run beside the "
        "student's code, which can read and fool them",
        "They are marked as unprotected in the report.",
    )  # fmt: skip


def _passed_on(code: list[NotebookNode]) -> Iterator[Finding]:
    """Names that a test binds and a later cell needs, which runs in the other process."""
    tests: dict[str, str] = {}
    seen: set[str] = set()
    for cell in code:
        if is_test(cell) and not options_of(cell).unprotected:
            name = cell.metadata.nbgrader.get("grade_id", "")
            tests |= dict.fromkeys(cells.bound(cell.source), name)
            continue
        for needed in sorted(cells.unbound(cell.source) & tests.keys() - seen):
            seen.add(needed)
            yield Finding(
                tests[needed], 1, "changed", f"it binds {needed}, which a later cell uses",
                "Bind it in a cell of its own: students' cells see nothing that a test binds.",
            )  # fmt: skip
        seen |= cells.bound(cell.source, imports=True)


class _Facts:
    """What the reference solutions define: names, classes, generators, parameters they change."""

    def __init__(self, solutions: list[str]) -> None:
        self.names: set[str] = set()
        self.classes: dict[str, set[str]] = {}
        self.bases: set[str] = set()
        self.changes: set[str] = set()
        self.globals: set[str] = set()
        for source in solutions:
            self.names |= cells.bound(source)
            self.globals |= cells.used_in_functions(source)
            for node in ast.walk(cells.parse(source) or ast.Module([], [])):
                if isinstance(node, ast.ClassDef):
                    bases = map(ast.unparse, node.bases)
                    self.bases |= {base for base in bases if _DATA.fullmatch(base)}
                    functions = [n for n in node.body if isinstance(n, ast.FunctionDef)]
                    self.classes[node.name] = {function.name for function in functions}
                    self.changes |= {f.name for f in functions if cells.changes_arguments(f)}


class _Reader:
    def __init__(self, cell: str, facts: _Facts, write_back: bool) -> None:
        self.cell, self.facts, self.write_back = cell, facts, write_back

    def read(self, tree: ast.Module) -> Iterator[Finding]:
        self.assigned = _assigned(tree)
        self.own = set(filter(None, map(_bound_by, ast.walk(tree)))) | self.facts.names
        for node in ast.walk(tree):
            check = getattr(self, f"on_{type(node).__name__.lower()}", None)
            if check is not None:
                yield from check(node)
        yield from self.loops(tree, 1)

    def found(self, node: ast.AST, kind: str, what: str, rewrite: str) -> Finding:
        return Finding(self.cell, getattr(node, "lineno", 1), kind, what, rewrite)

    def is_students(self, node: ast.AST) -> bool:
        return any(isinstance(n, ast.Name) and n.id in self.facts.names for n in ast.walk(node))

    def on_assert(self, node: ast.Assert) -> Iterator[Finding]:
        yield from self.judged(node, node.test, holds=True)

    def on_if(self, node: ast.If) -> Iterator[Finding]:
        """`if wrong: raise` asserts that it is not wrong."""
        if isinstance(node.body[-1], ast.Raise) and not node.orelse:
            yield from self.judged(node, node.test, holds=False)

    def judged(self, node: ast.AST, test: ast.AST, *, holds: bool) -> Iterator[Finding]:
        """What decides a test that passes when the expression is true, or is not (`holds`)."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            yield from self.judged(node, test.operand, holds=not holds)
        elif isinstance(test, ast.BoolOp):
            for part in test.values:
                yield from self.judged(node, part, holds=holds)
        elif isinstance(test, ast.Name) and isinstance(
            given := self.assigned.get(test.id), ast.Call | ast.Compare
        ):
            yield from self.judged(node, given, holds=holds)
        elif isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute):
            yield from self.verdict(node, test.func, _VERDICTS | _SCORES)
        elif isinstance(test, ast.Compare):
            if not holds and isinstance(test.ops[0], _ORDERS):
                yield self.found(
                    node, "weak", "`not a > b` is true of nan as well",
                    f"Write `assert {_turned(test)}`.",
                )  # fmt: skip
            yield from self.compared(node, test)

    def verdict(self, node: ast.AST, called: ast.Attribute, judges: set[str]) -> Iterator[Finding]:
        """A method of a student's object that says whether the student is right."""
        own = judges is not _SCORES and any(
            called.attr in methods for methods in self.facts.classes.values()
        )
        owner = called.value
        made = self.assigned.get(owner.id) if isinstance(owner, ast.Name) else None
        if isinstance(made, ast.Call) and isinstance(made.func, ast.Name):
            owner = made.func if made.func.id in self.facts.classes else owner
        if (own or called.attr in judges) and self.is_students(owner):
            yield self.found(
                node, "weak", f"the student's own method {called.attr!r} is the judge",
                "Compute the score here, from predictions."
                if called.attr in _SCORES
                else "Compare values that it returns, or attributes, with the expected ones.",
            )  # fmt: skip

    def compared(self, node: ast.AST, test: ast.Compare) -> Iterator[Finding]:
        for side in (test.left, *test.comparators):
            said = self.assigned.get(side.id, side) if isinstance(side, ast.Name) else side
            if isinstance(said, ast.Call) and isinstance(said.func, ast.Attribute):
                yield from self.verdict(node, said.func, _SCORES)
        made = [
            side.func.id
            for side in (test.left, *test.comparators)
            if isinstance(side, ast.Call) and isinstance(side.func, ast.Name)
        ]
        if any("__eq__" in self.facts.classes.get(name, ()) for name in made):
            yield self.found(
                node, "weak", "the student's own __eq__ is the judge",
                "Compare attributes, and assert that unequal objects are unequal as well.",
            )  # fmt: skip

    def on_classdef(self, node: ast.ClassDef) -> Iterator[Finding]:
        if any(isinstance(b, ast.Name) and b.id in self.facts.names for b in node.bases):
            yield self.found(
                node, "refused", "it subclasses a student's class",
                "Have the students write the subclass too, or test the class by its methods.",
            )  # fmt: skip

    def on_name(self, node: ast.Name) -> Iterator[Finding]:
        if node.id in cells.HISTORY - self.own:
            yield self.found(
                node, "refused", f"{node.id} is the notebook's history, of the student's process",
                "Have the students put what is tested into a name or a function.",
            )  # fmt: skip

    def on_attribute(self, node: ast.Attribute) -> Iterator[Finding]:
        if node.attr in ("__code__", "__globals__", "__closure__") and self.is_students(node.value):
            yield self.found(
                node, "refused", f"it reads {node.attr} of a student's function",
                "Use inspect.signature or inspect.getsource.",
            )  # fmt: skip
        if isinstance(node.ctx, ast.Store) and self.is_students(node.value):
            yield self.found(
                node, "changed", "it sets an attribute of a student's object",
                "That works; a module that it replaces something in stays the student's own.",
            )  # fmt: skip

    def on_call(self, node: ast.Call) -> Iterator[Finding]:
        callee = node.func
        if isinstance(callee, ast.Attribute) and _is_ipython(callee.value):
            asked = [a.value for a in node.args if isinstance(a, ast.Constant)]
            if not (callee.attr == "run_line_magic" and {*asked[:1]} <= cells.IDLE_MAGICS):
                what = f"%{asked[0]}" if "magic" in callee.attr and asked else callee.attr
                yield self.found(
                    node, "refused", f"it asks IPython for {what}",
                    f"Write it in Python. {_ASK_FOR_KERNEL}",
                )  # fmt: skip
        if isinstance(callee, ast.Attribute) and isinstance(callee.value, ast.Name):
            if (callee.value.id, callee.attr) in _UNPICKLES:
                yield self.found(
                    node, "refused", "it unpickles, which can run the student's code",
                    "Have the students' code load the file and compare what it returns.",
                )  # fmt: skip
            if callee.attr in _CURRENT_FIGURE and callee.value.id in ("plt", "pyplot"):
                yield self.found(
                    node, "refused", f"plt.{callee.attr} knows no figure of the student's process",
                    "Have the students' function return the Axes, and ask that.",
                )  # fmt: skip
        yield from self.crossing(node, ast.unparse(callee))
        if not self.is_students(callee):
            return
        for given in [*node.args, *(keyword.value for keyword in node.keywords)]:
            if isinstance(given, ast.Name) and _HIDDEN_LABELS.fullmatch(given.id):
                yield self.found(
                    given, "weak", f"the student's code is handed {given.id!r}",
                    "Ask for predictions and score them in the test.",
                )  # fmt: skip

    def crossing(self, node: ast.Call, called: str) -> Iterator[Finding]:
        """What the student's process does not see of a test, and a test of what is there."""
        if node.args and _PATCHES.fullmatch(called) and not self.is_students(node.args[0]):
            first = node.args[0]
            target = str(first.value) if isinstance(first, ast.Constant) else ast.unparse(first)
            if target not in _CROSSES and not target.startswith("__main__."):
                yield self.found(
                    node, "changed", f"the student's code does not see what it puts into {target}",
                    "Have the students' function take it as an argument.",
                )  # fmt: skip
        if called == "isinstance" and len(node.args) == 2:
            kinds = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else node.args[1:]
            for kind in sorted(self.facts.bases & set(map(ast.unparse, kinds))):
                yield self.found(
                    node, "changed", f"a student's class derived from {kind} is no {kind} here",
                    "Assert what its objects do: their length, items and methods.",
                )  # fmt: skip

    def on_expr(self, node: ast.Expr) -> Iterator[Finding]:
        call = node.value
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in self.facts.changes
            and self.is_students(call.func.value)
            and not self.write_back
        ):
            yield self.found(
                node, "changed", f"{call.func.attr} changes its argument, of which it gets a copy",
                'Set the cell\'s metadata "autograde": {"write_back": true}.',
            )  # fmt: skip

    def on_assign(self, node: ast.Assign) -> Iterator[Finding]:
        for target in node.targets:
            if (
                isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id == "sys"
                and target.attr == "stdin"
            ):
                yield self.found(
                    node, "changed", "sys.stdin is replaced for `input`, not for its own readers",
                    'Patch input: `with patch("builtins.input", return_value="3"):`.',
                )  # fmt: skip

    def loops(self, node: ast.AST, times: int) -> Iterator[Finding]:
        """Loops over a known range around a student's call, and loops that only it can end."""
        for child in ast.iter_child_nodes(node):
            count = times
            if isinstance(child, ast.While | ast.For) and self.is_endless(child):
                yield self.found(
                    child, "slow", "nothing but the student's code ends this loop",
                    "Loop over a range, and fail after it.",
                )  # fmt: skip
            if isinstance(child, ast.For):
                count *= self.length(child.iter)
            if isinstance(child, ast.comprehension):
                continue
            if isinstance(child, ast.ListComp | ast.GeneratorExp | ast.SetComp):
                for part in child.generators:
                    count *= self.length(part.iter)
            if isinstance(child, ast.Call) and self.is_students(child.func) and count > _MANY_CALLS:
                yield self.found(
                    child, "slow", f"about {count:,} calls of the student's code, each some 0.1 ms",
                    "Pass an array or a list at once, or sample fewer cases.",
                )  # fmt: skip
                continue
            yield from self.loops(child, count)

    def length(self, node: ast.AST) -> int:
        """Of a range whose ends the cell says; 1 where it does not."""
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in _RANGES:
            return 1
        ends = [self.assigned.get(a.id) if isinstance(a, ast.Name) else a for a in node.args]
        try:
            return max(1, len(range(*(ast.literal_eval(end) for end in ends))))
        except (ValueError, TypeError, OverflowError):
            return 1

    def is_endless(self, loop: ast.While | ast.For) -> bool:
        """It has no end of its own, and calls the student's code."""
        if isinstance(loop, ast.While):
            endless = isinstance(loop.test, ast.Constant) and bool(loop.test.value)
        else:
            endless = isinstance(loop.iter, ast.Call) and (
                ast.unparse(loop.iter.func) in ("itertools.count", "count", "itertools.cycle")
            )
        calls = (n for n in ast.walk(loop) if isinstance(n, ast.Call))
        counted = any(isinstance(n, ast.AugAssign) for n in ast.walk(loop))
        return endless and not counted and any(self.is_students(call.func) for call in calls)


def _assigned(tree: ast.Module) -> dict[str, ast.AST]:
    """Names that the cell assigns once, and what."""
    found: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.setdefault(node.id, [])
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _bound_by(node: ast.AST) -> str:
    """The name that a parameter or an assignment binds; empty for what binds none."""
    if isinstance(node, ast.arg):
        return node.arg
    return node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""


def _is_ipython(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "get_ipython"
    )


def _turned(compared: ast.Compare) -> str:
    turned = {ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Lt: ast.GtE, ast.LtE: ast.Gt}
    kind = turned[type(compared.ops[0])]
    return ast.unparse(ast.Compare(compared.left, [kind()], compared.comparators))
