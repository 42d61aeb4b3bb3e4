"""Pictures of lesson 10: who computes when, what more workers bring, what connections cost.

Latency has its picture in `load.figures`, and what happened when in `timeline`, which this uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mlsys.serving.concurrency.crowd import Held
from mlsys.serving.concurrency.work import Run, stretches
from mlsys.serving.timeline import Event, timeline
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, PURPLE

FEW = 100  # fewer connections do not fill the pages that their memory is counted in
_WORKERS = {"threads": BLUE, "processes": ORANGE, "asyncio": GREEN}
_DESIGNS = {"thread each": BLUE, "pool": ORANGE, "selector": PURPLE, "asyncio": GREEN}


def who_computes(runs: Mapping[str, Run], *, title: str, until: float = 0.06) -> go.Figure:
    """When each worker of each run computed, a row a worker, during the first `until` s."""
    events = []
    for name, run in runs.items():
        for number, bars in enumerate(stretches(run), start=1):
            row = f"{name} {number}"
            inside = [(a, min(b, until)) for a, b in bars if a < until]
            events += [Event(row, a, b, run.how) for a, b in inside]
            if not inside:
                events.append(Event(row, 0.0, 0.0, run.how))
    return timeline(events, title=title, colours=_WORKERS)


def more_workers(
    panels: Mapping[str, Mapping[str, Mapping[int, float]]], *, cores: int, title: str
) -> go.Figure:
    """Tasks done, as multiples of one thread's, by workers; a panel a kind of task.

    `panels` maps the panel's name to {"threads": {workers: multiple}, ...}.
    """
    fig = make_subplots(1, len(panels), subplot_titles=list(panels), horizontal_spacing=0.1)
    for place, curves in enumerate(panels.values(), start=1):
        counts = sorted({count for curve in curves.values() for count in curve})
        for name, curve in curves.items():
            fig.add_scatter(
                x=list(curve), y=list(curve.values()), name=name, mode="lines+markers",
                line={"color": _WORKERS[name], "width": 3}, marker={"size": 9},
                legendgroup=name, showlegend=place == 1, row=1, col=place,
                hovertemplate=f"{name}, %{{x}} workers: %{{y:.2f}} times<extra></extra>",
            )  # fmt: skip
        fig.update_xaxes(
            title="workers", type="log", tickvals=counts, ticktext=[str(c) for c in counts],
            row=1, col=place,
        )  # fmt: skip
        top = max([cores, *(y for curve in curves.values() for y in curve.values())])
        fig.update_yaxes(range=[0, 1.12 * top], row=1, col=place)
    fig.add_hline(
        y=cores, line={"color": GREY, "dash": "dot"}, row=1, col=1,
        annotation_text=f"{cores} cores", annotation_position="top left",
    )  # fmt: skip
    fig.update_layout(title=title, legend={"y": 1.12}, margin={"t": 110})
    return fig.update_yaxes(title="times one thread", col=1)


def mix(rates: Mapping[str, float], bounds: Mapping[str, float], *, title: str) -> go.Figure:
    """Tasks a second of threads, processes and asyncio, with the most that can be expected."""
    fig = go.Figure()
    fig.add_bar(
        x=list(rates), y=list(rates.values()), width=0.5, name="measured",
        marker={"color": [_WORKERS[name] for name in rates]},
        text=[f"{rate:,.0f}" for rate in rates.values()], textposition="inside",
        insidetextanchor="middle", showlegend=False,
    )  # fmt: skip
    fig.add_scatter(
        x=list(bounds), y=list(bounds.values()), mode="markers", name="the most to expect",
        marker={"symbol": "line-ew", "size": 70, "line": {"color": GREY, "width": 3}},
    )  # fmt: skip
    top = max([1.0, *rates.values(), *bounds.values()])
    fig.update_layout(title=title, height=360)
    return fig.update_yaxes(title="tasks a second", range=[0, 1.2 * top])


def order(steps: str, *, title: str) -> go.Figure:
    """Who reads and who writes what, step by step, in an order such as "ABAB"."""
    value, noted, events = 0, {}, []
    for when, who in enumerate(steps):
        if who in noted:
            value = noted[who] + 1
        kind = "write" if who in noted else "read"
        noted.setdefault(who, value)
        events.append(Event(f"thread {who}", when, when + 1, kind, f"{kind} {value}"))
    fig = timeline(events, title=title, names=True, rows=sorted({e.row for e in events}))
    return fig.update_xaxes(title="step", dtick=1)


def held_connections(held: Sequence[Held], *, title: str) -> go.Figure:
    """Rate, p50 and p99, and memory by connections held, a colour a design, log axes.

    An open mark: some who asked there got no answer in time.
    """
    names = ("answers a second", "ms: p50, dotted p99", "kB of memory a connection")
    fig = make_subplots(1, 3, subplot_titles=names, horizontal_spacing=0.09)
    for design in dict.fromkeys(one.design for one in held):
        ours = [one for one in held if one.design == design]
        marks = ["circle-open" if one.silent else "circle" for one in ours]
        curves = (
            (1, "solid", 1.0, [one.rate for one in ours], "a second"),
            (2, "solid", 0.001, [1000 * one.p50 for one in ours], "ms, p50"),
            (2, "dot", 0.001, [1000 * one.p99 for one in ours], "ms, p99"),
            (3, "solid", 0.1, [one.each if one.connections >= FEW else None for one in ours], "kB"),
        )
        for place, dash, low, values, unit in curves:
            fig.add_scatter(
                x=[one.connections for one in ours],
                y=[None if value is None else max(value, low) for value in values],
                name=design, legendgroup=design, mode="lines+markers",
                showlegend=place == 1, row=1, col=place,
                line={"color": _DESIGNS.get(design, GREY), "width": 2.5, "dash": dash},
                marker={"size": 8, "symbol": marks},
                hovertemplate=f"{design}, %{{x:,}} connections: %{{y:,.4g}} {unit}<extra></extra>",
            )  # fmt: skip
    sizes = sorted({one.connections for one in held})
    fig.update_xaxes(
        type="log", tickvals=sizes, ticktext=[_short(size) for size in sizes], title="connections"
    )
    most = math.log10(max([*sizes, FEW]))
    fig.update_xaxes(range=[math.log10(FEW) - 0.2, most + 0.2], row=1, col=3)
    fig.update_yaxes(type="log", tickvals=[10.0**k for k in range(-2, 6)], tickformat="~g")
    fig.update_layout(title=title, legend={"y": 1.12}, margin={"t": 110})
    return fig


def _short(number: int) -> str:
    return f"{number // 1000}k" if number >= 1000 and number % 1000 == 0 else str(number)
