"""Small TOML files that people edit: read with the line of each mistake, and written back.

`quality` keeps its checks and `alerts` its rules this way. What the keys mean is theirs.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from typing import Any

from mlsys.monitoring.errors import MonitoringError

LARGEST = 1_000_000  # characters


def read(text: str, what: str) -> dict[str, Any]:
    """The file as a dict. Raises MonitoringError with the line where it is no TOML."""
    if len(text) > LARGEST:
        raise MonitoringError(f"The {what} have {len(text)} characters; {LARGEST} are allowed.")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MonitoringError(f"The {what} are not valid TOML: {error}.") from None


def line_of(text: str, table: str, key: str | None = None, index: int = 0) -> int:
    """The line (from 1) of `key` in the `index`-th table of that name, or of the table's header."""
    lines = text.splitlines()
    header = re.compile(r"^\s*\[{1,2}\s*(.+?)\s*\]{1,2}\s*(#.*)?$")
    starts = [
        i for i, line in enumerate(lines) if (m := header.match(line)) and bare(m[1]) == table
    ]
    if index >= len(starts):
        return 1
    start = starts[index]
    if key is None:
        return start + 1
    for i in range(start + 1, len(lines)):
        if header.match(lines[i]):
            break
        if bare(lines[i].split("=")[0].strip()) == key:
            return i + 1
    return start + 1


def bare(name: str) -> str:
    """A key without its quotes and the spaces around its dots."""
    return re.sub(r"\s*\.\s*", ".", name).replace('"', "").replace("'", "").strip()


def build(kind: type, given: Mapping[str, Any], types: Mapping[str, Any], where) -> Any:
    """A dataclass from a table of the file.

    `types` says what each key must be (a type or a tuple of types); `where(key)` gives a line.
    Raises MonitoringError for an unknown key, a wrong type, a missing key or a value that the
    dataclass itself refuses.
    """
    known = {field.name: field for field in fields(kind)}
    for key, value in given.items():
        if key not in known:
            raise MonitoringError(
                f"Line {where(key)}: there is no setting {key!r}; there are {', '.join(known)}."
            )
        wanted = types[key]
        wrong = not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool)
        if wrong:
            raise MonitoringError(f"Line {where(key)}: {key} cannot be {value!r}.")
    lacking = [
        name
        for name, field in known.items()
        if name not in given and field.default is MISSING and field.default_factory is MISSING
    ]
    if lacking:
        raise MonitoringError(f"Line {where(None)}: the setting {lacking[0]!r} is missing.")
    made = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    try:
        return kind(**made)
    except MonitoringError as error:
        raise MonitoringError(f"Line {where(None)}: {error}") from None


def write(tables: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """TOML text of (header, values) pairs, such as ("[columns.age]", {...}). None is left out."""
    parts = []
    for header, values in tables:
        lines = [header] if header else []
        lines += [
            f"{_key(key)} = {_value(value)}" for key, value in values.items() if value is not None
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def header(*names: str) -> str:
    """[a.b] with names quoted where they must be."""
    return f"[{'.'.join(map(_key, names))}]"


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        made = (
            _ESCAPES.get(c, c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}") for c in value
        )
        return f'"{"".join(made)}"'
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items())
        return "{" + inner + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
