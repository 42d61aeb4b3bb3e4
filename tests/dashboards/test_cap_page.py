"""The page CAP trade-offs, without a browser."""

import pytest
from pages import charts, headline, open_page

from dashboards import cap_scene


def test_the_first_view_shows_an_inconsistent_store_and_its_price():
    page = open_page("cap")
    assert headline(page).startswith("**Inconsistent: ")
    assert "acknowledged writes were lost" in headline(page)
    assert not page.warning
    assert any(said.value.startswith("Not linearizable: ") for said in page.caption)
    assert len(charts(page)) == 5 and all(charts(page))


def test_raft_stays_consistent_in_the_same_scene_and_pays_with_availability():
    page = open_page("cap", store="raft")
    assert headline(page).startswith("**Consistent")
    assert "nodes 0 1 answered 0%" in headline(page)


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
    assert "100% of requests were answered" in headline(page)


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
    assert [said.value for said in page.subheader] == [
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
def test_every_store_has_an_answer_in_every_scene(store):
    page = open_page("cap", store=store)
    for scene in cap_scene.PRESETS:
        page.selectbox(key="scene").set_value(scene).run()
        assert headline(page).endswith(".**")


def test_every_chart_is_described_for_those_who_cannot_see_it():
    for alt in charts(open_page("cap", store="quorum")):
        assert len(alt) > 40


def test_the_instant_is_part_of_the_link():
    page = open_page("cap", at="4500")
    assert page.slider(key="at").value == 4_500
    assert page.get("code")[0].value.endswith("?at=4500")
