"""Detectors of a stream: the planning table reproduced, and windows in constant memory."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from mlsys.monitoring import streams
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.profiles import merge, profile

FAST = [name for name in streams.DETECTORS if name != "KSWIN"]


@pytest.fixture(scope="module")
def table():
    return streams.delays(FAST, streams=40, before=3_000, after=2_000).set_index("detector")


# False alarms per 100,000, share detected, mean delay, measured when the project was planned on 60
# streams of river 0.26. False alarms are counts: Poisson, three standard errors of both either way.
MEASURED = {
    "ADWIN": (0.0, 1.00, 148),
    "HDDM_A": (1.3, 1.00, 161),
    "HDDM_W": (6.0, 1.00, 65),
    "PageHinkley": (1.7, 0.98, 192),
    "DDM": (11.7, 0.93, 382),
    "EDDM": (266.0, 1.00, 253),
}


@pytest.mark.parametrize("name", FAST)
def test_the_table_of_delays_and_false_alarms_is_reproduced(table, name):
    false, detected, delay = MEASURED[name]
    ours = table.loc[name]
    ours_count, expected = 1.2 * ours["false_alarms"], 1.2 * false  # of 120,000 values
    if name == "EDDM":  # alarms in bursts, so no Poisson: its order of magnitude
        assert 133 < ours["false_alarms"] < 532
    else:
        # Theirs is of 300,000 values.
        assert abs(ours_count - expected) <= 3 * np.sqrt(expected * 1.4) + 3
    assert abs(ours["detected"] - detected) < 0.2
    if name == "EDDM":  # it alarms every 300 values anyway: its delay is the wait for the next
        assert ours["delay"] < delay + 1e5 / false
    else:
        assert delay / 2 < ours["delay"] < 2 * delay  # long-tailed, of 40 streams


def test_who_is_quick_and_who_cries_wolf(table):
    assert table["delay"].idxmin() == "HDDM_W"
    assert table["false_alarms"].idxmax() == "EDDM"
    assert table.loc["ADWIN", "false_alarms"] < 2


def test_kswin_mostly_misses_a_step_of_an_error_rate():
    # 30 % of 60 streams, measured when the project was planned; binomial, three standard errors.
    table = streams.delays(["KSWIN"], streams=12, before=500, after=2_000)
    assert table["detected"].iloc[0] <= 0.3 + 3 * np.sqrt(0.3 * 0.7 / 12)


@given(
    st.integers(0, 1_000),
    st.sampled_from([0.05, 0.3, 1.0]),
    st.sampled_from([{}, {"alpha": 0.05}, {"window_size": 40, "stat_size": 15}]),
)
@settings(max_examples=6, deadline=None)
def test_kswin_alarms_where_that_of_river_does(seed, coarse, setting):
    rng = np.random.default_rng(seed)
    values = np.round(np.r_[rng.normal(0, 1, 150), rng.normal(1.2, 1, 150)] / coarse) * coarse
    theirs, wanted = drift.KSWIN(seed=seed, **setting), []
    for place, value in enumerate(values):
        theirs.update(value)
        if theirs.drift_detected:
            wanted.append(place)
    assert list(streams.alarms(streams.make("KSWIN", seed=seed, **setting), values)) == wanted


def test_a_detector_begins_anew_after_its_alarm():
    values = [0] * 500 + [1] * 500 + [0] * 500
    found = list(streams.alarms(streams.make("ADWIN"), values))
    assert any(500 <= place < 700 for place in found)
    assert any(1_000 <= place < 1_200 for place in found)


def test_detectors_of_any_number_see_a_mean_move():
    rng = np.random.default_rng(0)
    values = np.r_[rng.normal(0, 1, 500), rng.normal(3, 1, 500)]
    for name in ("ADWIN", "PageHinkley", "KSWIN"):
        settings = {"seed": 1} if name == "KSWIN" else {}
        found = [place for place in streams.alarms(streams.make(name, **settings), values)]
        assert any(500 <= place < 650 for place in found), name


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: streams.make("CUSUM"), "there are ADWIN"),
        (lambda: streams.make("ADWIN", sensitivity=3), "sensitivity"),
        (lambda: streams.make("DDM").update(0.3), "0.3"),
        (lambda: streams.make("ADWIN").update(float("nan")), "missing"),
        (lambda: streams.WindowProfiles(0), "not 0"),
    ],
)
def test_bad_input_gets_a_sentence(call, word):
    with pytest.raises(MonitoringError, match=word):
        call()


def test_windows_of_a_stream_merge_into_the_profile_of_all_of_it():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.normal(size=1_000), "c": rng.choice(list("abc"), 1_000)})
    reference = profile(frame)
    windows = streams.WindowProfiles(250, like=reference)
    done = []
    for start in range(0, 1_000, 70):
        done += windows.add(frame.iloc[start : start + 70])
    assert [one.rows for one in done] == [250] * 4 and windows.filled == 0
    whole = done[0]
    for one in done[1:]:
        whole = merge(whole, one)
    assert whole["x"].mean == pytest.approx(reference["x"].mean)
    assert (whole["x"].bins == reference["x"].bins).all()
    assert whole["c"].top == reference["c"].top
