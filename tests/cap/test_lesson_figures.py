"""The figures of the lesson on quorums: what they mark, and that no browser chokes on them."""

import numpy as np
import pytest

from mlsys.cap import PROFILES, Scene, by_second, check, lesson_figures, run, wars
from mlsys.cap.pbs_paper import CONSISTENT_AT_ONCE, TABLE_4

MARKS = 2_000


@pytest.fixture(scope="module")
def draws():
    return {name: wars(PROFILES[name], trials=20_000, seed=1) for name in CONSISTENT_AT_ONCE}


def marks(figure):
    return sum(len(trace.x) for trace in figure.data)


def test_each_curve_is_marked_where_the_share_is_fresh(draws):
    said = {"lnkd-disk": 45.5}
    fig = lesson_figures.visibility(draws.values(), said, r=1, w=1, title="t")
    by_name = {trace.name: trace for trace in fig.data}
    true = draws["lnkd-disk"].t_visibility(r=1, w=1)
    assert by_name["lnkd-disk, ours"].x == (pytest.approx(true),)
    assert by_name["lnkd-disk, the paper"].x == (45.5,)
    assert "wan, the paper" not in by_name
    assert marks(fig) <= MARKS
    for name, one in draws.items():
        assert (np.diff(by_name[name].y) <= 0).all(), one.fit


def test_quorums_that_overlap_are_said_to_have_no_stale_read(draws):
    fig = lesson_figures.visibility([draws["lnkd-ssd"]], r=2, w=2, title="t")
    assert marks(fig) == 0
    assert [note.text for note in fig.layout.annotations] == ["No read is stale at any time."]


def test_the_table_has_a_row_for_each_published_cell_in_the_papers_figures(draws):
    table = lesson_figures.paper_table(draws, replays=5).data
    assert len(table) == len(TABLE_4)
    first = table.iloc[0]
    assert first["read, ms", "paper"] == "0.66"
    assert first["t for 99.9 % fresh, ms", "paper"] == "1.85"
    assert table.iloc[3]["t for 99.9 % fresh, ms", "true"] == "0"


def test_the_culprit_alone_is_red_among_the_spans():
    scene = Scene(latency="lnkd-disk", read_repair=False, think_ms=5, duration_ms=1_500, seed=1)
    witness = check(run(scene).history).witness
    fig = lesson_figures.spans(witness.operations, witness.culprit, title="t")
    red = [trace for trace in fig.data if trace.line.color == lesson_figures.RED]
    assert [trace.text for trace in red] == [str(witness.culprit)]
    assert len(fig.data) == len(witness.operations)


def test_answers_and_elections_and_replays_keep_every_value():
    bins = by_second(run(Scene(duration_ms=500, seed=1)).history, width=100)
    fig = lesson_figures.answered({"quorum": bins}, down=(100, 200), title="t")
    assert list(fig.data[0].y) == [one.ok for one in bins]
    fig = lesson_figures.elections({"150–300": np.array([30.0, 10.0])}, title="t")
    assert list(fig.data[0].x) == [10, 30] and list(fig.data[0].y) == [50, 100]
    fig = lesson_figures.replays(np.array([1.0, 2.0, 2.0]), true=3, published=2, title="t")
    assert sum(fig.data[0].y) == 3
