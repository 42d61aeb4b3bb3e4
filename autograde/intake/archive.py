"""Opens a zip archive that nobody has checked: names that lead elsewhere, links, bombs, overlapping
and encrypted entries are found before a byte is unpacked, and what is unpacked is counted. Which
entry belongs to whom is `autograde.intake.bundles`'s task.
"""

import io
import lzma
import re
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autograde.intake.names import shown

MOST_ENTRIES = 50_000
_MOST_LIST = 8_000_000  # bytes of the list of entries, of which each takes 46 and its name
MOST_ALL = 4_000_000_000  # bytes unpacked, of all entries together
MOST_ONE = 200_000_000
_MOST_RATIO = 200  # unpacked to packed; text rarely passes 20
_SMALL = 1_000_000  # below this a high ratio does no harm
_JUNK = re.compile(r"(?:^|/)(?:__MACOSX/|\.DS_Store$|Thumbs\.db$|\.ipynb_checkpoints/)")


_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # encrypted, or an unknown way of packing
)


class BundleError(Exception):
    """A bundle that cannot be used at all; the message is a sentence, and nothing was written."""


@dataclass(frozen=True)
class Entry:
    """One file of an archive: its path there, or why it is left out."""

    path: str
    info: zipfile.ZipInfo
    fault: str = ""


class _Bounded(io.BufferedReader):
    """A file of which not more than `most` bytes are read at once: zipfile reads the whole list of
    entries so, and makes an object of each before anybody can count them.
    """

    most = _MOST_LIST

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > self.most:
            raise BundleError("")
        return super().read(size)


@contextmanager
def open_zip(source: Path | bytes, name: str) -> Iterator[zipfile.ZipFile]:
    """The archive opened. Raises BundleError where it is none, or damaged, or a trap."""
    try:
        raw = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb", buffering=0)
    except OSError as error:
        raise BundleError(f"{shown(name)} cannot be read: {error.strerror}.") from None
    with _Bounded(raw) as file:
        try:
            archive = zipfile.ZipFile(file)
        except BundleError:
            raise BundleError(
                f"{shown(name)} has too long a list of files; {MOST_ENTRIES:,} is the limit."
            ) from None
        except (*_DAMAGE, OverflowError):
            raise BundleError(f"{shown(name)} is not a zip archive, or a damaged one.") from None
        file.most = sys.maxsize
        with archive:
            _check_whole(archive.infolist(), name)
            yield archive


def _check_whole(infos: list[zipfile.ZipInfo], name: str) -> None:
    if len(infos) > MOST_ENTRIES:
        raise BundleError(f"{shown(name)} holds {len(infos):,} files, over {MOST_ENTRIES:,}.")
    total = sum(info.file_size for info in infos)
    if total > MOST_ALL:
        raise BundleError(
            f"{shown(name)} unpacks to {total / 1e9:,.1f} GB; {MOST_ALL / 1e9:.0f} GB is the limit."
        )
    # Fifield 2019, "A better zip bomb": entries that share one packed stream.
    end = -1
    for info in sorted(infos, key=lambda i: i.header_offset):
        if info.header_offset < end:
            raise BundleError(f"{shown(name)} has entries that overlap, as only a trap has.")
        end = info.header_offset + 30 + info.compress_size


def entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    """The archive's files in their order; what may not be unpacked has a fault."""
    for info in archive.infolist():
        path = info.orig_filename.replace("\\", "/")
        if path.endswith("/") or _JUNK.search(path):
            continue
        fault = _fault(info, path)
        yield Entry(path if fault else "/".join(p for p in path.split("/") if p not in ("", ".")),
                    info, fault)  # fmt: skip


def _fault(info: zipfile.ZipInfo, path: str) -> str:
    name, mode = shown(path), info.external_attr >> 16
    if path.startswith("/") or re.match(r"^[A-Za-z]:", path):
        return f"{name} names a place outside of the bundle."
    if ".." in path.split("/"):
        return f"{name} leads out of its folder."
    if "\0" in path or not path.strip("/. "):
        return f"{name} is no name for a file."
    if len(path) > 1000 or path.count("/") > 20:
        return f"{name} lies too deep."
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return f"{name} is a link or a device, not a file."
    if info.flag_bits & 1:
        return f"{name} is encrypted."
    if info.file_size > MOST_ONE:
        return f"{name} has {info.file_size / 1e6:,.0f} MB; {MOST_ONE / 1e6:.0f} MB is the limit."
    if info.file_size > _SMALL and info.file_size > _MOST_RATIO * max(1, info.compress_size):
        return f"{name} is packed more than {_MOST_RATIO} times, as only a bomb is."
    return ""


def unpack(archive: zipfile.ZipFile, entry: Entry) -> bytes:
    """The content of one entry. Raises BundleError where it is damaged or not what it says."""
    try:
        with archive.open(entry.info) as file:
            data = file.read(entry.info.file_size + 1)
    except _DAMAGE as error:
        why = "is packed in a way unknown here" if isinstance(error, NotImplementedError) else ""
        raise BundleError(f"{shown(entry.path)} {why or 'is damaged in the archive'}.") from None
    if len(data) > entry.info.file_size:
        raise BundleError(f"{shown(entry.path)} is bigger than the archive says.")
    return data
