"""Reads the bytes of a notebook that nobody has checked, within bounds, and mends what has one
reading only: the encoding, what stands after the end, trailing commas, the formats 1 to 3. Outputs
are passed over without being built, since grading runs every cell again. Cells and what they mean
to an assignment are `autograde.intake.cells`'s task.
"""

import json
import math
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from autograde.intake.names import shown

MOST_BYTES = 50_000_000
MOST_CELLS = 5_000
MOST_SOURCE = 10_000_000  # characters of all cells together
MOST_CELL = 2_000_000  # characters of one cell
_MOST_PARTS = 1_000_000  # brackets; each costs up to a hundred bytes of memory
_MOST_ABOUT = 200_000  # parts of all metadata together: what a comma ends may cost as much
_MOST_LINES = 2_500_000  # parts of one cell's source
_MOST_PICTURES = 1_000  # parts of one cell's attachments, which are few and long


class Unusable(Exception):
    """A file that is no notebook, or not safely one; the message is a sentence."""


@dataclass(frozen=True)
class Cell:
    """A cell as it was handed in: strings and a dict, whatever stood in the file."""

    kind: str
    source: str
    metadata: dict[str, Any]
    id: str | None = None
    attachments: dict[str, Any] | None = None


@dataclass(frozen=True)
class Read:
    """A notebook's file name, its cells, its own metadata, and what had to be mended to read it;
    `minor` is its format's, if that is 4.
    """

    name: str
    cells: list[Cell]
    metadata: dict[str, Any]
    repairs: tuple[str, ...]
    minor: int | None


# What is not built yet is a slice of the file: a list of short strings takes twelve times its
# length when it is built, and whoever hands it in chooses how long it is.
_NOTHING = msgspec.Raw(b"null")


class _RawCell(msgspec.Struct):
    cell_type: msgspec.Raw = _NOTHING
    source: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING  # the name of a code cell's source before format 4
    metadata: msgspec.Raw = _NOTHING
    id: msgspec.Raw = _NOTHING
    attachments: msgspec.Raw = _NOTHING
    level: msgspec.Raw = _NOTHING


class _Sheet(msgspec.Struct):
    cells: list[_RawCell] = []


class _Raw(msgspec.Struct):
    nbformat: msgspec.Raw = _NOTHING
    nbformat_minor: msgspec.Raw = _NOTHING
    metadata: msgspec.Raw = _NOTHING
    cells: list[_RawCell] | None = None
    worksheets: list[_Sheet] | None = None


class _Needed(msgspec.Struct):
    """Of metadata that are too big to be honest, or widgets' state, what grading needs."""

    nbgrader: msgspec.Raw = _NOTHING
    kernelspec: msgspec.Raw = _NOTHING
    language_info: msgspec.Raw = _NOTHING


_decoder = msgspec.json.Decoder(_Raw)
_needed = msgspec.json.Decoder(_Needed)


def read_bytes(path: Path, *, most: int = MOST_BYTES, seen: os.stat_result | None = None) -> bytes:
    """The content of a plain file. Links are not followed, devices and pipes not opened; what was
    `seen` under this path must still be the file there, whatever its folders have become.
    """
    name = shown(path.name)
    try:
        before = path.lstat()
        if not stat.S_ISREG(before.st_mode):
            raise Unusable(f"{name} is {kind_of(before.st_mode)}, not a file.")
        with open_plain(path) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise Unusable(f"{name} is not a plain file.")
            if seen is not None and not os.path.samestat(about, seen):
                raise Unusable(f"{name} was replaced while it was read; grade it again.")
            if about.st_size > most:
                raise Unusable(
                    f"{name} has {about.st_size / 1e6:,.0f} MB; {most / 1e6:.0f} MB is the limit."
                )
            data = file.read(most + 1)
    except OSError as error:
        raise Unusable(f"{name} cannot be read: {error.strerror}.") from None
    if len(data) > most:
        raise Unusable(f"{name} has more than {most / 1e6:.0f} MB, which is the limit.")
    return data


def open_plain(path: Path) -> BinaryIO:
    """A file, opened so that no link put there meanwhile is followed and no pipe waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb")


def kind_of(mode: int) -> str:
    """What a file that is no plain file is, as a sentence needs it."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def read_notebook(data: bytes, name: str) -> Read:
    """The notebook in `data`. Raises Unusable with a sentence that begins with the file's name."""
    name, repairs = shown(name), []
    _refuse_other_files(data.removeprefix(b"\xef\xbb\xbf"), name)
    data = _as_utf8(data, name, repairs)
    try:
        raw = _decode(data, name, repairs)
        return _read(raw, name, repairs)
    except RecursionError:
        raise Unusable(f"{name} is nested too deep to be a notebook.") from None


def _as_utf8(data: bytes, name: str, repairs: list[str]) -> bytes:
    marks = (
        (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    )  # fmt: skip
    encoding = next((known for mark, known in marks if data.startswith(mark)), "")
    if not encoding and re.match(rb"\s*\{\x00", data[:200]):
        encoding = "utf-16-le"
    if not encoding and re.match(rb"(?:\x00\s)*\x00\{\x00", data[:200]):
        encoding = "utf-16-be"
    try:
        if encoding:
            text = data.decode(encoding)
            repairs.append(f"{name} was in {encoding.upper()[:6]}; it was read as that.")
            return text.encode("utf-8")
        if data.startswith(b"\xef\xbb\xbf"):
            repairs.append(f"{name} began with a byte-order mark, which was taken off.")
            return data[3:]
        data.decode("utf-8")
    except UnicodeError:
        raise Unusable(f"{name} is damaged: its text is not in UTF-8.") from None
    return data


def _refuse_other_files(data: bytes, name: str) -> None:
    start = data[:1000].lstrip()
    known = (
        (b"PK\x03\x04", "a zip archive; hand in the notebook itself"),
        (b"%PDF", "a PDF; hand in the .ipynb file"),
        (b"\x1f\x8b", "a compressed file; hand in the notebook itself"),
        (b"\x89PNG", "a picture; hand in the .ipynb file"),
        (b"<", "a web page, not the notebook; download the .ipynb file instead"),
        (b"version https://git-lfs", "a pointer of Git LFS, not the notebook"),
    )
    if not data.strip(b"\x00 \t\r\n"):
        raise Unusable(f"{name} is empty.")
    for begin, what in known:
        if start.startswith(begin):
            raise Unusable(f"{name} is {what}.")
    # One mark after the other: a single pattern with gaps looks at every pair of lines.
    place = 0
    for mark in (rb"^<{7} ", rb"^={7}\r?$", rb"^>{7} "):
        found = re.compile(mark, re.MULTILINE).search(data, place)
        if not found:
            return
        place = found.end()
    raise Unusable(f"{name} holds the marks of an unfinished git merge.")


def _decode(data: bytes, name: str, repairs: list[str]) -> _Raw:
    if data.count(b"[") + data.count(b"{") > _MOST_PARTS:
        raise Unusable(
            f"{name} has more than {_MOST_PARTS:,} lists and objects, which is too many."
        )
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise Unusable(f"{name} is not a notebook: {_place(error)}.") from None
    except msgspec.DecodeError:
        pass
    # nbformat itself writes NaN in outputs, which strict JSON has not; the rest is damage.
    if data.count(b",") > 4 * _MOST_PARTS:
        raise Unusable(f"{name} is damaged, and too big to be mended.")
    text = data.decode("utf-8")
    try:
        value, end = _loads(text)
    except ValueError:
        mended = re.sub(
            r'("(?:[^"\\]|\\.)*+(?:"|\\?\Z))|,(?=\s*+[\]}])',
            lambda m: m[1] or "",
            text,
            flags=re.DOTALL,
        )
        try:
            value, end = _loads(mended)
        except ValueError as error:
            where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
            raise Unusable(f"{name} is not a notebook: it is no valid JSON{where}.") from None
        repairs.append(f"{name} had commas too many at the end of lists; they were taken out.")
        text = mended
    if text[end:].strip("\x00\x1a \t\r\n"):
        repairs.append(f"{name} had other text after the end of the notebook; it was left out.")
    elif text[end:].strip():
        repairs.append(f"{name} was filled up with empty bytes; they were left out.")
    try:
        return _decoder.decode(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except msgspec.ValidationError as error:
        raise Unusable(f"{name} is not a notebook: {_place(error)}.") from None


def _loads(text: str) -> tuple[Any, int]:
    start = len(text) - len(text.lstrip())
    decoder = json.JSONDecoder(
        parse_int=_number, parse_float=_number, parse_constant=lambda name: None
    )
    return decoder.raw_decode(text, start)


def _number(digits: str) -> int | float | None:
    """A number that strict JSON has too: no notebook means anything by a longer one."""
    if digits.lstrip("-").isdigit():
        return int(digits) if len(digits) < 19 else None
    return number if math.isfinite(number := float(digits)) else None


def _place(error: Exception) -> str:
    text = str(error)
    where = re.search(r"`\$\.(cells|worksheets)", text)
    return f"its {where[1]} are not in order" if where else "it is no notebook's JSON"


def _read(raw: _Raw, name: str, repairs: list[str]) -> Read:
    cells, version, minor = raw.cells, _whole(raw.nbformat), None
    if cells is None and raw.worksheets is not None:
        cells = [cell for sheet in raw.worksheets for cell in sheet.cells]
        version = 3 if version is None else version
        repairs.append(f"{name} was in notebook format {version}; it was brought to format 4.")
    elif version == 4:
        minor = _whole(raw.nbformat_minor)
    if cells is None:
        raise Unusable(f"{name} is not a notebook: it has no cells.")
    if len(cells) > MOST_CELLS:
        raise Unusable(f"{name} has {len(cells):,} cells; {MOST_CELLS:,} is the limit.")
    room = _Room(_MOST_ABOUT)
    metadata = room.metadata(raw.metadata)
    done, total = [], 0
    for cell in cells:
        done.append(_cell(cell, room, name))
        total += len(done[-1].source)
        if len(done[-1].source) > MOST_CELL or total > MOST_SOURCE:
            raise Unusable(f"{name} has too much text in its cells, over {total / 1e6:.0f} MB.")
    if any("\r" in cell.source for cell in done):
        repairs.append(f"{name} had Windows line ends in its cells; they were made plain.")
        done = [_with_plain_ends(cell) for cell in done]
    return Read(name, done, metadata, tuple(repairs), minor)


def _with_plain_ends(cell: Cell) -> Cell:
    source = cell.source.replace("\r\n", "\n").replace("\r", "\n")
    return Cell(cell.kind, source, cell.metadata, cell.id, cell.attachments)


def _cell(raw: _RawCell, room: "_Room", name: str) -> Cell:
    kind = _short(raw.cell_type) or "raw"
    text = raw.source if bytes(raw.input) == b"null" else raw.input
    if _parts(text) > _MOST_LINES:
        raise Unusable(f"{name} has a cell of more than {_MOST_LINES:,} pieces of text.")
    source = _text(_built(text))
    if kind == "heading":  # formats 1 to 3
        level = _whole(raw.level)
        level = level if level in range(1, 7) else 1
        kind, source = "markdown", f"{'#' * level} {' '.join(source.split())}"
    kind = {"html": "markdown", "rst": "raw", "plaintext": "raw"}.get(kind, kind)
    pictures = None
    if kind != "code" and _parts(raw.attachments) <= _MOST_PICTURES:
        pictures = _built(raw.attachments)
    return Cell(
        kind if kind in ("code", "markdown", "raw") else "raw",
        source,
        room.metadata(raw.metadata),
        _short(raw.id),
        pictures if isinstance(pictures, dict) else None,
    )


class _Room:
    """How much of a notebook's metadata may still be built."""

    def __init__(self, parts: int) -> None:
        self.parts = parts

    def metadata(self, raw: msgspec.Raw) -> dict[str, Any]:
        """The metadata, or only what grading needs of them; {} where they are no object."""
        if (parts := _parts(raw)) <= self.parts:
            self.parts -= parts
            found = _built(raw)
            return found if isinstance(found, dict) else {}
        try:
            needed = msgspec.structs.asdict(_needed.decode(raw))
        except msgspec.MsgspecError:
            return {}
        found = {name: _built(value) for name, value in needed.items() if _parts(value) <= 100}
        return {name: value for name, value in found.items() if value is not None}


def _parts(raw: msgspec.Raw) -> int:
    """At most so many values are in it, however short they are."""
    return 1 + bytes(raw).count(b",")


def _built(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.MsgspecError:  # a number that Python has not
        return None


def _short(raw: msgspec.Raw) -> str | None:
    value = _built(raw) if memoryview(raw).nbytes <= 1_000 else None
    return value if isinstance(value, str) else None


def _whole(raw: msgspec.Raw) -> int | None:
    value = _built(raw) if memoryview(raw).nbytes <= 20 else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(source: Any) -> str:
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""
