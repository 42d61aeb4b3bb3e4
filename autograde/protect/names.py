"""Which names a cell binds and uses, read from its text: what decides where a cell can run."""

import ast
import builtins
import re
import symtable
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_CHANGING = {"shuffle", "heapify", "heappush", "heappop", "insort", "fill_diagonal", "copyto"}
_METHODS = {
    "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "update", "add",
    "discard", "setdefault", "fill", "popitem", "resize",
}  # fmt: skip

# Magics whose cell or line is Python of the same namespace, and what they put before it.
_TRANSPARENT = re.compile(r"\A(\s*)%%(?:time|capture|prun)\b[^\n]*")
_TIMED_LINE = re.compile(r"^([ \t]*)%time[ \t]+(?=\S)", re.MULTILINE)
_CAPTURED = re.compile(r"\A\s*%%capture[ \t]+(?:--\S+[ \t]+)*([^\W\d]\w*)")
# Line magics without which a test means the same.
IDLE_MAGICS = frozenset(
    {"matplotlib", "config", "load_ext", "reload_ext", "autoreload", "precision", "timeit", "pylab"}
)

# What IPython keeps of a notebook's earlier cells.
HISTORY = frozenset({"In", "Out", "_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh"})


@cache
def _manager() -> Any:
    """IPython's, imported when the first magic is met: it takes half a second."""
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager()


@lru_cache(maxsize=1024)
def parse(source: str) -> ast.Module | None:
    """The tree of a cell, its magics turned into calls; None if it is no Python."""
    try:
        return ast.parse(plain_python(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@lru_cache(maxsize=1024)
def plain_python(source: str) -> str:
    """A cell's text with magics and shell lines turned into calls of IPython; those that only time
    or capture what a cell does are left out, with its lines where they were.
    """
    if not any(mark in source for mark in "%!?"):
        return source
    source = without_cell_magic(source)
    try:
        return _manager().transform_cell(source)
    except (SyntaxError, RecursionError):
        return source


def without_cell_magic(source: str) -> str:
    """A cell's text without magics that only time or capture what it does."""
    return _TIMED_LINE.sub(r"\1", _TRANSPARENT.sub(r"\1", source))


def _here(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes of the cell's own scope."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, _COMPREHENSIONS):
            yield from (n for n in ast.walk(node) if isinstance(n, ast.NamedExpr))
        elif not isinstance(node, _SCOPES):
            yield from _here(node)


def bound(source: str, *, imports: bool = False) -> set[str]:
    """Names that a cell binds at its top level; imported names only if asked for."""
    found: set[str] = set()
    if captured := _CAPTURED.match(source):
        found.add(captured[1])
    tree = parse(source)
    for node in _here(tree) if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.NamedExpr) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            found.add(node.name)
        elif imports and isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Global):
            found.update(node.names)
    return found


def changed_in_place(source: str) -> set[str]:
    """Names whose value a cell changes at its top level without binding them anew: `d["k"] = 1`,
    `frame.loc[3] = row`, `items.append(1)`, `random.shuffle(items)`. A function called for nothing
    but its effect is among them: it stands for the state that it changes.
    """
    found: set[str] = set()
    tree = parse(source)
    for node in _here(tree) if tree else ():
        if isinstance(node, ast.Subscript | ast.Attribute):
            if isinstance(node.ctx, ast.Store | ast.Del):
                found.add(_root(node))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            found.add(_root(call.func))
            name = call.func.attr if isinstance(call.func, ast.Attribute) else _root(call.func)
            if name in _CHANGING:
                found |= {argument.id for argument in call.args if isinstance(argument, ast.Name)}
    return found - {""}


def changed_parameters(source: str) -> dict[str, tuple[int | str, ...]]:
    """Functions at a cell's top level that change arguments in place, with the places and names of
    the parameters that they assign into or call a changing method of.
    """
    tree = parse(source)
    found = {}
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            changed = _changes(node) & {*names, *(a.arg for a in node.args.kwonlyargs)}
            if changed:
                places = [place for place, name in enumerate(names) if name in changed]
                found[node.name] = (*places, *sorted(changed))
    return found


def _changes(function: ast.FunctionDef) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(function):
        target = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            target = node.value
        elif isinstance(node, ast.AugAssign):
            target = node.target
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            inplace = any(keyword.arg == "inplace" for keyword in node.keywords)
            target = node.func.value if node.func.attr in _METHODS or inplace else None
        if isinstance(target, ast.Attribute) and target.attr in ("loc", "iloc", "at", "iat"):
            target = target.value
        if isinstance(target, ast.Name):
            found.add(target.id)
    return found


def changes_arguments(function: ast.FunctionDef) -> bool:
    """Whether a function or method changes one of its arguments in place."""
    arguments = function.args
    names = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    return bool(_changes(function) & names - {"self", "cls"})


def asserted_unchanged(source: str, student: set[str]) -> frozenset[str]:
    """Variables that a test hands to the student's code and afterwards asserts to be what they
    were: equal to a copy taken of them, or to what they were made from.
    """
    tree = parse(source)
    given: dict[str, int] = {}
    values: dict[str, list[ast.expr]] = {}
    found: set[str] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Assign):
            for target, value in _assigned(node.targets[0], node.value):
                values.setdefault(target, []).append(value)
        elif isinstance(node, ast.Call) and _root(node.func) in student:
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                if isinstance(argument, ast.Name):
                    given[argument.id] = min(node.lineno, given.get(argument.id, node.lineno))
    for node in ast.walk(tree) if tree else ():
        for left, right in _equals(node):
            for name, other in ((left, right), (right, left)):
                if isinstance(name, ast.Name) and given.get(name.id, node.lineno) < node.lineno:
                    told = values.get(other.id, []) if isinstance(other, ast.Name) else [other]
                    if any(_is_copy(v, values.get(name.id, []), name.id, student) for v in told):
                        found.add(name.id)
    return frozenset(found)


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for inner, part in zip(target.elts, value.elts):
            yield from _assigned(inner, part)


def _equals(node: ast.AST) -> list[tuple[ast.expr, ast.expr]]:
    """What an expression says to be equal."""
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
        return [(node.left, node.comparators[0])]
    if isinstance(node, ast.Call) and "equal" in ast.unparse(node.func).lower():
        owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        sides = node.args[:2] if len(node.args) > 1 else [*owner, *node.args]
        return [(sides[0], sides[1])] if len(sides) == 2 else []
    return []


def _is_copy(value: ast.expr, made: list[ast.expr], name: str, student: set[str]) -> bool:
    """Whether an expression is what a variable was when it was made: of it, or written alike."""
    used = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    if name in used:
        return not used & student
    return any(ast.dump(value) == ast.dump(first) for first in made)


def meant_errors(source: str, student: set[str]) -> frozenset[int]:
    """Lines of a test at which an error is the test's own doing: it is raised there, or comes of
    what has nothing to do with the student's code.
    """
    tree = parse(source)
    bound_here = bound(source)
    found: set[int] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Raise):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        elif isinstance(node, ast.Expr | ast.Assign):
            names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
            if not names & (student | bound_here):
                found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return frozenset(found)


def _root(node: ast.AST) -> str:
    """The name at the left end of `a.b[c].d`; empty if it is no name."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def draws_at_random(source: str) -> bool:
    """Whether a cell names a source of random numbers."""
    return bool(_words(source) & {"random", "shuffle", "choice", "randint", "rand", "randn"})


def seeds(source: str) -> bool:
    """Whether a cell fixes the random numbers: a seed, or a generator made with one."""
    return bool(_words(source) & {"seed", "random_state", "set_seed", "manual_seed", "default_rng"})


def _words(source: str) -> set[str]:
    tree = parse(source)
    found: set[str] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
    return found


def used(source: str) -> set[str]:
    """Names that a cell reads anywhere, also inside its functions."""
    tree = parse(source)
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} if tree else set()


def imports_all(source: str) -> bool:
    """Whether a cell has a star import, which may bring any name."""
    tree = parse(source)
    return any(isinstance(n, ast.alias) and n.name == "*" for n in (ast.walk(tree) if tree else ()))


def unbound(source: str) -> set[str]:
    """Names that a cell needs from cells before it: neither its own nor Python's."""
    if parse(source) is None:
        return set()
    table = symtable.symtable(plain_python(source), "cell", "exec")
    own = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    scopes, found = [table], set()
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        for symbol in scope.get_symbols():
            if symbol.is_referenced() and (scope is table or symbol.is_global()):
                found.add(symbol.get_name())
    return found - own - set(dir(builtins)) - {"get_ipython", "display"} - HISTORY


def used_in_functions(source: str) -> set[str]:
    """Names that the functions of a cell read: globals of theirs among them."""
    tree = parse(source)
    return {
        inner.id
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, _SCOPES)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)
    }


def import_lines(source: str) -> str:
    """The import statements at the top level of a cell, as text."""
    tree = parse(source)
    lines = [ast.unparse(n) for n in (tree.body if tree else ()) if _is_import(n)]
    return "\n".join(lines)


def imported_modules(source: str) -> list[str]:
    """The modules that a cell imports, by full name, in order."""
    tree = parse(source)
    found: list[str] = []
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
    return list(dict.fromkeys(found))


def _is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom | ast.Import)
