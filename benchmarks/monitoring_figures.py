"""Figures of the monitoring benchmark, from its frames."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from monitoring_growth import LABELS, exponents
from plotly.subplots import make_subplots

from mlsys import theme


def growth(measured: pd.DataFrame) -> go.Figure:
    """CPU over size, both axes logarithmic, for rows and for columns; a line for each path.

    `measured` is what `monitoring_growth.growth` gives.
    """
    theme.apply()
    slopes = exponents(measured)
    fig = make_subplots(1, 2, horizontal_spacing=0.12)
    for place, by in enumerate(("rows", "columns"), 1):
        for path, colour in (("exact", theme.ORANGE), ("profile", theme.BLUE)):
            part = measured[(measured["path"] == path) & (measured["by"] == by)]
            label = f"{path}: power {slopes[path, by]:.2f}"
            fig.add_scatter(
                x=part["size"], y=part["cpu"], mode="lines+markers+text", showlegend=False,
                line={"color": colour}, marker={"size": 8}, textposition="top left",
                text=[*[""] * (len(part) - 1), label],
                hovertemplate="%{x:,} " + by + "<br>%{y:.3f} s<extra>" + path + "</extra>",
                row=1, col=place,
            )  # fmt: skip
        fig.update_xaxes(
            type="log", title=LABELS[by], tickvals=part["size"], tickformat=",", row=1, col=place
        )
        fig.update_yaxes(type="log", dtick=1, title="CPU seconds", row=1, col=place)
    title = "Twice the rows, or twice the columns, cost twice as much: a power of 1 is linear"
    return fig.update_layout(title=title, width=900, height=420)


def save(figure: go.Figure, path: Path) -> str:
    """Write the figure as the path's ending says; a sentence that says what was done or is lacking.

    HTML needs nothing more, not even a network; a picture needs kaleido.
    """
    if path.suffix == ".html":
        figure.write_html(path, include_plotlyjs=True)
        return f"The figure is in {path}."
    try:
        figure.write_image(path)
    except (ValueError, ImportError, RuntimeError):
        return f"No figure was written to {path}: a picture needs kaleido, .html nothing more."
    return f"The figure is in {path}."
