"""An append-only log with partitions and offsets, on files: the idea of Kafka in a hundred lines.

A message goes to the end of one partition, chosen by its key, and stays there: reading removes
nothing. Its place is its offset, and each group of readers remembers how far it has come (J. Kreps
et al., "Kafka: a Distributed Messaging System for Log Processing", NetDB 2011, section 3). A record
is a length, a checksum and bytes, so that a write which a crash cut short is seen and cut off. The
door to it over TCP is `mlsys.serving.queues.log_server`.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

HEAD = struct.Struct("!II")  # bytes of the record, checksum
LARGEST = 1_000_000  # bytes of a record
MOST = 1_000  # records that one read returns


class LogError(ValueError):
    """A request that the log cannot fulfil: no such partition, offset or size."""


class Log:
    """A log in a folder; one process has it open at a time."""

    def __init__(self, folder: Path | str, *, partitions: int = 3) -> None:
        if not 1 <= partitions <= 64:
            raise LogError(f"{partitions} partitions cannot be; take 1 to 64.")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        there = len(list(self.folder.glob("partition-*.log")))
        paths = [self.folder / f"partition-{n}.log" for n in range(there or partitions)]
        self._starts = [recover(path) for path in paths]  # where each record begins, and the end
        self._files = [path.open("r+b") for path in paths]
        self._offsets = _read_json(self.folder / "offsets.json")

    def append(self, key: str, values: Iterable[bytes]) -> tuple[int, int]:
        """Add records to the key's partition; returns it and the first one's offset.

        They are on the disk when it returns.
        """
        partition, values = self.partition(key), list(values)
        if too_long := [len(value) for value in values if len(value) > LARGEST]:
            raise LogError(f"A record of {too_long[0]:,} bytes is over the limit of {LARGEST:,}.")
        starts, file = self._starts[partition], self._files[partition]
        offset = len(starts) - 1
        file.seek(starts[-1])
        for value in values:
            file.write(HEAD.pack(len(value), crc32(value)) + value)
            starts.append(starts[-1] + HEAD.size + len(value))
        file.flush()
        os.fsync(file.fileno())
        return partition, offset

    def partition(self, key: str) -> int:
        """Messages of one key share a partition, and so keep their order."""
        return crc32(key.encode()) % len(self._files)

    def read(self, partition: int, offset: int, count: int = 100) -> list[bytes]:
        """Up to `count` records from this offset on; an empty list at the end."""
        self._check(partition, offset)
        starts, file = self._starts[partition], self._files[partition]
        last = min(offset + max(0, min(count, MOST)), len(starts) - 1)
        file.seek(starts[offset])
        block = file.read(starts[last] - starts[offset])
        return [body for body, _ in records(block)]

    def commit(self, group: str, partition: int, offset: int) -> None:
        """Remember that the group has done all before this offset; in one step, or not at all."""
        self._check(partition, offset)
        self._offsets.setdefault(group, {})[str(partition)] = offset
        fresh = self.folder / "offsets.json.new"
        fresh.write_text(json.dumps(self._offsets), encoding="utf-8")
        fresh.replace(self.folder / "offsets.json")

    def committed(self, group: str) -> list[int]:
        """Where the group goes on, for each partition; 0 where it has never been."""
        told = self._offsets.get(group, {})
        return [told.get(str(partition), 0) for partition in range(len(self._files))]

    def ends(self) -> list[int]:
        """The offset that each partition's next record will get."""
        return [len(starts) - 1 for starts in self._starts]

    def close(self) -> None:
        for file in self._files:
            file.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *told: object) -> None:
        self.close()

    def _check(self, partition: int, offset: int) -> None:
        if not 0 <= partition < len(self._files):
            raise LogError(f"There is no partition {partition}; there are {len(self._files)}.")
        if not 0 <= offset <= len(self._starts[partition]) - 1:
            end = len(self._starts[partition]) - 1
            raise LogError(f"Partition {partition} has offsets 0 to {end}, not {offset}.")


def records(block: bytes) -> Iterator[tuple[bytes, int]]:
    """Each whole and undamaged record of a block with the place where it ends; then it stops."""
    place = 0
    while place + HEAD.size <= len(block):
        size, checksum = HEAD.unpack_from(block, place)
        body = block[place + HEAD.size : place + HEAD.size + size]
        if len(body) < size or crc32(body) != checksum:
            return
        place += HEAD.size + size
        yield body, place


def recover(path: Path) -> list[int]:
    """Make or open a partition's file, cut off what is not whole, and find where records begin."""
    block = path.read_bytes() if path.exists() else b""
    starts = [0, *(end for _, end in records(block))]
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(starts[-1])
    return starts


def _read_json(path: Path) -> dict[str, dict[str, int]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
