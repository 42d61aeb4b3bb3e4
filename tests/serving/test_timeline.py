"""The timeline: every event is drawn once, in its row, and a crowd is thinned honestly."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys import theme
from mlsys.serving.timeline import MOST_MARKS, Event, thinned, timeline


def marks(figure):
    """How many bars, arrows and marks a figure has."""
    return sum(
        len(t.y) // 3 if t.type == "scatter" and t.mode == "lines+markers" else len(t.y)
        for t in figure.data
    )


EVENTS = st.builds(
    lambda row, start, length, kind, to: Event(
        row, start, None if length is None and not to else start + (length or 0), kind, to=to
    ),
    st.sampled_from(["a", "b", "c"]),
    st.floats(0, 5),
    st.none() | st.floats(0, 2),
    st.sampled_from(["waits", "works", "crash", ""]),
    st.sampled_from(["", "", "b"]),
)


@settings(max_examples=25, deadline=None)
@given(events=st.lists(EVENTS, max_size=30))
def test_each_event_is_drawn_once(events):
    figure = timeline(events, title="t", danger=("crash",))
    assert marks(figure) == len(events)
    legend = [trace.name for trace in figure.data if trace.showlegend]
    assert len(legend) == len(set(legend))


def test_rows_stand_in_the_order_asked_then_of_first_mention():
    events = [Event("b", 0, 1), Event("a", 0, 1, to="c"), Event("d", 2)]
    figure = timeline(events, title="t", rows=["d"])
    assert list(figure.layout.yaxis.categoryarray)[::-1] == ["d", "b", "a", "c"]


def test_danger_is_red_and_nothing_else_is():
    kinds = ["one", "two", "three", "four", "five", "six", "seven", "crash"]
    figure = timeline([Event("a", i, i + 1, k) for i, k in enumerate(kinds)], title="t",
                      danger=("crash",))  # fmt: skip
    colours = {trace.name: trace.marker.color for trace in figure.data}
    assert [name for name, colour in colours.items() if colour == theme.RED] == ["crash"]


def test_a_colour_that_was_asked_for_is_not_given_to_another_kind():
    events = [Event("a", 0, 1, "x"), Event("a", 1, 2, "y"), Event("a", 2, 3, "z")]
    figure = timeline(events, title="t", colours={"z": theme.BLUE})
    colours = {trace.name: trace.marker.color for trace in figure.data}
    assert colours["z"] == theme.BLUE and colours["x"] != theme.BLUE


@pytest.mark.parametrize(("length", "unit"), [(3.0, "s"), (0.02, "ms"), (4e-5, "µs")])
def test_the_axis_takes_the_unit_that_fits(length, unit):
    figure = timeline([Event("a", 0, length)], title="t")
    assert figure.layout.xaxis.title.text == f"time, {unit}"
    assert 1 <= figure.data[0].x[0] < 1000


def test_a_crowd_is_thinned_but_what_is_dangerous_stays():
    events = [Event("a", i, i + 1, "crash" if i % 500 == 0 else "works") for i in range(9_000)]
    kept = thinned(events, ("crash",))
    assert len(kept) <= MOST_MARKS
    assert sum(e.kind == "crash" for e in kept) == 18
    assert kept == sorted(kept, key=lambda e: e.start)
    assert "of 9,000 events are drawn" in timeline(events, title="t").layout.title.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Event("a", 2, 1), "before it starts"),
        (lambda: Event("a", float("nan")), "no finite start"),
        (lambda: Event("a", 0, float("nan")), "ends at nan"),
        (lambda: Event("a", 0, to="b"), "needs an end"),
    ],
)
def test_an_event_that_cannot_be_gets_a_sentence(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()


def test_no_event_at_all_is_an_empty_picture():
    assert timeline([], title="t").layout.title.text == "t"
