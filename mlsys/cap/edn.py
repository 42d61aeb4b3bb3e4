"""Read and write EDN, the notation of Clojure in which Jepsen and Porcupine keep histories.

Covers what histories use: nil, booleans, numbers, strings, characters, keywords, symbols, vectors,
lists, maps, sets, tagged values (`#jepsen.op{…}`: the tag is dropped), comments and `#_`. What the
values mean is left to `history.py`. The reader is bounded in size and depth, because its input may
come from a stranger, and says in which line it stopped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_CHARACTERS = 50_000_000
MAX_DEPTH = 32
MAX_DIGITS = 400


class EdnError(ValueError):
    """Text that is not EDN; the message is one sentence that names the line, kept in `line`."""

    def __init__(self, line: int, reason: str):
        super().__init__(f"Line {line}: {reason}.")
        self.line = line


class Keyword(str):
    """A keyword such as `:invoke`; equal to the plain string without its colon."""

    __slots__ = ()


_TOKEN = re.compile(
    r"""(?P<space>[\s,]+|;[^\n]*)
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<open>\#\{|[\[({])
      | (?P<close>[\])}])
      | (?P<discard>\#_)
      | (?P<tag>\#[A-Za-z][^\s,"\[\](){};]*)
      | (?P<character>\\(?:newline|space|tab|return|u[0-9a-fA-F]{4}|[^\s]))
      | (?P<atom>[^\s,"\[\](){};\\\#][^\s,"\[\](){};\\]*)""",
    re.VERBOSE | re.DOTALL,
)
_INTEGER = re.compile(r"[+-]?\d+N?\Z", re.ASCII)
_FLOAT = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?M?\Z", re.ASCII)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\"}
_WORDS = {"nil": None, "true": True, "false": False}
_SPECIAL = {"##Inf": float("inf"), "##-Inf": float("-inf")}
_CHARACTERS = {"newline": "\n", "space": " ", "tab": "\t", "return": "\r"}
_CLOSES = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_NOTHING = object()


def read_forms(text: str) -> Iterator[tuple[int, object]]:
    """Yield each top-level value with the line on which it begins.

    Vectors and lists become tuples, sets frozensets, maps dicts, keywords `Keyword`. Raises
    EdnError for anything malformed, deeper than 32 levels or longer than 50 million characters.
    """
    if len(text) > MAX_CHARACTERS:
        raise EdnError(
            1, f"the text has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read"
        )
    tokens = _tokens(text)
    for line, kind, token in tokens:
        value = _value(line, kind, token, tokens, 0)
        if value is not _NOTHING:
            yield line, value


def _tokens(text: str) -> Iterator[tuple[int, str, str]]:
    line, position, match = 1, 0, _TOKEN.match
    while position < len(text):
        found = match(text, position)
        if found is None:
            if text[position] == '"':
                raise EdnError(line, "a string is never closed")
            special = next((s for s in _SPECIAL if text.startswith(s, position)), None)
            if special is None:
                raise EdnError(line, f"{text[position : position + 12]!r} is not EDN")
            yield line, "special", special
            position += len(special)
            continue
        token, kind = found.group(), found.lastgroup
        if kind != "space":
            yield line, kind, token
        line += token.count("\n")
        position = found.end()


def _value(line: int, kind: str, token: str, tokens, depth: int) -> object:
    if kind == "atom":
        return _atom(line, token)
    if kind == "string":
        return _ESCAPE.sub(lambda found: _unescape(line, found[1]), token[1:-1])
    if kind == "open":
        return _collection(line, token, tokens, depth + 1)
    if kind == "close":
        raise EdnError(line, f"{token!r} closes nothing")
    if kind == "special":
        return _SPECIAL[token]
    if kind == "character":
        name = token[1:]
        return (
            chr(int(name[1:], 16))
            if len(name) == 5 and name[0] == "u"
            else _CHARACTERS.get(name, name)
        )
    return _prefixed(line, kind, token, tokens, depth + 1)


def _prefixed(line: int, kind: str, token: str, tokens, depth: int) -> object:
    """The value after `#_` (read and dropped) or after a tag (kept without its tag)."""
    _check_depth(line, depth)
    for following in tokens:
        value = _value(*following, tokens, depth)
        if value is not _NOTHING:
            return _NOTHING if kind == "discard" else value
    raise EdnError(line, f"{token!r} has no value after it")


def _collection(line: int, opening: str, tokens, depth: int) -> object:
    _check_depth(line, depth)
    closing, items = _CLOSES[opening], []
    for at, kind, token in tokens:
        if kind == "close":
            if token != closing:
                raise EdnError(at, f"{token!r} closes the {opening!r} of line {line}")
            return _build(line, opening, items)
        value = _value(at, kind, token, tokens, depth)
        if value is not _NOTHING:
            items.append(value)
    raise EdnError(line, f"{opening!r} is never closed")


def _build(line: int, opening: str, items: list) -> object:
    if opening in "[(":
        return tuple(items)
    try:
        if opening == "#{":
            return frozenset(items)
        if len(items) % 2:
            raise EdnError(line, "a map has a key without a value")
        return dict(zip(items[::2], items[1::2]))
    except TypeError:
        raise EdnError(line, "a map is used as a key or as a member of a set") from None


def _check_depth(line: int, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise EdnError(line, f"values are nested more than {MAX_DEPTH} deep")


def _atom(line: int, token: str) -> object:
    if token in _WORDS:
        return _WORDS[token]
    if token[0] == ":" and len(token) > 1:
        return Keyword(token[1:])
    if token[0].isdigit() or (token[0] in "+-" and token[1:2].isdigit()):
        if len(token) <= MAX_DIGITS and _INTEGER.match(token):
            return int(token.rstrip("N"))
        if len(token) <= MAX_DIGITS and _FLOAT.match(token):
            return float(token.rstrip("M"))
        raise EdnError(line, f"{token[:40]!r} is not a number")
    if token == ":":
        raise EdnError(line, "a colon stands alone")
    return token


def _unescape(line: int, escape: str) -> str:
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    if escape[0] == "u" and len(escape) == 5:
        return chr(int(escape[1:], 16))
    raise EdnError(line, f"a string holds the unknown escape {chr(92) + escape[:1]!r}")


def write_form(value: object) -> str:
    """One value as EDN, on one line: the inverse of `read_forms` for what histories hold.

    Raises TypeError for a type that EDN has no notation for, and ValueError for NaN.
    """
    if value is None:
        return "nil"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, Keyword):
        return f":{value}"
    if isinstance(value, str):
        return f'"{_quoted(value)}"'
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (tuple, list)):
        return "[" + " ".join(map(write_form, value)) + "]"
    if isinstance(value, (set, frozenset)):
        return "#{" + " ".join(sorted(map(write_form, value))) + "}"
    if isinstance(value, dict):
        pairs = (f"{write_form(key)} {write_form(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    raise TypeError(f"A value of type {type(value).__name__} cannot be written as EDN.")


def _float(value: float) -> str:
    if value != value:
        raise ValueError("NaN is equal to nothing, so it has no place in a history.")
    if value in (float("inf"), float("-inf")):
        return "##Inf" if value > 0 else "##-Inf"
    return repr(value)


_NEEDS_ESCAPE = re.compile(r'["\\\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]')
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def _quoted(text: str) -> str:
    """Escaped so that a form stays on one line and survives UTF-8."""
    return _NEEDS_ESCAPE.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", text)
