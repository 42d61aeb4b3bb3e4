"""Pictures of caches: hit ratio by size, what a TTL trades, a stampede's queries in time."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from mlsys.serving.caches.stampede import CURES, Stampede
from mlsys.serving.timeline import timeline
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, RED

RULE_COLOURS = {"LRU": BLUE, "LFU": ORANGE, "TinyLFU": GREEN, "optimum": GREY}


def hit_curves(ratios: pd.DataFrame, *, mark: int) -> go.Figure:
    """Hit ratio (%) by cache size (log), a line a rule; `mark` is the size in the headline."""
    shares = ", ".join(f"{rule} {share:.0%}" for rule, share in ratios.loc[mark].items())
    fig = go.Figure()
    ends: list[tuple[float, str, str]] = []
    for rule in ratios.columns:
        colour = RULE_COLOURS.get(rule, PURPLE)
        fig.add_scatter(
            x=list(ratios.index), y=(100 * ratios[rule]).tolist(), name=rule,
            mode="lines+markers", marker={"size": 8},
            line={"color": colour, "width": 3, "dash": "dot" if rule == "optimum" else "solid"},
            hovertemplate=rule + ", %{x:,} keys: %{y:.1f} %<extra></extra>",
        )  # fmt: skip
        ends.append((100 * float(ratios[rule].iloc[-1]), rule, colour))
    floor = -100.0
    for level, rule, colour in sorted(ends):
        floor = max(level, floor + 6)
        fig.add_annotation(
            x=1, xref="paper", xanchor="left", xshift=8, y=floor, text=rule, showarrow=False,
            font={"color": colour},
        )  # fmt: skip
    fig.add_vline(mark, line={"color": GREY, "dash": "dot"})
    title = f"Hits with room for {mark:,} of 10,000 keys: {shares}"
    fig.update_layout(title=title, showlegend=False, margin={"r": 90, "t": 60})
    ticks = list(ratios.index)
    fig.update_xaxes(
        title="keys that fit into the cache (log scale)", type="log",
        tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks],
    )  # fmt: skip
    return fig.update_yaxes(title="hits, % of requests", range=[0, 100])


def stale_by_ttl(tables: Mapping[float, pd.DataFrame]) -> go.Figure:
    """Stale reads (%, log) against the database's queries (1/s): a line a way, a mark a TTL."""
    fig = go.Figure()
    ways = next(iter(tables.values())).index
    for place, (way, colour) in enumerate(zip(ways, (RED, BLUE, ORANGE, GREEN), strict=False)):
        stale = [100 * max(1e-5, float(table.stale[way])) for table in tables.values()]
        queries = [float(table.database_reads[way]) for table in tables.values()]
        fig.add_scatter(
            x=queries, y=stale, name=way, mode="lines+markers+text",
            text=[f"{ttl:g} s" for ttl in tables] if place < 2 else None,
            customdata=list(tables), textposition="top center",
            line={"color": colour, "width": 3}, marker={"size": 9},
            hovertemplate=way + ", %{customdata} s: %{y:.2g} % stale, %{x:.0f}/s<extra></extra>",
        )  # fmt: skip
    fig.update_layout(title="A longer life (TTL, in s) asks the database less and is wrong more")
    fig.update_xaxes(title="queries that reach the database, per second")
    ticks = (0.01, 0.1, 1, 10, 100)
    return fig.update_yaxes(
        title="stale reads, % (log scale)", type="log",
        tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks],
    )  # fmt: skip


def queries(runs: Mapping[str, Stampede]) -> go.Figure:
    """The timeline of all queries at the database, by cure; without a cure in red."""
    events = [event for run in runs.values() for event in run.events()]
    counts = ", ".join(f"{cure} {len(run.queries)}" for cure, run in runs.items())
    title = f"Queries: {counts}"
    colours = dict(zip(CURES[1:], (BLUE, GREEN, ORANGE), strict=True))
    fig = timeline(events, title=title, colours=colours, danger=CURES[:1])
    fig.update_yaxes(title=None, showticklabels=False)
    fig.update_layout(height=max(420, 16 * len({event.row for event in events}) + 160))
    return fig
