"""The pictures of lesson 14: a queue's length over time, jobs a second by workers, what each way to
acknowledge loses and doubles, a crash as a timeline, a log with its readers' offsets.

The latency curve and the timeline themselves are `load.figures` and `timeline`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from mlsys import theme
from mlsys.serving.queues.runs import KILLED, Crash, Run
from mlsys.serving.timeline import Event, timeline

_MOST_POINTS = 400  # of a line
_MOST_RECORDS = 60  # of a partition


def rates(measured: Mapping[int, float], *, job: float, title: str) -> go.Figure:
    """Jobs/s by workers, beside the most that jobs of `job` seconds allow."""
    workers = list(measured)
    figure = go.Figure()
    figure.add_scatter(
        x=[0, max(workers)], y=[0, max(workers) / job], mode="lines", hoverinfo="skip",
        line={"color": theme.GREY, "dash": "dash"}, showlegend=False,
    )  # fmt: skip
    figure.add_scatter(
        x=workers, y=list(measured.values()), mode="lines+markers+text", showlegend=False,
        text=[f"{rate:.0f}" for rate in measured.values()], textposition="bottom right",
        line={"color": theme.BLUE, "width": 3}, marker={"size": 11},
        hovertemplate="%{x} workers: %{y:.0f} jobs a second<extra></extra>",
    )  # fmt: skip
    figure.add_annotation(
        x=max(workers), y=max(workers) / job, text="the most that is possible", showarrow=False,
        xanchor="right", xshift=-14, font={"color": theme.GREY},
    )  # fmt: skip
    figure.update_xaxes(title="workers", tickvals=workers, range=[0, 1.1 * max(workers)])
    figure.update_yaxes(title="jobs done per second", range=[0, 1.12 * max(workers) / job])
    return figure.update_layout(title=title)


def lengths(
    runs: Mapping[str, Run], *, title: str, marks: Mapping[str, float] | None = None
) -> go.Figure:
    """How many jobs waited over time, a line a run; `marks` names instants in s."""
    figure = go.Figure()
    most = max((float(run.lengths.max(initial=1)) for run in runs.values()), default=1.0)
    for (name, run), colour in zip(runs.items(), (theme.BLUE, theme.ORANGE, *theme.SERIES[2:])):
        # The largest of each stretch: a peak must not be lost in drawing.
        cuts = np.array_split(np.arange(len(run.times)), min(_MOST_POINTS, len(run.times)))
        peaks = np.array([cut[np.argmax(run.lengths[cut])] for cut in cuts if len(cut)])
        figure.add_scatter(
            x=run.times[peaks], y=run.lengths[peaks], mode="lines", name=name,
            line={"color": colour, "width": 3, "shape": "hv"}, showlegend=len(runs) > 1,
            hovertemplate=f"{name}: %{{y}} waiting at %{{x:.2f}} s<extra></extra>",
        )  # fmt: skip
        if run.crash is not None:
            figure.add_vline(
                x=run.crash, line={"color": theme.RED, "dash": "dot", "width": 2},
                annotation_text="a worker is killed", annotation_font_color=theme.RED,
                annotation_position="top left",
            )  # fmt: skip
    for name, instant in (marks or {}).items():
        figure.add_vline(
            x=instant, line={"color": theme.GREY, "dash": "dot"}, annotation_text=name,
            annotation_position="top right", annotation_font_color=theme.GREY,
        )  # fmt: skip
    figure.update_xaxes(title="time, s", rangemode="tozero")
    figure.update_yaxes(title="jobs waiting", range=[0, 1.15 * most])
    return figure.update_layout(title=title)


def outcomes(crashes: Sequence[Crash], *, title: str) -> go.Figure:
    """A row for each way, a square for each order: charged once, never, or more than once."""
    kinds = {
        "charged once": (theme.SKY, "square", lambda count: count == 1),
        "charged twice or more": (theme.ORANGE, "diamond", lambda count: count > 1),
        "never charged": (theme.RED, "x", lambda count: count == 0),
    }
    names = [crash.name for crash in crashes]
    figure = go.Figure()
    for kind, (colour, symbol, is_one) in kinds.items():
        found = [(order, crash.name) for crash in crashes
                 for order, count in crash.charged.items() if is_one(count)]  # fmt: skip
        figure.add_scatter(
            x=[order for order, _ in found], y=[name for _, name in found], mode="markers",
            name=kind, marker={"color": colour, "symbol": symbol, "size": 16},
            hovertemplate=f"%{{y}}: order %{{x}} was {kind}<extra></extra>", showlegend=True,
        )  # fmt: skip
    for order, when in KILLED.items():
        figure.add_vrect(
            x0=order - 0.5, x1=order + 0.5, fillcolor=theme.GREY, opacity=0.15, line_width=0,
            layer="below",
        )  # fmt: skip
        figure.add_annotation(
            x=order, y=-0.5, yref="y", text=f"killed {when}<br>the charge", showarrow=False,
            yanchor="bottom", yshift=2, font={"size": 12, "color": theme.GREY},
        )  # fmt: skip
    orders = sorted({order for crash in crashes for order in crash.charged})
    figure.update_xaxes(title="order", tickvals=orders, showgrid=False, zeroline=False)
    figure.update_yaxes(
        categoryorder="array", categoryarray=names, range=[len(names) - 0.5, -1.5],
        showgrid=False, tickvals=names,
    )  # fmt: skip
    return figure.update_layout(title=title, height=190 + 36 * len(names))


def crash_timeline(crash: Crash, *, title: str) -> go.Figure:
    """Which worker had which order when: done, cut off by the kill, and done again."""
    dead = dict(crash.kills)
    zero = min((step.begun for step in crash.steps), default=0.0)
    events, seen = [], set()
    for step in crash.steps:
        row = f"worker {step.worker}"
        end = step.done if step.done is not None else dead[step.worker]
        kind = "done" if step.done is not None else "cut off"
        kind = "delivered again" if step.id in seen else kind
        seen.add(step.id)
        events.append(Event(row, step.begun - zero, end - zero, kind, f"order {step.id}"))
    events += [Event(f"worker {who}", at - zero, kind="killed") for who, at in crash.kills]
    colours = {"done": theme.SKY, "cut off": theme.GREY, "delivered again": theme.ORANGE}
    rows = sorted({event.row for event in events})
    return timeline(events, title=title, colours=colours, danger=("killed",), rows=rows)


def log(ends: Sequence[int], groups: Mapping[str, Sequence[int]], *, title: str) -> go.Figure:
    """A row for each partition, a square for each record, a mark where each group goes on.

    The last records are drawn when there are many.
    """
    figure = go.Figure()
    first = max(0, max(ends, default=0) - _MOST_RECORDS)
    squares = [(offset, row) for row, end in enumerate(ends) for offset in range(first, end)]
    figure.add_scatter(
        x=[offset for offset, _ in squares], y=[row for _, row in squares], mode="markers",
        marker={"symbol": "square", "size": 14, "color": theme.SKY}, name="a record",
        hovertemplate="partition %{y}, offset %{x}<extra></extra>", showlegend=True,
    )  # fmt: skip
    for place, (name, offsets) in enumerate(groups.items()):
        figure.add_scatter(
            x=[offset - 0.5 for offset in offsets],
            y=[row + 0.3 - 0.6 * place for row in range(len(offsets))],
            mode="markers", name=f"{name} goes on here",
            marker={"symbol": "triangle-down" if place else "triangle-up", "size": 13,
                    "color": (theme.GREEN, theme.PURPLE)[place % 2]},
            hovertemplate=f"{name}: %{{x:.0f}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="offset", rangemode="tozero", dtick=5, zeroline=False)
    figure.update_yaxes(
        title="partition", tickvals=list(range(len(ends))), range=[len(ends) - 0.4, -0.6],
        showgrid=False, zeroline=False,
    )  # fmt: skip
    return figure.update_layout(title=title, height=190 + 50 * len(ends))
