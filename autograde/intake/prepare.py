"""Takes in one submission: finds the assignment's notebooks in what was handed in, mends them, and
writes them with the other plain files into a fresh folder, from which alone grading reads. What was
handed in is never changed. What cannot be used is said in a sentence, and the class goes on.
"""

import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode

from autograde.intake.cells import blank, grade_id, mend, old_names, released_cells
from autograde.intake.names import is_notebook, match, shown
from autograde.intake.reading import Read, Unusable, kind_of, read_bytes, read_notebook

MOST_FILES = 2_000
MOST_FOLDERS = 200
MOST_FILE = 100_000_000  # bytes of one file beside the notebook
MOST_ALL = 500_000_000  # bytes of a submission's other files together
_DEEPEST = 8
_OF_NBGRADER = {"timestamp.txt", "submission_secret.txt"}
_IGNORED = {"__MACOSX", ".ipynb_checkpoints", "__pycache__", ".git", ".DS_Store", "Thumbs.db"}


@dataclass(frozen=True)
class Prepared:
    """What became of a submission: a sentence for each repair; `quarantined` says why nothing of
    it can be graded, if so; `missing` are notebooks that were not handed in. In place of one that
    is there and cannot be read stands what was handed out, with the reason on top; `damaged` has
    the reason by the notebook's name.
    """

    repairs: tuple[str, ...] = ()
    quarantined: str = ""
    missing: tuple[str, ...] = ()
    damaged: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Found:
    """The plain files of a submission by their path in it, and what else was there."""

    files: dict[str, os.stat_result] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)


def prepare(submitted: Path, into: Path, *, release: Path, notebooks: Sequence[str]) -> Prepared:
    """Write what can be graded of `submitted` into `into`, an empty folder.

    `release` holds the notebooks as they were handed out, `notebooks` are their names without
    suffix. Raises nothing for what a student did; OSError if `into` cannot be written.
    """
    try:
        return _prepare(submitted, into, release=release, notebooks=notebooks)
    except Unusable as reason:
        return Prepared(quarantined=str(reason))
    except OSError as error:
        place = Path(os.fsdecode(error.filename or into))
        if place.is_relative_to(into):
            raise
        return Prepared(quarantined=f"{shown(place.name)} cannot be read: {error.strerror}.")
    except (RecursionError, MemoryError, ValueError, TypeError, KeyError, AttributeError) as error:
        why = f"the submission could not be taken in ({type(error).__name__}); a person must look"
        return Prepared(quarantined=f"{why[0].upper()}{why[1:]}.")


def _prepare(submitted: Path, into: Path, *, release: Path, notebooks: Sequence[str]) -> Prepared:
    for folder in (submitted.parent, submitted):
        if not stat.S_ISDIR(mode := folder.lstat().st_mode):
            raise Unusable(f"{shown(folder.name)} is {kind_of(mode)}, not a folder.")
    repairs: list[str] = []
    found = _walk(submitted)
    released = {
        name: _released(path, path.stat().st_mtime_ns)
        for name in notebooks
        if (path := release / f"{name}.ipynb").is_file()
    }
    chosen, base, damaged = _choose(submitted, found, released, notebooks, repairs)
    mended: dict[str, dict[str, Any]] = {}
    for name, (read, _) in chosen.items():
        mended[name], said = mend(read, released.get(name))
        repairs += said
    if not mended:
        raise Unusable(_nothing(found, notebooks))
    mended |= {name: blank(released[name], damaged[name]) for name in damaged if name in released}
    missing = tuple(name for name in notebooks if name not in mended and name not in damaged)
    repairs += [f"{name}.ipynb was not handed in." for name in missing]
    _copy_others(submitted, found, base, into, repairs, used={p for _, p in chosen.values()})
    for name, notebook in mended.items():
        text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        (into / f"{name}.ipynb").write_bytes(text.encode("utf-8", "replace"))
    return Prepared(tuple(dict.fromkeys(repairs)), "", missing, damaged)


@lru_cache(maxsize=32)
def _released(path: Path, modified: int) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def _walk(root: Path) -> _Found:
    """Every file below `root` without following a link. Raises Unusable if there are too many."""
    found, folders, entries = _Found(), [("", 0)], 0
    links: dict[tuple[int, int, int], list[str]] = {}
    for prefix, depth in folders:
        with os.scandir(root / prefix) as listing:
            for entry in listing:
                entries += 1
                if entries > MOST_FILES:
                    raise Unusable(f"It holds more than {MOST_FILES:,} files.")
                name = f"{prefix}{entry.name}"
                about = os.lstat(entry.path)  # on Windows the entry's own has no number of a file
                if entry.name in _IGNORED:
                    continue
                if stat.S_ISDIR(about.st_mode):
                    if depth < _DEEPEST and len(folders) < MOST_FOLDERS:
                        folders.append((f"{name}/", depth + 1))
                    else:
                        found.odd.append(f"{shown(name)} lies too deep and was left out.")
                elif stat.S_ISREG(about.st_mode):
                    found.files[name] = about
                    if about.st_nlink > 1 and os.name == "posix":
                        key = (about.st_dev, about.st_ino, about.st_nlink)
                        links.setdefault(key, []).append(name)
                else:
                    found.odd.append(f"{shown(name)} is {kind_of(about.st_mode)} and was left out.")
    for (_, _, count), names in links.items():
        if count > len(names):  # the file has a name outside of this folder too
            for name in names:
                del found.files[name]
                found.odd.append(f"{shown(name)} is a hard link to a file elsewhere; left out.")
    return found


def _choose(
    root: Path,
    found: _Found,
    released: dict[str, NotebookNode],
    notebooks: Sequence[str],
    repairs: list[str],
) -> tuple[dict[str, tuple[Read, str]], str, dict[str, str]]:
    """For each notebook what was read, and from which file; the folder that holds them; and why
    one that is there cannot be read.
    """
    for base in _bases(found):
        here = [name.removeprefix(base) for name in found.files if _parent(name) == base]
        candidates = match(here, notebooks)
        for name in [name for name in released if not candidates[name]]:
            candidates[name] = _under_old_names(here, released[name], notebooks)
        if not any(candidates.values()):
            candidates = _by_content(root, base, here, found, released)
        if any(candidates.values()):
            break
    else:
        return {}, "", {}
    chosen, faults = {}, {}
    for name, files in candidates.items():
        if not files:
            continue
        try:
            chosen[name] = _one_of(root, base, files, found, released.get(name), name, repairs)
        except Unusable as reason:
            faults[name] = str(reason)
    if faults and not chosen:
        raise Unusable(" ".join(faults.values()))
    repairs += faults.values()
    if base:
        repairs.append(f"The notebook lay in the folder {shown(base.rstrip('/'))}.")
    return chosen, base, faults


def _bases(found: _Found) -> Iterator[str]:
    """Folders that hold a notebook, the outermost first."""
    bases = {_parent(name) for name in found.files if is_notebook(name.rpartition("/")[2])}
    yield from sorted(bases, key=lambda base: (base.count("/"), base))


def _parent(name: str) -> str:
    return name[: name.rfind("/") + 1]


def _one_of(
    root: Path,
    base: str,
    files: list[str],
    found: _Found,
    released: NotebookNode | None,
    name: str,
    repairs: list[str],
) -> tuple[Read, str]:
    """The one file among candidates that is meant. Raises Unusable where two are as likely."""
    reads, faults = {}, []
    for file in files[:20]:
        try:
            reads[file] = _read(root, base + file, found)
        except Unusable as reason:
            faults.append(str(reason))
    if not reads:
        raise Unusable(faults[0])
    answers = {file: _answers(read, released) for file, read in reads.items()}
    handed_out = _answers(None, released)
    distinct = {file: a for file, a in answers.items() if a != handed_out} or answers
    file = sorted(distinct)[0]
    if any(a != distinct[file] for a in distinct.values()):
        listed = ", ".join(map(shown, sorted(distinct)[:5]))
        raise Unusable(f"Which is {shown(name)}.ipynb is not clear: {listed} differ.")
    if file != f"{name}.ipynb":
        repairs.append(f"{shown(file)} was taken for {shown(name)}.ipynb.")
    repairs += [f"Not used: {fault}" for fault in faults]
    return reads[file], file


def _answers(read: Read | None, released: NotebookNode | None) -> dict[str, str]:
    """What stands in the cells that a student may write in, without blanks."""
    if released is None:
        return {} if read is None else {str(i): c.source for i, c in enumerate(read.cells)}
    open_cells = {
        name: cell.source
        for name, cell in released_cells(released).items()
        if not cell.metadata.nbgrader.get("locked")
    }
    if read is not None:
        for place, cell in enumerate(read.cells):
            name = grade_id(cell.metadata)
            if name in open_cells:
                open_cells[name] = cell.source
            elif not name and "".join(cell.source.split()):
                open_cells[f"own cell {place}"] = cell.source
        for cell in released.cells:  # what was handed out without a name is nobody's answer
            if not grade_id(cell.metadata):
                same = [n for n, text in open_cells.items() if text == cell.source]
                for name in same:
                    if name.startswith("own cell "):
                        del open_cells[name]
    return {name: "".join(text.split()) for name, text in open_cells.items()}


def _read(root: Path, file: str, found: _Found) -> Read:
    data = read_bytes(root / file, seen=found.files[file])
    return read_notebook(data, file.rpartition("/")[2])


def _under_old_names(
    here: list[str], released: NotebookNode, notebooks: Sequence[str]
) -> list[str]:
    """Files named as the notebook was before its assignment was changed."""
    old = set(old_names(released.metadata)) - set(notebooks)
    return [file for files in match(here, old).values() for file in files]


def _by_content(
    root: Path, base: str, here: list[str], found: _Found, released: dict[str, NotebookNode]
) -> dict[str, list[str]]:
    """Files of any name that hold an assignment's cells, for each notebook."""
    holding: dict[str, list[str]] = {name: [] for name in released}
    for file in sorted(here)[:50]:
        if not is_notebook(file):
            continue
        try:
            read = _read(root, base + file, found)
        except Unusable:
            continue
        names = {name for cell in read.cells if (name := grade_id(cell.metadata))}
        shares = {stem: len(names & set(released_cells(nb))) for stem, nb in released.items()}
        best = [stem for stem, share in shares.items() if share and share == max(shares.values())]
        if len(best) == 1:
            holding[best[0]].append(file)
    return holding


def _nothing(found: _Found, notebooks: Sequence[str]) -> str:
    wanted = " and ".join(f"{shown(name)}.ipynb" for name in list(notebooks)[:3])
    others = sorted(name for name in found.files if name != "timestamp.txt")
    seen = f"it has {', '.join(shown(name) for name in others[:5])}" if others else "it is empty"
    odd = f" {' '.join(found.odd[:3])}" if found.odd else ""
    return f"{wanted} is missing; {seen}.{odd}"


def _copy_others(
    root: Path, found: _Found, base: str, into: Path, repairs: list[str], *, used: set[str]
) -> None:
    """The submission's other plain files; those beside the notebook stay beside it."""
    left, copied = list(found.odd), 0
    for name, about in sorted(found.files.items()):
        if name in _OF_NBGRADER:
            file = name
        elif name.startswith(base):
            file = name.removeprefix(base)
        else:
            continue
        if file in used or is_notebook(file.rpartition("/")[2]):
            continue
        if file != name and file.casefold() in _OF_NBGRADER:
            left.append(f"{shown(name)} of the student's own was left out.")
            continue
        if name == "timestamp.txt" and (fault := _date_fault(root / name)):
            left.append(fault)
            continue
        if about.st_size <= MOST_FILE:
            copied += about.st_size
        if copied > MOST_ALL:
            left.append(f"Its files have more than {MOST_ALL / 1e6:.0f} MB; the rest was left out.")
            break
        try:
            data = read_bytes(root / name, most=MOST_FILE, seen=about)
            target = into / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        except Unusable as reason:
            left.append(str(reason))
    repairs += left[:20]
    if len(left) > 20:
        repairs.append(f"{len(left) - 20} more files were left out.")


def _date_fault(path: Path) -> str:
    from nbgrader.utils import parse_utc

    try:
        parse_utc(read_bytes(path, most=1000).decode("utf-8").strip())
    except (Unusable, ValueError, OverflowError, TypeError, UnicodeDecodeError):
        return "timestamp.txt does not hold a date; when it was handed in is not known."
    return ""
