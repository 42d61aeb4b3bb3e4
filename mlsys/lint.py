"""The contract of a lesson, checked without running it: one line for each finding.

What a lesson *does* is for `mlsys.notebooks` to find out; this module reads its cells. Each rule
below is a function from a lesson to its findings, so that a rule is read, tested and argued about
alone.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import typer

from mlsys.lesson_text import KEPT_CELL_METADATA, KERNEL, SLUG, looks_random
from mlsys.place import PlaceError, all_lessons, find_lessons, find_root, stop

LONGEST_LINE = 79
LONGEST_CELL = 25
FIGURES = 2
SELF_CHECKS = 3
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "{")
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\ufe0f]")
PROSE_CODE = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$", re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^\s()<>]+)")
AFTER = re.compile(r"\bAfter:(.*?)(?:\.\s|\.?\*|\.?$)", re.MULTILINE)
CONTROLS = re.compile(
    r"\b(interact|interactive|interactive_output|observe|\w*Slider|Dropdown|ToggleButtons?"
    r"|RadioButtons|Select\w*|Checkbox|\w*Text)\("
)
FIGURE_CALL = re.compile(
    r"\b(px\.\w+|go\.Figure|go\.FigureWidget|make_subplots|\w*figures?\.\w+"
    r"|ff\.create_\w+|draw\w*|plot\w*|\w*_figure|figure_\w+)\("
)


@dataclass(frozen=True)
class Finding:
    """One breach of the contract: the notebook, its cell (empty for the whole), the words."""

    notebook: Path
    cell: str
    says: str

    def __str__(self) -> str:
        where = f"{self.notebook}:{self.cell}" if self.cell else str(self.notebook)
        return f"{where}: {self.says}"


@dataclass(frozen=True)
class Lesson:
    """A notebook as its rules read it: cells as plain dicts, sources joined."""

    path: Path
    cells: list[dict[str, Any]]
    metadata: dict[str, Any]
    minor: int

    def code(self) -> list[dict[str, Any]]:
        return [cell for cell in self.cells if cell["cell_type"] == "code"]

    def prose(self) -> list[dict[str, Any]]:
        return [cell for cell in self.cells if cell["cell_type"] == "markdown"]


Rule = Callable[[Lesson], Iterator[tuple[str, str]]]


def lint(path: Path) -> list[Finding]:
    """All findings of one notebook, in the order of the rules; empty if it keeps the contract."""
    try:
        lesson = _read(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [Finding(path, "", f"is not a notebook that can be read: {error}")]
    return [Finding(path, cell, says) for rule in RULES for cell, says in rule(lesson)]


def _read(path: Path) -> Lesson:
    raw = json.loads(path.read_text(encoding="utf-8"))
    cells = [
        {**cell, "source": "".join(cell["source"]), "metadata": cell.get("metadata", {})}
        for cell in raw["cells"]
    ]
    return Lesson(path, cells, raw.get("metadata", {}), raw.get("nbformat_minor", 0))


def a_parameters_cell(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """One cell tagged `parameters`, before all other code, that says what the full profile is."""
    tagged = [c for c in lesson.code() if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1:
        yield "", f"has {len(tagged)} cells tagged `parameters`; a lesson has one"
        return
    cell = tagged[0]
    if lesson.code()[0] is not cell:
        yield _id(cell), "the parameters cell must be the first code cell"
    if "#" not in cell["source"] or "full" not in cell["source"]:
        yield _id(cell), "no comment says what the full profile is"
    names = set(assigned(cell["source"]))
    for profile, values in cell["metadata"].get("profiles", {}).items():
        for unknown in sorted(set(values) - names):
            yield _id(cell), f"profile {profile!r} sets {unknown!r}, which the cell does not assign"


def assigned(source: str) -> list[str]:
    """The names that a parameters cell assigns."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return []
    targets = [t for node in body if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]


def nothing_of_a_run(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """No outputs, no counts, no metadata of an editor or a machine."""
    if lesson.minor < 5:
        yield "", f"is of format 4.{lesson.minor}; 4.5 or later has cell ids"
    for cell in lesson.code():
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield _id(cell), "holds outputs; build it with mlsys text, or run nbstripout"
    for cell in lesson.cells:
        extra = sorted(set(cell["metadata"]) - set(KEPT_CELL_METADATA))
        if extra:
            yield _id(cell), f"metadata of an editor: {', '.join(extra)}"
    if lesson.metadata != KERNEL:
        yield "", "the notebook's metadata is not the plain python3 kernel's alone"


def stable_ids(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """Ids exist, are unique, and are words."""
    seen: set[str] = set()
    for number, cell in enumerate(lesson.cells, start=1):
        own = _id(cell)
        if not own:
            yield f"cell {number}", "has no id"
        elif own in seen:
            yield own, "two cells have this id"
        elif looks_random(own) or not SLUG.fullmatch(own):
            yield own, "a made-up id; ids are words: build the lesson with mlsys text"
        seen.add(own)


def a_guess_before_its_reveal(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """At least one Guess, each revealed in a later cell."""
    asked: dict[str, int] = {}
    revealed: set[str] = set()
    for number, cell in enumerate(lesson.code()):
        for name in re.findall(r"(\w+)\.reveal\(", cell["source"]):
            if asked.get(name, number) >= number:
                yield _id(cell), f"{name}.reveal stands before, or in the cell of, its Guess"
            revealed.add(name)
        for name in re.findall(r"^(\w+)\s*=\s*Guess\(", cell["source"], re.MULTILINE):
            if name in asked and name not in revealed:
                yield _id(cell), f"{name} is asked again before it was revealed"
            asked[name] = number
            revealed.discard(name)
    if not asked:
        yield "", "asks for no Guess"
    for name in sorted(set(asked) - revealed):
        yield "", f"the Guess {name!r} is never revealed"


def something_to_move_and_to_see(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """A control, and two figures that are drawn outside of it."""
    sources = [c["source"] for c in lesson.code()]
    if not any(CONTROLS.search(source) for source in sources):
        yield "", "has no control to move (ipywidgets)"
    drawn = sum(bool(FIGURE_CALL.search(s)) and "interact(" not in s for s in sources)
    if drawn < FIGURES:
        yield "", f"draws {drawn} figures; a lesson has at least {FIGURES}"


def an_exercise(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """A solution between nbgrader's marks, and tests of it, some seen and some hidden."""
    solutions = [c for c in lesson.cells if c["metadata"].get("nbgrader", {}).get("solution")]
    graded = [c for c in lesson.code() if _is_test(c)]
    if not solutions:
        yield "", "has no exercise (a cell with nbgrader's solution metadata)"
    for cell in solutions:
        if cell["cell_type"] == "code" and "### BEGIN SOLUTION" not in cell["source"]:
            yield (
                _id(cell),
                "a solution cell without ### BEGIN SOLUTION: all of it would be cleared",
            )
    if not graded:
        yield "", "has no test cell (nbgrader: grade, not solution)"
    elif not any("### BEGIN HIDDEN TESTS" in c["source"] for c in graded):
        yield "", "no test cell has a ### BEGIN HIDDEN TESTS"
    for cell in graded:
        visible = re.sub(r"### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", "", cell["source"],
                         flags=re.DOTALL)  # fmt: skip
        if "assert" not in visible and "raise" not in visible:
            yield _id(cell), "has no visible check: a student would see nothing fail"
    for cell in lesson.cells:
        marked = "### BEGIN SOLUTION" in cell["source"] or "### BEGIN HIDDEN" in cell["source"]
        if marked and not cell["metadata"].get("nbgrader"):
            yield _id(cell), "has nbgrader's marks but no nbgrader metadata: it would be handed out"
    ids = [c["metadata"]["nbgrader"].get("grade_id") for c in solutions + graded]
    for own in sorted({str(i) for i in ids if not i or ids.count(i) > 1}):
        yield own, "a grade_id must exist and be used once (a cell both solution and test: once)"


def short_lines_and_cells(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """Code of at most 79 characters a line and 25 lines a cell (test cells apart)."""
    for cell in lesson.code():
        for line in cell["source"].splitlines():
            if len(line) > LONGEST_LINE:
                yield _id(cell), f"a line of {len(line)} characters: {line.strip()[:40]}…"
        lines = len(cell["source"].strip().splitlines())
        if lines > LONGEST_CELL and not _is_test(cell):
            yield _id(cell), f"{lines} lines; at most {LONGEST_CELL}"


def nothing_that_hangs_or_reaches_out(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """No shell, no asyncio.run, no address but this machine's."""
    for cell in lesson.code():
        for line in cell["source"].splitlines():
            if re.match(r"\s*(!|%%?(bash|sh|system|sx)\b|%pip|%conda)", line):
                yield _id(cell), f"a shell command: {line.strip()[:40]}"
            if re.search(r"shell\s*=\s*True|os\.system\(", line):
                yield _id(cell), f"a shell: {line.strip()[:40]}"
        if "asyncio.run(" in cell["source"]:
            yield _id(cell), "asyncio.run fails in a notebook; write await"
        for address in _strings(cell["source"]):
            match = re.match(r"(?:https?|wss?|ftp)://([^/\s\"']*)", address)
            host = match.group(1).rpartition("@")[2] if match else ""
            # A host of a single word, or one that ends in .example, is never on the network.
            outside = "." in host and not host.endswith((".example", ".invalid", ".test"))
            if match and outside and not host.startswith(LOOPBACK):
                yield _id(cell), f"an address outside this machine: {address[:50]}"


def plain_prose(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """No exclamation marks, no emoji; a description for each image."""
    for cell in lesson.prose():
        said = PROSE_CODE.sub(" ", cell["source"])
        if re.search(r"!(?!\[|=)", re.sub(r"<!--.*?-->", "", said, flags=re.DOTALL)):
            yield _id(cell), "an exclamation mark in prose"
        if re.search(r"!\[\s*\]\(", cell["source"]) or re.search(
            r"<img(?![^>]*\balt=)", cell["source"]
        ):
            yield _id(cell), "an image without a description"
    for cell in lesson.cells:
        if found := EMOJI.search(cell["source"]):
            yield _id(cell), f"an emoji: U+{ord(found.group()):04X}"


def head_and_closing_card(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """A title with the minutes it takes, and a card with three questions that open."""
    first = lesson.cells[0] if lesson.cells else None
    if first is None or not first["source"].startswith("# "):
        yield "", "does not begin with a title (# …)"
    elif "minutes" not in "".join(c["source"] for c in lesson.cells[:2]):
        yield _id(first), "does not say how many minutes it takes"
    prose = lesson.prose()
    card = "\n".join(c["source"] for c in prose[-3:])
    opened = len(re.findall(r"<details>\s*<summary>", card))
    if opened < SELF_CHECKS:
        yield "", f"the closing card has {opened} questions that open; it needs {SELF_CHECKS}"


def links_that_lead_somewhere(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """A relative link's target is there; the lessons that this one comes after are linked.

    Students get the folder of lessons and nothing above it, so a target lies inside.
    """
    course = _course(lesson.path)
    for cell in lesson.prose():
        for target in LINK.findall(PROSE_CODE.sub(" ", cell["source"])):
            name = unquote(target.partition("#")[0])
            if not name or re.match(r"[a-z][a-z0-9+.-]*:", name, re.IGNORECASE):
                continue  # a place on this page, an address, an attachment
            there = (lesson.path.parent / name).resolve()
            if not there.is_relative_to(course) or not there.is_file():
                yield (
                    _id(cell),
                    f"a link to {name}, which is not there from here",
                )
    others = {path.stem.partition("_")[0]: path for path in all_lessons(course)}
    for cell in lesson.cells[:1]:
        for said in AFTER.findall(cell["source"]):
            linked = {Path(unquote(each)).name.partition("#")[0] for each in LINK.findall(said)}
            for number in re.findall(r"(?<![\w.])\d\d(?!\w)", re.sub(r"\]\([^)]*\)", "]", said)):
                if number in others and others[number].name not in linked:
                    yield _id(cell), f"comes after {number} and does not link it"


def _course(path: Path) -> Path:
    """The folder `notebooks` that a lesson lies in; a lesson elsewhere has its own folder."""
    above = path.resolve().parents
    return next((folder for folder in above if folder.name == "notebooks"), above[0])


def code_that_parses(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """Each code cell is Python (top-level await allowed); magics are passed over."""
    for cell in lesson.code():
        try:
            ast.parse(without_magics(cell["source"]))
        except SyntaxError as error:
            yield _id(cell), f"does not parse: {error.msg} (line {error.lineno})"


RULES: tuple[Rule, ...] = (
    head_and_closing_card,
    a_parameters_cell,
    nothing_of_a_run,
    stable_ids,
    code_that_parses,
    a_guess_before_its_reveal,
    something_to_move_and_to_see,
    an_exercise,
    short_lines_and_cells,
    nothing_that_hangs_or_reaches_out,
    plain_prose,
    links_that_lead_somewhere,
)


def without_magics(source: str) -> str:
    """The Python of a cell: lines of IPython's own become `pass`, a cell magic's cell is empty."""
    if source.lstrip().startswith("%%"):
        return ""
    return "\n".join(
        re.sub(r"^(\s*)[%!?].*", r"\1pass", line).removesuffix("?") for line in source.split("\n")
    )


def _strings(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(without_magics(source))
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _is_test(cell: dict[str, Any]) -> bool:
    marks = cell["metadata"].get("nbgrader", {})
    return cell["cell_type"] == "code" and bool(marks.get("grade")) and not marks.get("solution")


def _id(cell: dict[str, Any]) -> str:
    return cell.get("id", "")


def lint_command(
    lessons: Annotated[
        list[str] | None, typer.Argument(help="Number, slug, folder or path; default: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check lessons against their contract; one line for each finding."""
    try:
        root = find_root()
        paths = find_lessons(lessons, root=root)
    except PlaceError as error:
        raise stop(error) from None
    findings = [finding for path in paths for finding in lint(path)]
    if as_json:
        fields = ({"notebook": str(f.notebook), "cell": f.cell, "says": f.says} for f in findings)
        print(json.dumps(list(fields), indent=2))
    else:
        for f in findings:
            inside = f.notebook.is_relative_to(root)
            shown = f.notebook.relative_to(root) if inside else f.notebook
            print(Finding(shown, f.cell, f.says))
        print(f"{len(paths)} lessons, {len(findings)} findings")
    if findings:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(lint_command)
