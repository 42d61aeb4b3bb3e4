"""What crosses between the processes: exact plain types both ways, and nothing else ever."""

import base64
import datetime as dt
import importlib.util
import pickle
from collections import Counter, OrderedDict, deque, namedtuple
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograde.protect.codec import CodecError, Limits, decode, encode

_spec = importlib.util.spec_from_file_location(
    "fuzz_codec", Path(__file__).parents[1] / "hostile" / "fuzz_codec.py"
)
fuzz_codec = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz_codec)
SEEDS = fuzz_codec.seeds()
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**300), 2**300)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC) | st.just(ZoneInfo("Europe/Berlin")))
    | st.dates()
    | st.times()
    | st.timedeltas()
)
KEYS = SCALARS | st.tuples(SCALARS, SCALARS) | st.frozensets(st.integers())
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=4)
    ),
    max_leaves=12,
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5)
    | st.dictionaries(
        st.sampled_from([*"tdsziuCOqbcRSENDFTr", "nt", "dt", "da", "ti", "td", "tz", "&a", "&o",
                         "&s", "&d", "&m", "@", "n", "dd", "P", "vk", "vv", "vi", "%p", "%v",
                         "%f", "%s", "%i", "%a", "%n", "%t", "%d"])
        | st.text(max_size=3),
        inner,
        max_size=2,
    ),
    max_leaves=15,
)  # fmt: skip


def back(value):
    return decode(encode(value))


def same(left, right) -> bool:
    """Equal with equal types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    return left == right


@given(VALUES)
@settings(max_examples=150)
def test_a_plain_value_comes_back_as_it_was_with_its_type(value):
    assert same(back(value), value)


@pytest.mark.parametrize(
    "value",
    [
        Counter("hello"), OrderedDict(b=1, a=2), deque([1, 2], 5), range(3, 9, 2), slice(1, None),
        ..., NotImplemented, bytearray(b"x"), Decimal("NaN"), Fraction(1, 3), int, type(None),
        dt.timezone(dt.timedelta(hours=2)), float("inf"), "\ud800", -0.0, True, 1, 2**64,
    ],
)  # fmt: skip
def test_each_plain_type_has_its_own_form(value):
    assert type(back(value)) is type(value)
    assert repr(back(value)) == repr(value)


def test_a_named_tuple_keeps_its_fields():
    point = back(namedtuple("Point", "x y")(1, [2]))
    assert (point.x, point.y, type(point).__name__) == (1, [2], "Point")


def test_a_subclass_arrives_as_the_plain_type_read_by_the_plain_types_own_methods():
    class Liar(dict):
        def items(self):
            return [("points", 100)]

        def __eq__(self, other):
            return True

    class Elastic(int):
        def __eq__(self, other):
            return True

        def __index__(self):
            return 42

    got = back([Liar(a=1), Elastic(7), type("T", (str,), {})("text")])
    assert [type(v) for v in got] == [dict, int, str]
    assert got == [{"a": 1}, 7, "text"]


@given(hnp.arrays(
    hnp.scalar_dtypes() | hnp.array_dtypes(allow_subarrays=False).filter(
        lambda d: all(f[0].kind != "V" for f in d.fields.values())),
    hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
))  # fmt: skip
@settings(max_examples=80)
def test_an_array_comes_back_with_its_bytes(array):
    got = back(array)
    assert type(got) is type(array) and got.shape == array.shape
    if not array.dtype.names:
        assert got.dtype == array.dtype
        assert got.tobytes() == array.tobytes()


def test_a_transposed_array_and_an_array_of_objects_keep_their_values():
    array = np.arange(12).reshape(3, 4).T
    assert (back(array) == array).all()
    array = np.array([[1, "a"], [None, (2, 3)]], dtype=object)
    assert back(array).tolist() == array.tolist()
    assert back(np.float32(1.5)).dtype == np.float32
    assert back(array)[1, 0] is None


FRAME = pd.DataFrame(
    {
        "i": [1, 2, 3],
        "f": [0.5, np.nan, 2],
        "s": ["a", None, "c"],
        "o": pd.Series([1, "x", None], dtype=object),
        "c": pd.Categorical(["lo", "hi", None], ["lo", "hi"], ordered=True),
        "n": pd.array([1, None, 3], dtype="Int64"),
        "b": pd.array([True, None, False], dtype="boolean"),
        "t": pd.date_range("2026-03-28", periods=3, freq="D", tz="Europe/Berlin"),
        "d": pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
        "w": pd.to_timedelta([1, 2, None], unit="h"),
        "p": pd.period_range("2026-01", periods=3, freq="M"),
        "g": pd.array(["x", None, "z"], dtype="string"),
    }
)


@pytest.mark.parametrize("column", FRAME.columns)
def test_a_series_of_each_kind_comes_back_exactly(column):
    pd.testing.assert_series_equal(back(FRAME[column]), FRAME[column], check_freq=False)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME.set_index(["i", "s"]),
        FRAME.set_index("t").iloc[:0],
        pd.DataFrame(index=[3, 4]),
        pd.DataFrame(np.eye(2), columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        pd.DataFrame([[1, 2]], columns=["x", "x"]),
    ],
)
def test_a_frame_comes_back_exactly(frame):
    pd.testing.assert_frame_equal(back(frame), frame, check_freq=False)


def test_moments_of_pandas_come_back():
    for value in (pd.Timestamp("2026-01-01 10:00", tz="UTC"), pd.Timedelta("3h"), pd.Index([1, 2])):
        assert type(back(value)) is type(value)
        assert np.all(back(value) == value)
    assert back([pd.NaT, pd.NA])[0] is pd.NaT
    assert back([pd.NaT, pd.NA])[1] is pd.NA


@given(TREES)
@settings(max_examples=400)
@example({"&a": ["|O", [1], "C", b"12345678"]})
@example({"&a": ["<U1", [1], "C", b"\xff\xff\xff\xff"]})
@example({"&a": ["|b1", [1], "C", b"\x07"]})
@example({"&a": ["<f8", [2**39, 2**39], "C", b""]})
@example({"d": [[], 1]})
@example({"%i": ["m", [], [], []]})
def test_a_forged_message_is_a_value_or_a_codec_error(tree):
    try:
        value = decode(msgspec.msgpack.encode(tree))
    except CodecError:
        return
    repr(value)


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_any_bytes_are_a_value_or_a_codec_error(data):
    with suppress(CodecError):
        decode(data)


@given(VALUES, st.data())
@settings(max_examples=60)
def test_a_message_with_one_byte_changed_is_a_value_or_a_codec_error(value, data):
    packed = bytearray(encode(value))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(CodecError):
        decode(bytes(packed))


TABLES = [
    encode(value)
    for value in (
        FRAME, FRAME.set_index(["i", "s"]), FRAME["c"], np.arange(6.0).reshape(2, 3).T,
        np.array(["ab", "c"]), np.array([1, "x", None], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        pd.Timestamp("2026-01-01", tz="UTC"),
    )
]  # fmt: skip


@given(
    st.sampled_from(TABLES),
    st.lists(
        st.tuples(
            st.integers(0, 10**6), st.integers(0, 255), st.sampled_from("set cut put".split())
        ),
        min_size=1,
        max_size=5,
    ),
)
@settings(max_examples=250)
def test_a_table_with_bytes_changed_cut_or_put_in_is_a_value_that_travels_or_a_codec_error(
    packed, changes
):
    damaged = bytearray(packed)
    for place, byte, how in changes:
        place %= len(damaged)
        damaged[place : place + (how != "put")] = b"" if how == "cut" else bytes([byte])
    with suppress(CodecError):
        again = encode(decode(bytes(damaged)))
        assert len(encode(decode(again))) == len(again)  # a set has no order


@pytest.mark.parametrize("kind", ["<8)[us]", "<i4,<f8", "<i4,(2,3)f8", "<O", "<V8", "=S8[us]x"])
def test_no_text_but_the_name_of_one_plain_dtype_reaches_numpy(kind):
    with pytest.raises(CodecError):
        decode(msgspec.msgpack.encode({"&a": [kind, [1], "C", bytes(8)]}))


def test_an_index_of_a_dtype_that_pandas_does_not_take_is_a_codec_error():
    frame = base64.b64decode(  # found by fuzzing
        "gaIlZpOUoW2SoWGhYpKToXihYZKhboGiJmGUozxhOJECoUPEEAEBAAAAB6EgAAAAAAAAAACToXihYpOhc8KRoXiSgaIm"
        "YZSjfGkxkQKhQ8QCAAGBoiZhlKN8aTGRAqFDxCIA/5OheMCToXPCkaFjkZShY4GiJmGUo3xpMZECoUPEAgABk6FzwpKh"
        "daF2wg=="
    )
    with pytest.raises(CodecError):
        decode(frame)


def test_nothing_is_ever_unpickled():
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    assert decode(encode(pickle.dumps(Bomb()))) == pickle.dumps(Bomb())


def test_what_is_no_data_does_not_pass():
    for value in (len, object(), lambda: 1, (i for i in ()), ValueError("x"), np, np.memmap):
        with pytest.raises(CodecError, match="no plain value"):
            encode([value])


def test_a_reference_passes_through_the_hooks():
    packed = encode({"f": len}, refer=lambda value: value.__name__)
    assert decode(packed, resolve=lambda name: f"<{name}>") == {"f": "<len>"}


def test_limits_hold_on_both_sides():
    cyclic: list = []
    cyclic.append(cyclic)
    deep = 1
    for _ in range(50):
        deep = [deep]
    small = Limits(size=1000, depth=20, nodes=100)
    for value in (cyclic, deep, list(range(200)), b"x" * 2000, np.zeros(500)):
        with pytest.raises(CodecError):
            encode(value, limits=small)
    for value in (deep, list(range(200)), b"x" * 2000):
        with pytest.raises(CodecError):
            decode(encode(value), limits=small)
    with pytest.raises(CodecError):
        decode(b"\x91" * 100_000 + b"\x00")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_the_fuzzer_begins_with_keeps_its_promise_when_bytes_change(data):
    """`hostile/fuzz_codec.py` is run by hand: this keeps its check and its seeds alive."""
    message = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(message) - 1))
        message[place] = data.draw(st.integers(0, 255))
    fuzz_codec.check(bytes(message))
