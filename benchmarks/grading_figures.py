"""The figure of the grading benchmark: how fast, how the cost grows, how much memory."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from grading_measure import Run
from plotly.subplots import make_subplots

from mlsys import theme

COLOURS = {"nbgrader": theme.ORANGE, "otter": theme.GREEN, "ours": theme.BLUE}


def picture(
    each: Mapping[str, Sequence[float]], sizes: Sequence[int], runs: Sequence[Run], exponent: float
) -> go.Figure:
    """Three panels. `each` holds the seconds a submission takes under each grader, a value a round;
    `runs` are ours with `sizes` submissions; `exponent` is the power with which their CPU grows.
    """
    theme.apply()
    titles = (
        "Seconds a submission",
        "Cost by submissions",
        f"Memory while {sizes[-1]:,} are graded",
    )
    fig = make_subplots(1, 3, horizontal_spacing=0.09, subplot_titles=titles)
    for name, values in each.items():
        middle = statistics.median(values)
        fig.add_bar(
            x=[name], y=[middle], marker_color=COLOURS[name], showlegend=False,
            text=[f"{middle:.2g} s"], textposition="outside", cliponaxis=False, row=1, col=1,
        )  # fmt: skip
    fig.update_yaxes(title="seconds", rangemode="tozero", row=1, col=1)
    costs = (
        ("CPU", [run.cpu for run in runs], theme.BLUE, "top left"),
        ("on the clock", [run.seconds for run in runs], theme.PURPLE, "bottom right"),
    )
    for label, values, colour, place in costs:
        slope = f", power {exponent:.2f}" if label == "CPU" else ""
        fig.add_scatter(
            x=list(sizes), y=values, mode="lines+markers+text", line={"color": colour},
            text=[*[""] * (len(sizes) - 2), f"{label}{slope}", ""], textposition=place,
            marker={"size": 8}, showlegend=False, row=1, col=2,
            hovertemplate="%{x:,} submissions<br>%{y:.1f} s<extra>" + label + "</extra>",
        )  # fmt: skip
    fig.update_xaxes(
        type="log", title="submissions", tickvals=list(sizes), tickformat=",", row=1, col=2
    )
    fig.update_yaxes(
        type="log", tickvals=[10, 20, 50, 100, 200, 500], title="seconds", row=1, col=2
    )
    moments, levels = zip(*runs[-1].memory, strict=True)
    fig.add_scatter(
        x=moments, y=levels, mode="lines", line={"color": theme.BLUE}, showlegend=False,
        hovertemplate="%{x:.0f} s<br>%{y:.0f} MB<extra></extra>", row=1, col=3,
    )  # fmt: skip
    fig.add_hline(y=1000, line={"color": theme.GREY, "dash": "dot"}, row=1, col=3)
    fig.update_xaxes(title="seconds since the start", row=1, col=3)
    fig.update_yaxes(title="MB, all processes", range=[0, 1100], row=1, col=3)
    return fig.update_layout(title=_title(each, exponent), width=1250, height=420)


def _title(each: Mapping[str, Sequence[float]], exponent: float) -> str:
    ratio = statistics.median(b / a for a, b in zip(each["ours"], each["nbgrader"], strict=True))
    grows = "twice the class costs twice as much" if exponent < 1.1 else f"power {exponent:.2f}"
    return f"{ratio:.0f} times nbgrader's throughput; {grows}"
