"""Figures of the CAP laboratory: from a run, its verdict and its measures to plotly.

Lessons and the dashboard draw the same pictures from the same calls. RED marks what went wrong: a
stale read, a cut link, a side that gets no answers. No figure has more than 2,000 marks.
"""

import math
from collections.abc import Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go

from mlsys.cap import Availability, Draws, Instant, Outcome, ReadAge, Run, Witness, outcomes
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, RED

MARKS = 1_500
FLYING = 60
_STYLE = {
    "stale": ("stale read", RED, "circle"),
    "fail": ("refused", ORANGE, "x"),
    "unknown": ("no answer", GREY, "x-open"),
    "read": ("read", BLUE, "circle-open"),
    "write": ("write", GREEN, "diamond"),
}


def timeline(
    run: Run,
    ages: Sequence[ReadAge],
    witness: Witness | None = None,
    *,
    title: str,
    fault: tuple[float, float] | None = None,
) -> go.Figure:
    """Every operation of every client, at the instant at which it was asked, one row a client.

    `ages` (of `read_ages`) tell the stale reads. The operations of `witness` are ringed.
    `fault` is shaded, in ms. When there are more than 1,500 operations what went well is thinned.
    """
    clients = run.scene.clients
    stale = {(age.process, age.start): age for age in ages if age.stale}
    groups: dict[str, list[tuple[float, int, str]]] = {kind: [] for kind in _STYLE}
    for one in outcomes(run.history):
        age = stale.get((one.process, one.start))
        groups[_kind(one, age)].append((one.start, one.process % clients, _tell(one, age)))
    fig = go.Figure()
    _shade(fig, fault)
    room = MARKS - sum(len(groups[kind]) for kind in ("stale", "fail", "unknown"))
    busy = len(groups["read"]) + len(groups["write"])
    for kind in ("read", "write", "unknown", "fail", "stale"):
        rows = groups[kind]
        if kind in ("read", "write"):
            rows = rows[:: max(1, math.ceil(busy / max(room, 1)))]
        name, colour, symbol = _STYLE[kind]
        fig.add_scatter(
            x=[row[0] for row in rows[:MARKS]],
            y=[row[1] for row in rows[:MARKS]],
            text=[row[2] for row in rows[:MARKS]],
            mode="markers",
            name=f"{name} ({len(groups[kind])})",
            marker={
                "color": colour,
                "symbol": symbol,
                "size": 10 if kind == "stale" else 7,
                "opacity": 0.8 if kind == "read" else 1.0,
            },
            hovertemplate="%{text}<extra></extra>",
        )
    if witness is not None:
        _ring(fig, witness, clients)
    fig.update_layout(title=title, height=400, hovermode="closest", margin={"t": 64, "b": 124})
    # Six entries never fit one line: they stand below, where no height of the plot can reach them.
    fig.update_layout(legend={"yref": "container", "y": 0, "x": 0})
    fig.update_xaxes(
        title="time at which it was asked, in ms",
        range=[-0.02 * run.scene.duration_ms, 1.01 * run.scene.duration_ms],
    )
    fig.update_yaxes(
        tickvals=list(range(clients)),
        ticktext=[f"client {c}, node {run.scene.site(c)}" for c in range(clients)],
        range=[clients - 0.4, -0.6],
        showgrid=False,
    )
    return fig


def _kind(one: Outcome, age: ReadAge | None) -> str:
    if age is not None:
        return "stale"
    if one.status in ("fail", "info", "open"):
        return "fail" if one.status == "fail" else "unknown"
    return "read" if one.f == "read" else "write"


def _tell(one: Outcome, age: ReadAge | None) -> str:
    what = "" if one.f == "read" and one.status != "ok" else f" {one.value!r}"
    told = {"ok": "ok", "fail": "refused", "info": "no answer: may have happened"}
    took = f" after {one.end - one.start:.1f} ms" if one.end is not None else ""
    text = f"{one.f} {one.key}{what} at {one.start:.0f} ms<br>{told.get(one.status, 'open')}{took}"
    if age is None:
        return text
    return f"{text}<br><b>stale: {age.behind} newer, out of date for {age.age:.0f} ms</b>"


def _ring(fig: go.Figure, witness: Witness, clients: int) -> None:
    fig.add_scatter(
        x=[one.start for one in witness.operations],
        y=[one.process % clients for one in witness.operations],
        text=[str(one) for one in witness.operations],
        mode="markers",
        name="witness",
        marker={
            "color": "rgba(0,0,0,0)",
            "size": 20,
            "symbol": "circle",
            "line": {"color": RED, "width": 2.5},
        },
        hovertemplate="part of the proof:<br>%{text}<extra></extra>",
    )


def cluster(instant: Instant, *, title: str) -> go.Figure:
    """The nodes in a ring at one moment: roles, what each would tell, cut links, messages.

    A link that drops what goes one way only carries an arrow in that direction.
    """
    size = len(instant.roles)
    angles = np.pi / 2 - 2 * np.pi * np.arange(size) / size
    xs, ys = np.cos(angles), np.sin(angles)
    cut = set(instant.cut)
    fig = go.Figure()
    pairs = [(a, b) for a in range(size) for b in range(a + 1, size)]
    whole = [p for p in pairs if not {p, p[::-1]} & cut]
    both = [p for p in pairs if {p, p[::-1]} <= cut]
    one_way = [p for p in cut if p[::-1] not in cut]
    for name, links, line in (
        ("link", whole, {"color": GREY, "width": 1}),
        ("cut", both, {"color": RED, "width": 2, "dash": "dot"}),
        ("cut one way", one_way, {"color": RED, "width": 2, "dash": "dash"}),
    ):
        fig.add_scatter(
            x=[x for a, b in links for x in (xs[a], xs[b], None)],
            y=[y for a, b in links for y in (ys[a], ys[b], None)],
            mode="lines", line=line, name=name, hoverinfo="skip",
        )  # fmt: skip
    for a, b in one_way:
        middle = (0.35 * xs[a] + 0.65 * xs[b], 0.35 * ys[a] + 0.65 * ys[b])
        fig.add_annotation(
            x=middle[0], y=middle[1], ax=(xs[a] + xs[b]) / 2, ay=(ys[a] + ys[b]) / 2,
            xref="x", yref="y", axref="x", ayref="y", showarrow=True, arrowhead=2, arrowwidth=2,
            arrowcolor=RED, text="",
        )  # fmt: skip
    _add_flying(fig, instant, xs, ys)
    colours = {"leader": BLUE, "head": BLUE, "candidate": ORANGE, "down": GREY}
    values = [_short(value) for value in instant.values]
    fig.add_scatter(
        x=xs, y=ys, mode="markers+text", name="node", cliponaxis=False,
        marker={
            "size": 38,
            "color": [colours.get(role, GREEN) for role in instant.roles],
            "symbol": ["x" if role == "down" else "circle" for role in instant.roles],
        },
        text=[f"<b>{node}</b>" for node in range(size)],
        textfont={"color": "#111111", "size": 16},
        customdata=[
            f"node {i}: {role}" + (f", term {term}" if term else "") + f"<br>tells {value}"
            for i, (role, term, value) in enumerate(zip(instant.roles, instant.terms, values))
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    for i, (role, value) in enumerate(zip(instant.roles, values)):
        slow = " (slow)" if i in instant.slow else ""
        _label(fig, float(xs[i]), float(ys[i]), f"{role}{slow}<br>tells {value}")
    fig.update_layout(
        title=title, height=360, showlegend=False, margin={"l": 8, "r": 8, "t": 100, "b": 24}
    )
    fig.update_xaxes(visible=False, range=[-2.1, 2.1])
    fig.update_yaxes(visible=False, range=[-1.1, 1.1])
    return fig


def _label(fig: go.Figure, x: float, y: float, text: str) -> None:
    """Words beside a node of the ring, outside it; in pixels, so that no size makes them meet."""
    side = 0 if abs(x) < 0.2 else math.copysign(1, x)
    fig.add_annotation(
        x=x, y=y, text=text, showarrow=False, font={"size": 12},
        align="left" if side > 0 else "right" if side else "center",
        xanchor="left" if side > 0 else "right" if side else "center",
        yanchor="middle" if side else "bottom" if y > 0 else "top",
        xshift=24 * side, yshift=0 if side else math.copysign(22, y),
    )  # fmt: skip


def _add_flying(fig: go.Figure, instant: Instant, xs: np.ndarray, ys: np.ndarray) -> None:
    shown = instant.flying[:FLYING]
    way = [(instant.time - m.sent) / (m.arrives - m.sent) for m in shown]
    fig.add_scatter(
        x=[xs[m.source] + f * (xs[m.target] - xs[m.source]) for m, f in zip(shown, way)],
        y=[ys[m.source] + f * (ys[m.target] - ys[m.source]) for m, f in zip(shown, way)],
        mode="markers", name="message", marker={"size": 7, "color": ORANGE},
        text=[f"{m.source} to {m.target}" for m in shown],
        hovertemplate="message %{text}<extra></extra>",
    )  # fmt: skip


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 12 else text[:11] + "…"


def availability(shares: Sequence[tuple[str, str, Availability]], *, title: str) -> go.Figure:
    """Which share of requests was answered: rows (phase, side, availability), one bar each."""
    fig = go.Figure()
    sides = list(dict.fromkeys(row[1] for row in shares))
    for side, colour in zip(sides, cycle((BLUE, ORANGE, GREEN, PURPLE, GREY))):
        rows = [row for row in shares if row[1] == side]
        values = [100 * row[2].share for row in rows]
        fig.add_bar(
            x=[row[0] for row in rows],
            y=values,
            name=side,
            marker_color=colour,
            # Where bars are narrow only what was not answered is written out.
            text=[_percent(value) if len(sides) < 4 or value < 95 else "" for value in values],
            textposition="outside",
            textfont={"size": 12},
            textangle=0,
            constraintext="none",
            cliponaxis=False,
            customdata=[f"{row[2].answered} of {row[2].asked}" for row in rows],
            hovertemplate="%{x}, " + side + ": %{customdata} answered<extra></extra>",
        )
    top = 84 if len(sides) > 1 else 56  # one side alone has no legend
    fig.update_layout(title=title, barmode="group", height=300, margin={"t": top, "b": 32})
    fig.update_yaxes(title="answered, in %", range=[0, 115], tickvals=[0, 25, 50, 75, 100])
    return fig


def _percent(value: float) -> str:
    text = f"{value:.0f}"
    return text if value >= 50 else f'<b><span style="color:{RED}">{text}</span></b>'


def latency(rows: Sequence[tuple[str, dict[float, float]]], *, title: str) -> go.Figure:
    """Latency percentiles on a log axis: one row (name, percentiles by rank) a kind."""
    fig = go.Figure()
    told = [max(ms, 0.01) for _, found in rows for ms in found.values() if math.isfinite(ms)]
    for (name, found), colour in zip(rows, (BLUE, GREEN, ORANGE)):
        ranks = [rank for rank in found if math.isfinite(found[rank])]
        # The slowest is labelled above its mark, the others below.
        slowest = [all(not other.get(rank, 0) > found[rank] for _, other in rows) for rank in ranks]
        fig.add_scatter(
            x=[f"p{rank:g}" for rank in ranks],
            y=[found[rank] for rank in ranks],
            mode="lines+markers+text",
            name=name,
            line={"color": colour},
            marker={"size": 9},
            text=[f"{found[rank]:.3g}" for rank in ranks],
            textposition=["top center" if one else "bottom center" for one in slowest],
            cliponaxis=False,
            hovertemplate=f"{name} %{{x}}: %{{y:.2f}} ms<extra></extra>",
        )
    low, high = (math.log10(f(told)) for f in (min, max)) if told else (0.0, 3.0)
    fig.update_layout(title=title, height=300, showlegend=True, margin={"b": 48})
    fig.update_xaxes(title="percentile of answered requests", range=[-0.4, 2.4])
    fig.update_yaxes(title="latency, in ms", type="log", range=[low - 0.9, high + 0.7])
    fig.update_yaxes(tickvals=[0.01, 0.1, 1, 10, 100, 1_000, 10_000, 100_000], tickformat=",")
    return fig


def staleness(
    measured: Sequence[tuple[float, int, float]],
    draws: Draws | None = None,
    *,
    r: int = 1,
    w: int = 1,
    title: str,
) -> go.Figure:
    """The share of stale reads by the time since the last acknowledged write (log axis).

    `measured` are rows of `visibility`: (t in ms, reads, share fresh). With `draws` the
    WARS model of a healthy quorum store is drawn beside them.
    """
    fig = go.Figure()
    if draws is not None:
        times = np.geomspace(0.1, 2_000, 120)
        fig.add_scatter(
            x=times,
            y=100 * (1 - draws.consistency(times, r=r, w=w)),
            mode="lines",
            name="model (PBS), no fault",
            line={"color": BLUE},
            hovertemplate="model: %{y:.2f} % stale %{x:.1f} ms after a write<extra></extra>",
        )
    seen = [row for row in measured if row[1]]
    stale = [100 * (1 - row[2]) for row in seen]
    fig.add_scatter(
        x=[max(row[0], 0.1) for row in seen],
        y=stale,
        mode="markers",
        cliponaxis=False,
        name="this run",
        marker={
            "size": [8 + 2 * math.sqrt(min(row[1], 60)) for row in seen],
            "color": [RED if share > 0 else GREY for share in stale],
            "opacity": 0.8,
        },
        customdata=[row[1] for row in seen],
        hovertemplate="%{y:.1f} % of %{customdata} reads from %{x:g} ms on<extra></extra>",
    )
    fig.update_layout(title=title, height=300, showlegend=True, margin={"b": 48})
    fig.update_xaxes(
        title="ms since the last acknowledged write",
        type="log",
        range=[-1.3, 3.5],
        tickvals=[0.1, 1, 10, 100, 1_000],
        ticktext=["0.1", "1", "10", "100", "1,000"],
    )
    fig.update_yaxes(title="stale reads, in %", rangemode="tozero", range=[-4, 104])
    return fig


def _shade(fig: go.Figure, fault: tuple[float, float] | None) -> None:
    if fault is not None:
        fig.add_vrect(x0=fault[0], x1=fault[1], fillcolor=ORANGE, opacity=0.15, line_width=0)
        fig.add_annotation(
            x=fault[0], y=1, yref="paper", xanchor="left", yanchor="bottom", showarrow=False,
            text="fault", font={"size": 12},
        )  # fmt: skip
