"""The figure of what a service was asked: rate, latency and classes on one axis of time.

Text that came from data (a class, a version) is escaped, for plotly reads tags in it. No figure has
more than 2,000 marks.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mlsys.monitoring.figures import shown
from mlsys.monitoring.requests import PERCENTS, Requests
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY

UNITS = (("s", 1), ("min", 60), ("h", 3_600), ("day", 86_400))
MARKS = 12  # changes of version that are drawn
WIDE = 20  # the slowest p99 over the fastest p50 from which on the axis is logarithmic
COLOURS = (GREY, GREEN, SKY, ORANGE, PURPLE, BLUE)  # of classes


def per(rate: float) -> tuple[str, int]:
    """The unit of time, and its seconds, in which a rate (1/s) is a number that people read."""
    return next(((unit, s) for unit, s in UNITS if rate * s >= 1), UNITS[-1])


def over_time(
    asked: Requests,
    *,
    title: str,
    names: Mapping[str, str] | None = None,
    until: pd.Timestamp | None = None,
    span: Sequence[pd.Timestamp] | None = None,
) -> go.Figure:
    """Predictions by time, percentiles of latency if any were measured, the share of each class.

    A vertical line marks from when on another version gave most of the answers. `names` says what
    the classes are called; `until` is as for `Requests.windows`, `span` the ends of the axis.
    """
    table, shares = asked.windows(until=until), asked.shares()
    middle = table["at"] + pd.Timedelta(asked.every) / 2
    lanes = ["rate", "latency", "classes"]
    if not table["measured"].any():
        lanes.remove("latency")
    if shares.empty:
        lanes.remove("classes")
    fig = make_subplots(len(lanes), 1, shared_xaxes=True, vertical_spacing=0.07)
    unit, seconds = per(table["rate"].max())
    fig.add_scatter(
        x=middle, y=seconds * table["rate"], mode="lines", line={"color": BLUE, "width": 2},
        showlegend=False, customdata=table["rows"],
        hovertemplate=f"%{{x|%d %b %H:%M}}: %{{y:.3g}} a {unit}, %{{customdata:,}} in all"
        "<extra></extra>", row=1, col=1,
    )  # fmt: skip
    fig.update_yaxes(title=f"per {unit}", rangemode="tozero", row=1, col=1)
    if "latency" in lanes:
        _latency(fig, middle, table)
    for place, name in enumerate(shares):
        fig.add_bar(
            x=middle, y=100 * shares[name], name=shown((names or {}).get(name, f"class {name}")),
            marker={"color": COLOURS[place % len(COLOURS)], "line": {"width": 0}}, opacity=0.7,
            hovertemplate="%{x|%d %b %H:%M}: %{y:.1f} %<extra>%{fullData.name}</extra>",
            row=len(lanes), col=1,
        )  # fmt: skip
    if "classes" in lanes:
        fig.update_yaxes(title="class, %", range=[0, 100], row=len(lanes), col=1)
    for at, version in asked.changes()[1:][-MARKS:]:
        fig.add_vline(x=at, line={"color": GREY, "width": 2, "dash": "dot"})
        fig.add_annotation(
            x=at, yref="paper", y=1, xanchor="left", yanchor="bottom", showarrow=False,
            text=shown(version, most=14), font={"size": 12},
        )  # fmt: skip
    fig.update_xaxes(title="time, in UTC", row=len(lanes), col=1)
    fig.update_xaxes(range=span, nticks=7, tickangle=0)
    return fig.update_layout(
        title=title, barmode="stack", bargap=0, height=120 + 114 * len(lanes),
        margin={"t": 68, "b": 96},
        legend={"yref": "container", "y": 0, "x": 0, "traceorder": "normal"},
    )  # fmt: skip


def _latency(fig: go.Figure, middle: pd.Series, table: pd.DataFrame) -> None:
    for percent, colour in zip(PERCENTS, (BLUE, ORANGE, PURPLE)):
        fig.add_scatter(
            x=middle, y=table[f"p{percent}"], mode="lines", name=f"p{percent}",
            line={"color": colour, "width": 2}, customdata=table["measured"],
            hovertemplate=f"%{{x|%d %b %H:%M}}: {percent} % of %{{customdata:,}} within "
            "%{y:.3g} ms<extra></extra>", row=2, col=1,
        )  # fmt: skip
    wide = table["p99"].max() > WIDE * table["p50"].min()
    fig.update_yaxes(title="latency, ms", row=2, col=1, rangemode="tozero",
                     type="log" if wide else "linear")  # fmt: skip
