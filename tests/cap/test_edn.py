"""The EDN reader and writer: what histories hold goes round, what is malformed names its line."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.cap.edn import MAX_DEPTH, EdnError, Keyword, read_forms, write_form

names = st.from_regex(r"\A[a-z][a-z0-9-]{0,8}\Z").map(Keyword)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | names
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(scalars, max_size=4),
    max_leaves=12,
)


def read(text):
    return [value for _, value in read_forms(text)]


@given(st.lists(st.dictionaries(names | st.integers(), values, max_size=4), max_size=4))
@settings(max_examples=80, deadline=None)
def test_what_is_written_reads_back_equal_and_each_form_stays_on_its_line(forms):
    text = "\n".join(map(write_form, forms))
    assert read(text) == forms
    assert [line for line, _ in read_forms(text)] == list(range(1, len(forms) + 1))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nil", None),
        ("-7", -7),
        ("12N", 12),
        ("1.5e3", 1500.0),
        ("2.50M", 2.5),
        ("##-Inf", -math.inf),
        (r'"a\"b\\n\u0041"', 'a"b\\nA'),
        (r"[\a \newline \u0042]", ("a", "\n", "B")),
        ("(1, 2 ,3)", (1, 2, 3)),
        ("#{1 2}", frozenset({1, 2})),
        ("{:a {:b [nil true]}}", {"a": {"b": (None, True)}}),
        ("[1 #_ [2 3] #_4 5] ; the rest", (1, 5)),
        ('#inst "2026-11-21"', "2026-11-21"),
        ("#jepsen.history.Op{:index 1}", {"index": 1}),
        ("timed-out", "timed-out"),
    ],
)
def test_the_notation_of_histories_is_understood(text, value):
    assert read(text) == [value]


def test_an_empty_text_and_one_of_comments_hold_no_form():
    assert read("") == read(" ,\n; nothing\n#_ 1") == []


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("{:a 1}\n{:b", 2, "never closed"),
        ("[1\n2\n}", 3, "closes the '[' of line 1"),
        ("1\n2 ]", 2, "closes nothing"),
        ('{:a "open', 1, "string is never closed"),
        ('\n"\\q"', 2, "unknown escape"),
        ("{:a}", 1, "key without a value"),
        ("\n\n12abc", 3, "not a number"),
        ("#{{:a 1}}", 1, "map is used as a key"),
        ("#_", 1, "no value after it"),
        (":", 1, "colon stands alone"),
        ("9" * 5000, 1, "not a number"),
        ("\n" + "[" * 40 + "]" * 40, 2, f"more than {MAX_DEPTH} deep"),
        ("#a " * 40 + "1", 1, "deep"),
    ],
)
def test_malformed_text_is_refused_with_its_line(text, line, says):
    with pytest.raises(EdnError) as caught:
        read(text)
    assert caught.value.line == line
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"Line {line}: ")
    assert len(str(caught.value)) < 200


@given(st.text(alphabet='{}[]()#_\\";:, \n1a.-+N', max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_at_all_is_read_or_refused_by_a_sentence(text):
    try:
        read(text)
    except EdnError as error:
        assert 1 <= error.line <= text.count("\n") + 1


def test_a_value_without_a_notation_is_not_written():
    with pytest.raises(TypeError, match="object"):
        write_form(object())
    with pytest.raises(ValueError, match="NaN"):
        write_form(math.nan)
