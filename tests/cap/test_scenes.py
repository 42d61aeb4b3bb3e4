"""A scene survives its address, and no address does harm."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.cap import faults as f
from mlsys.cap.runs import run
from mlsys.cap.scenes import CONFLICTS, PRESETS, READS, Scene, SceneError, preset

TIMES = st.floats(0, 9_999).map(lambda t: round(t, 2))
NODE = st.integers(0, 4)
FAULTS = st.one_of(
    st.permutations(range(5)).flatmap(
        lambda p: st.integers(1, 4).map(lambda cut: (tuple(p[:cut]), tuple(p[cut:])))
    ).flatmap(lambda groups: TIMES.map(lambda at: f.Partition(at, groups))),
    st.builds(f.OneWay, TIMES, st.tuples(NODE), st.tuples(NODE, NODE)),
    st.builds(f.IsolateLeader, TIMES),
    st.builds(f.Crash, TIMES, NODE),
    st.builds(f.Restart, TIMES, NODE, st.booleans()),
    st.builds(f.Slow, TIMES, NODE, st.integers(1, 100).map(float)),
    st.builds(f.Skew, TIMES, NODE, st.integers(-5000, 5000).map(float), st.just(0.5)),
    st.builds(f.Heal, TIMES),
)  # fmt: skip


@given(st.lists(FAULTS, max_size=8), st.sampled_from(sorted(READS)), st.integers(0, 2**40))
def test_a_scene_comes_back_from_its_address(faults, store, seed):
    scene = Scene(store=store, nodes=5, faults=tuple(faults), seed=seed, sites=(0, 3), loss=0.25)
    query = scene.to_query()
    assert all(isinstance(value, str) for value in query.values())
    assert Scene.from_query(query) == scene


def test_the_default_scene_has_an_empty_address():
    assert Scene().to_query() == {}
    assert Scene.from_query({}) == Scene()


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("store", READS)
def test_a_preset_comes_back_from_its_address(name, store):
    scene = preset(name, store=store, seed=9)
    assert Scene.from_query(scene.to_query()) == scene


NAMES = st.sampled_from([*Scene.__dataclass_fields__, "nonsense"])
VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["-1", "1e400", "nan", "inf", "9" * 400, "٣", "yes", "raft", "0.0.0", "partition@0:0|0",
         "crash@1:99", "skew@5:0,1,0", "slow@1:0,0", "heal@", ";;;", "<script>", "1_0", " 1 "]
    ),
)  # fmt: skip


@settings(max_examples=300)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_address_is_a_scene_or_one_sentence(query):
    try:
        scene = Scene.from_query(query)
    except SceneError as error:
        text = str(error)
        assert text.endswith(".") and "\n" not in text and len(text) < 400
    else:
        assert Scene.from_query(scene.to_query()) == scene


@pytest.mark.parametrize(
    "query",
    [
        {"nodes": "1000"}, {"nodes": "3.5"}, {"duration_ms": "1e300"}, {"operations": "99999999"},
        {"r": "4"}, {"n": "9"}, {"store": "mongodb"}, {"reads": "lease"}, {"seed": "-1"},
        {"store": "raft", "conflict": "vector"}, {"workload": "append"}, {"sites": "7"},
        {"zones": "0.1"}, {"election_low_ms": "400"}, {"latency": "speed-of-light"},
        {"faults": "crash@5"}, {"faults": "meteor@5"}, {"faults": ";".join(["heal@1"] * 65)},
        {"faults": "partition@1:0.1|1.2"}, {"cas_share": "0.8"}, {"surprise": "1"},
    ],
    ids=str,
)  # fmt: skip
def test_an_absurd_address_is_refused(query):
    with pytest.raises(SceneError):
        Scene.from_query(query)


def test_a_value_that_is_no_text_is_refused():
    with pytest.raises(SceneError):
        Scene.from_query({"seed": ["1", "2"]})


def test_the_refusal_names_the_value_and_what_would_do():
    with pytest.raises(SceneError, match=r"The scene's r is '4'; it must be at most n = 3\."):
        Scene(r=4)


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_the_largest_scene_of_an_address_is_bounded(conflict):
    scene = Scene.from_query({"think_ms": "0", "conflict": conflict, "operations": "500"})
    asked = sum(event.type == "invoke" for event in run(scene).history.events)
    assert asked == 500


def test_an_unknown_preset_is_refused():
    with pytest.raises(SceneError, match="no preset"):
        preset("meteor")
    with pytest.raises(SceneError):
        preset("healthy", nodes=2)


def test_a_scene_is_a_value():
    assert replace(Scene(), seed=3) == Scene(seed=3) and hash(Scene()) == hash(Scene())
