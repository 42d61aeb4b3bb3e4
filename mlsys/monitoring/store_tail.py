"""What is new in a log since it was last read.

A `Tail` remembers how far it came in each segment, and which Parquet files it has read to the end.
So a look at a log costs what was written since, however long the log is; only the last frame is
read again, to see that it is still there. `Log.read` is for who wants a stretch of time, and all
of it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlsys.monitoring import segments
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.store import TIME, Log, sequence, stacked

HEADER = 16  # bytes of a frame that tell it from others: magic, length and checksum


class LogReplaced(MonitoringError):
    """Rows that were read are not in the log: it is another one, or its oldest days are gone."""


@dataclass
class _Segment:
    """How far a segment was read: the rows of each day, where its last frame begins and what is
    written there; `files`, with size and time, once it is Parquet and read to the end."""

    rows: Counter[date] = field(default_factory=Counter)
    last: int = 0
    header: bytes = b""
    files: dict[Path, tuple[int, int]] | None = None


class Tail:
    """Reads on in a log where it stopped; takes no lock, and never stands in the writer's way."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._segments: dict[int, _Segment] = {}
        self._born = self._birth()

    def new(self) -> Iterator[pa.Table]:
        """Tables of the rows that were not there before, in the order in which they were written.

        Together they are a beginning of what was acknowledged since, never a middle without it.
        Take them all, or begin with a new `Tail`; so too after LogReplaced, which says that the log
        is not the one that was read.
        """
        born = self._birth()
        if self._segments and self._born != born:
            raise self._replaced()
        logs = {sequence(path): path for path in self.log.segments()}
        parts = self._parts()  # after the segments: what is no segment any more is Parquet by now
        if (born is None and self._birth()) or (not logs and self.log.segments()):
            return  # it began during this look: all of it is for the next
        self._born = born
        newest = max(logs or parts, default=0)
        for number, read in self._segments.items():
            if number not in logs and not self._is_there(read, parts.get(number, [])):
                raise self._replaced()
        for number in sorted(one for one in {*logs, *parts} if one <= newest):
            read = self._segments.setdefault(number, _Segment())
            if read.files is not None:
                continue
            try:
                data = _from(logs[number], read.last) if number in logs else None
            except FileNotFoundError:
                data, parts = None, self._parts()
            if data is None:
                yield from self._compacted(read, parts.get(number, []))
            else:
                yield from self._written(read, data)

    def _parts(self) -> dict[int, list[Path]]:
        found: dict[int, list[Path]] = {}
        for path in self.log.files():
            found.setdefault(sequence(path), []).append(path)
        return found

    def _is_there(self, read: _Segment, paths: list[Path]) -> bool:
        """Is what was read of a segment in its Parquet files still? A segment may be empty."""
        if read.files is None:
            return read.rows.keys() <= {_day(path) for path in paths}
        return read.files == _stamps(paths)

    def _written(self, read: _Segment, data: bytes) -> Iterator[pa.Table]:
        """The rest of a segment's file, which begins with the frame that was read last."""
        places = list(segments.whole(data))
        if read.header:
            if not places or places[0][0] != 0 or data[:HEADER] != read.header:
                raise self._replaced()
            del places[0]
        if not places:
            return
        tables = list(segments.frames(data[places[0][0] :]))
        start = places[-1][0]
        read.last, read.header = read.last + start, data[start : start + HEADER]
        table = stacked(tables).combine_chunks()
        days = pc.value_counts(table.column(TIME).cast(pa.date32()))
        read.rows.update({one["values"]: one["counts"] for one in days.to_pylist()})
        yield table

    def _compacted(self, read: _Segment, paths: list[Path]) -> Iterator[pa.Table]:
        """The rest of a segment that is Parquet. A day's file keeps the order of its rows, so what
        was read of them are the first."""
        stamps = _stamps(paths)
        for path in paths:
            try:
                with pq.ParquetFile(path) as file:
                    rows, known = file.metadata.num_rows, read.rows[_day(path)]
                    new = file.read().slice(known) if rows > known else None
            except FileNotFoundError:
                raise self._replaced() from None
            if rows < known:
                raise self._replaced()
            read.rows[_day(path)] = rows
            if new is not None:
                yield new
        read.files = stamps

    def _birth(self) -> tuple[int, int] | None:
        """What tells this log from another in its place: the lock is made with it, once."""
        try:
            found = (self.log.folder / "writer.lock").stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _replaced(self) -> LogReplaced:
        return LogReplaced(f"The log in {self.log.folder} is not the one that was read before.")


def _from(path: Path, place: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(place)
        return stream.read()


def _day(path: Path) -> date:
    return date.fromisoformat(path.parent.name.removeprefix("day="))


def _stamps(paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    found = {}
    for path in paths:
        with suppress(FileNotFoundError):
            stat = path.stat()
            found[path] = stat.st_size, stat.st_mtime_ns
    return found
