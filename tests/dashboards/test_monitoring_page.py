"""The page Model monitoring, without a browser."""

import pytest
from pages import charts, headline, open_page

from mlsys.data import load
from mlsys.monitoring import demo


@pytest.fixture(scope="module")
def spam() -> demo.Filter:
    return demo.train(load("sms_spam", stand_in=True))


def test_the_first_view_has_a_verdict_and_three_charts():
    page = open_page("monitoring")
    assert headline(page) and len(charts(page)) == 3
    assert not page.warning and page.query_params == {}


def test_healthy_traffic_drifts_nowhere():
    page = open_page("monitoring", kind="healthy")
    assert headline(page).startswith("**Nothing to do")


def test_concept_drift_hurts_and_moves_no_column():
    page = open_page("monitoring", kind="concept", strength="100")
    assert "No column drifted, and yet accuracy fell" in headline(page)


def test_moving_the_strength_changes_the_charts_and_the_address():
    page = open_page("monitoring", kind="broken")
    before = charts(page)
    page.slider(key="strength").set_value(0).run()
    assert charts(page) != before
    assert page.query_params == {"kind": "broken", "strength": "0"}


def test_a_hostile_address_gets_sentences_and_the_default_scene():
    page = open_page("monitoring", kind="../../etc/passwd", strength="7", start="NaN", column="")
    assert page.warning[0].value.count("is used instead") == 4
    assert headline(page) == headline(open_page("monitoring"))


def test_a_stronger_drift_touches_the_same_messages_and_more(spam):
    weak, strong = (demo.traffic(spam, demo.Scene("broken", share)) for share in (0.3, 0.8))
    clean = demo.traffic(spam, demo.Scene("healthy"))
    touched_weak, touched_strong = ((log["text"] != clean["text"]) for log in (weak, strong))
    assert touched_weak.any() and touched_strong[touched_weak].all()
    assert touched_strong.sum() > touched_weak.sum()
    assert not touched_strong[strong["week"] < 7].any()


def test_no_strength_is_the_same_as_healthy_traffic(spam):
    clean = demo.traffic(spam, demo.Scene("healthy"))
    for kind in demo.KINDS:
        assert demo.traffic(spam, demo.Scene(kind, 0.0)).equals(clean)


def test_what_cannot_be_computed_says_so(spam):
    with pytest.raises(ValueError, match="no drift called"):
        demo.traffic(spam, demo.Scene("magic"))
    with pytest.raises(ValueError, match="at least one row"):
        demo.drift(spam.reference, spam.reference.head(0))


def test_clean_samples_rarely_raise_an_alarm(spam):
    rows = spam.reference
    alarms = falls = 0
    for seed in range(60):
        sample = rows.sample(frac=1, random_state=seed)
        half = len(sample) // 2
        alarms += demo.drift(sample[:half], sample[half:])["drifted"].any()
        falls += demo.fell(sample[:half], sample[half:])
    assert alarms <= 4 and falls <= 6  # 1 % and 2.5 % expected
