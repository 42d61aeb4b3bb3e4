"""Which names a cell binds and uses, read from its text: what decides where a cell can run."""

import ast
from collections.abc import Iterator
from functools import lru_cache

from IPython.core.inputtransformer2 import TransformerManager

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_manager = TransformerManager()


@lru_cache(maxsize=1024)
def parse(source: str) -> ast.Module | None:
    """The tree of a cell, its magics turned into calls; None if it is no Python."""
    try:
        return ast.parse(plain_python(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@lru_cache(maxsize=1024)
def plain_python(source: str) -> str:
    """A cell's text with magics and shell lines turned into calls of IPython."""
    if not any(mark in source for mark in "%!?"):
        return source
    try:
        return _manager.transform_cell(source)
    except (SyntaxError, RecursionError):
        return source


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


def used(source: str) -> set[str]:
    """Names that a cell reads anywhere, also inside its functions."""
    tree = parse(source)
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} if tree else set()


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
