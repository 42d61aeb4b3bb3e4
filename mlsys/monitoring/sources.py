"""Columns out of whatever holds them: NumPy, pandas, Arrow, Parquet files, DuckDB relations.

Everything downstream sees `Piece`s: a stretch of one column as float64 (numbers, times) or as codes
with labels (categories). A column that no number can be trusted of raises MonitoringError here, so
that no wrong number is computed later. What a viewer uploads is read in `sources_upload`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlsys.monitoring.errors import MonitoringError

Kind = Literal["number", "category", "time", "text"]
ROWS = 131_072  # rows a batch, where a source is read by batches, at most
CELLS = 2**24  # values a batch at most: a table of a thousand columns comes by fewer rows
EXACT = 2**53  # every integer up to here is a float64


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one column.

    `values`: of numbers and times (seconds since 1970, UTC), their array, missing ones as NaN;
    of a category or of texts, integer codes into `labels`, -1 where missing. A column of strings
    comes as a category; whether it is one of texts is for `drift`. `dtype` is the source's own name
    of the type. `whole` says that a number's column holds integers.
    """

    name: str
    kind: Kind
    dtype: str
    values: np.ndarray
    labels: Sequence[str] | None = None
    whole: bool = False


def batches(source: Any, *, rows: int = ROWS) -> Iterator[dict[str, Any]]:
    """`source` as batches, each a dict of column name to array-like, all of one length.

    A source is a pandas frame, a mapping of names to arrays, a NumPy structured or 2-D array, an
    Arrow table, record batch or reader, the path of a Parquet file or of a folder of them, or a
    DuckDB relation. What already lies in memory is one batch.
    """
    if isinstance(source, pd.DataFrame):
        yield {_name(name): source.iloc[:, i] for i, name in enumerate(source.columns)}
    elif isinstance(source, pd.Series):
        yield {_name(source.name if source.name is not None else "value"): source}
    elif isinstance(source, Mapping):
        yield {_name(name): values for name, values in source.items()}
    elif isinstance(source, np.ndarray):
        yield _of_array(source)
    elif isinstance(source, (pa.Table, pa.RecordBatch)):
        yield dict(zip(source.column_names, source.columns))
    elif isinstance(source, pa.RecordBatchReader):
        for batch in source:
            yield dict(zip(batch.schema.names, batch.columns))
    elif isinstance(source, (str, Path)):
        yield from _of_parquet(Path(source), rows)
    elif hasattr(source, "to_arrow_reader"):
        yield from batches(source.to_arrow_reader(rows))
    elif hasattr(source, "fetch_record_batch"):
        yield from batches(source.fetch_record_batch(rows))
    else:
        raise MonitoringError(
            f"A {type(source).__name__} cannot be read as a table: give a pandas frame, a dict of "
            f"arrays, an Arrow table, a Parquet path or a DuckDB relation."
        )


def column(source: Any, name: str) -> Piece:
    """One whole column in memory."""
    found = [batch[name] for batch in batches(source) if name in batch]
    if not found:
        raise MonitoringError(f"There is no column {name!r}.")
    if len(found) == 1:
        return piece(name, found[0])
    return piece(name, pa.chunked_array([pa.array(part) for part in found]))


def piece(name: str, values: Any) -> Piece:
    """An array-like as a `Piece`. Raises MonitoringError for what cannot be read as one kind."""
    if isinstance(values, Piece):
        return values
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return _of_arrow(name, values)
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "fiu":
        return _of_numbers(name, values, str(values.dtype))
    try:
        series = values if isinstance(values, pd.Series) else pd.Series(values)
    except (TypeError, ValueError) as error:
        raise MonitoringError(f"Column {name!r} is not a sequence of values: {error}.") from None
    return _of_series(name, series)


def _name(name: object) -> str:
    return name if isinstance(name, str) else str(name)


def _of_array(array: np.ndarray) -> dict[str, np.ndarray]:
    if array.dtype.names:
        return {name: array[name] for name in array.dtype.names}
    if array.ndim == 1:
        return {"value": array}
    if array.ndim == 2:
        return {f"x{i}": array[:, i] for i in range(array.shape[1])}
    raise MonitoringError(f"An array of {array.ndim} dimensions is not a table: give one or two.")


def _of_parquet(path: Path, rows: int) -> Iterator[dict[str, Any]]:
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise MonitoringError(f"There is no Parquet file in {path.name!r}.")
    for one in files:
        try:
            # Buffered ahead, the bytes of all row groups would stay until the file is closed.
            with pq.ParquetFile(one, pre_buffer=False) as file:
                few = max(1_024, CELLS // max(1, file.metadata.num_columns))
                for batch in file.iter_batches(batch_size=min(rows, few)):
                    yield dict(zip(batch.schema.names, batch.columns))
        except FileNotFoundError:
            raise MonitoringError(f"There is no file {one.name!r}.") from None
        except (pa.ArrowException, OSError) as error:
            raise MonitoringError(
                f"{one.name!r} cannot be read as Parquet: {str(error).splitlines()[0]}"
            ) from None


def _of_numbers(name: str, values: np.ndarray, dtype: str) -> Piece:
    whole = values.dtype.kind in "iu"
    if values.dtype.itemsize == 8 and whole and len(values):
        low, high = int(values.min()), int(values.max())
        if low < -EXACT or high > EXACT:
            worst = high if high > EXACT else low
            raise MonitoringError(
                f"Column {name!r} holds the integer {worst}, beyond 2^53, which floating point "
                f"cannot hold exactly: leave it out if it is a key, or read it as text."
            )
    return Piece(name, "number", dtype, values, whole=whole)


def _of_series(name: str, series: pd.Series) -> Piece:
    dtype = series.dtype
    shown = str(dtype)
    if isinstance(dtype, pd.CategoricalDtype):
        return Piece(name, "category", "category", series.cat.codes.to_numpy(),
                     [str(label) for label in series.cat.categories.tolist()])  # fmt: skip
    if pd.api.types.is_bool_dtype(dtype):
        return _of_labels(name, series, shown)
    if isinstance(dtype, (np.dtype, pd.DatetimeTZDtype)) and dtype.kind == "M":
        return Piece(name, "time", shown, _seconds(series))
    if isinstance(dtype, np.dtype):
        if dtype.kind in "fiu":
            return _of_numbers(name, series.to_numpy(), shown)
        if dtype.kind == "m":
            return Piece(name, "number", shown, series.dt.total_seconds().to_numpy())
        if dtype.kind == "c":
            raise MonitoringError(f"Column {name!r} holds complex numbers: watch its parts.")
    elif isinstance(dtype, pd.ArrowDtype):
        return _of_arrow(name, pa.array(series))
    elif pd.api.types.is_numeric_dtype(dtype):
        present = series.dropna()
        whole = pd.api.types.is_integer_dtype(dtype)
        if whole:
            _of_numbers(name, present.to_numpy(), shown)
        return Piece(name, "number", shown, series.to_numpy(np.float64, na_value=np.nan),
                     whole=whole)  # fmt: skip
    if isinstance(dtype, pd.StringDtype):
        return _of_labels(name, series, shown)
    return _of_objects(name, series)


def _of_objects(name: str, series: pd.Series) -> Piece:
    found = pd.api.types.infer_dtype(series, skipna=True)
    if found == "empty":
        return Piece(name, "number", "null", np.full(len(series), np.nan))
    if found in {"string", "boolean", "categorical"}:
        return _of_labels(name, series, found)
    if found in {"integer", "floating", "mixed-integer-float", "decimal"}:
        if found != "floating":
            for value in series.dropna():
                if value == value // 1 and abs(value) > EXACT:
                    raise MonitoringError(
                        f"Column {name!r} holds the integer {value}, beyond 2^53, which floating "
                        f"point cannot hold exactly: leave it out if it is a key, or read it as "
                        f"text."
                    )
        return Piece(name, "number", found, pd.to_numeric(series, errors="raise")
                     .to_numpy(np.float64, na_value=np.nan), whole=found == "integer")  # fmt: skip
    if found in {"datetime", "datetime64", "date"}:
        try:
            times = pd.to_datetime(series)
        except (ValueError, TypeError):
            raise MonitoringError(
                f"Column {name!r} mixes times with and without a time zone (or of several): "
                f"convert it to UTC."
            ) from None
        return Piece(name, "time", str(times.dtype), _seconds(times))
    kinds = sorted({type(value).__name__ for value in series.dropna().head(100_000)})
    raise MonitoringError(
        f"Column {name!r} mixes or nests types ({', '.join(kinds[:4])}): convert it to one of "
        f"number, text, truth value or time."
    )


def _of_labels(name: str, series: pd.Series, dtype: str) -> Piece:
    codes, labels = pd.factorize(series, use_na_sentinel=True)
    return Piece(name, "category", dtype, codes, [str(label) for label in labels])


def _seconds(series: pd.Series) -> np.ndarray:
    """Seconds since 1970 in UTC; NaN where missing. A naive time is read as UTC."""
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    stamps = series.to_numpy()
    seconds = (stamps - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    return np.asarray(seconds, dtype=np.float64)


def _of_arrow(name: str, values: pa.Array | pa.ChunkedArray) -> Piece:
    kind = values.type
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    if isinstance(values, pa.ChunkedArray):  # two chunks of one array's limit
        return _of_series(name, values.to_pandas())
    if pa.types.is_dictionary(kind):
        labels = [str(label) for label in values.dictionary.to_pylist()]
        codes = values.indices.fill_null(-1) if values.null_count else values.indices
        codes = codes.to_numpy(zero_copy_only=False)
        return Piece(name, "category", str(kind.value_type), codes, labels)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return _of_arrow(name, values.dictionary_encode()) if not pa.types.is_boolean(kind) else (
            _of_labels(name, values.to_pandas(), "bool"))  # fmt: skip
    if pa.types.is_integer(kind):
        _of_numbers(name, values.drop_null().to_numpy(), str(kind))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = values.to_numpy(zero_copy_only=False)
        return Piece(name, "number", str(kind), numbers, whole=pa.types.is_integer(kind))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_duration(kind):
        return _of_series(name, pd.Series(pd.array(values.to_pandas())))
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return _of_objects(name, pd.Series(values.to_pylist(), dtype=object))
    raise MonitoringError(
        f"Column {name!r} is of type {kind}, which has no distribution to watch: leave it out, or "
        f"unnest it."
    )
