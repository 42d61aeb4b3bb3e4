"""Pictures of load: they show what was measured, for one run, many, and for none that answered."""

import math

import numpy as np
import pytest

from mlsys.serving.latency import Histogram
from mlsys.serving.load import figures as load_figures
from mlsys.serving.load.engine import Record
from mlsys.serving.load.result import EVENTS_KEPT, LoadResult, summarise
from mlsys.serving.queueing import mm1


def played(count: int, *, rate: float = 100.0, wait: float = 0.0, service: float = 0.01,
           failed: int = 0) -> LoadResult:  # fmt: skip
    """The result of a record in which every instant is known."""
    record = Record()
    for index in range(count):
        record.add(index / rate)
        due = record.ready[index] = record.intended[index]
        record.sent[index], record.done[index] = due + wait, due + wait + service
        record.status[index], record.lane[index] = 200, 0
        record.error[index] = "refused" if index < failed else ""
    return summarise(record, name="played", loop="open", seconds=count / rate)


def test_a_result_has_the_rates_and_times_of_its_record():
    result = played(200, wait=0.03, service=0.01, failed=20)
    assert (result.planned, result.sent, result.ok) == (200, 200, 180)
    assert result.offered == pytest.approx(100) and result.failed == pytest.approx(0.1)
    assert result.latency.p50 == pytest.approx(0.04, rel=0.002)
    assert result.service.p99 == pytest.approx(0.01, rel=0.002)
    assert result.kept_up and "20 refused" in result.describe()
    assert "<table>" in result._repr_html_()


def test_of_many_events_failures_are_kept_and_the_rest_thinned():
    result = played(30_000, rate=10_000, failed=50)
    assert len(result.events) <= EVENTS_KEPT
    assert (~result.events["ok"]).sum() == 50
    assert result.events["request"].is_monotonic_increasing


def test_a_name_from_outside_cannot_write_html():
    record = Record()
    result = summarise(record, name="<script>", loop="open", seconds=1)
    assert "<script>" not in result._repr_html_()


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("longest", [0.002, 0.3])
def test_names_of_curves_that_end_together_stand_apart_and_within_the_picture(count, longest):
    runs = {f"run {number}": [0.001, longest] for number in range(count)} | {"other": [0.001]}
    figure = load_figures.latency(runs, title="t")
    low, high = figure.layout.yaxis.range
    levels = sorted(note.y for note in figure.layout.annotations)
    assert len(levels) == count + 1 and low < levels[0] and levels[-1] < high
    gaps = np.diff(levels)
    assert (gaps > 0.06 * (high - low)).all()


def test_each_run_is_a_curve_that_rises_to_its_longest_time():
    rng = np.random.default_rng(0)
    runs = {"a": played(500), "b": Histogram.of(rng.exponential(0.1, 2_000)), "c": [0.1, 0.2]}
    figure = load_figures.latency(runs, title="t", marks={"promised": 0.3})
    assert [curve.name for curve in figure.data] == ["a", "b", "c"]
    for curve in figure.data:
        assert list(curve.y) == sorted(curve.y)
    assert figure.data[1].y[-1] == pytest.approx(1000 * runs["b"].high)
    assert {a.text for a in figure.layout.annotations} == {"a", "b", "c", "promised"}
    assert figure.layout.yaxis.type == "log"
    (mark,) = (a for a in figure.layout.annotations if a.text == "promised")
    assert figure.layout.yaxis.range[0] < mark.y < figure.layout.yaxis.range[1]
    assert 10**mark.y == pytest.approx(300)
    assert "p99" in figure.layout.xaxis.ticktext


def test_a_curve_is_as_wide_as_its_answers_are_many():
    figure = load_figures.latency({"ten": [0.1] * 10, "thousand": [0.1] * 1000}, title="t")
    assert [max(curve.x) for curve in figure.data] == pytest.approx([1, 3])


def test_labels_of_curves_that_end_together_do_not_cover_each_other():
    figure = load_figures.latency({name: [0.1, 0.2] for name in "abcd"}, title="t")
    places = sorted(a.y for a in figure.layout.annotations)
    assert min(np.diff(places)) > 0


def test_the_knee_shows_measured_runs_beside_theory_that_ends_at_capacity():
    runs = [played(100, rate=rate, wait=0.001 * rate / 100) for rate in (90, 10, 50)]
    figure = load_figures.knee(
        runs, title="t", theory={"M/M/1": lambda r: mm1(r, 0.01).response}, capacity=100
    )
    curves = {curve.name: curve for curve in figure.data}
    assert list(curves["p99"].x) == sorted(run.offered for run in runs)
    assert np.isnan(np.array(curves["M/M/1"].y, float)[-1])


@pytest.mark.parametrize("draw", [
    lambda run: load_figures.latency({"none": run}, title="t"),
    lambda run: load_figures.knee([run], title="t"),
])  # fmt: skip
def test_a_run_without_an_answer_is_a_picture_too(draw):
    record = Record()
    record.add(0.0)
    run = summarise(record, name="n", loop="open", seconds=1)
    assert math.isnan(run.latency.p99)
    assert draw(run).layout.title.text == "t"
