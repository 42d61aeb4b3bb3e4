"""A scene goes into an address and comes back; nothing that an address holds can break a page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards import address, cap_scene

FIELDS = cap_scene.FIELDS


def test_a_page_without_an_address_shows_the_default_scene():
    values, complaints = address.parse({}, FIELDS)
    assert values == {field.name: field.default for field in FIELDS}
    assert complaints == [] and address.written(values, FIELDS) == {}


def test_a_scene_comes_back_from_its_address():
    values, _ = address.parse({}, FIELDS)
    values |= {"store": "raft", "fault": (100, 5_900), "cut": ["0", "4"]}
    values |= {"links": ["01", "43"], "n": 5, "seed": 12}
    query = {name: [text] for name, text in address.written(values, FIELDS).items()}
    assert set(query) == {"store", "fault", "cut", "links", "n", "seed"}
    assert query["links"] == ["01.43"]
    assert address.parse(query, FIELDS) == (values, [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n", "6"),
        ("n", "-1"),
        ("n", "3.0"),
        ("n", "٣"),
        ("n", "9" * 5_000),
        ("n", ""),
        ("store", "RAFT"),
        ("store", "<script>alert(1)</script>"),
        ("fault", "4000-2000"),
        ("fault", "2000"),
        ("fault", "0-6001"),
        ("fault", "--"),
        ("cut", "0.0"),
        ("cut", "7"),
        ("cut", "0,1"),
        ("links", "00"),
        ("links", "05"),
        ("links", "01.01"),
        ("links", "0-1"),
        ("links", "9" * 5_000),
    ],
)
def test_a_bad_value_gets_a_sentence_and_the_default(name, text):
    values, complaints = address.parse({name: [text]}, FIELDS)
    default = next(field.default for field in FIELDS if field.name == name)
    assert values[name] == default
    assert len(complaints) == 1 and name in complaints[0] and complaints[0].endswith("instead.")
    assert len(complaints[0]) < 300


def test_a_value_given_twice_and_a_name_that_nobody_knows_are_said():
    values, complaints = address.parse({"n": ["1", "2"], "__class__": ["x"], "a`b": ["y"]}, FIELDS)
    assert values["n"] == 3
    assert "more than once" in complaints[0]
    assert "`__class__`" in complaints[1] and "`a'b`" in complaints[1]


@given(st.text(max_size=60))
def test_a_strangers_text_never_leaves_its_code_span(text):
    shown = address.quoted(text)
    assert shown.startswith("`") and shown.endswith("`")
    assert "`" not in shown[1:-1] and shown.isprintable()


@given(st.dictionaries(st.sampled_from([f.name for f in FIELDS]), st.lists(st.text(), max_size=2)))
def test_whatever_an_address_holds_the_engine_takes_the_scene(query):
    values, _ = address.parse(query, FIELDS)
    cap_scene.mend(values)
    for choice in cap_scene.choices(values):
        cap_scene.scene(choice, values)


@given(
    st.fixed_dictionaries(
        {
            "n": st.integers(1, 5),
            "r": st.integers(1, 5),
            "w": st.integers(1, 5),
            "store": st.sampled_from(list(cap_scene.STORES)),
            "scene": st.sampled_from(cap_scene.PRESETS),
            "reads": st.sampled_from(("default", "log", "lease", "local", "leader", "tail")),
            "latency": st.sampled_from(list(cap_scene.LATENCIES)),
            "cut": st.lists(st.sampled_from("01234"), unique=True),
            "links": st.lists(st.sampled_from(list(cap_scene.LINKS)), unique=True),
            "fault": st.tuples(st.integers(0, 6_000), st.integers(0, 6_000)).map(sorted).map(tuple),
        }
    )
)
def test_every_setting_of_the_controls_is_a_scene_that_the_engine_takes(chosen):
    values, _ = address.parse({}, FIELDS)
    values |= chosen
    cap_scene.mend(values)
    assert values["r"] <= values["n"] and values["w"] <= values["n"]
    for choice in cap_scene.choices(values):
        assert cap_scene.scene(choice, values).store == choice.store


def test_quorums_that_do_not_fit_are_cut_to_size_and_said():
    values, _ = address.parse({"n": ["2"], "r": ["4"]}, FIELDS)
    assert cap_scene.mend(values) == ["r = 4 is more than n = 2: 2 is used."]
    assert values["r"] == 2
