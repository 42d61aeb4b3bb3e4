"""Tells from the names in a bundle whose files are whose, for the shapes in which platforms hand
out submissions. It reads names and small descriptions only; `collect` writes.

Canvas     jane_LATE_123_456_hw1.ipynb            (canvas-lms, lib/content_zipper.rb)
Moodle     Jane Doe_123_assignsubmission_file_/hw1.ipynb, or flat   (mod_assign, zip download)
Blackboard HW1_jdoe_attempt_2026-10-01-23-58-00_hw1.ipynb and a .txt (kwurst/bb-file-cleanup)
Gradescope submission_123/hw1.ipynb and submission_metadata.yml      (its "Download Submissions")
Folders    jane/hw1.ipynb, or nbgrader's own submitted/jane/hw1/hw1.ipynb
"""

import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from autograde.intake.archive import BundleError, Entry, unpack

_CANVAS = re.compile(
    r"^(?P<name>[^/]+?)_(?P<late>LATE_)?(?P<id>\d+)_(?P<part>\d+)_(?P<file>[^/]+)$"
)
_CANVAS_ANONYMOUS = re.compile(
    r"^anon_(?P<late>LATE_)?(?P<id>\w{5})_(?P<part>\d+)_(?P<file>[^/]+)$"
)
# A person's or a file's own name may hold all of a pattern: of a Moodle folder the last counts, for
# only the person is named before it; where a file's name follows, the first.
_MOODLE = re.compile(
    r"^(?:(?P<name>[^/]+)_(?P<id>\d+)_assignsubmission_(?P<kind>[a-z]+)_?/(?P<file>.+)"
    r"|(?P<name_>[^/]+?)_(?P<id_>\d+)_assignsubmission_(?P<kind_>[a-z]+)_(?P<file_>[^/]+))$"
)
_BLACKBOARD = re.compile(
    r"^(?P<before>[^/]+?)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?:_(?P<file>[^/]+)|\.txt)$"
)
_GRADESCOPE = re.compile(r"^(?P<key>submission_\d+)/(?P<file>.+)$")
_METADATA = "submission_metadata.yml"
_MOST_METADATA = 20_000_000


@dataclass(frozen=True)
class Handed:
    """One file and whose it is; `file` is "" for what the platform itself wrote of the person.
    `who` are names of the person on the platform, the surest first;
    `when` orders attempts; `at` is the time of handing in where the platform tells it; `group` has
    everyone of a group.
    """

    who: tuple[str, ...]
    file: str
    entry: Entry
    when: tuple[str, int] = ("", 0)
    at: datetime | None = None
    note: str = ""
    group: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds: its shape, files by person, and entries that belong to nobody."""

    shape: str
    handed: list[Handed] = field(default_factory=list)
    rest: list[Entry] = field(default_factory=list)


def read_bundle(archive: zipfile.ZipFile, all_entries: Iterable[Entry], assignment: str) -> Bundle:
    """Who handed in what. Raises BundleError if no shape fits."""
    good = _without_common_folder([entry for entry in all_entries if not entry.fault])
    shapes: dict[str, Callable[[], list[Handed | None]]] = {
        "Gradescope": lambda: _gradescope(archive, good),
        "Moodle": lambda: [_moodle(entry) for entry in good],
        "Blackboard": lambda: _blackboard(archive, good),
        "Canvas": lambda: [_canvas(entry) for entry in good],
    }
    for shape, read in shapes.items():
        handed = read()
        if sum(one is not None for one in handed) > len(good) / 2:
            rest = [entry for entry, one in zip(good, handed) if one is None]
            known = [one for one in handed if one and any(one.who)]
            return Bundle(
                shape, [replace(one, who=who) for one in known for who in _each(one)], rest
            )
    handed = [_folder(entry, assignment) for entry in good]
    if not any(handed):
        raise BundleError(
            "Nothing in it names a student: a bundle is what Canvas, Moodle, Blackboard or "
            "Gradescope hand out, or has a folder for each student."
        )
    rest = [entry for entry, one in zip(good, handed) if one is None]
    return Bundle("folders", [one for one in handed if one], rest)


def _each(handed: Handed) -> tuple[tuple[str, ...], ...]:
    return handed.group or (handed.who,)


def _without_common_folder(found: list[Entry]) -> list[Entry]:
    """A bundle packed as one folder, opened; a lone student's folder keeps its name."""
    tops = {entry.path.partition("/")[0] for entry in found}
    if len(tops) != 1 or any("/" not in entry.path for entry in found):
        return found
    inner = [replace(entry, path=entry.path.partition("/")[2]) for entry in found]
    shapes = (_CANVAS, _MOODLE, _BLACKBOARD, _GRADESCOPE)
    known = any(shape.match(e.path) for shape in shapes for e in inner)
    known = known and not any(
        shape.match(e.path) for shape in (_MOODLE, _GRADESCOPE) for e in found
    )
    if known or tops == {"submitted"} or all(e.path.count("/") >= 2 for e in inner):
        return inner
    return inner if len({e.path.partition("/")[0] for e in inner if "/" in e.path}) > 1 else found


def _canvas(entry: Entry) -> Handed | None:
    found = _CANVAS_ANONYMOUS.match(entry.path) or _CANVAS.match(entry.path)
    if not found:
        return None
    name = found["name"] if "name" in found.re.groupindex else "anon"
    return Handed(
        who=(found["id"], name) if name != "anon" else (f"anon_{found['id']}",),
        file=found["file"],
        entry=entry,
        # Files of one attempt have near numbers, those of a later one higher ones; Canvas hands
        # out the last attempt only, so all of them count.
        when=("", 0),
        note="Canvas marks it as late." if found["late"] else "",
    )


def _moodle(entry: Entry) -> Handed | None:
    found = _MOODLE.match(entry.path)
    if not found:
        return None
    number, name, kind, file = (found[part] or found[f"{part}_"] for part in
                                ("id", "name", "kind", "file"))  # fmt: skip
    return Handed((number, name), file if kind == "file" else "", entry)


def _blackboard(archive: zipfile.ZipFile, good: list[Entry]) -> list[Handed | None]:
    matches = [_BLACKBOARD.match(entry.path) for entry in good]
    befores = {found["before"] for found in matches if found}
    users = _blackboard_users(archive, good, befores)
    handed: list[Handed | None] = []
    for entry, found in zip(good, matches):
        if not found:
            handed.append(None)
            continue
        time = found["time"]
        try:
            at = datetime.strptime(time, "%Y-%m-%d-%H-%M-%S")
        except ValueError:
            at = None
        handed.append(Handed((users[found["before"]],), found["file"] or "", entry, (time, 0), at))
    return handed


def _blackboard_users(
    archive: zipfile.ZipFile, good: list[Entry], befores: set[str]
) -> dict[str, str]:
    """The user in "Assignment_user": from the description beside it, else behind the part that all
    share. Either may hold underscores.
    """
    shared = _common_start(befores) if len(befores) > 1 else ""
    start = shared.rfind("_") + 1
    users = {before: before[start:] or before for before in befores}
    if not start:
        users = {before: before.rpartition("_")[2] for before in befores}
    for entry in good:
        found = _BLACKBOARD.match(entry.path)
        if found and not found["file"] and entry.info.file_size < 1_000_000:
            text = unpack(archive, entry).decode("utf-8", "replace")[:2000]
            name = re.match(r"\ufeff?Name: .*\((?P<user>[^()\r\n]+)\)\s*$", text, re.MULTILINE)
            if name and found["before"].endswith(f"_{name['user']}"):
                users[found["before"]] = name["user"]
    return users


def _common_start(texts: set[str]) -> str:
    first, last = min(texts), max(texts)
    differ = (i for i, (a, b) in enumerate(zip(first, last)) if a != b)
    return first[: next(differ, min(len(first), len(last)))]


def _gradescope(archive: zipfile.ZipFile, good: list[Entry]) -> list[Handed | None]:
    described = next((e for e in good if e.path == _METADATA), None)
    if described is None or described.info.file_size > _MOST_METADATA:
        return [None] * len(good)
    people = _gradescope_people(unpack(archive, described).decode("utf-8", "replace"))
    handed: list[Handed | None] = []
    for entry in good:
        found = _GRADESCOPE.match(entry.path)
        about = people.get(found["key"]) if found else None
        if entry is described:
            handed.append(Handed(("",), "", entry))
        elif found is None or about is None or not about.submitters:
            handed.append(None)
        else:
            number = int(found["key"].partition("_")[2][:18])
            when = (about.created.isoformat() if about.created else "", number)
            group = tuple(about.submitters)
            note = f"Handed in by a group of {len(group)}." if len(group) > 1 else ""
            handed.append(Handed(group[0], found["file"], entry, when, about.created, note, group))
    return handed


@dataclass
class _Submission:
    submitters: list[tuple[str, ...]] = field(default_factory=list)
    created: datetime | None = None


def _gradescope_people(text: str) -> dict[str, _Submission]:
    """The few facts of submission_metadata.yml that matter, line by line: a YAML reader would build
    whatever a file asks for.
    """
    found: dict[str, _Submission] = {}
    now: _Submission | None = None
    person: dict[str, str] = {}

    def close() -> None:
        if now is not None and person:
            keys = (person.get("sid", ""), person.get("email", ""), person.get("name", ""))
            now.submitters.append(tuple(filter(None, keys)))
            person.clear()

    for line in text.splitlines():
        key = re.match(r"^(submission_\d+):\s*$", line)
        fact = re.match(r"^\s+(?P<new>-\s+)?:(?P<key>name|sid|email):\s*(?P<value>.*)$", line)
        if key:
            close()
            now = found.setdefault(key[1], _Submission())
        elif fact and now is not None and now.created is None:
            if fact["new"]:
                close()
            person[fact["key"]] = _unquoted(fact["value"])
        elif now is not None and (time := re.match(r"^  :created_at:\s*(.+)$", line)):
            close()
            now.created = _time(time[1])
    close()
    return found


def _unquoted(value: str) -> str:
    value = value.strip()
    quoted = re.match(r"^(['\"])(.*)\1$", value)
    return quoted[2] if quoted else value


def _time(text: str) -> datetime | None:
    found = re.match(r"^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)", _unquoted(text))
    try:
        return datetime.fromisoformat(f"{found[1]} {found[2]}") if found else None
    except ValueError:
        return None


def _folder(entry: Entry, assignment: str) -> Handed | None:
    parts = entry.path.split("/")
    if parts[0] == "submitted" and len(parts) > 2:
        parts = parts[1:]
    if len(parts) < 2:
        return None
    inner = parts[2:] if len(parts) > 2 and parts[1] == assignment else parts[1:]
    return Handed((parts[0],), "/".join(inner), entry)
