"""Bytes and what two encodings make of them: what lesson 01 draws."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.serving.protocols.encodings import MOST, SHADES, arrivals, draw_bytes

ENCODINGS = st.sampled_from(["utf-8", "utf-16-le", "latin-1", "ascii", "cp1252"])
UNICODE = st.text(st.characters(exclude_categories=["Cs"]))


@given(UNICODE, st.sampled_from(["utf-8", "utf-16-le", "utf-32-be"]))
def test_what_arrives_byte_by_byte_is_the_text(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    assert "".join(arrivals(data, encoding)) == text


@given(st.binary(), ENCODINGS)
def test_any_bytes_give_as_many_arrivals_and_the_text_of_a_whole_read(
    data: bytes, encoding: str
) -> None:
    told = arrivals(data, encoding)
    assert len(told) == len(data)
    assert "".join(told) == data.decode(encoding, "replace")


def test_a_character_stands_at_the_byte_that_completes_it() -> None:
    assert arrivals("Kü香".encode(), "utf-8") == ["K", "", "ü", "", "", "香"]
    assert arrivals("ü".encode()[:1], "utf-8") == ["\ufffd"]  # cut in two: said at the end


@pytest.mark.parametrize(
    "text, written, read, marked",
    [
        ("Zürich", "utf-8", "latin-1", 2),  # Ã and ¼ for ü
        ("Zürich", "utf-8", "utf-8", 0),
        ("Lima", "utf-8", "latin-1", 0),
        ("Zürich", "latin-1", "ascii", 1),
    ],
)
def test_marked_are_the_bytes_that_the_reader_reads_otherwise(
    text: str, written: str, read: str, marked: int
) -> None:
    fig = draw_bytes(text, written, read)
    assert fig.data[0].z[2].sum() == marked and fig.data[0].z[:2].sum() == 0
    assert [colour for _, colour in fig.layout.coloraxis.colorscale] == SHADES
    back = text.encode(written).decode(read, "replace")
    assert fig.layout.title.text == f"{text} comes back as {back}"


@settings(max_examples=12)
@given(st.text(), ENCODINGS, ENCODINGS)
def test_whatever_is_typed_has_a_picture_of_the_first_characters(
    text: str, written: str, read: str
) -> None:
    fig = draw_bytes(text, written, read)
    assert fig.data[0].z.shape[1] == len(text[:MOST].encode(written, "replace")) or not text
