"""The scene of a page in its address: read, checked, written back, so that a link reproduces it.

A page declares its fields once. `open_scene` puts what the address says into the widgets' state,
and says in sentences what it had to leave out; `keep_scene` writes what differs from the defaults
back. Nothing that an address holds is ever shown unquoted.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import streamlit as st

SHOWN = 40


@dataclass(frozen=True)
class Field:
    """One value of a scene: its name in the address (and the widget's key), and how it is spelt.

    `read` takes the text of the address and raises ValueError with the end of a sentence ("must be
    a whole number from 1 to 7").
    """

    name: str
    default: object
    read: Callable[[str], object]
    write: Callable[[object], str] = str


def whole(name: str, default: int, low: int, high: int, *, step: int = 1) -> Field:
    """A whole number from `low` (0 or more) to `high`, in steps from `low`."""

    def read(text: str) -> int:
        fits = text.isascii() and text.isdecimal() and len(text) < 12
        if not fits or not low <= int(text) <= high or (int(text) - low) % step:
            by = f" in steps of {step}" if step > 1 else ""
            raise ValueError(f"must be a whole number from {low} to {high}{by}")
        return int(text)

    return Field(name, default, read)


def choice(name: str, default: str, options: Iterable[str]) -> Field:
    """One of a few words."""
    words = list(options)

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return Field(name, default, read)


def span(name: str, default: tuple[int, int], low: int, high: int) -> Field:
    """Two whole numbers in order, written `from-to`."""
    one = whole(name, low, low, high)

    def read(text: str) -> tuple[int, int]:
        first, dash, last = text.partition("-")
        if not dash:
            raise ValueError(f"must be two whole numbers from {low} to {high}, like {low}-{high}")
        start, end = one.read(first), one.read(last)
        if start > end:
            raise ValueError("must begin before it ends")
        return start, end

    return Field(name, default, read, lambda value: f"{value[0]}-{value[1]}")


def several(name: str, options: Iterable[str], *, told: str = "") -> Field:
    """Some of a few words, none at first, written with points between them; `none` for none.

    `told` says what the words are where a list of all of them would not be read.
    """
    words = list(options)

    def read(text: str) -> list[str]:
        chosen = [] if text == "none" else text.split(".")
        if not set(chosen) <= set(words) or len(set(chosen)) < len(chosen):
            raise ValueError(
                f"must be some of {told or ', '.join(words)}, with points between them"
            )
        return chosen

    return Field(name, [], read, lambda value: ".".join(value) or "none")


def parse(
    query: Mapping[str, Sequence[str]], fields: Sequence[Field]
) -> tuple[dict[str, object], list[str]]:
    """The value of every field, and a sentence for each part of the query that was not used."""
    values = {field.name: field.default for field in fields}
    complaints = []
    for field in fields:
        texts = query.get(field.name, [])
        if not texts:
            continue
        try:
            if len(texts) > 1:
                raise ValueError("is given more than once")
            values[field.name] = field.read(texts[0])
        except ValueError as wrong:
            default = field.write(field.default)
            complaints.append(
                f"The address says {quoted(field.name + '=' + texts[0])}, but {field.name} "
                f"{wrong}: {quoted(default)} is used instead."
            )
    unknown = [name for name in query if name not in values]
    if unknown:
        shown = ", ".join(quoted(name) for name in unknown[:3])
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        complaints.append(f"The address also names {shown}{more}, which this page does not know.")
    return values, complaints


def written(values: Mapping[str, object], fields: Sequence[Field]) -> dict[str, str]:
    """The query of a scene: only what differs from the defaults."""
    return {
        field.name: field.write(values[field.name])
        for field in fields
        if field.write(values[field.name]) != field.write(field.default)
    }


def quoted(text: str) -> str:
    """A stranger's text as a code span: nothing in it can be Markdown, however it ends."""
    plain = "".join(letter if letter.isprintable() else "�" for letter in text[:SHOWN])
    return f"`{plain.replace('`', chr(39))}{'…' if len(text) > SHOWN else ''}`"


def open_scene(
    fields: Sequence[Field], mend: Callable[[MutableMapping[str, object]], list[str]] | None = None
) -> list[str]:
    """Put the address into the widgets' state when it is new to this session; the complaints.

    Called before the widgets are drawn. Once a page has written its address itself, the widgets
    lead. `mend` changes in place what cannot stand together, and says so.
    """
    query = {name: st.query_params.get_all(name) for name in st.query_params}
    known = all(field.name in st.session_state for field in fields)
    if known and query == st.session_state.get("_address"):
        # Said again on each run, a value outlives its widget's absence and its change of bounds.
        for field in fields:
            st.session_state[field.name] = st.session_state[field.name]
        if mend:
            mend(st.session_state)
        return []
    values, complaints = parse(query, fields)
    complaints += mend(values) if mend else []
    st.session_state.update(values)
    return complaints


def keep_scene(fields: Sequence[Field]) -> str:
    """Write the widgets' state into the address; the link that reproduces the page."""
    query = written(st.session_state, fields)
    st.session_state["_address"] = {name: [text] for name, text in query.items()}
    if st.query_params.to_dict() != query:
        st.query_params.from_dict(query)
    base = urlsplit(st.context.url or "")._replace(query="", fragment="").geturl()
    return f"{base}?{urlencode(query)}" if query else base
