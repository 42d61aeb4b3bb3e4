"""Puts a learning platform's bundle where nbgrader looks for submissions: one student after the
other, each in one step, from a temporary folder. An older submission is kept aside, never lost.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import parse_utc

from autograde.intake.archive import BundleError, Entry, entries, open_zip, unpack
from autograde.intake.bundles import Handed, read_bundle
from autograde.intake.names import looks_like, safe_name, shown
from autograde.intake.staging import path_of

_MOST_FILES = 2_000
_MOST_BYTES = 500_000_000  # of one student
_REPLACED = ".autograde/replaced"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # half a submission is worse than none


@dataclass(frozen=True)
class Collected:
    """What became of one student's part: the files written, remarks, or why there are none.

    `student` is "" for entries that belong to nobody.
    """

    student: str
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""


@dataclass
class _Person:
    """A student's files, all of one attempt, and what there is to say."""

    handed: list[Handed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def collect(bundle: Path, coursedir: CourseDirectory, assignment: str) -> list[Collected]:
    """Unpack the submissions of a bundle into the course; a row for each student, by name.

    Raises BundleError, before anything is written, if the bundle cannot be used at all; or if the
    disk fails, when each student's part is there whole or not at all.
    """
    try:
        return _collect(bundle, coursedir, assignment)
    except OSError as error:
        why = f"{error.filename or 'The disk'}: {error.strerror}"
        raise BundleError(f"{why}. What is put in stays; run the same command again.") from error


def _collect(bundle: Path, coursedir: CourseDirectory, assignment: str) -> list[Collected]:
    with open_zip(bundle, bundle.name) as archive:
        everything = list(entries(archive))
        found = read_bundle(archive, everything, assignment)
        rows = [Collected("", (shown(e.path),), problem=e.fault) for e in everything if e.fault]
        rows += [
            Collected("", (shown(e.path),), problem="It does not say whose it is.")
            for e in found.rest
        ]
        people, unknown = _people(found.handed, _roster(coursedir))
        rows += unknown
        root = Path(coursedir.root)
        (root / ".autograde").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="collect-", dir=root / ".autograde") as scratch:
            for number, (student, person) in enumerate(sorted(people.items())):
                fresh = Path(scratch) / str(number)
                rows.append(_unpack(archive, student, person, fresh))
                if not rows[-1].problem:
                    rows[-1] = _place(coursedir, assignment, rows[-1], fresh, person.handed[0].at)
    return sorted(rows, key=lambda row: (row.student == "", row.student, row.files))


def _roster(coursedir: CourseDirectory) -> dict[str, set[str]]:
    """What each known student is also called: the gradebook's names, e-mail and platform's id."""
    url = coursedir.db_url
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        return {}
    with Gradebook(url) as book:
        found = {}
        for student in book.students:
            first, last = student.first_name or "", student.last_name or ""
            names = {student.id, student.lms_user_id or "", student.email or ""}
            names |= {f"{first} {last}", f"{last} {first}", f"{last}{first}"} if last else set()
            found[student.id] = {_squeezed(name) for name in names if name.strip()}
    return found


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _people(
    handed: Iterable[Handed], roster: dict[str, set[str]]
) -> tuple[dict[str, _Person], list[Collected]]:
    """Files by student, of the last attempt; and rows for names that cannot be told apart."""
    attempts: dict[str, dict[tuple[str, ...], list[Handed]]] = {}
    for one in handed:
        attempts.setdefault(one.who[0], {}).setdefault(one.when, []).append(one)
    rows = _take_out_doubtful(attempts)
    by_student: dict[str, list[str]] = {}
    for key, tries in attempts.items():
        who = next(iter(tries.values()))[0].who
        by_student.setdefault(_student(who, roster), []).append(key)
    for student, keys in list(by_student.items()):
        if len(keys) > 1 and student not in roster and all(key.isdigit() for key in keys):
            del by_student[student]  # of one name, and two people for the platform
            by_student |= {f"{student}_{key}": [key] for key in keys}
    people = {}
    seen: dict[str, str] = {looks_like(name): name for name in roster}
    for student, keys in sorted(by_student.items()):
        tries = {}
        for key in keys:
            for when, files in attempts[key].items():
                tries.setdefault((when, key), []).extend(files)
        with_files = {t for t, files in tries.items() if any(one.file for one in files)}
        other = seen.setdefault(looks_like(student), student) if student else ""
        if not student or other != student:
            why = (
                f"Its name looks like {shown(other)!r} and is another; rename it in the bundle."
                if student
                else "Its name holds nothing that can name a folder."
            )
            rows.append(Collected(student, (shown(keys[0]),), problem=why))
            continue
        if len(keys) > 1 and len({_named(attempts[key]) for key in keys}) > 1:
            listed = ", ".join(shown(_named(attempts[key])) for key in keys)
            why = f"More than one person has this name: {listed}."
            rows.append(Collected(student, problem=why))
            continue
        last = max(t for t in tries if not with_files or t in with_files)
        person = people[student] = _Person(tries[last])
        person.notes += dict.fromkeys(one.note for one in person.handed if one.note)
        if len(tries) > 1:
            when = f" of {last[0][0]}" if last[0][0] else ""
            person.notes.append(f"Handed in {len(tries)} times; the last one{when} counts.")
        if safe_name(person.handed[0].who[-1]) != person.handed[0].who[-1]:
            person.notes.append(f"{shown(person.handed[0].who[-1])} is stored as {student}.")
    return people, rows


def _take_out_doubtful(attempts: dict[str, dict[tuple[str, ...], list[Handed]]]) -> list[Collected]:
    """Numbers of the platform's under which two names stand: one of them took the other's."""
    rows = []
    for number in [key for key in attempts if key.isdigit()]:
        handed = [one for files in attempts[number].values() for one in files]
        if len(names := sorted({one.who[-1] for one in handed})) > 1:
            why = f"They have the same number, {number}; a person must look whose these are."
            rows.append(Collected("", tuple(map(shown, names)), problem=why))
            del attempts[number]
    return rows


def _named(tries: dict[tuple[str, ...], list[Handed]]) -> str:
    return " ".join(next(iter(tries.values()))[0].who)


def _student(who: tuple[str, ...], roster: dict[str, set[str]]) -> str:
    """The gradebook's id for a person, or one made from the platform's surest readable name."""
    for name in who:
        known = [student for student, names in roster.items() if _squeezed(name) in names]
        if name in roster:
            return name
        if len(known) == 1 and _squeezed(name):
            return known[0]
    name = who[-1] if who[0].isdigit() else who[0]
    name = safe_name(name.partition("@")[0] or name).replace(" ", "_")
    # No option of a command, no formula of a spreadsheet.
    return re.sub(r"^[-=+@]+", "_", name)


def _unpack(archive, student: str, person: _Person, fresh: Path) -> Collected:
    """Write one student's files, also those packed once more, into an empty folder."""
    fresh.mkdir()
    written: dict[str, str] = {}
    notes, room = list(person.notes), _MOST_BYTES
    for one in person.handed:
        if not one.file:
            continue
        try:
            data = unpack(archive, one.entry)
            inner = _inner(one.file, data) if one.file.lower().endswith(".zip") else None
            for path, content in inner if inner is not None else [(one.file, data)]:
                room -= len(content)
                if room < 0 or len(written) >= _MOST_FILES:
                    problem = "It has too many files or too much in them."
                    return Collected(student, notes=tuple(notes), problem=problem)
                _write(fresh, path, content, written, notes)
            if inner is not None:
                notes.append(f"{shown(one.file)} was unpacked.")
        except BundleError as reason:
            notes.append(f"{reason} It was left out.".replace("..", "."))
    files = tuple(sorted(written.values()))
    problem = "" if files else "Nothing of it could be unpacked."
    if not any(one.file for one in person.handed):
        problem = "It holds no file, only what was typed on the platform."
    return Collected(student, files, tuple(dict.fromkeys(notes)), problem)


def _inner(name: str, data: bytes) -> list[tuple[str, bytes]]:
    """The files of an archive in the archive; one within that stays packed."""
    with open_zip(data, name) as archive:
        room = _MOST_BYTES
        good: list[Entry] = []
        for entry in entries(archive):
            if entry.fault:
                raise BundleError(f"In {shown(name)}: {entry.fault}")
            room -= entry.info.file_size
            good.append(entry)
        if room < 0 or len(good) > _MOST_FILES:
            raise BundleError(f"{shown(name)} unpacks to more than {_MOST_BYTES / 1e6:.0f} MB.")
        return [(entry.path, unpack(archive, entry)) for entry in good]


def _write(folder: Path, path: str, data: bytes, written: dict[str, str], notes: list[str]) -> None:
    """One file at a safe name below `folder`; a name that is taken keeps its first file."""
    parts = [safe_name(part) for part in path.split("/")]
    if not all(parts):
        notes.append(f"{shown(path)} has no name that can be written; left out.")
        return
    name = "/".join(parts)
    if name.casefold() in ("timestamp.txt", "submission_secret.txt"):
        notes.append(f"{name} of the student's own was left out.")
        return
    if looks_like(name) in written:
        notes.append(f"{shown(path)} stands there twice; the first one was kept.")
        return
    target = folder.joinpath(*parts)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    except OSError as error:
        if error.errno in _FULL:
            raise
        notes.append(f"{shown(path)} could not be written: {error.strerror}.")
        return
    written[looks_like(name)] = name
    if name != path:
        notes.append(f"{shown(path)} is stored as {name}.")


def _place(
    coursedir: CourseDirectory, assignment: str, row: Collected, fresh: Path, at: datetime | None
) -> Collected:
    """Move the folder to where nbgrader looks, unless a later submission stands there."""
    target = path_of(coursedir, coursedir.submitted_directory, row.student, assignment)
    notes = list(row.notes)
    if at is not None:
        (fresh / "timestamp.txt").write_text(f"{at:%Y-%m-%d %H:%M:%S} UTC\n", encoding="utf-8")
    if os.path.lexists(target):
        before = _time_of(target)
        if at is not None and before is not None and before > at.replace(tzinfo=before.tzinfo):
            problem = (
                f"A later submission, of {before:%Y-%m-%d %H:%M}, is there; this was not put in."
            )
            return Collected(row.student, row.files, row.notes, problem)
        if _same(fresh, target):
            return Collected(row.student, row.files, (*notes, "It was there already."))
        aside = path_of(coursedir, _REPLACED, row.student, assignment)
        aside.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{assignment}-", dir=aside.parent)) / assignment
        target.rename(aside)
        notes.append(
            f"It replaces an earlier submission, kept in {aside.relative_to(coursedir.root)}."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(fresh, target)
    return Collected(row.student, row.files, tuple(notes))


def _time_of(folder: Path) -> datetime | None:
    stamp = folder / "timestamp.txt"
    try:
        return parse_utc(stamp.read_text(encoding="utf-8").strip()) if stamp.is_file() else None
    except (OSError, ValueError, OverflowError):
        return None


def _same(one: Path, other: Path) -> bool:
    def content(folder: Path) -> dict[str, bytes]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return other.is_dir() and not other.is_symlink() and content(one) == content(other)
