"""Pictures of load: the percentiles of latency, and the knee that it makes as the rate grows."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from mlsys import theme
from mlsys.serving.latency import Histogram
from mlsys.serving.load.result import LoadResult

Times = LoadResult | Histogram | Sequence[float]
_TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)


def latency(
    runs: Mapping[str, Times],
    *,
    title: str,
    marks: Mapping[str, float] | None = None,
) -> go.Figure:
    """Latency (y, ms, log) at each percentile (x, each nine as wide as the last), one curve a run.

    A run is a LoadResult (its latency from the intended instant), a Histogram, or times in s. A
    curve ends at its longest time. `marks` are level lines: name to s.
    """
    figure = go.Figure()
    histograms = {name: _histogram(run) for name, run in runs.items()}
    histograms = {name: h for name, h in histograms.items() if h.count}
    if not histograms:
        return _nothing(figure, title)
    longest, levels = 1.0, []
    for place, (name, histogram) in enumerate(histograms.items()):
        colour = theme.SERIES[place % len(theme.SERIES)]
        reach = max(1.0, math.log10(histogram.count))
        shares = 100 * (1 - 10 ** -np.linspace(0, reach, 160))
        shares[-1] = 100  # the line ends at the longest time, where no answer is beyond
        times = list(histogram.percentiles(shares).values())
        longest = max(longest, reach)
        levels += [max(1e-6, histogram.low), histogram.high]
        figure.add_scatter(
            x=np.linspace(0, reach, len(shares)),
            y=[1000 * max(t, 1e-6) for t in times],
            name=name,
            mode="lines",
            line={"color": colour, "width": 3},
            customdata=shares,
            hovertemplate=f"{name}: p%{{customdata:.5g}} %{{y:.3g}} ms<extra></extra>",
        )
    low, high = 1000 * max(1e-6, min(levels)) / 1.5, 1000 * max(levels) * 1.5
    for what, level in (marks or {}).items():
        figure.add_hline(y=1000 * level, line={"dash": "dot", "color": theme.GREY})
        figure.add_annotation(  # on a log axis a note's place is given as a power of ten
            x=0, xref="paper", y=math.log10(1000 * level), xanchor="left", yanchor="bottom",
            text=what, showarrow=False, font={"color": theme.GREY},
        )  # fmt: skip
        low, high = min(low, 1000 * level / 1.5), max(high, 1000 * level * 1.5)
    _label_ends(figure, low, high)
    ticks = [tick for tick in _TICKS if -math.log10(1 - tick / 100) <= longest + 1e-9]
    room = 24 + 7 * max(len(line) for name in histograms for line in _wrapped(name))
    figure.update_layout(title=title, showlegend=False, margin={"r": room, "t": 60})
    figure.update_xaxes(
        title="percentile (each nine is as wide as the last)",
        tickvals=[-math.log10(1 - tick / 100) for tick in ticks],
        ticktext=["fastest" if tick == 0 else f"p{tick:g}" for tick in ticks],
        range=[0, longest],
    )
    figure.update_yaxes(title="latency, ms (log scale)")
    return _decades(figure, low, high)


def knee(
    results: Sequence[LoadResult],
    *,
    title: str,
    theory: Mapping[str, Callable[[float], float]] | None = None,
    capacity: float | None = None,
) -> go.Figure:
    """p50, mean and p99 of latency (y, ms, log) against the offered rate (x), with theory's curves.

    `theory` names functions from a rate (1/s) to a time in s, `inf` in overload. `capacity` (1/s)
    is drawn as a line. A run in which requests failed has open marks.
    """
    runs = sorted((r for r in results if r.latency.count), key=lambda run: run.offered)
    figure = go.Figure()
    if not runs:
        return _nothing(figure, title)
    rates = [run.offered for run in runs]
    last = max([*rates, capacity or 0])
    kinds = {
        "p99": (theme.ORANGE, [run.latency.p99 for run in runs]),
        "mean": (theme.GREEN, [run.latency.mean for run in runs]),
        "p50": (theme.BLUE, [run.latency.p50 for run in runs]),
    }
    for name, (colour, times) in kinds.items():
        figure.add_scatter(
            x=rates,
            y=[1000 * t for t in times],
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 3},
            marker={
                "size": 9,
                "symbol": ["circle-open" if run.failed else "circle" for run in runs],
            },
            hovertemplate=f"{name} at %{{x:,.4g}} a second: %{{y:.3g}} ms<extra></extra>",
        )
    low = 1000 * min(t for _, times in kinds.values() for t in times)
    high = 1000 * max(t for _, times in kinds.values() for t in times)
    for place, (name, function) in enumerate((theory or {}).items()):
        fine = np.linspace(last / 200, last, 200)
        times = np.array([1000 * function(rate) for rate in fine])
        times[~np.isfinite(times) | (times > 3 * high)] = np.nan
        figure.add_scatter(
            x=fine, y=times, name=name, mode="lines", hoverinfo="skip",
            line={"color": theme.GREY, "dash": ("dash", "dot", "dashdot")[place % 3]},
        )  # fmt: skip
        low = min(low, np.nanmin(times, initial=low))
    if capacity:
        figure.add_vline(
            x=capacity, line={"dash": "dot", "color": theme.RED}, annotation_position="top left",
            annotation_text=f"all it can do: {capacity:,.4g} a second",
        )  # fmt: skip
    figure.update_layout(title=title)
    figure.update_xaxes(title="requests offered, per second", range=[0, 1.05 * last])
    figure.update_yaxes(title="latency, ms (log scale)")
    return _decades(figure, low / 1.5, high * 2)


def _histogram(run: Times) -> Histogram:
    if isinstance(run, LoadResult):
        return run.latency
    return run if isinstance(run, Histogram) else Histogram.of(run)


def _label_ends(figure: go.Figure, low: float, high: float) -> None:
    """Each curve's name at its right end; names move apart, and stay between low and high ms."""
    low, high = math.log10(low), math.log10(high)
    step = 0.07 * (high - low)  # of a line of text
    curves = sorted(figure.data, key=lambda curve: curve.y[-1])
    names = [_wrapped(curve.name) for curve in curves]
    heights = [step * len(lines) for lines in names]
    shown: list[float] = []
    floor = low
    for curve, height in zip(curves, heights):
        shown.append(max(math.log10(curve.y[-1]), floor + height / 2))
        floor = shown[-1] + height / 2
    ceiling = high
    for place in reversed(range(len(shown))):  # what was pushed out at the top comes down again
        shown[place] = min(shown[place], ceiling - heights[place] / 2)
        ceiling = shown[place] - heights[place] / 2
    for curve, lines, level in zip(curves, names, shown):
        figure.add_annotation(
            x=1, xref="paper", y=level, yref="y", xanchor="left", yanchor="middle", xshift=6,
            text="<br>".join(lines), align="left", font={"color": curve.line.color},
            showarrow=False,
        )  # fmt: skip


def _wrapped(name: str) -> list[str]:
    return textwrap.wrap(name, 24) or [name]


def _decades(figure: go.Figure, low: float, high: float) -> go.Figure:
    """A log y axis from low to high ms, with a tick each power of ten, more on a short one."""
    low, high = math.log10(low), math.log10(high)
    steps = (1,) if high - low > 2 else (1, 2, 5)
    ticks = [
        step * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for step in steps
        if low <= math.log10(step * 10.0**power) <= high
    ]
    return figure.update_yaxes(
        type="log", range=[low, high], tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks]
    )


def _nothing(figure: go.Figure, title: str) -> go.Figure:
    figure.add_annotation(text="No request was answered.", showarrow=False)
    return figure.update_layout(title=title)
