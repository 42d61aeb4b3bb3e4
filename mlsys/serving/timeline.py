"""The one picture of what happened when: a row for each actor, a bar for what lasts, a mark for an
instant, an arrow for what goes from one to another.

Threads, philosophers, coroutines, requests, messages and replicas are all drawn by it, so that
the reader meets a familiar picture. What is told stays with whoever measured it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from mlsys import theme

MOST_MARKS = 2_000
_ROW = 34  # pixels a row
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_COLOURS = (theme.BLUE, theme.ORANGE, theme.GREEN, theme.PURPLE, theme.SKY, theme.GREY)


@dataclass(frozen=True)
class Event:
    """Something that happened: who (`row`), from when to when (s), what kind, and a word on it.

    Without an `end` it is an instant. With `to` it is an arrow from `row` at `start` to that row
    at `end`, such as a message on its way.
    """

    row: str
    start: float
    end: float | None = None
    kind: str = ""
    text: str = ""
    to: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.start):
            raise ValueError(f"The event {self.kind!r} of {self.row} has no finite start.")
        if self.end is not None and not self.end >= self.start:
            raise ValueError(
                f"The event {self.kind!r} of {self.row} ends at {self.end}, before it starts"
                f" at {self.start}."
            )
        if self.to and self.end is None:
            raise ValueError(f"The arrow {self.kind!r} from {self.row} to {self.to} needs an end.")


def timeline(
    events: Sequence[Event],
    *,
    title: str,
    colours: Mapping[str, str] | None = None,
    danger: Sequence[str] = (),
    rows: Sequence[str] = (),
    names: bool = False,
) -> go.Figure:
    """Draw events, rows from top to bottom in the order of `rows`, then of first mention.

    A kind has one colour: yours, RED for those of `danger`, else the palette in turn. With
    `names` the text stands in the bars. Of more than 2,000 events all of `danger` are kept and the
    others thinned evenly; the title's end then says so.
    """
    drawn = thinned(events, danger)
    order = list(dict.fromkeys([*rows, *(name for e in drawn for name in (e.row, e.to) if name)]))
    scale, unit = _unit([t for e in drawn for t in (e.start, e.end) if t is not None])
    palette = _palette(drawn, colours or {}, danger)
    figure = go.Figure()
    for kind, colour in palette.items():
        ours = [e for e in drawn if e.kind == kind]
        symbol = "x" if kind in danger else "diamond"
        bars = [e for e in ours if e.end is not None and not e.to]
        arrows, marks = [e for e in ours if e.to], [e for e in ours if e.end is None]
        traces = (
            (_bars(bars, colour, scale, names), bars),
            (_arrows(arrows, colour, scale), [e for e in arrows for _ in range(3)]),
            (_marks(marks, colour, scale, symbol), marks),
        )
        for trace, told in traces:
            if told:
                told = [_tell(e, scale, unit) for e in told]
                trace.update(name=kind, legendgroup=kind, hovertext=told, hoverinfo="text")
                trace.showlegend = bool(kind) and kind not in {t.name for t in figure.data}
                figure.add_trace(trace)
    left_out = len(events) - len(drawn)
    if left_out:
        title += f"<br><sup>{len(drawn):,} of {len(events):,} events are drawn</sup>"
    figure.update_layout(
        title=title, height=150 + _ROW * max(2, len(order)), barmode="overlay", bargap=0.3,
        hovermode="closest", showlegend=any(palette),
    )  # fmt: skip
    figure.update_xaxes(title=f"time, {unit}")
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=order[::-1],
        range=[-0.7, len(order) - 0.3], showgrid=False,
    )  # fmt: skip
    return figure


def thinned(events: Sequence[Event], danger: Sequence[str] = ()) -> list[Event]:
    """At most 2,000 of the events in their order; of those of `danger` as many as fit."""
    if len(events) <= MOST_MARKS:
        return list(events)
    keep = [place for place, e in enumerate(events) if e.kind in danger]
    keep = keep[:: max(1, math.ceil(len(keep) / (MOST_MARKS // 2)))]
    others = [place for place, e in enumerate(events) if e.kind not in danger]
    keep += others[:: max(1, math.ceil(len(others) / (MOST_MARKS - len(keep))))]
    return [events[place] for place in sorted(keep)]


def _palette(
    events: Sequence[Event], colours: Mapping[str, str], danger: Sequence[str]
) -> dict[str, str]:
    kinds = list(dict.fromkeys(e.kind for e in events))
    free = [c for c in _COLOURS if c not in colours.values()] or list(_COLOURS)
    made, turn = {}, 0
    for kind in kinds:
        if kind in danger:
            made[kind] = theme.RED
        elif kind in colours:
            made[kind] = colours[kind]
        else:
            made[kind] = free[turn % len(free)]
            turn += 1
    return made


def _bars(events: Sequence[Event], colour: str, scale: float, names: bool) -> go.Bar:
    return go.Bar(
        orientation="h",
        base=[e.start / scale for e in events],
        x=[(e.end - e.start) / scale for e in events],
        y=[e.row for e in events],
        marker={"color": colour, "line": {"width": 0}},
        text=[e.text for e in events] if names else None,
        textposition="inside",
        insidetextanchor="middle",
    )


def _marks(events: Sequence[Event], colour: str, scale: float, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[e.start / scale for e in events],
        y=[e.row for e in events],
        mode="markers",
        marker={
            "color": colour,
            "size": 11,
            "symbol": symbol,
            "line": {"width": 1, "color": "white"},
        },
    )


def _arrows(events: Sequence[Event], colour: str, scale: float) -> go.Scatter:
    return go.Scatter(
        x=[x for e in events for x in (e.start / scale, e.end / scale, None)],
        y=[y for e in events for y in (e.row, e.to, None)],
        mode="lines+markers",
        line={"color": colour, "width": 2},
        # `angleref` turns each head the way of its line; the tail and the gap get none.
        marker={"symbol": "arrow", "angleref": "previous", "size": [0, 14, 0] * len(events)},
    )


def _tell(event: Event, scale: float, unit: str) -> str:
    where = f"{event.row} to {event.to}" if event.to else event.row
    when = f"{event.start / scale:.4g} {unit}"
    if event.end is not None:
        when += f" to {event.end / scale:.4g} {unit}, {(event.end - event.start) / scale:.3g} long"
    what = ": ".join(part for part in (event.kind, event.text) if part)
    return f"{where}<br>{what}<br>{when}" if what else f"{where}<br>{when}"


def _unit(times: Sequence[float]) -> tuple[float, str]:
    """The largest unit in which the whole stretch is at least 1."""
    length = max(times) - min(times) if times else 1.0
    reach = max(length, 1e-6)
    return next((scale, unit) for scale, unit in _UNITS if reach >= scale)
