"""Append-only files of framed Arrow batches: what a process that dies at any instant leaves whole.

A frame is a header (magic, length, CRC-32 of the payload) and a payload (an Arrow IPC stream with
its own schema). A frame that was cut off by a crash fails its length or its checksum and is passed
over; a whole frame after a damaged stretch is found again by its magic. Which frames make a log,
and what becomes of old files, is left to `store`.
"""

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import pyarrow as pa

from mlsys.monitoring.errors import MonitoringError

MAGIC = b"MLSEG1\r\n"  # the line end shows a transfer in text mode, as PNG's does
_HEADER = struct.Struct("<8sII")
LARGEST_FRAME = 256 * 1024 * 1024


def encode(table: pa.Table) -> bytes:
    """One frame, ready to be written in one call."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    payload = sink.getvalue().to_pybytes()
    if len(payload) > LARGEST_FRAME:
        raise MonitoringError(
            f"A batch of {table.num_rows} rows takes {len(payload) / 1e6:.0f} MB; a frame may hold "
            f"{LARGEST_FRAME / 1e6:.0f} MB at most. Write it in smaller batches."
        )
    return _HEADER.pack(MAGIC, len(payload), crc32(payload)) + payload


def frames(data: bytes) -> Iterator[pa.Table]:
    """The whole frames in `data`, in order; what is torn or damaged is passed over."""
    for start, end in whole(data):
        with pa.ipc.open_stream(data[start + _HEADER.size : end]) as stream:
            yield stream.read_all()


def whole(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the whole frames begin and end, in bytes."""
    at = 0
    while (at := data.find(MAGIC, at)) >= 0:
        if at + _HEADER.size > len(data):
            return
        _, length, checksum = _HEADER.unpack_from(data, at)
        end = at + _HEADER.size + length
        fits = length <= LARGEST_FRAME and end <= len(data)
        if fits and crc32(memoryview(data)[at + _HEADER.size : end]) == checksum:
            yield at, end
            at = end
        else:
            at += 1


def damaged_bytes(data: bytes) -> int:
    """Bytes that belong to no whole frame; a tail torn by a crash, or under way, counts too."""
    return len(data) - sum(end - start for start, end in whole(data))


def sync(stream: BinaryIO) -> None:
    """Hand the file to the disk, not only to the system's cache (on a Mac past the drive's)."""
    stream.flush()
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(stream.fileno(), fcntl.F_FULLFSYNC)
            return
    os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Make new and renamed names in the folder last. Windows does that by itself."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(path: Path) -> BinaryIO:
    """An exclusive lock that ends with this process, however it ends.

    Raises MonitoringError when another process holds it.
    """
    stream = path.open("a+b")
    try:
        if os.name == "nt":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        raise MonitoringError(
            f"Another process writes to {path.parent}; one log has one writer. Stop the other, or "
            "write to a folder of your own."
        ) from None
    return stream
