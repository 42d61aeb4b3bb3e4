"""Pictures of the lesson on HTTP services: who answered what, the bucket, workers, buckets of time.

RED marks what was refused or lost. No figure has more than 2,000 marks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mlsys.serving.rest import metrics as rest_metrics
from mlsys.serving.timeline import Event, timeline
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SERIES


def answers(rows: Mapping[str, Sequence[int]], *, title: str) -> go.Figure:
    """A row of squares for each store: request by request, found (below 400) or not."""
    fig = go.Figure()
    for good, name, colour in ((True, "found", BLUE), (False, "404, not found", RED)):
        places = [
            (number, row, status)
            for row, statuses in rows.items()
            for number, status in enumerate(statuses, start=1)
            if (status < 400) is good
        ]
        if not places:
            continue
        fig.add_scatter(
            x=[number for number, _, _ in places],
            y=[row for _, row, _ in places],
            customdata=[status for _, _, status in places],
            mode="markers",
            name=name,
            marker={"symbol": "square" if good else "x", "size": 13, "color": colour},
            hovertemplate="read %{x}: %{customdata}<extra></extra>",
        )
    fig.update_layout(title=title, height=250, margin={"t": 60})
    fig.update_xaxes(title="read number")
    return fig.update_yaxes(categoryorder="array", categoryarray=list(rows)[::-1], type="category")


def attempts(events: Sequence[Event], *, title: str) -> go.Figure:
    """Attempts of several clients on one axis, each from its own first: answered, or no answer."""
    first: dict[str, float] = {}
    for event in events:
        first[event.row] = min(event.start, first.get(event.row, event.start))
    moved = [
        replace(e, start=e.start - first[e.row], end=(e.end or e.start) - first[e.row])
        for e in events
    ]
    return timeline(moved, title=title, colours={"answered": BLUE}, danger=("no answer",))


def ask_bucket(bucket: Any, times: Sequence[float], *, title: str) -> go.Figure:
    """Ask a bucket (take(now), tokens, rate, burst) at each of these times, s, and draw it.

    `{n}` and `{all}` in the title become the number answered and asked.
    """
    levels, taken = [], []
    for now in times:
        taken.append(bucket.take(now) == 0)
        levels.append(bucket.tokens + taken[-1])
    title = title.format(n=sum(taken), all=len(taken))
    return draw_bucket(times, levels, taken, burst=bucket.burst, rate=bucket.rate, title=title)


def draw_bucket(
    times: Sequence[float], levels: Sequence[float], taken: Sequence[bool], *, burst: float,
    rate: float, title: str,
) -> go.Figure:  # fmt: skip
    """Tokens in the bucket just before each request (times in s), and which requests got one."""
    times, levels, taken = map(np.asarray, (times, levels, taken))
    x, y = _refilled(times, levels, taken, rate, burst)
    fig = go.Figure()
    fig.add_scatter(x=x, y=y, mode="lines", name="tokens", line={"color": GREY})
    for good, name, colour in ((True, "answered", BLUE), (False, "429", RED)):
        fig.add_scatter(
            x=times[taken == good], y=levels[taken == good], name=name, mode="markers",
            marker={"color": colour, "size": 8, "symbol": "circle" if good else "x"},
        )  # fmt: skip
    fig.add_hline(1, line={"dash": "dot", "color": GREY})
    fig.update_layout(title=title)
    fig.update_xaxes(title="time, s")
    return fig.update_yaxes(title="tokens at the request", range=[-0.04 * burst, 1.1 * burst])


def _refilled(times, levels, taken, rate, burst):
    """The level between requests: it rises at `rate` to `burst`, and drops by one when taken."""
    x, y = [], []
    for place, (at, level) in enumerate(zip(times, levels)):
        x += [at, at]
        y += [level, level - 1 if taken[place] else level]
        if place + 1 < len(times) and rate > 0:
            full = at + (burst - y[-1]) / rate
            if full < times[place + 1]:
                x.append(full)
                y.append(burst)
    return x, y


def workers(
    rates: Mapping[str, Mapping[int, float]],
    *,
    others: Mapping[str, float] | None = None,
    bound: Mapping[int, float] | None = None,
    title: str,
) -> go.Figure:
    """Requests/s by number of workers, a line a kind of request; `others` are level lines."""
    fig = go.Figure()
    for (name, by_count), colour in zip(rates.items(), SERIES):
        counts = sorted(by_count)
        fig.add_scatter(
            x=counts, y=[by_count[n] for n in counts], name=name, mode="lines+markers",
            line={"color": colour, "width": 3}, marker={"size": 10},
        )  # fmt: skip
    if bound:
        fig.add_scatter(
            x=list(bound), y=list(bound.values()), name="workers / waiting time", mode="lines",
            line={"color": GREY, "dash": "dot"},
        )  # fmt: skip
    fig.update_layout(title=title)
    # Two level lines can lie close together: the higher is named above it, the lower below.
    top = max((others or {0: 0}).values())
    for (name, rate), colour in zip((others or {}).items(), (PURPLE, GREEN)):
        fig.add_hline(rate, line={"color": colour, "dash": "dash"})
        fig.add_annotation(
            x=1, xref="paper", y=rate, text=name, showarrow=False, xanchor="right",
            yanchor="bottom" if rate == top else "top", font={"color": colour},
        )  # fmt: skip
    marked = sorted({n for by_count in rates.values() for n in by_count})
    fig.update_xaxes(title="worker processes of gunicorn", tickvals=marked)
    highest = max([r for each in rates.values() for r in each.values()], default=1)
    highest = max([highest, *(others or {}).values()])
    return fig.update_yaxes(title="requests answered per second", range=[0, 1.15 * highest])


def histogram(table: pd.DataFrame, *, title: str, percents: Sequence[float] = (50, 99)):
    """Bars, one a bucket of a histogram of /metrics, with percentiles computed from them."""
    full = table[table.in_bucket > 0]
    if full.empty:
        fig = go.Figure()
        fig.add_annotation(text="Nothing was counted yet.", showarrow=False)
        return fig.update_layout(title=title)
    first, last = full.index[0], full.index[-1]
    shown = table.iloc[max(0, first - 1) : last + 2]
    names = [_bucket_name(table, place) for place in shown.index]
    fig = go.Figure(
        go.Bar(
            x=names,
            y=shown.in_bucket,
            marker={"color": BLUE},
            text=[f"{count:,}" if count else "" for count in shown.in_bucket],
            textposition="auto",
            hovertemplate="%{x} ms: %{y:,} requests<extra></extra>",
        )
    )
    for percent, colour in zip(percents, (GREEN, ORANGE)):
        at = rest_metrics.percentile(table, percent)
        place = int((table["upto"] >= at).to_numpy().argmax()) - shown.index[0]
        lower = (
            float(table["upto"].iloc[place + shown.index[0] - 1]) if place + shown.index[0] else 0.0
        )
        upper = float(table["upto"].iloc[place + shown.index[0]])
        share = 0.5 if np.isinf(upper) else (at - lower) / (upper - lower)
        fig.add_vline(place - 0.5 + share, line={"color": colour, "dash": "dot", "width": 2})
        fig.add_annotation(
            x=place - 0.5 + share, y=1, yref="paper", yanchor="bottom", showarrow=False,
            text=f"p{percent:g} {1000 * at:.3g} ms", font={"color": colour},
        )  # fmt: skip
    fig.update_layout(title=title, bargap=0.06, margin={"t": 90})
    fig.update_xaxes(title="time to answer, ms (the buckets of /metrics)", type="category")
    top = 1.15 * float(shown.in_bucket.max())
    return fig.update_yaxes(title="requests", range=[0, top])


def _bucket_name(table: pd.DataFrame, place: int) -> str:
    lower = 1000 * float(table["upto"].iloc[place - 1]) if place else 0.0
    upper = 1000 * float(table["upto"].iloc[place])
    return f"over {lower:g}" if np.isinf(upper) else f"{lower:g}–{upper:g}"
