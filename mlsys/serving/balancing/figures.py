"""Pictures of balancers: failures by fault, queues by policy, recovery after a stall, the ring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mlsys.serving.balancing.policies import Simulated, queue_tail
from mlsys.serving.balancing.retries import Storm
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SERIES


def failures(table: pd.DataFrame) -> go.Figure:
    """Failed requests (%): a group of bars a fault (columns), a bar a front (rows)."""
    fig = go.Figure()
    for front, colour in zip(table.index, (BLUE, ORANGE, GREEN, PURPLE), strict=False):
        shares = (100 * table.loc[front]).tolist()
        fig.add_bar(
            x=list(table.columns), y=shares, name=front, marker={"color": colour},
            text=[f"{share:.0f}" for share in shares], textposition="outside",
            hovertemplate=front + ", %{x}: %{y:.1f} % failed<extra></extra>",
        )  # fmt: skip
    title = "The quick liar draws the crowd; the hasty judge ejects everyone"
    fig.update_layout(title=title, barmode="group")
    fig.update_xaxes(title="what befell one of four replicas")
    return fig.update_yaxes(title="requests that failed, %", range=[0, 112])


def queue_tails(
    runs: Mapping[str, Simulated],
    *,
    load: float,
) -> go.Figure:
    """Share of servers (log) with at least i requests, simulated (marks) and by law (lines); the
    runs are of one choice, of two, and so on."""
    fig = go.Figure()
    for choices, (name, run), colour in zip(range(1, 9), runs.items(), SERIES, strict=False):
        tail = run.at_least[: 1 + int(np.flatnonzero(run.at_least > 0).max(initial=0))]
        fig.add_scatter(
            x=list(range(len(tail))), y=tail.tolist(), name=f"{name}, simulated",
            mode="markers", marker={"color": colour, "size": 9},
        )  # fmt: skip
        shares = [queue_tail(load, choices, i) for i in range(20)]
        shares = [share for share in shares if share > 1e-5]
        fig.add_scatter(
            x=list(range(len(shares))), y=shares, name=f"{name}, the law", mode="lines",
            line={"color": colour, "width": 2},
        )  # fmt: skip
    fig.update_layout(title=f"{len(run.served):,} servers: a second look ends the long lines")
    fig.update_xaxes(title="requests at a server, at least", range=[-0.3, 16])
    ticks = [10.0**power for power in range(-4, 1)]
    return fig.update_yaxes(
        title="share of servers (log scale)", type="log", range=[-4.3, 0.1],
        tickvals=ticks, ticktext=[f"{100 * tick:g} %" for tick in ticks],
    )  # fmt: skip


def bins(filled: Mapping[int, np.ndarray]) -> go.Figure:
    """How many bins (log) hold so many balls, for one look before each throw, two, and so on."""
    fig = go.Figure()
    most = {looks: int(balls.max()) for looks, balls in filled.items()}
    for (looks, balls), colour in zip(filled.items(), SERIES, strict=False):
        counts = np.bincount(balls)
        fig.add_scatter(
            x=list(range(len(counts))), y=[int(count) or None for count in counts],
            mode="lines+markers", name=f"{looks} look{'s' * (looks > 1)}",
            line={"color": colour, "width": 2}, marker={"size": 9},
            hovertemplate="%{y:,} bins hold %{x}<extra></extra>",
        )  # fmt: skip
        fig.add_annotation(
            x=len(counts) - 1, y=np.log10(counts[-1]), text=f"{looks}: up to {most[looks]}",
            showarrow=False, xanchor="left", xshift=10, yshift=10, font={"color": colour},
        )  # fmt: skip
    first, second, *_ = most.values()
    thrown = len(next(iter(filled.values())))
    title = f"{thrown:,} balls, {thrown:,} bins: the fullest holds {first}, with two looks {second}"
    fig.update_layout(title=title, showlegend=False)
    fig.update_xaxes(title="balls in a bin", range=[-0.3, max(most.values()) + 1.5], dtick=1)
    return fig.update_yaxes(title="bins (log scale)", type="log", range=[-0.3, 4.2], dtick=1)


def recovery(
    storms: Mapping[str, Storm], *, stall: tuple[float, float], danger: str = ""
) -> go.Figure:
    """Share of the requests due in each moment that were answered, a line a way; the stall shaded.
    `danger` is the way drawn in red."""
    fig = go.Figure()
    others = iter((BLUE, GREEN, ORANGE, PURPLE, GREY))
    for name, storm in storms.items():
        curve = storm.curves()
        colour = RED if name == danger else next(others)
        fig.add_scatter(
            x=curve.second, y=100 * curve.answered, name=name, mode="lines+markers",
            line={"color": colour, "width": 3}, customdata=curve.sent,
            hovertemplate=name + " at %{x:.1f} s: %{y:.0f} % answered, %{customdata:.1f} times"
            " the load sent<extra></extra>",
        )  # fmt: skip
    fig.add_vrect(
        x0=stall[0], x1=sum(stall), fillcolor=ORANGE, opacity=0.15, line_width=0, layer="below",
        annotation={"text": "the service stands still", "font": {"color": GREY}},
        annotation_position="top left",
    )  # fmt: skip
    fig.update_layout(title=f"The fault is over at {sum(stall):g} s, the outage is not")
    fig.update_xaxes(title="request due at, s")
    return fig.update_yaxes(title="answered, %", range=[-4, 116], tickvals=list(range(0, 101, 20)))


def ring_loads(
    owner_of: Callable[[Sequence[str], int], Callable[[str], str]],
    nodes: int,
    keys: Sequence[str],
    *,
    points: Sequence[int],
) -> go.Figure:
    """Share of the keys (%) that each node keeps, for rings with so many points a node.

    `owner_of(names, points)` gives the function from a key to its node.
    """
    names = [f"node {n}" for n in range(nodes)]
    fig = go.Figure()
    for count, colour in zip(points, (ORANGE, GREEN, BLUE), strict=False):
        kept = Counter(map(owner_of(names, count), keys))
        shares = [100 * kept[node] / max(1, len(keys)) for node in names]
        fig.add_bar(
            x=names, y=shares, name=f"{count} point{'s' * (count > 1)} a node",
            marker={"color": colour}, text=[f"{share:.0f}" for share in shares],
            textposition="outside",
        )  # fmt: skip
    fig.add_hline(100 / nodes, line={"dash": "dot", "color": GREY})
    fig.update_layout(title="Many points make even shares", barmode="group", height=360)
    return fig.update_yaxes(title="keys, %", rangemode="tozero")
