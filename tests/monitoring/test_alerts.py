"""Rules at work: persistence, silence, one cause one alert; and budgets."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.monitoring import alerts, slo
from mlsys.monitoring.alerts import Alerts, Rule, Silence
from mlsys.monitoring.errors import MonitoringError

START = datetime(2026, 3, 1, tzinfo=UTC)
LOW = Rule("accuracy is low", "accuracy", "page", below=0.9, k=2, n=3, group=("model",))
DRIFT = Rule("a column drifted", "drift", "ticket", above=0.1, k=2, n=2, group=("model",))


def run(engine, windows, start=0):
    """Each window is a list of (metric, value, column)."""
    found = []
    for hour, numbers in enumerate(windows, start):
        at = START + timedelta(hours=hour)
        for metric, value, column in numbers:
            engine.observe(at, metric, value, model="spam", column=column)
        found += engine.advance(at)
    return found


def accuracy(*values):
    return [[("accuracy", value, "")] for value in values]


def test_one_bad_window_wakes_nobody_and_two_of_three_do():
    assert run(Alerts([LOW]), accuracy(0.95, 0.8, 0.95, 0.95, 0.8, 0.95)) == []
    (notice,) = run(Alerts([LOW]), accuracy(0.95, 0.8, 0.95, 0.8))
    assert notice.event == "opened" and notice.at == START + timedelta(hours=3)
    assert "accuracy below 0.9 in 2 of 3 windows" in notice.sentence


def test_an_alert_ends_after_n_good_windows_and_says_so_once():
    found = run(Alerts([LOW]), accuracy(0.8, 0.8, 0.95, 0.95, 0.95, 0.95, 0.95))
    assert [notice.event for notice in found] == ["opened", "resolved"]
    assert found[1].at == START + timedelta(hours=4)


def test_a_number_that_flaps_makes_one_alert_and_not_ten():
    found = run(Alerts([LOW]), accuracy(*[0.8, 0.8, 0.95] * 10))
    assert len(found) == 1


def test_a_missing_number_neither_raises_nor_ends_an_alert():
    nan = float("nan")
    found = run(Alerts([LOW]), accuracy(0.8, 0.8, nan, nan, nan, nan))
    assert [notice.event for notice in found] == ["opened"]
    assert run(Alerts([LOW]), accuracy(nan, nan, nan)) == []


def test_one_cause_is_one_alert():
    broken = [[("drift", 0.5, f"c{i}") for i in range(20)]] * 3
    (notice,) = run(Alerts([DRIFT]), broken)
    assert len(notice.alerts) == 20
    assert "and 19 more with it" in notice.sentence


def test_a_second_symptom_joins_and_speaks_only_if_it_is_worse():
    windows = [[("drift", 0.5, "c"), ("accuracy", 0.95, "")]] * 3
    windows += [[("drift", 0.5, "c"), ("drift", 0.5, "d"), ("accuracy", 0.8, "")]] * 3
    found = run(Alerts([LOW, DRIFT]), windows)
    assert [(one.event, one.severity) for one in found] == [("opened", "ticket"), ("rose", "page")]


def test_two_models_are_two_incidents():
    engine = Alerts([LOW])
    for hour in range(2):
        for model in ("spam", "price"):
            engine.observe(START + timedelta(hours=hour), "accuracy", 0.5, model=model)
    assert len(engine.advance(START + timedelta(hours=2))) == 2


def test_a_silence_keeps_quiet_and_what_outlasts_it_speaks():
    quiet = Silence(START, START + timedelta(hours=5), "migration", {"model": "spam"})
    found = run(Alerts([LOW], [quiet]), accuracy(*[0.8] * 8))
    assert [notice.at for notice in found] == [START + timedelta(hours=5)]
    engine = Alerts([LOW], [quiet])
    assert run(engine, accuracy(0.8, 0.8, 0.8)) == [] and len(engine.firing) == 1
    assert run(engine, accuracy(0.95, 0.95, 0.95), start=3) == []  # ended unheard


def test_a_silence_of_one_rule_leaves_the_others_loud():
    quiet = Silence(START, START + timedelta(days=9), "known", {"rule": DRIFT.name})
    windows = [[("drift", 0.5, "c"), ("accuracy", 0.8, "")]] * 3
    (notice,) = run(Alerts([LOW, DRIFT], [quiet]), windows)
    assert [one.rule for one in notice.alerts] == [LOW.name]


@settings(max_examples=50)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(0, 3))
def test_events_alternate_and_an_alert_needs_k_bad_windows(bad, k, more):
    rule = Rule("r", "m", above=0, k=k, n=k + more)
    engine = Alerts([rule])
    events = run(engine, [[("m", float(one), "")] for one in bad])
    names = [one.event for one in events]
    assert names == ["opened", "resolved"] * (len(names) // 2) + ["opened"] * (len(names) % 2)
    windows = [sum(bad[max(0, i - rule.n + 1) : i + 1]) for i in range(len(bad))]
    assert bool(names) == any(count >= k for count in windows)
    assert bool(engine.firing) == (len(names) % 2 == 1)


text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)


@settings(max_examples=50)
@given(text, text, st.floats(-1e9, 1e9), st.integers(1, 5), st.dictionaries(text, text, max_size=2))
def test_rules_come_back_from_their_file(name, metric, bound, k, labels):
    rule = Rule(name, metric, "info", above=bound, k=k, n=5, labels=labels, group=("a", "b"))
    silence = Silence(START, START + timedelta(days=1), name, labels)
    assert alerts.from_toml(alerts.to_toml([rule], [silence])) == ((rule,), (silence,))


@pytest.mark.parametrize(
    "file, line, word",
    [
        ('[[rule]]\nname = "a"\nmetric = "m"\nabove = 1\nwindow = 3\n', 5, "window"),
        ('[[rule]]\nname = "a"\nmetric = "m"\nabove = "high"\n', 4, "high"),
        ('[[rule]]\nname = "a"\nabove = 1\n', 1, "metric"),
        ('[[rule]]\nname = "a"\nmetric = "m"\nabove = 1\nk = 4\nn = 2\n', 1, "4 of 2"),
        ('[[rule]]\nname = "a"\nmetric = "m"\n', 1, "above or below"),
        ('# one\n[[rule]]\nname = "a"\nmetric "m"\n', 4, "TOML"),
        ('[[silence]]\nstart = 2026-01-01\nend = 2026-01-02\nwhy = "x"\n', 2, "start"),
        ('[rule]\nname = "a"\n', 1, "rule"),
    ],
)
def test_a_bad_file_gets_one_sentence_with_its_line(file, line, word):
    with pytest.raises(MonitoringError, match=word) as error:
        alerts.from_toml(file)
    assert f"line {line}" in str(error.value).lower() and "\n" not in str(error.value)


def test_rules_and_times_that_cannot_be_are_refused():
    with pytest.raises(MonitoringError, match="severity"):
        Rule("r", "m", "loud", above=1)
    with pytest.raises(MonitoringError, match="zone"):
        Alerts([LOW]).observe(datetime(2026, 1, 1), "accuracy", 1.0)
    with pytest.raises(MonitoringError, match="Two rules"):
        Alerts([LOW, LOW])
    with pytest.raises(MonitoringError, match="none"):
        slo.Objective(99.9)


def minutes(days, bad_share, *, per_minute=1_000):
    n = int(days * 24 * 60)
    at = pd.date_range(START, periods=n, freq="min")
    return pd.DataFrame(
        {"at": at, "bad": np.resize(bad_share, n) * per_minute, "total": per_minute}
    )


def test_the_workbooks_rules_spend_two_five_and_ten_percent_of_the_budget():
    objective = slo.Objective(0.999)
    used = [rule.budget_used(objective) for rule in slo.WORKBOOK_RULES]
    assert used == pytest.approx([0.02, 0.05, 0.10])


def test_a_service_at_its_objective_raises_no_alert():
    found = slo.burn(minutes(4, 0.0009), slo.Objective(0.999))
    assert (found["severity"] == "").all()
    assert found["long_0"].iloc[-1] == pytest.approx(0.9)


def test_an_outage_pages_within_a_minute_and_ends_within_the_short_window():
    events = minutes(2, 0.0)
    hit = (events["at"] >= START + timedelta(days=1)) & (
        events["at"] < START + timedelta(days=1, hours=1)
    )
    events.loc[hit, "bad"] = events.loc[hit, "total"]
    paged = slo.burn(events, slo.Objective(0.999)).query("severity == 'page'")["at"]
    first, last = paged.min(), paged.max()
    assert first - (START + timedelta(days=1)) <= timedelta(minutes=1)
    assert last - (START + timedelta(days=1, hours=1)) <= timedelta(minutes=30)


def test_a_slow_burn_is_a_ticket_and_not_a_page():
    found = slo.burn(minutes(4, 0.002), slo.Objective(0.999))
    assert set(found["severity"]) == {"", "ticket"}
    assert found["severity"].iloc[-1] == "ticket"
    lasted = found[found["severity"] == "ticket"]
    assert len(lasted) >= len(found) / 2 and lasted.index[-1] - lasted.index[0] == len(lasted) - 1


def test_one_error_in_the_first_minute_wakes_nobody():
    events = minutes(1, 0)
    events.loc[0, "bad"] = 1
    assert set(slo.burn(events, slo.Objective(0.999))["severity"]) == {""}
