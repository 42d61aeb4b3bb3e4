"""Files from people one does not know: CSV or Parquet in, a frame or one clear sentence out.

Everything is bounded before it is believed: the file's size, what it says it unpacks to, and what
it really unpacks to as it is read. Nothing is executed, unpickled or written.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from mlsys.monitoring.errors import MonitoringError

MEGABYTE = 2**20
LARGEST = 200 * MEGABYTE  # of a file
UNPACKED = 2048 * MEGABYTE  # in memory
ROWS = 50_000_000
COLUMNS = 5_000


def read_upload(
    source: bytes | str | Path,
    name: str = "",
    *,
    largest: int = LARGEST,
    unpacked: int = UNPACKED,
    rows: int = ROWS,
) -> pd.DataFrame:
    """The table in a CSV (also gzipped) or Parquet file, given as its bytes or its path.

    `name` is what the viewer calls the file. What it is shows in its first bytes, not in its name.
    `largest` and `unpacked` are in bytes. Raises MonitoringError, one sentence, for a file that is
    too large, packed to explode, malformed, not UTF-8, or empty.
    """
    shown = repr(Path(name or (str(source) if not isinstance(source, bytes) else "file")).name)
    size = _size(source, shown)
    if size > largest:
        raise MonitoringError(
            f"{shown} has {size / MEGABYTE:,.0f} MB; at most {largest / MEGABYTE:,.0f} MB are read."
        )
    if size == 0:
        raise MonitoringError(f"{shown} is empty.")
    with _opened(source) as file:
        start = file.read(4)
        file.seek(0)
        if start == b"PAR1":
            table = _parquet(file, shown, unpacked, rows)
        elif start[:2] == b"PK":
            raise MonitoringError(
                f"{shown} is a ZIP archive or a spreadsheet: unpack it, or save it as CSV."
            )
        else:
            packed = start[:2] == b"\x1f\x8b"
            table = _csv(file, shown, packed, unpacked, rows)
    if not table.num_rows or not table.num_columns:
        raise MonitoringError(f"{shown} has no rows.")
    if len(set(table.column_names)) < table.num_columns:
        twice = next(n for n in table.column_names if table.column_names.count(n) > 1)
        raise MonitoringError(f"{shown} has the column {twice!r} more than once.")
    return table.to_pandas(strings_to_categorical=False)


def _size(source: bytes | str | Path, shown: str) -> int:
    if isinstance(source, bytes):
        return len(source)
    try:
        return Path(source).stat().st_size
    except OSError:
        raise MonitoringError(f"{shown} cannot be opened.") from None


def _opened(source: bytes | str | Path):
    return io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")


def _too_much(shown: str, unpacked: int) -> MonitoringError:
    return MonitoringError(
        f"{shown} unpacks to more than {unpacked / MEGABYTE:,.0f} MB: it is not read."
    )


def _not_utf8(shown: str) -> MonitoringError:
    return MonitoringError(f"{shown} is not UTF-8 text: save it as CSV (UTF-8).")


def _parquet(file, shown: str, unpacked: int, rows: int) -> pa.Table:
    try:
        parquet = pq.ParquetFile(file)
        meta = parquet.metadata
        if meta.num_rows > rows:
            raise MonitoringError(f"{shown} says it has {meta.num_rows:,} rows; {rows:,} are read.")
        if meta.num_columns > COLUMNS:
            raise MonitoringError(
                f"{shown} has {meta.num_columns:,} columns, more than {COLUMNS:,}."
            )
        declared = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        # A run of one value packs a billion rows into a few bytes: count what rows take, too.
        if max(declared, 8 * meta.num_rows * meta.num_columns) > unpacked:
            raise _too_much(shown, unpacked)
        nested = [field.name for field in parquet.schema_arrow if pa.types.is_nested(field.type)]
        if nested:
            raise MonitoringError(f"{shown} has a nested column, {nested[0]!r}: unnest it.")
        # Strings stay as codes and labels: a long one repeated a million times is held once.
        strings = [field.name for field in parquet.schema_arrow if pa.types.is_string(field.type)]
        parquet = pq.ParquetFile(file, read_dictionary=strings)
        kept, total = [], 0
        for batch in parquet.iter_batches(batch_size=65_536):
            total += batch.nbytes
            if total > unpacked:
                raise _too_much(shown, unpacked)
            batch.validate(full=True)
            kept.append(batch)
        return pa.Table.from_batches(kept, parquet.schema_arrow) if kept else pa.table({})
    except MonitoringError:
        raise
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise MonitoringError(f"{shown} is not a sound Parquet file: {_first(error)}") from None


def _csv(file, shown: str, packed: bool, unpacked: int, rows: int) -> pa.Table:
    stream = _Bounded(file, shown, packed, unpacked)
    try:
        reader = pc.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pc.ReadOptions(block_size=4 * MEGABYTE, use_threads=False),
            parse_options=pc.ParseOptions(newlines_in_values=True),
            convert_options=pc.ConvertOptions(strings_can_be_null=True, check_utf8=True),
        )
        kept, total, count = [], 0, 0
        if len(reader.schema) > COLUMNS:
            raise MonitoringError(
                f"{shown} has {len(reader.schema):,} columns; {COLUMNS:,} are read."
            )
        if any(pa.types.is_binary(field.type) for field in reader.schema):
            raise _not_utf8(shown)
        for batch in reader:
            total, count = total + batch.nbytes, count + batch.num_rows
            if total > unpacked:
                raise _too_much(shown, unpacked)
            if count > rows:
                raise MonitoringError(f"{shown} has more than {rows:,} rows.")
            kept.append(batch)
        return pa.Table.from_batches(kept, reader.schema)
    except MonitoringError:
        raise
    except (pa.ArrowException, OSError, ValueError, zlib.error) as error:
        if stream.refused:
            raise stream.refused from None
        text = _first(error)
        if "utf8" in text.lower() or "utf-8" in text.lower():
            raise _not_utf8(shown) from None
        raise MonitoringError(f"{shown} is not a sound CSV file: {text}") from None


class _Bounded(io.RawIOBase):
    """A file's bytes, unpacked if they are gzipped, up to a bound."""

    def __init__(self, file, shown: str, packed: bool, unpacked: int) -> None:
        super().__init__()
        self.file, self.shown, self.left, self.bound = file, shown, unpacked, unpacked
        self.inflate = zlib.decompressobj(wbits=31) if packed else None
        self.refused: MonitoringError | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = 4 * MEGABYTE if size < 0 else size
        if self.inflate is None:
            made = self.file.read(size)
        else:
            made = b""
            while not made and not self.inflate.eof:
                fed = self.inflate.unconsumed_tail or self.file.read(65_536)
                made = self.inflate.decompress(fed, size)
                if not fed and not made:
                    self._refuse(f"{self.shown} ends in the middle: send it again.")
        self.left -= len(made)
        if self.left < 0:
            self._refuse(str(_too_much(self.shown, self.bound)))
        if b"\0" in made:
            self._refuse(f"{self.shown} is not text: it holds zero bytes.")
        return made

    def _refuse(self, why: str) -> None:
        self.refused = MonitoringError(why)
        raise self.refused


def _first(error: BaseException) -> str:
    """The first line of an error's text, cut to a readable length, with a full stop."""
    text = (str(error).splitlines() or ["unreadable"])[0][:200].strip()
    return text if text.endswith(".") else f"{text}."
