"""What lesson 38 stands on: other rules over recorded windows, a web hook's other end, figures."""

import http.client
import json

import httpx
import numpy as np
import pandas as pd
import pytest

from mlsys.monitoring import delivery, labels, performance, rule_replay, slo, traffic, watch
from mlsys.monitoring import hook_receiver as hook
from mlsys.monitoring import performance_figures as figures
from mlsys.monitoring.alerts import Alert, Alerts, Notice, Rule, windows_to_notices

AT = traffic.START.to_pydatetime()
ALERT = Alert("drift", "ticket", {"column": "size"}, AT, 0.5, "size: drift above 0.1")


def notice(event, severity, at=AT):
    return Notice(event, at, {"model": "spam"}, severity, "size drifted.", (ALERT,), "Look.")


@pytest.fixture(scope="module")
def seen():
    """A calm scene, and one whose inputs move from day 14 on, watched over eighteen days."""
    calm = traffic.traffic("healthy", per_day=200, days=18)
    new = traffic.traffic("covariate", per_day=200, days=18)
    return (
        watch.watch(calm.reference, calm.live),
        watch.watch(new.reference, new.live, change_at=new.change_at),
    )


def test_a_windows_numbers_are_each_columns_effect_and_the_two_losses(seen):
    _, new = seen
    windows = rule_replay.numbers(new)
    assert [at for at, _ in windows] == list(new.windows["at"])
    for (_, inside), row in zip(windows, new.windows.itertuples()):
        columns = [where["column"] for metric, _, where in inside if metric == "effect"]
        assert sorted(columns) == sorted(watch.WATCHED)
        losses = {metric: value for metric, value, _ in inside if metric != "effect"}
        assert losses["estimated loss"] == pytest.approx(new.reference - row.estimate_high)
        assert losses["known loss"] == pytest.approx(row.usual - row.known_high)


def test_known_accuracy_is_held_against_the_references_labels_of_the_same_age(seen):
    calm, _ = seen
    matched = [inside[-1][1] for _, inside in rule_replay.numbers(calm)]
    assert max(matched) < 0, "a calm stretch never surely loses against what is usual"
    usual = calm.windows["usual"]
    assert usual.iloc[0] < usual.iloc[-1] < calm.reference, "early labels look bad"
    assert usual[6:].nunique() == 1, "seven windows of labels are as old as they get"


def test_crossings_are_all_that_notices_leave_out(seen):
    windows = rule_replay.numbers(seen[1])
    rule = Rule("inputs drifted", "effect", above=1, k=1, n=1)
    crossed = rule_replay.crossings(windows, [rule])
    told = windows_to_notices(Alerts([rule]), windows)
    assert {"country", "client"} <= set(crossed["what"])
    assert crossed["at"].min() == told[0].at == rule_replay.first_told(windows, rule)
    assert len(crossed) > 10 * sum(one.event == "opened" for one in told)
    assert rule_replay.first_told(windows, Rule("never", "effect", above=1e9)) is None
    assert rule_replay.crossings(windows, [Rule("never", "effect", above=1e9)]).empty


def test_the_receiver_keeps_what_a_webhook_posts():
    with hook.receiver() as (url, got):
        delivery.to_webhook(url, timeout=60)(notice("opened", "page"))
        assert got == [json.loads(json.dumps(notice("opened", "page").to_dict()))]
    with pytest.raises(httpx.HTTPError):
        httpx.post(url, json={}, timeout=2)


def test_the_receiver_keeps_a_notice_that_comes_twice_once():
    with hook.receiver() as (url, got):
        tell = delivery.to_webhook(url, timeout=60)
        for event in ("opened", "opened", "rose"):
            tell(notice(event, "page"))
        assert [posted["event"] for posted in got] == ["opened", "rose"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[1]", 400), (b"\xff\xfe", 400), (b'{"a": 1}', 204)],
)
def test_the_receiver_keeps_json_objects_only(body, status):
    with hook.receiver() as (url, got):
        assert httpx.post(url, content=body, timeout=60).status_code == status
        assert len(got) == (status == 204)


def test_a_notice_too_large_is_refused_before_it_is_read():
    with hook.receiver() as (url, got):
        asked = http.client.HTTPConnection(httpx.URL(url).netloc.decode(), timeout=60)
        asked.putrequest("POST", "/alerts")
        asked.putheader("Content-Length", str(hook.LARGEST + 1))
        asked.endheaders()
        assert asked.getresponse().status == 413
        asked.close()
        assert got == []


def test_a_stretch_of_firing_ends_only_after_enough_quiet_steps():
    at = pd.date_range("2026-01-01", periods=8, freq="5min", tz="UTC")
    severity = ["", "ticket", "", "page", "", "", "", "ticket"]
    burnt = pd.DataFrame({"at": at, "severity": severity})
    assert figures.spans(burnt, gap=2) == [
        (at[1], at[3], "page"),
        (at[7], at[7], "ticket"),
    ]
    assert figures.spans(burnt.assign(severity="")) == []


def marks(fig):
    return sum(len(trace.x) for trace in fig.data)


def test_each_figure_says_its_title_and_its_units_and_stays_small(seen):
    _, new = seen
    log = traffic.scene_frame("healthy", per_day=200, days=3)
    table = performance.calibration(log["label"], log["score"])
    gaps = pd.DataFrame({"estimate": [0.9, 0.9], "truth": [0.9, 0.8]}, ["healthy", "concept"])
    rows = pd.DataFrame({"slice": ["a", "b"], "value": [0.5, 0.9], "low": [0.4, 0.8]})
    rows = rows.assign(high=[0.6, 1.0], n=[20, 30])
    windows = rule_replay.numbers(new)
    crossed = rule_replay.crossings(windows, [Rule("moved", "effect", above=1)])
    at = pd.date_range("2026-01-01", periods=5000, freq="5min", tz="UTC")
    bad = np.where(np.arange(5000) // 50 == 40, 300, 0)
    burnt = slo.burn(pd.DataFrame({"at": at, "bad": bad, "total": 600}), slo.Objective(0.999))
    drawn = [
        figures.reliability({"the model": table}, title="t"),
        figures.gap_by_scene(gaps, tolerance=0.02, title="t"),
        figures.knowledge(
            new.windows, change_at=new.change_at, alarms={"a": AT, "b": None}, title="t"
        ),
        figures.slice_intervals(rows, usual=0.8, title="t", x="accuracy, in %"),
        figures.told(crossed, {"told": [notice("opened", "page")] * 3}, title="t"),
        figures.burn_rates(burnt, title="t"),
    ]
    for fig in drawn:
        assert fig.layout.title.text == "t"
        assert fig.layout.xaxis.title.text and 0 < marks(fig) <= 2_000
    assert "page" in {note.text.strip() for note in drawn[-1].layout.annotations}
    assert drawn[4].data[-1].text == ("3",)
    arrived = figures.arrivals(log, {1: "spam", 0: "good mail"})
    early = (log["label_at"] - log["at"] <= labels.DAY)[log["label"] == 1].mean()
    assert f"{100 * early:.0f} % of spam" in arrived.layout.title.text
