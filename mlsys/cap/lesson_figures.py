"""Figures of the lesson on quorums and consensus, and its one table: the PBS paper beside ours.

What the dashboard draws too is in `mlsys.cap.figures`. RED marks what went wrong. No figure has
more than 2,000 marks.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas.io.formats.style import Styler

from mlsys.cap import Draws, Operation, PerSecond, quantile
from mlsys.cap.pbs_paper import TABLE_4, paper_estimator
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, RED, SERIES

POINTS = 160
NAMED_AT = 0.015  # a curve's name stands where it falls to this share


def visibility(
    draws: Iterable[Draws],
    published: Mapping[str, float] | None = None,
    *,
    r: int,
    w: int,
    p: float = 0.999,
    title: str,
) -> go.Figure:
    """How many reads still miss a write, by the time since it returned: one curve a fit.

    A circle marks our time at which a share `p` is fresh, a diamond the `published` one (ms, by
    the fit's name). Both axes are logarithmic.
    """
    draws, floor = list(draws), (1 - p) / 10
    named = [one.t_visibility(r=r, w=w, p=1 - NAMED_AT) for one in draws]
    fig = go.Figure()
    fig.add_hline(y=100 * (1 - p), line={"color": GREY, "dash": "dot", "width": 1})
    for one, colour in zip(draws, SERIES):
        true = one.t_visibility(r=r, w=w, p=p)
        times = np.geomspace(0.05, max(4 * true, 1.0), POINTS)
        stale = 1 - one.consistency(times, r=r, w=w)
        seen = stale >= floor
        fig.add_scatter(
            x=times[seen], y=100 * stale[seen], mode="lines", name=one.fit,
            line={"color": colour, "width": 2.5},
            hovertemplate=one.fit + ": %{y:.3g} % stale %{x:.3g} ms after<extra></extra>",
        )  # fmt: skip
        if seen.any():
            place = int(np.argmax(stale[seen] <= NAMED_AT)) if stale[seen].min() <= NAMED_AT else 0
            x = times[seen][place]
            crowded = any(x < other < 8 * x for other in named)  # by the next curve's name
            fig.add_annotation(
                x=math.log10(x), y=math.log10(100 * stale[seen][place]), showarrow=False,
                text=f"{one.fit}: {_rough(true)} ms", font={"color": colour},
                xanchor="right" if crowded else "left", xshift=-10 if crowded else 6,
                yanchor="bottom",
            )  # fmt: skip
        if true > 0:
            _mark(fig, true, 100 * (1 - p), colour, "circle", f"{one.fit}, ours")
            if published and one.fit in published:
                said = published[one.fit]
                _mark(fig, said, 100 * (1 - p), colour, "diamond-open", f"{one.fit}, the paper")
    fig.update_layout(title=title, showlegend=False)
    fig.update_xaxes(title="t: ms from the write's return to the read", type="log", dtick=1)
    if not any(len(trace.x) for trace in fig.data):
        fig.update_xaxes(range=[-1.3, 3])
        fig.add_annotation(
            x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 17},
            text="No read is stale at any time.",
        )  # fmt: skip
    fig.update_yaxes(
        title="stale reads, in %", type="log", tickvals=[100, 10, 1, 0.1, 0.01],
        range=[math.log10(100 * floor), 2.15],
    )  # fmt: skip
    return fig


def paper_table(draws: Mapping[str, Draws], *, replays: int = 30, seed: int = 0) -> Styler:
    """The paper's table 4 beside ours, in ms: 99.9th percentiles of latency, and t-visibility.

    t stands three times: the paper's, from where to where so many `replays` of its estimator
    reach, and the true quantile of the `draws` (by the fit's name).
    """
    rows = []
    for cell in TABLE_4:
        ours, r, w = draws[cell.fit], cell.r, cell.w
        found = paper_estimator(ours, r=r, w=w, replays=replays, seed=seed)
        rows.append(
            {
                ("", "fit"): cell.fit,
                ("", "R, W"): f"{r}, {w}",
                ("read, ms", "paper"): _published(cell.read_latency),
                ("read, ms", "ours"): _ms(quantile(ours.read_latency(r), 0.999)),
                ("write, ms", "paper"): _published(cell.write_latency),
                ("write, ms", "ours"): _ms(quantile(ours.write_latency(w), 0.999)),
                ("t for 99.9 % fresh, ms", "paper"): _published(cell.t_visibility),
                ("t for 99.9 % fresh, ms", "its estimator"): (
                    f"{_published(found.min())} to {_published(found.max())}"
                    if found.any()
                    else "0"
                ),
                ("t for 99.9 % fresh, ms", "true"): _ms(ours.t_visibility(r=r, w=w)),
            }
        )
    table = pd.DataFrame(rows)
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table.style.hide(axis="index")


def _rough(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _published(value: float) -> str:
    """A time as a paper prints it: four figures at most, no idle zeros."""
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def _ms(value: float) -> str:
    """A measured time: its zeros tell its precision."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.{1 if value >= 100 else 2}f}"


def _mark(fig: go.Figure, x: float, y: float, colour: str, symbol: str, name: str) -> None:
    fig.add_scatter(
        x=[x], y=[y], mode="markers", name=name,
        marker={"color": colour, "symbol": symbol, "size": 12, "line": {"width": 2}},
        hovertemplate=f"{name}: %{{x:.4g}} ms<extra></extra>",
    )  # fmt: skip


def replays(found: np.ndarray, *, true: float, published: float, title: str) -> go.Figure:
    """The answers of an estimator run again and again, in ms, with the truth and the paper's."""
    counts, edges = np.histogram(found, bins=24)
    fig = go.Figure(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2, y=counts, width=0.95 * (edges[1] - edges[0]),
            marker_color=BLUE, hovertemplate="around %{x:.4g} ms: %{y} replays<extra></extra>",
        )
    )  # fmt: skip
    for x, text, colour, side in (
        (published, f"the paper: {published:g} ms", ORANGE, "right"),
        (true, f"true quantile: {true:.1f} ms", GREEN, "right"),
    ):
        fig.add_vline(
            x=x, line={"color": colour, "width": 3}, annotation_text=text,
            annotation_position=f"top {side}", annotation_font_color=colour,
        )  # fmt: skip
    low, high = min(found.min(), published), max(found.max(), true)
    fig.update_layout(title=title, height=320, showlegend=False)
    fig.update_xaxes(title="t-visibility found, in ms", range=[low - 1, high + 0.35 * (high - low)])
    fig.update_yaxes(title="replays", range=[0, 1.25 * counts.max()])
    return fig


def spans(operations: Sequence[Operation], culprit: Operation, *, title: str) -> go.Figure:
    """Each operation as a bar from its question to its answer, one row a client.

    The `culprit` is RED; what never returned reaches to the right edge.
    """
    last = max(one.end for one in operations if math.isfinite(one.end))
    first = min(one.start for one in operations)
    edge = last + 0.08 * (last - first)
    processes = list(dict.fromkeys(one.process for one in operations))  # by first question
    fig = go.Figure()
    for one in operations:
        colour = GREEN if one.f == "write" else BLUE
        end = one.end if math.isfinite(one.end) else edge
        row = processes.index(one.process)
        fig.add_scatter(
            x=[one.start, end], y=[row, row], mode="lines", hoverinfo="text", text=str(one),
            line={"color": RED if one == culprit else colour, "width": 16},
        )  # fmt: skip
        fig.add_annotation(
            x=(one.start + end) / 2, y=row, yshift=20, text=one.describe(), showarrow=False,
            font={"color": RED if one == culprit else colour},
        )  # fmt: skip
    fig.update_layout(title=title, height=110 + 75 * len(processes), showlegend=False)
    fig.update_xaxes(title="time, in ms")
    fig.update_yaxes(
        tickvals=list(range(len(processes))), ticktext=[f"client {p}" for p in processes],
        range=[len(processes) - 0.5, -0.8], showgrid=False,
    )  # fmt: skip
    return fig


def answered(
    rows: Mapping[str, Sequence[PerSecond]], *, down: tuple[float, float], title: str
) -> go.Figure:
    """How many operations were answered in each bin, one line a store; `down` is shaded, in ms."""
    fig = go.Figure()
    fig.add_vrect(x0=down[0], x1=down[1], fillcolor=ORANGE, opacity=0.15, line_width=0)
    for (name, bins), colour in zip(rows.items(), SERIES):
        fig.add_scatter(
            x=[one.begin for one in bins], y=[one.ok for one in bins], name=name,
            mode="lines", line={"color": colour, "width": 2.5, "shape": "hv"},
            hovertemplate=name + ": %{y} answered in the bin from %{x} ms<extra></extra>",
        )  # fmt: skip
    fig.add_annotation(
        x=down[0], y=1, yref="paper", xanchor="left", yanchor="top", showarrow=False,
        text="node 0 is down",
    )  # fmt: skip
    fig.update_layout(title=title, height=360)
    fig.update_xaxes(title="time, in ms")
    fig.update_yaxes(title="operations answered in 100 ms", rangemode="tozero")
    return fig


def elections(times: Mapping[str, np.ndarray], *, title: str) -> go.Figure:
    """The share of trials with a new leader by the time since the crash, one line a range.

    The axis is logarithmic, in ms.
    """
    fig = go.Figure()
    for place, ((name, found), colour) in enumerate(zip(times.items(), (*SERIES, RED))):
        ordered = np.sort(found)
        share = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
        fig.add_scatter(
            x=ordered, y=share, mode="lines", name=f"{name} ms",
            line={"color": colour, "width": 2.5, "shape": "hv",
                  "dash": "solid" if place % 2 == 0 else "dash"},
            hovertemplate=name + " ms: %{y:.0f} % have a leader after %{x:.0f} ms<extra></extra>",
        )  # fmt: skip
    fig.update_layout(title=title)
    fig.update_xaxes(title="ms without a leader", type="log", dtick=1)
    fig.update_yaxes(title="elections over, in %", range=[0, 102])
    return fig
