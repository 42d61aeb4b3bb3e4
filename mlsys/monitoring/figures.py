"""Figures of model monitoring: from frames to plotly, for lessons and the dashboard alike."""

import pandas as pd
import plotly.graph_objects as go

from mlsys.theme import BLUE, GREY, ORANGE, RED


def drift_bars(drift: pd.DataFrame, labels: dict[str, str], *, title: str) -> go.Figure:
    """How far each column moved, beside its threshold; the farthest on top.

    `drift` has columns column, distance, threshold and drifted; `labels` says what a column is.
    """
    rows = drift.iloc[::-1]
    names = [labels.get(name, name) for name in rows["column"]]
    fig = go.Figure(
        go.Bar(
            x=rows["distance"],
            y=names,
            orientation="h",
            marker_color=[RED if one else BLUE for one in rows["drifted"]],
            text=[
                f"{d:.2f} drifted" if over else f"{d:.2f}"
                for d, over in zip(rows["distance"], rows["drifted"])
            ],
            textposition="outside",
            cliponaxis=False,
            customdata=rows["threshold"],
            hovertemplate="%{y}<br>distance %{x:.3f}, threshold %{customdata:.3f}<extra></extra>",
        )
    )
    threshold = float(rows["threshold"].max())
    fig.add_vline(x=threshold, line={"color": GREY, "dash": "dash"})
    fig.add_annotation(
        x=threshold, y=1.0, yref="paper", yanchor="bottom", xanchor="left", showarrow=False,
        text=f"threshold {threshold:.2f}",
    )  # fmt: skip
    top = max(0.25, 1.25 * float(rows["distance"].max()))
    fig.update_layout(title=title, height=310, showlegend=False, margin={"t": 68})
    fig.update_xaxes(title="distance to reference (KS, 0 to 1)", range=[0, top])
    return fig


def accuracy_over_time(
    weekly: pd.DataFrame, *, expected: float, start: int | None, title: str
) -> go.Figure:
    """Accuracy by week with its 95 % interval, the expected level, and where the drift begins.

    `weekly` has columns week, accuracy, low, high (shares) and messages; `start` is None when
    nothing changes.
    """
    low = 100 * min(0.85, float(weekly["low"].min()))
    fig = go.Figure()
    fig.add_hline(y=100 * expected, line={"color": GREY, "dash": "dash"})
    fig.add_annotation(
        x=1, xref="paper", xanchor="right", y=1, yref="paper", yanchor="bottom", showarrow=False,
        text=f"dashed: on the reference, {expected:.1%}",
    )  # fmt: skip
    fig.add_scatter(
        x=weekly["week"],
        y=100 * weekly["accuracy"],
        mode="lines+markers",
        line={"color": BLUE},
        marker={
            "size": 9,
            "color": [RED if high < expected else BLUE for high in weekly["high"]],
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": 100 * (weekly["high"] - weekly["accuracy"]),
            "arrayminus": 100 * (weekly["accuracy"] - weekly["low"]),
            "thickness": 1,
        },
        customdata=weekly["messages"],
        hovertemplate="week %{x}: %{y:.1f} % of %{customdata} messages<extra></extra>",
    )
    if start is not None:
        fig.add_vline(x=start - 0.5, line={"color": ORANGE, "width": 2})
        fig.add_annotation(
            x=start - 0.5, y=low - 2, xanchor="left", yanchor="bottom", showarrow=False,
            text=" the change begins",
        )  # fmt: skip
    fig.update_layout(title=title, height=310, showlegend=False, margin={"t": 68})
    fig.update_xaxes(title="week", dtick=1)
    fig.update_yaxes(title="accuracy, in %", range=[low - 2, 103])
    return fig


def compare_column(reference: pd.Series, current: pd.Series, *, title: str, unit: str) -> go.Figure:
    """One column's distribution in the reference and now, as shares in 30 common bins."""
    low, high = (
        min(reference.min(), current.min()),
        max(reference.quantile(0.995), current.quantile(0.995)),
    )
    size = (high - low) / 30 or 1.0
    fig = go.Figure()
    for name, values, colour in (("reference", reference, GREY), ("now", current, ORANGE)):
        counts = pd.cut(
            values.clip(low, high), [low + i * size for i in range(31)], include_lowest=True
        ).value_counts(sort=False, normalize=True)
        fig.add_bar(
            x=[interval.mid for interval in counts.index],
            y=100 * counts.to_numpy(),
            width=size,
            name=f"{name} (n = {len(values):,})",
            marker_color=colour,
            opacity=0.65,
            hovertemplate=f"{name}: %{{y:.1f}} % near %{{x:.2f}}<extra></extra>",
        )
    fig.update_layout(title=title, barmode="overlay", height=330, bargap=0)
    fig.update_xaxes(title=unit)
    fig.update_yaxes(title="share of messages, in %")
    return fig
