"""The page CAP trade-offs, without a browser."""

import pytest
from pages import charts, headline, links, open_page

from dashboards import address, cap_scene
from mlsys.cap import IsolateLeader, OneWay, Partition, Slow, run

FIELDS = cap_scene.FIELDS


def test_the_first_view_shows_an_inconsistent_store_and_its_price():
    page = open_page("cap")
    assert headline(page).startswith("**Inconsistent: ")
    assert "acknowledged writes were lost" in headline(page)
    assert not page.warning
    assert any(said.value.startswith(":small[Not linearizable: ") for said in page.markdown)
    assert len(charts(page)) == 5 and all(charts(page))


def test_raft_stays_consistent_in_the_same_scene_and_pays_with_availability():
    page = open_page("cap", store="raft")
    assert headline(page).startswith("**Consistent")
    assert "nodes 0, 1 answered 0%" in headline(page)


def test_a_store_that_accepts_no_write_is_not_praised_for_its_consistency():
    page = open_page("cap", store="2pc", scene="cross-continent")
    assert headline(page).startswith("**Consistent, for no write was ever acknowledged.**")


def test_moving_the_fault_changes_the_charts_and_the_address():
    page = open_page("cap")
    before = charts(page)
    page.slider(key="fault").set_value((1_000, 5_000)).run()
    assert charts(page) != before
    assert page.query_params == {"fault": "1000-5000"}
    assert charts(open_page("cap", fault="1000-5000")) == charts(page)


def test_without_time_to_act_a_fault_is_no_fault():
    page = open_page("cap", fault="3000-3000", store="sync")
    assert headline(page).startswith("**Consistent")
    assert headline(page).endswith("Of all requests 100% were answered.")


def test_overlapping_quorums_are_offered_only_as_far_as_there_are_replicas():
    page = open_page("cap", store="quorum", n="5", r="5", w="4")
    page.slider(key="n").set_value(2).run()
    assert (page.slider(key="r").value, page.slider(key="w").value) == (2, 2)
    page.slider(key="n").set_value(1).run()
    assert headline(page)
    page.slider(key="n").set_value(4).run()
    assert page.slider(key="r").value == 1 and page.slider(key="r").max == 4


def test_a_choice_of_one_store_is_dropped_when_the_store_changes():
    page = open_page("cap", store="raft", reads="lease")
    assert page.selectbox(key="reads").value == "lease"
    page.selectbox(key="store").set_value("chain").run()
    assert page.selectbox(key="reads").value == "default" and not page.exception


def test_two_settings_stand_side_by_side():
    page = open_page("cap", other="raft")
    assert [said.value for said in page.header] == [
        cap_scene.STORES["async"],
        cap_scene.STORES["raft"],
    ]
    assert len(page.error) == 1 and len(page.success) == 1
    assert len(page.get("plotly_chart")) == 10


def test_a_hostile_address_gets_sentences_and_the_default_scene():
    page = open_page(
        "cap", store="__import__('os')", n="1e999", fault="[](javascript:alert(1))", x="<img src=x>"
    )
    said = page.warning[0].value
    assert said.count("is used instead") == 3 and "`x`" in said
    assert headline(page) == headline(open_page("cap"))


@pytest.mark.parametrize("store", list(cap_scene.STORES))
def test_every_store_has_a_decided_verdict_in_every_scene(store):
    page = open_page("cap", store=store)
    for scene in cap_scene.PRESETS:
        page.selectbox(key="scene").set_value(scene).run()
        assert "could not be settled" not in headline(page)
        (verdict,) = [said.value for said in page.markdown if "inearizable: " in said.value]
        assert verdict.startswith((":small[Linearizable: ", ":small[Not linearizable: "))


def test_every_chart_is_described_for_those_who_cannot_see_it():
    for alt in charts(open_page("cap", store="quorum")):
        assert len(alt) > 40


def test_the_instant_is_part_of_the_link():
    page = open_page("cap", at="4500")
    assert page.slider(key="at").value == 4_500
    assert page.get("code")[0].value.endswith("?at=4500")


def faults(**chosen) -> tuple:
    """What the engine is told to break, less the healing."""
    values, complaints = address.parse({name: [text] for name, text in chosen.items()}, FIELDS)
    assert complaints == []
    cap_scene.mend(values)
    return cap_scene.scene(cap_scene.choices(values)[0], values).faults[:-1]


def test_a_viewer_cuts_single_links_by_direction():
    page = open_page("cap", scene="healthy")
    assert page.slider(key="fault").disabled
    page.pills(key="links").set_value(["01", "04", "40"]).run()
    assert page.query_params == {"scene": "healthy", "links": "01.04.40"}
    assert not page.slider(key="fault").disabled
    values = {field.name: page.session_state[field.name] for field in FIELDS}
    played = run(cap_scene.scene(cap_scene.choices(values)[0], values))
    assert set(played.at(3_000).cut) == {(0, 1), (0, 4), (4, 0)}
    assert played.at(1_000).cut == played.at(5_000).cut == ()


def test_a_link_cut_one_way_is_said_to_those_who_cannot_see_it():
    said = links(open_page("cap", scene="healthy", links="01.23.32"))
    assert "Nothing arrives from 0 at 1, nor between 2 and 3." in said
    assert "All messages arrive" in links(open_page("cap", scene="healthy"))


def test_chosen_nodes_and_links_replace_what_the_scene_cuts():
    assert faults() == (Partition(2_000, ((0, 1), (2, 3, 4))),)
    assert faults(cut="3") == (Partition(2_000, ((3,), (0, 1, 2, 4))),)
    assert faults(links="12.10") == (OneWay(2_000, (1,), (0, 2)),)
    assert faults(cut="3", links="01", scene="asymmetric") == (
        OneWay(2_000, (3,), (0, 1, 2, 4)),
        OneWay(2_000, (0,), (1,)),
    )
    assert faults(scene="isolated leader") == (IsolateLeader(2_000),)
    assert faults(scene="isolated leader", cut="2") == (Partition(2_000, ((2,), (0, 1, 3, 4))),)


def test_a_slow_replica_stays_slow_when_links_are_cut_as_well():
    assert faults(scene="slow replica", links="01") == (
        Slow(2_000, 4, 40.0),
        OneWay(2_000, (0,), (1,)),
    )
    assert faults(scene="slow replica", cut="1.2") == (
        Slow(2_000, 1, 40.0),
        Slow(2_000, 2, 40.0),
    )


def test_nobody_can_be_cut_off_from_no_one():
    page = open_page("cap", cut="0.1.2.3.4")
    assert "leaves no side" in page.warning[0].value
    assert headline(page) == headline(open_page("cap"))


def test_a_link_that_does_not_exist_gets_a_sentence():
    page = open_page("cap", links="05")
    assert "two different nodes from 0 to 4" in page.warning[0].value
    assert headline(page) == headline(open_page("cap"))


def test_with_every_link_cut_each_node_is_a_side_of_its_own():
    page = open_page("cap", links=".".join(cap_scene.LINKS))
    assert "there were 5 sides: node " in headline(page)


def test_a_change_of_one_setting_leaves_the_others_pictures_alone():
    page = open_page("cap", store="quorum", other="raft")
    before = charts(page)
    page.slider(key="r").set_value(3).run()
    after = charts(page)
    assert sum(after.get(alt) == spec for alt, spec in before.items()) >= 5
    assert after != before
