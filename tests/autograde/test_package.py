"""The grader as a package of its own, which any nbgrader course can install: what it declares is
what it imports, and nothing of the workbook."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from submissions import REPOSITORY

PACKAGE = REPOSITORY / "autograde"
ROOT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
ALONE = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))
DISTRIBUTIONS = packages_distributions()
OF_THE_COURSE = {"pandas", "scikit-learn"}  # met where the course's own tests have imported them


def test_what_it_imports_comes_with_what_it_declares():
    declared = brought_by(ALONE["project"]["dependencies"])
    with_extra = declared | brought_by(ALONE["project"]["optional-dependencies"]["cluster"])
    for path in modules():
        for module, late in imports(path):
            if module == "autograde" or module in sys.stdlib_module_names:
                continue
            (name, *_) = DISTRIBUTIONS[module]
            allowed = with_extra if path.name == "cluster.py" else declared
            allowed = allowed | OF_THE_COURSE if late else allowed
            assert canonicalize_name(name) in allowed, f"{path.name} imports {module}"


def test_no_module_imports_the_workbook():
    for path in modules():
        assert {"mlsys", "dashboards"}.isdisjoint(module for module, _ in imports(path)), path


@pytest.mark.parametrize("extra", [None, "cluster"])
def test_its_floors_are_the_workbooks(extra):
    alone, root = (
        about["project"]["dependencies" if extra is None else "optional-dependencies"]
        for about in (ALONE, ROOT)
    )
    if extra is not None:
        alone, root = alone[extra], root[extra]
    assert set(alone) <= set(root)
    for key in ("version", "requires-python"):
        assert ALONE["project"][key] == ROOT["project"][key]


def test_it_holds_all_its_files_and_no_solution():
    build = ALONE["tool"]["hatch"]["build"]
    assert build["include"] == ["*.py", "/feedback/templates"]
    assert build["exclude"] == ["/course"]
    others = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    left = {name for name in others if not name.startswith(("feedback/templates/", "course/"))}
    assert left == {"README.md", "pyproject.toml"}


def test_the_workbooks_package_has_it_too_and_tools_take_the_workbooks_settings():
    assert "autograde" in ROOT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(ALONE["tool"]) == {"hatch"}


def modules() -> list[Path]:
    course = PACKAGE / "course"
    found = [path for path in PACKAGE.rglob("*.py") if course not in path.parents]
    assert found
    return found


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The modules that a file imports, without what they are part of; and whether only once a
    function runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    late = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module
            names = [node.module]
        for name in names:
            yield name.partition(".")[0], id(node) in late


def brought_by(declared: list[str]) -> set[str]:
    """The distributions that are installed with these, themselves among them."""
    found: set[str] = set()
    todo = [Requirement(line) for line in declared]
    for requirement in todo:
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        try:
            todo += [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue  # for another platform
    return found
