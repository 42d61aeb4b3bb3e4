"""Values as bytes, data only: what crosses between the student's process and the trusted one.
Nothing here can run code of the other side: a value is one of a closed list of plain types, rebuilt
from checked parts, or a reference that the caller's hook resolves. A subclass of a plain type
arrives as the plain type. A list, dict or set that stands twice in a message is one object on the
other side as well. Arrays and frames are `autograde.protect.tables`'s; sockets are
`autograde.protect.wire`'s.
"""

import datetime as dt
import math
import sys
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from keyword import iskeyword
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from autograde.protect import times


class CodecError(ValueError):
    """The bytes or the value are not what the codec carries; the message says why."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one message: bytes, levels of nesting, values in it."""

    size: int = 128_000_000
    depth: int = 100
    nodes: int = 5_000_000


LIMITS = Limits()
_SMALL = range(-(2**63), 2**64)
_LONGEST_INTEGER = 100_000  # bytes
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode

# Types whose values are types; both sides have them, and none can do anything.
_TYPES = {
    kind.__name__: kind
    for kind in (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, object)
} | {"NoneType": type(None), "Counter": Counter}

ToReference = Callable[[Any], Any]
FromReference = Callable[[Any], Any]


def no_reference(value: Any) -> Any:
    """The hook of a codec without references: only data may pass."""
    if is_plain_subclass(value):
        return None
    raise CodecError(f"a {type(value).__name__} is no plain value")


def encode(value: Any, *, refer: ToReference = no_reference, limits: Limits = LIMITS) -> bytes:
    """Bytes of `value`. `refer` turns what is no plain value into a plain name for it; it returns
    None to have a subclass of a plain type flattened, or raises CodecError.
    """
    try:
        packed = _pack(_Writer(refer, limits).write(value, 0))
    except times.NoZoneError as error:
        raise CodecError(str(error)) from None
    if len(packed) > limits.size:
        raise CodecError(f"a value of {len(packed):,} bytes; {limits.size:,} is the limit")
    return packed


def decode(packed: bytes, *, resolve: FromReference = no_reference, limits: Limits = LIMITS) -> Any:
    """The value of `packed`. Raises CodecError on anything that `encode` does not write."""
    if len(packed) > limits.size:
        raise CodecError(f"a message of {len(packed):,} bytes; {limits.size:,} is the limit")
    try:
        tree = _unpack(packed)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise CodecError(f"not a message: {error}") from None
    return _Reader(resolve, limits).read(tree, 0)


class _Writer:
    def __init__(self, refer: ToReference, limits: Limits) -> None:
        self.refer, self.limits, self.nodes = refer, limits, 0
        self.places: dict[int, int] = {}
        self.kept: list[Any] = []  # what has a place; alive, so that its id is nobody else's

    def write(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is bytes:
            return value
        if kind is float:
            return value if value == value else _not_a_number(value)
        if kind is int:
            return value if value in _SMALL else {"i": _integer_bytes(value)}
        if kind is str:
            return _text(value)
        if kind is tuple:
            return {"t": self.all(value, depth)}
        if kind is list or kind is dict or kind is set:
            return self.once(value, kind, depth)
        return self.other(value, kind, depth)

    def once(self, value: Any, kind: type, depth: int) -> Any:
        """What can change in place, or its place if it stands in the message already."""
        if (place := self.places.get(id(value))) is not None:
            return {"@": place}
        if kind is list:
            written: Any = self.all(value, depth)
        elif kind is dict:
            written = {"d": self.pairs(value.items(), depth)}
        else:
            written = {"s": self.all(value, depth)}
        self.places[id(value)] = len(self.kept)
        self.kept.append(value)
        return written

    def all(self, values: Iterable[Any], depth: int) -> list[Any]:
        self.check(depth)
        write, deeper = self.write, depth + 1
        found = [write(value, deeper) for value in values]
        self.nodes += len(found)
        self.check(depth)
        return found

    def pairs(self, items: Iterable[tuple[Any, Any]], depth: int) -> list[Any]:
        return self.all([part for pair in items for part in pair], depth)

    def check(self, depth: int) -> None:
        if depth > self.limits.depth:
            raise CodecError(f"nested deeper than {self.limits.depth} levels")
        if self.nodes > self.limits.nodes:
            raise CodecError(f"more than {self.limits.nodes:,} values")

    def other(self, value: Any, kind: type, depth: int) -> Any:
        if kind in _EXACT:
            return _EXACT[kind](self, value, depth)
        if kind is type or (isinstance(value, type) and value in _TYPES.values()):
            name = value.__name__
            return {"T": name} if _TYPES.get(name) is value else {"r": self.refer(value)}
        if (tables := _tables_for(value)) is not None:
            written = tables.write(value, self, depth)
            if written is not None:
                return written
        reference = self.refer(value)
        if reference is not None:
            return {"r": reference}
        self.check(depth + 1)
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            fields = [str(field) for field in kind._fields]
            return {"nt": [kind.__name__, fields, self.all(tuple.__iter__(value), depth)]}
        return self.write(flatten(value), depth + 1)


def flatten(value: Any) -> Any:
    """A subclass's value as the plain type, read by the plain type's own methods."""
    for plain, read in _PLAIN:
        if isinstance(value, plain) and type(value) is not plain:
            return read(value)
    raise CodecError(f"a {type(value).__name__} is no plain value")


def is_plain(kind: type) -> bool:
    """Whether a class is one of the plain types themselves."""
    return any(kind is plain for plain, _ in _PLAIN)


def is_plain_subclass(value: Any) -> bool:
    """Whether `value` derives from a plain type and would arrive as that."""
    return any(isinstance(value, plain) for plain, _ in _PLAIN)


_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (bool, bool),
    (int, int.__index__),
    (float, float.__float__),
    (complex, lambda v: complex(v.real, v.imag)),
    (str, str.__str__),
    (bytes, lambda v: bytes(memoryview(v))),
    (Counter, lambda v: Counter(dict(dict.items(v)))),
    (dict, lambda v: dict(dict.items(v))),
    (list, lambda v: list(list.__iter__(v))),
    (tuple, lambda v: tuple(tuple.__iter__(v))),
    (set, lambda v: set(set.__iter__(v))),
    (frozenset, lambda v: frozenset(frozenset.__iter__(v))),
    (deque, lambda v: deque(deque.__iter__(v), v.maxlen)),
)


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"u": value.encode("utf-8", "surrogatepass")}
    return value


def _not_a_number(value: float) -> Any:
    """The nan that everybody writes is one object, which lists and dicts find by identity."""
    if value is math.nan:
        return {"n": "math"}
    return {"n": "numpy"} if value is vars(sys.modules.get("numpy", math))["nan"] else value


def _integer_bytes(value: int) -> bytes:
    length = value.bit_length() // 8 + 1
    if length > _LONGEST_INTEGER:
        raise CodecError(f"an integer of {length:,} bytes")
    return value.to_bytes(length, "little", signed=True)


def _tables_for(value: Any) -> Any:
    """The array codec, if `value` can be one of its types; importing it costs nothing else."""
    root = type(value).__module__.partition(".")[0]
    if root not in ("numpy", "pandas") or root not in sys.modules:
        return None
    from autograde.protect import tables

    return tables


_EXACT: dict[type, Callable[[_Writer, Any, int], Any]] = {
    frozenset: lambda w, v, d: {"z": w.all(v, d)},
    Counter: lambda w, v, d: {"C": w.pairs(v.items(), d)},
    OrderedDict: lambda w, v, d: {"O": w.pairs(v.items(), d)},
    defaultdict: lambda w, v, d: {"dd": [w.write(v.default_factory, d), w.pairs(v.items(), d)]},
    deque: lambda w, v, d: {"q": [v.maxlen, w.all(v, d)]},
    bytearray: lambda w, v, d: {"b": bytes(v)},
    complex: lambda w, v, d: {"c": [v.real, v.imag]},
    range: lambda w, v, d: {"R": w.all((v.start, v.stop, v.step), d)},
    slice: lambda w, v, d: {"S": w.all((v.start, v.stop, v.step), d)},
    type(...): lambda w, v, d: {"E": None},
    type(NotImplemented): lambda w, v, d: {"N": None},
    Decimal: lambda w, v, d: {"D": str(v)},
    Fraction: lambda w, v, d: {"F": w.all((v.numerator, v.denominator), d)},
    dt.datetime: lambda w, v, d: {"dt": times.moment_parts(v)},
    dt.date: lambda w, v, d: {"da": v.isoformat()},
    dt.time: lambda w, v, d: {"ti": times.moment_parts(v)},
    dt.timedelta: lambda w, v, d: {"td": [v.days, v.seconds, v.microseconds]},
    dt.timezone: lambda w, v, d: {"tz": times.zone_parts(v)},
    ZoneInfo: lambda w, v, d: {"tz": times.zone_parts(v)},
    type(Path()): lambda w, v, d: {"P": _text(str(v))},
    type({}.keys()): lambda w, v, d: {"vk": w.all(v, d)},
    type({}.values()): lambda w, v, d: {"vv": w.all(v, d)},
    type({}.items()): lambda w, v, d: {"vi": w.pairs(v, d)},
}


@lru_cache(maxsize=256)
def _named(name: str, fields: tuple[str, ...]) -> type:
    bad = [n for n in (name, *fields) if not n.isidentifier() or iskeyword(n) or len(n) > 100]
    if bad or len(set(fields)) < len(fields) or any(f.startswith("_") for f in fields):
        raise CodecError("not the fields of a named tuple")
    return namedtuple(name, fields)


# What the libraries raise for parts that do not fit. A lost process is none of them.
_DAMAGED = (
    TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError,
    SyntaxError, NotImplementedError, BufferError,
)  # fmt: skip


class _Reader:
    def __init__(self, resolve: FromReference, limits: Limits) -> None:
        self.resolve, self.limits, self.nodes = resolve, limits, 0
        self.kept: list[tuple[Any, int]] = []  # what can change in place, and how much is in it

    def read(self, tree: Any, depth: int) -> Any:
        kind = type(tree)
        if kind is list:
            return self.keep(list, tree, depth)
        if kind is not dict:
            if kind in (msgspec.msgpack.Ext, dt.datetime):
                raise CodecError("an extension of the format")
            return tree
        if len(tree) != 1:
            raise CodecError("not one tagged value")
        ((tag, part),) = tree.items()
        try:
            return self.tagged(tag, part, depth)
        except CodecError:
            raise
        except _DAMAGED as error:
            raise CodecError(f"a damaged value {tag!r}: {error}") from None

    def keep(self, kind: type, part: Any, depth: int) -> Any:
        before = self.nodes
        found = self.all(part, depth) if kind is list else kind(
            self.pairs(part, depth) if kind is dict else self.all(part, depth))  # fmt: skip
        self.kept.append((found, self.nodes - before))
        return found

    def again(self, place: Any) -> Any:
        """What stands in the message already; it counts as often as it stands there."""
        if type(place) is not int or not 0 <= place < len(self.kept):
            raise CodecError("not a place in the message")
        found, size = self.kept[place]
        self.count(size)
        return found

    def count(self, more: int) -> None:
        self.nodes += more
        if self.nodes > self.limits.nodes:
            raise CodecError(f"more than {self.limits.nodes:,} values")

    def all(self, parts: Any, depth: int) -> list[Any]:
        if type(parts) is not list:
            raise CodecError("a list was expected")
        self.count(len(parts))
        if depth > self.limits.depth:
            raise CodecError(f"nested deeper than {self.limits.depth} levels")
        read, deeper = self.read, depth + 1
        return [read(part, deeper) for part in parts]

    def pairs(self, parts: Any, depth: int) -> Iterable[tuple[Any, Any]]:
        flat = self.all(parts, depth)
        if len(flat) % 2:
            raise CodecError("a key without a value")
        return zip(flat[::2], flat[1::2])

    def tagged(self, tag: Any, part: Any, depth: int) -> Any:
        if tag == "t":
            return tuple(self.all(part, depth))
        if tag == "d":
            return self.keep(dict, part, depth)
        if tag == "r":
            return self.resolve(part)
        if type(tag) is str and (read := _READ.get(tag)):
            return read(self, part, depth)
        if type(tag) is str and tag[:1] in "&%":
            from autograde.protect import tables

            return tables.read(tag, part, self, depth)
        raise CodecError(f"an unknown tag {str(tag)[:20]!r}")

    def named_tuple(self, part: Any, depth: int) -> tuple:
        name, fields, values = part
        kind = _named(typed(name, str), tuple(typed(field, str) for field in fields))
        return kind(*self.all(values, depth))


def typed(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise CodecError(f"a {type(value).__name__} in the place of a {kinds[0].__name__}")
    return value


def _integers(reader: _Reader, part: Any, depth: int, *kinds: type) -> list[Any]:
    return [typed(value, int, *kinds) for value in reader.all(part, depth)]


_READ: dict[str, Callable[[_Reader, Any, int], Any]] = {
    "i": lambda r, p, d: int.from_bytes(typed(p, bytes)[:_LONGEST_INTEGER], "little", signed=True),
    "u": lambda r, p, d: typed(p, bytes).decode("utf-8", "surrogatepass"),
    "@": lambda r, p, d: r.again(p),
    "n": lambda r, p, d: vars(sys.modules.get({"math": "math", "numpy": "numpy"}[p], math))["nan"],
    "s": lambda r, p, d: r.keep(set, p, d),
    "z": lambda r, p, d: frozenset(r.all(p, d)),
    "C": lambda r, p, d: Counter(dict(r.pairs(p, d))),
    "O": lambda r, p, d: OrderedDict(r.pairs(p, d)),
    "dd": lambda r, p, d: defaultdict(r.read(p[0], d), r.pairs(p[1], d)),
    "q": lambda r, p, d: deque(r.all(p[1], d), typed(p[0], int, type(None))),
    "b": lambda r, p, d: bytearray(typed(p, bytes)),
    "c": lambda r, p, d: complex(*(typed(value, float) for value in p)),
    "R": lambda r, p, d: range(*_integers(r, p, d)),
    "S": lambda r, p, d: slice(*r.all(p, d)),
    "E": lambda r, p, d: ...,
    "N": lambda r, p, d: NotImplemented,
    "D": lambda r, p, d: Decimal(typed(p, str)),
    "F": lambda r, p, d: Fraction(*_integers(r, p, d)),
    "dt": lambda r, p, d: times.moment(dt.datetime, p),
    "da": lambda r, p, d: dt.date.fromisoformat(typed(p, str)),
    "ti": lambda r, p, d: times.moment(dt.time, p),
    "td": lambda r, p, d: dt.timedelta(*_integers(r, p, d)),
    "tz": lambda r, p, d: times.zone(p),
    "T": lambda r, p, d: _TYPES[typed(p, str)],
    "P": lambda r, p, d: Path(typed(p, str)),
    "vk": lambda r, p, d: dict.fromkeys(r.all(p, d)).keys(),
    "vv": lambda r, p, d: dict(enumerate(r.all(p, d))).values(),
    "vi": lambda r, p, d: dict(r.pairs(p, d)).items(),
    "nt": lambda r, p, d: r.named_tuple(p, d),
}


def home_of(value: Any) -> str:
    """Where a module, class or function comes from, by its own word; empty for anything else."""
    if isinstance(value, ModuleType):
        return value.__name__
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return f"{module}:{name}" if isinstance(module, str) and isinstance(name, str) else ""
