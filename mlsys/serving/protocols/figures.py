"""Pictures of the lesson on protocols: where messages were cut, what a write costs, what loss does.

RED marks what was lost or came too late. No figure has more than 2,000 marks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from mlsys.serving.protocols.stream import Stream
from mlsys.serving.protocols.transfer import Transfer
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, RED, SERIES


def boundaries(sent: Sequence[int], received: Sequence[int], *, title: str) -> go.Figure:
    """Two rows over the same bytes: how they were sent, and how recv returned them."""
    fig = go.Figure()
    for row, sizes, colours in (
        ("send", sent, (BLUE, "#8fbfdf")),
        ("recv", received, (ORANGE, "#f3d08b")),
    ):
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        fig.add_bar(
            y=[f"{len(sizes)} {row}s "] * len(sizes),
            x=list(sizes),
            base=list(starts),
            orientation="h",
            marker={"color": [colours[i % 2] for i in range(len(sizes))]},
            text=[f"{size:,}" for size in sizes],
            textposition="inside",
            insidetextanchor="middle",
            constraintext="inside",
            hovertemplate="bytes %{base:,} on: %{text} bytes<extra></extra>",
            showlegend=False,
        )
    for end in np.cumsum(sent)[:-1]:
        fig.add_vline(end, line={"color": GREY, "dash": "dot", "width": 1})
    fig.update_layout(title=title, height=250, bargap=0.35, barmode="overlay", margin={"t": 56})
    fig.update_xaxes(title="position in the stream, bytes")
    return fig.update_yaxes(autorange="reversed")


def speed_by_chunk(
    speeds: Mapping[int, float], useful: Sequence[float], *, title: str
) -> go.Figure:
    """Throughput (bytes/s) by bytes a call, and the share of payload in its packets."""
    chunks, top = list(speeds), max(speeds.values())
    fig = go.Figure()
    for name, values, colour in (
        ("speed measured here, against the best", [v / top for v in speeds.values()], BLUE),
        ("payload in what an Ethernet carries", useful, ORANGE),
    ):
        fig.add_scatter(
            x=chunks, y=list(values), name=name, mode="lines+markers",
            line={"color": colour, "width": 3}, marker={"size": 8},
        )  # fmt: skip
    fig.update_layout(title=title)
    fig.update_xaxes(
        title="bytes handed to one send (log scale)",
        type="log",
        tickvals=chunks,
        ticktext=[f"{chunk:,}" for chunk in chunks],
    )
    ticks = [10.0**k for k in range(-4, 1)]
    return fig.update_yaxes(
        title="share (log scale)",
        type="log",
        tickvals=ticks,
        ticktext=[f"{100 * tick:g} %" for tick in ticks],
        range=[np.log10(min(min(useful), min(speeds.values()) / top)) - 0.2, 0.15],
    )


def frame_delays(streams: Mapping[str, Stream], *, deadline: float, title: str) -> go.Figure:
    """Delay (ms) of each frame by the time it was filmed (s); never-arrived frames on top."""
    fig = go.Figure()
    slow = [s.delays[~np.isnan(s.delays)] for s in streams.values()]
    top = 1150 * max(deadline, *(d.max() for d in slow if d.size))
    for (name, played), colour in zip(streams.items(), (ORANGE, BLUE, GREEN)):
        at = np.arange(len(played.delays)) * played.interval
        lost = np.isnan(played.delays)
        fig.add_scatter(
            x=at[~lost],
            y=1000 * played.delays[~lost],
            name=name,
            mode="markers",
            marker={"color": colour, "size": 6},
            hovertemplate=f"{name}, filmed at %{{x:.2f}} s: %{{y:.0f}} ms<extra></extra>",
        )
        if lost.any():
            fig.add_scatter(
                x=at[lost],
                y=np.full(lost.sum(), top),
                name=f"{name}: never came",
                mode="markers",
                marker={"color": RED, "symbol": "x", "size": 9},
            )
    fig.add_hline(1000 * deadline, line={"color": GREY, "dash": "dash"})
    fig.add_annotation(
        x=0, xref="paper", y=1000 * deadline, yshift=10, text="above this line: too late",
        showarrow=False, xanchor="left", font={"color": GREY},
    )  # fmt: skip
    fig.update_layout(title=title)
    fig.update_xaxes(title="filmed at, seconds")
    return fig.update_yaxes(title="came after, ms", range=[0, 1.05 * top])


def goodput_by_loss(
    losses: Sequence[float],
    goodput: Mapping[str, Sequence[float]],
    *,
    bound: Sequence[float] | None = None,
    title: str,
) -> go.Figure:
    """Useful bytes/s by share of packets lost; `bound` is the Mathis estimate for real TCP."""
    fig = go.Figure()
    x = [100 * loss for loss in losses]
    for (name, rates), colour in zip(goodput.items(), SERIES):
        fig.add_scatter(
            x=x, y=[rate / 1000 for rate in rates], name=name, mode="lines+markers",
            line={"color": colour, "width": 3}, marker={"size": 8},
        )  # fmt: skip
    if bound is not None:
        fig.add_scatter(
            x=x, y=[rate / 1000 for rate in bound], name="a real TCP that slows down (estimate)",
            mode="lines", line={"color": GREY, "dash": "dot"},
        )  # fmt: skip
    highest = max(max(rates) for rates in goodput.values()) / 1000
    fig.update_layout(title=title)
    fig.update_xaxes(title="packets lost, %")
    return fig.update_yaxes(title="goodput, kB/s", range=[0, 1.15 * highest])


def race(transfers: Sequence[Transfer], *, pieces: int) -> go.Figure:
    """Goodput of one file over TCP and over our protocol on UDP, which cut it in `pieces`."""
    names = {"tcp": "TCP", "udp": "ours, on UDP"}
    repeats = sum(one.repeats for one in transfers)
    fig = go.Figure()
    for one, colour in zip(transfers, SERIES):
        fig.add_bar(
            x=[names[one.protocol]],
            y=[one.goodput / 1000],
            marker={"color": colour},
            width=0.4,
            text=[f"{one.goodput / 1000:,.0f} kB/s" if one.whole else "did not arrive"],
            textposition="outside",
            showlegend=False,
        )
    fig.update_layout(title=f"Ours sent {pieces} datagrams and repeated {repeats}", height=330)
    fig.update_layout(margin={"t": 56})
    highest = max(one.goodput for one in transfers) / 1000
    return fig.update_yaxes(title="goodput, kB/s", range=[0, 1.2 * max(highest, 1)])
