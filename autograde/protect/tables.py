"""The codec's arrays and frames: a raw buffer and an allowed dtype for NumPy; for pandas the parts
of each column over the same arrays, so that no parser of a binary table format meets hostile bytes.
What has no entry here (a sparse array) is left to a reference.
"""

import re
from typing import Any

import numpy as np

from autograde.protect.codec import CodecError, typed

_KINDS = "?biufcSUmM"
_DTYPE = re.compile(r"[<>|=][a-zA-Z?]\d{0,9}(\[\d{0,6}[a-zA-Z]{1,2}\])?", re.ASCII)
_MASKED = {
    "boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64",
    "Float32", "Float64",
}  # fmt: skip


def write(value: Any, writer: Any, depth: int) -> Any:
    """The tagged form of a NumPy or pandas value, or None if it is none of theirs."""
    if type(value) is np.ma.MaskedArray and value.dtype.kind in _KINDS:
        mask = None if value.mask is np.ma.nomask else _write_array(value.mask, writer, depth)
        fill = _write_array(np.asarray(value.fill_value), writer, depth)
        return {"&m": [_write_array(value.data, writer, depth), mask, fill]}
    if isinstance(value, np.ndarray):
        return _write_array(np.asarray(value), writer, depth) if _is_plain(value) else None
    if isinstance(value, np.generic):
        if value.dtype.kind not in _KINDS:
            return None
        return {"&s": [value.dtype.str, value.tobytes()]}
    if isinstance(value, np.dtype):
        return {"&d": value.str} if value.kind in _KINDS else None
    if isinstance(value, type) and issubclass(value, np.generic):
        return None
    return _write_pandas(value, writer, depth) if _from_pandas(value) else None


def read(tag: str, part: Any, reader: Any, depth: int) -> Any:
    """The value of what `write` wrote; CodecError on anything else."""
    if tag not in _READ:
        raise CodecError(f"an unknown tag {tag[:20]!r}")
    return _READ[tag](part, reader, depth + 1)


def _is_plain(value: np.ndarray) -> bool:
    if isinstance(value, np.ma.MaskedArray):
        return False
    dtype = value.dtype
    if dtype.names:
        return all(f[0].kind in _KINDS and not f[0].names for f in dtype.fields.values())
    return dtype.kind in _KINDS or dtype.kind == "O"


def _write_array(value: np.ndarray, writer: Any, depth: int) -> dict[str, Any]:
    shape = list(value.shape)
    if value.dtype.kind == "O":
        return {"&o": [shape, writer.all(value.ravel().tolist(), depth)]}
    kind: Any = value.dtype.str
    if value.dtype.names:
        value = value.astype(_packed(value.dtype))
        kind = [[name, value.dtype[name].str] for name in value.dtype.names]
    if value.size * value.itemsize > writer.limits.size:
        raise CodecError(f"an array of {value.size * value.itemsize:,} bytes")
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    return {"&a": [kind, shape, order, value.tobytes(order=order)]}


def _packed(dtype: np.dtype) -> np.dtype:
    return np.dtype([(name, dtype[name].str) for name in dtype.names])


def _dtype(text: Any) -> np.dtype:
    if type(text) is list:
        names = [(_text(name), _dtype(_text(kind)).str) for name, kind in text]
        return np.dtype(names)
    # NumPy reads whole languages of types, with commas and shapes.
    if type(text) is not str or not _DTYPE.fullmatch(text):
        raise CodecError("not a dtype")
    dtype = np.dtype(text)
    if dtype.kind not in _KINDS or dtype.names or dtype.subdtype:
        raise CodecError(f"the dtype {text!r} is not allowed")
    return dtype


def _text(value: Any) -> str:
    return typed(value, str)


def _shape(parts: Any) -> tuple[int, ...]:
    if type(parts) is not list or len(parts) > 32:
        raise CodecError("not a shape")
    if not all(type(n) is int and 0 <= n < 2**40 for n in parts):
        raise CodecError("not a shape")
    return tuple(parts)


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _read_array(part: Any, reader: Any, depth: int) -> np.ndarray:
    kind, parts, order, raw = part
    dtype, shape = _dtype(kind), _shape(parts)
    if type(raw) is not bytes or order not in ("C", "F"):
        raise CodecError("not an array")
    if len(raw) != _count(shape) * dtype.itemsize:
        raise CodecError(f"{len(raw):,} bytes cannot fill {list(shape)} of {dtype}")
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    flat = np.frombuffer(raw, dtype).copy()
    for field in dtype.names or [None]:
        _check_content(flat if field is None else flat[field])
    return flat.reshape(shape, order=order)


def _check_content(flat: np.ndarray) -> None:
    """Bytes that no honest array of the type holds, which NumPy would trust."""
    if flat.dtype.kind == "b":
        bits = np.ascontiguousarray(flat).view(np.uint8)
        if bits.size and bits.max() > 1:
            raise CodecError("a truth value that is neither")
    elif flat.dtype.kind == "U" and flat.size:
        points = np.ascontiguousarray(flat).view(
            np.dtype(np.uint32).newbyteorder(flat.dtype.byteorder)
        )
        if points.max() > 0x10FFFF:
            raise CodecError("text that is no Unicode")


def _read_objects(part: Any, reader: Any, depth: int) -> np.ndarray:
    parts, items = part
    shape, values = _shape(parts), reader.all(items, depth)
    if len(values) != _count(shape):
        raise CodecError("an array with too few values")
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array.reshape(shape)


def _read_scalar(part: Any, reader: Any, depth: int) -> Any:
    kind, raw = part
    return _read_array([kind, [], "C", raw], reader, depth)[()]


def _read_masked(part: Any, reader: Any, depth: int) -> np.ndarray:
    data, mask, fill = (None if p is None else reader.read(p, depth) for p in part)
    if type(data) is not np.ndarray or type(fill) is not np.ndarray or fill.ndim:
        raise CodecError("not a masked array")
    if mask is not None and (type(mask) is not np.ndarray or mask.shape != data.shape):
        raise CodecError("not the mask of an array")
    nothing = np.ma.nomask if mask is None else mask.astype(bool)
    return np.ma.MaskedArray(data, mask=nothing, fill_value=fill[()])


def _from_pandas(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas"


def _write_pandas(value: Any, writer: Any, depth: int) -> Any:
    import pandas as pd

    def column(array: Any) -> Any:
        return _write_column(array, writer, depth + 1)

    if isinstance(value, pd.DataFrame):
        columns = [column(value.iloc[:, i].array) for i in range(value.shape[1])]
        return {"%f": [_write_index(value.index, writer, depth), _write_index(
            value.columns, writer, depth), columns]}  # fmt: skip
    if isinstance(value, pd.Series):
        name = writer.write(value.name, depth + 1)
        return {"%s": [_write_index(value.index, writer, depth), name, column(value.array)]}
    if isinstance(value, pd.Index):
        return {"%i": _write_index(value, writer, depth)}
    if value is pd.NaT:
        return {"%n": "NaT"}
    if value is pd.NA:
        return {"%n": "NA"}
    if isinstance(value, pd.Timestamp):
        zone = None if value.tz is None else str(value.tz)
        return {"%t": [value.asm8.view("i8").item(), value.unit, zone]}
    if isinstance(value, pd.Timedelta):
        return {"%d": [value.asm8.view("i8").item(), value.unit]}
    if isinstance(value, pd.Period):
        return {"%p": [value.ordinal, value.freqstr]}
    if isinstance(value, pd.Interval):
        return {"%v": [writer.all((value.left, value.right), depth), value.closed]}
    if isinstance(value, pd.api.extensions.ExtensionArray):
        written = column(value)
        return None if written is None else {"%a": written}
    return None


def _write_index(index: Any, writer: Any, depth: int) -> list[Any]:
    import pandas as pd

    if isinstance(index, pd.MultiIndex):
        levels = [_write_index(level, writer, depth + 1) for level in index.levels]
        codes = [_write_array(np.asarray(c), writer, depth) for c in index.codes]
        return ["m", writer.all(index.names, depth), levels, codes]
    name = writer.write(index.name, depth + 1)
    if isinstance(index, pd.RangeIndex):
        return ["r", name, [index.start, index.stop, index.step]]
    freq = getattr(index, "freq", None) if index.dtype.kind in "mM" else None
    column = _write_column(index.array, writer, depth + 1)
    return ["x", name, column, None if freq is None else freq.freqstr]


def _write_column(array: Any, writer: Any, depth: int) -> list[Any]:
    import pandas as pd

    dtype = array.dtype
    if isinstance(dtype, np.dtype) or isinstance(array, pd.arrays.NumpyExtensionArray):
        return ["n", _write_array(np.asarray(array), writer, depth)]
    if isinstance(dtype, pd.CategoricalDtype):
        codes = _write_array(np.asarray(array.codes), writer, depth)
        return ["c", codes, _write_index(array.categories, writer, depth), bool(array.ordered)]
    if isinstance(dtype, pd.StringDtype):
        texts = [None if missing else str(text) for text, missing in zip(array, array.isna())]
        return ["s", dtype.na_value is pd.NA, writer.all(texts, depth)]
    if isinstance(dtype, pd.DatetimeTZDtype):
        values = _write_array(np.asarray(array.tz_convert("UTC").tz_localize(None)), writer, depth)
        return ["z", values, str(dtype.tz)]
    if dtype.name in _MASKED:
        mask = np.asarray(array.isna())
        zero = False if dtype.name == "boolean" else 0
        values = array.to_numpy(dtype=dtype.numpy_dtype, na_value=zero)
        return ["k", dtype.name, _write_array(values, writer, depth), _write_array(mask, writer,
            depth)]  # fmt: skip
    if isinstance(dtype, pd.PeriodDtype):
        return ["p", _write_array(np.asarray(array.asi8), writer, depth), str(dtype)[7:-1]]
    if isinstance(dtype, pd.IntervalDtype):
        ends = [_write_index(end, writer, depth) for end in (array.left, array.right)]
        return ["v", ends, dtype.closed]
    return ["n", _write_array(np.asarray(array, dtype=object), writer, depth)]  # what it holds


def _array_of(part: Any, reader: Any, depth: int) -> np.ndarray:
    array = reader.read(part, depth)
    if type(array) is not np.ndarray or array.ndim != 1:
        raise CodecError("a column was expected")
    return array


def _read_column(part: Any, reader: Any, depth: int) -> Any:
    import pandas as pd

    kind, *rest = part
    if kind == "n":
        return _array_of(rest[0], reader, depth)
    if kind == "c":
        codes, categories = _array_of(rest[0], reader, depth), _read_index(rest[1], reader, depth)
        return pd.Categorical.from_codes(codes, categories=categories, ordered=bool(rest[2]))
    if kind == "s":
        texts = reader.all(rest[1], depth)
        if not all(text is None or type(text) is str for text in texts):
            raise CodecError("a column of text holds something else")
        missing = pd.NA if rest[0] else np.nan
        return pd.array(texts, dtype=pd.StringDtype(na_value=missing))
    if kind == "z":
        values = _array_of(rest[0], reader, depth)
        if values.dtype.kind != "M":
            raise CodecError("a column of times was expected")
        return pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(_text(rest[1])).array
    if kind == "k" and rest[0] in _MASKED:
        values, mask = _array_of(rest[1], reader, depth), _array_of(rest[2], reader, depth)
        dtype = pd.array([], dtype=rest[0]).dtype
        if values.dtype != dtype.numpy_dtype or mask.dtype != bool or len(mask) != len(values):
            raise CodecError("a nullable column is damaged")
        return dtype.construct_array_type()(values, mask)
    if kind == "p":
        ordinals = _array_of(rest[0], reader, depth)
        if ordinals.dtype.kind != "i":
            raise CodecError("a column of periods was expected")
        return pd.PeriodIndex.from_ordinals(ordinals, freq=_frequency(rest[1])).array
    if kind == "v":
        left, right = (_read_index(end, reader, depth) for end in rest[0])
        return pd.arrays.IntervalArray.from_arrays(left, right, closed=_text(rest[1]))
    raise CodecError("an unknown kind of column")


def _read_index(part: Any, reader: Any, depth: int) -> Any:
    import pandas as pd

    if depth > reader.limits.depth:
        raise CodecError("nested too deep")
    kind, name, *rest = part
    if kind == "m":
        levels = [_read_index(level, reader, depth + 1) for level in rest[0]]
        codes = [_array_of(codes, reader, depth) for codes in rest[1]]
        if any(isinstance(level, pd.MultiIndex) for level in levels):
            raise CodecError("not the levels of an index")
        names = reader.all(name, depth)
        return pd.MultiIndex(levels, codes, names=names, verify_integrity=True)
    name = reader.read(name, depth)
    if kind == "r":
        start, stop, step = rest[0]
        return pd.RangeIndex(start, stop, step, name=name)
    if kind == "x":
        array = _read_column(rest[0], reader, depth + 1)
        index = pd.Index(array, name=name, dtype=array.dtype)
        if rest[1] is not None:
            index.freq = _frequency(rest[1])  # refused if the times do not have it
        return index
    raise CodecError("an unknown kind of index")


def _read_frame(part: Any, reader: Any, depth: int) -> Any:
    import pandas as pd

    index, columns = (_read_index(p, reader, depth) for p in part[:2])
    arrays = [_read_column(p, reader, depth) for p in part[2]]
    if len(arrays) != len(columns) or any(len(a) != len(index) for a in arrays):
        raise CodecError("a frame whose parts do not fit")
    if not arrays:
        return pd.DataFrame(index=index, columns=columns)
    frame = pd.DataFrame(
        {i: pd.Series(a, index=index, dtype=a.dtype, copy=False) for i, a in enumerate(arrays)},
        index=index,
    )
    frame.columns = columns
    return frame


def _read_series(part: Any, reader: Any, depth: int) -> Any:
    import pandas as pd

    index, array = _read_index(part[0], reader, depth), _read_column(part[2], reader, depth)
    if len(array) != len(index):
        raise CodecError("a series whose parts do not fit")
    name = reader.read(part[1], depth)
    return pd.Series(array, index=index, dtype=array.dtype, name=name)


def _read_missing(part: Any, reader: Any, depth: int) -> Any:
    import pandas as pd

    return {"NaT": pd.NaT, "NA": pd.NA}[part]


def _read_timestamp(part: Any, reader: Any, depth: int) -> Any:
    import pandas as pd

    value, unit, zone = part
    if unit not in ("s", "ms", "us", "ns"):
        raise CodecError("an unknown unit of time")
    moment = pd.Timestamp(np.datetime64(value, unit))
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(_text(zone))


def _frequency(text: Any) -> str:
    if len(_text(text)) > 20:
        raise CodecError("not a frequency")
    return text


def _read_period(part: Any, reader: Any, depth: int) -> Any:
    import pandas as pd

    return pd.Period(ordinal=typed(part[0], int), freq=_frequency(part[1]))


def _read_interval(part: Any, reader: Any, depth: int) -> Any:
    import pandas as pd

    left, right = reader.all(part[0], depth)
    return pd.Interval(left, right, closed=_text(part[1]))


def _read_timedelta(part: Any, reader: Any, depth: int) -> Any:
    import pandas as pd

    value, unit = part
    if unit not in ("s", "ms", "us", "ns"):
        raise CodecError("an unknown unit of time")
    return pd.Timedelta(np.timedelta64(value, unit))


_READ = {
    "&a": _read_array,
    "&o": _read_objects,
    "&s": _read_scalar,
    "&m": _read_masked,
    "&d": lambda part, reader, depth: _dtype(part),
    "%f": _read_frame,
    "%s": _read_series,
    "%i": _read_index,
    "%a": _read_column,
    "%n": _read_missing,
    "%t": _read_timestamp,
    "%d": _read_timedelta,
    "%p": _read_period,
    "%v": _read_interval,
}
