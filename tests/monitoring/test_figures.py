"""The figures hold what they are drawn from, in few marks, whatever the column holds."""

import numpy as np
import pandas as pd
import pytest

from mlsys.monitoring import figures, judge

RNG = np.random.default_rng(0)
COLUMNS = {
    "normal": (RNG.normal(size=5_000), RNG.normal(1, 1, 3_000)),
    "long tail": (RNG.lognormal(3, 1, 5_000), 1024 * RNG.lognormal(3, 1, 3_000)),
    "constant": (np.ones(500), np.ones(300)),
    "counts": (RNG.poisson(3, 500).astype(float), RNG.poisson(5, 300).astype(float)),
    "infinite": (np.append(RNG.normal(size=500), [np.inf, -np.inf]), RNG.normal(size=300)),
    "gone": (RNG.normal(size=500), np.full(300, np.nan)),
    "truth": (RNG.random(500) < 0.2, RNG.random(300) < 0.6),
    "many": (RNG.integers(0, 3_000, 20_000).astype(str), RNG.integers(9, 4_000, 9_000).astype(str)),
    "alike": (np.array(["x" * 40 + "a", "x" * 40 + "b"] * 90), np.array(["x" * 40 + "a"] * 90)),
    "time": (
        pd.date_range("2026-01-01", periods=500, freq="h"),
        pd.date_range("2026-03-01", periods=300, freq="h", tz="UTC").tz_localize(None),
    ),
}


def marks(figure) -> int:
    return sum(len(trace.x) for trace in figure.data)


@pytest.mark.parametrize("name", list(COLUMNS))
def test_any_column_is_drawn_in_few_marks_with_its_counts_and_threshold(name):
    before, now = (pd.Series(values) for values in COLUMNS[name])
    verdict = judge(pd.DataFrame({name: before}), pd.DataFrame({name: now})).verdicts[0]
    figure = figures.compare_column(before, now, verdict, title="It moved", unit=name)
    assert 0 < marks(figure) <= 2_000
    named = [trace.name for trace in figure.data if trace.name]
    assert named[0].startswith("reference (n = ") and named[1].startswith("now (n = ")
    said = " ".join(note.text for note in figure.layout.annotations)
    assert "threshold" in said + str(figure.to_dict()["layout"])


@pytest.mark.parametrize("n", [200, 2_000, 20_000])
def test_a_number_that_drifted_by_its_distance_is_drawn_beyond_its_threshold(n):
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.05, 0.2, 0.6):
        before, now = rng.normal(size=n), rng.normal(shift, 1, n)
        verdict = judge({"a": before}, {"a": now}).verdicts[0]
        beyond = verdict.move.distance >= figures.threshold(verdict)
        far = verdict.move.wasserstein / verdict.move.spread >= 0.1
        assert beyond == verdict.drifted or (far and verdict.adjusted_p <= 0.01)


def test_a_strangers_text_is_shown_and_never_read():
    assert figures.shown("<b>&amp;") == "&lt;b&gt;&amp;amp;"
    assert figures.shown("a\u202eb\nc") == "a�b�c"
    assert len(figures.shown("x" * 9_999)) == 25
