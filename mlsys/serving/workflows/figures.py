"""Pictures of serving: how long answers take, how old they are, what a swap does to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from mlsys import theme
from mlsys.serving.workflows.compare import Point
from mlsys.serving.workflows.swapping import Call, Calls

COLOURS = {"look-up": theme.BLUE, "device": theme.GREEN, "service": theme.ORANGE}


def _milliseconds(figure: go.Figure, low: float, high: float) -> go.Figure:
    """A log axis of milliseconds with a tick each power of ten; bounds in seconds."""
    decades = range(int(np.floor(np.log10(1000 * low))), int(np.ceil(np.log10(1000 * high))) + 1)
    return figure.update_xaxes(
        type="log",
        range=[decades[0], decades[-1]],
        tickvals=[10.0**d for d in decades],
        ticktext=[f"{10.0**d:g}" for d in decades],
    )


def latency_curves(seconds: Mapping[str, Sequence[float]], *, title: str) -> go.Figure:
    """Share of answers (y) that have come within a time (x, ms, log), one curve a workflow."""
    shares = np.linspace(0, 0.995, 200)
    figure = go.Figure()
    for name, times in seconds.items():
        within = 1000 * np.quantile(times, shares)
        colour = COLOURS.get(name, theme.GREY)
        figure.add_scatter(
            x=within,
            y=shares,
            name=name,
            mode="lines",
            line={"color": colour, "width": 3},
            hovertemplate=f"{name}: %{{y:.0%}} within %{{x:.3g}} ms<extra></extra>",
        )
        figure.add_annotation(
            x=np.log10(within[100]),
            y=0.5,
            text=f"<b>{name}</b><br>{within[100]:.2g} ms",
            showarrow=False,
            xanchor="left",
            xshift=8,
            align="left",
            font={"color": colour},
        )
    figure.update_layout(title=title, showlegend=False)
    figure.update_xaxes(title="time to the answer, ms (log scale)")
    figure.update_yaxes(title="share of answers that have come", tickformat=".0%", range=[0, 1])
    low = min(np.min(times) for times in seconds.values())
    # Twice the slowest tail, so that the label of the last curve has room to its right.
    return _milliseconds(figure, low, 2 * max(np.quantile(t, 0.995) for t in seconds.values()))


def stale_by_hour(
    measured: Mapping[str, Sequence[float]],
    expected: Callable[[np.ndarray], np.ndarray],
    *,
    title: str,
) -> go.Figure:
    """Share of stale answers by hours since the night: measured points and the expected curve."""
    hours = len(next(iter(measured.values())))
    fine = np.linspace(0, hours - 1, 97)
    figure = go.Figure()
    figure.add_scatter(
        x=fine, y=expected(fine), mode="lines", line={"color": theme.GREY, "dash": "dot"},
        name="expected", hoverinfo="skip",
    )  # fmt: skip
    for name, shares in measured.items():
        # Both that compute on request lie on zero: one is drawn open, so that the other shows.
        colour, ring = COLOURS.get(name, theme.GREY), name == "service"
        figure.add_scatter(
            x=list(range(hours)),
            y=list(shares),
            mode="markers",
            name=name,
            marker={
                "color": colour,
                "size": 13 if ring else 7,
                "symbol": "circle-open" if ring else "circle",
                "line": {"width": 2 if ring else 0, "color": colour},
            },
            hovertemplate=f"{name}, hour %{{x}}: %{{y:.1%}} stale<extra></extra>",
        )
    top = 1.25 * max(0.04, *(max(shares) for shares in measured.values()))
    figure.update_layout(title=title)
    figure.update_xaxes(title="hours since the table was written", dtick=4)
    figure.update_yaxes(title="answers that are stale", tickformat=".0%", range=[-0.05 * top, top])
    return figure


def latency_and_staleness(
    points: Sequence[Point], *, title: str = "", chosen: str | None = None
) -> go.Figure:
    """One chart of the trade: latency (x, p50 to p99) against staleness (y), a point a workflow.

    The others fade when one is chosen, and the title says how it does. An infinite latency
    (overload) is drawn at the right edge.
    """
    finite = [t for point in points for t in (point.p50, point.p99) if np.isfinite(t)]
    low, high = min(finite) / 2, max(0.1, 2 * max(finite))
    figure = go.Figure()
    for point in points:
        overloaded = not np.isfinite(point.p50)
        p50, p99 = (min(t, high) for t in (point.p50, point.p99))
        colour = COLOURS.get(point.name, theme.GREY)
        if point.name == chosen:
            title = title or _sentence(point)
        time = "overloaded" if overloaded else f"{1000 * p50:.2g} to {1000 * p99:.2g} ms"
        figure.add_scatter(
            x=[1000 * p50, 1000 * p99],
            y=[point.stale, point.stale],
            mode="lines+markers+text",
            line={"color": colour, "width": 3},
            marker={"color": colour, "size": [14, 1], "symbol": "x" if overloaded else "circle"},
            text=[f"<b>{point.name}</b><br>{time}<br>{point.stale:.1%} stale", ""],
            textposition="middle left" if overloaded else "top center",
            textfont={"color": colour},
            opacity=1 if chosen in (None, point.name) else 0.35,
            showlegend=False,
            hovertemplate=f"{point.name}: {time}, {point.stale:.1%} stale<extra></extra>",
        )
    top = max(0.1, *(1.6 * point.stale for point in points))
    figure.update_layout(title=title)
    figure.update_xaxes(title="time to the answer, ms (log scale): dot p50, end of the line p99")
    figure.update_yaxes(title="answers that are stale", tickformat=".0%", range=[-0.1 * top, top])
    return _milliseconds(figure, low, high)


def _sentence(point: Point) -> str:
    if np.isinf(point.p50):
        return f"{point.name}: more work comes than it can do (calculated)"
    return f"{point.name}: {1000 * point.p50:.2g} ms, {point.stale:.1%} stale (calculated)"


def answers_during_a_swap(swaps: Mapping[str, Calls], *, title: str, most: int = 1500) -> go.Figure:
    """Every call while a model was swapped: when it was answered, and by which version.

    At most `most` calls are drawn, evenly thinned; failed ones are all kept up to that number.
    """
    each = max(1, most // len(swaps))
    figure = go.Figure()
    kinds: dict[str, tuple[str, str]] = {
        "old version": (theme.GREY, "line-ns-open"),
        "new version": (theme.BLUE, "line-ns-open"),
        "no answer": (theme.RED, "x-thin-open"),
    }
    drawn: dict[str, list[tuple[float, str]]] = {kind: [] for kind in kinds}
    for name, asked in swaps.items():
        calls = asked.timeline()
        newest = max(call.version or 0 for call in calls)
        for call in _thinned(calls, each):
            kind = "no answer"
            if call.version is not None:
                kind = "new version" if call.version == newest else "old version"
            drawn[kind].append((call.at, name))
    for kind, (colour, symbol) in kinds.items():
        figure.add_scatter(
            x=[at for at, _ in drawn[kind]],
            y=[name for _, name in drawn[kind]],
            mode="markers",
            name=kind,
            marker={"color": colour, "symbol": symbol, "size": 13, "line": {"width": 2}},
            hovertemplate=f"%{{y}}, %{{x:.3f}} s: {kind}<extra></extra>",
        )
    figure.update_layout(title=title, height=170 + 65 * len(swaps))
    figure.update_xaxes(title="seconds since the swap began")
    figure.update_yaxes(categoryorder="array", categoryarray=list(swaps)[::-1])
    return figure


def _thinned(calls: Sequence[Call], most: int) -> list[Call]:
    failed = [call for call in calls if call.version is None][:most]
    answered = [call for call in calls if call.version is not None]
    step = max(1, -(-len(answered) // max(1, most - len(failed))))
    return failed + answered[::step]
