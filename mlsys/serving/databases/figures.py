"""Pictures of databases: four layouts under four questions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go


def layouts(table: pd.DataFrame) -> go.Figure:
    """A field for each question and layout: coloured by how many times slower than the best of its
    row (log scale), with the value itself written in it. The last row is the room in MB."""
    times = table.to_numpy(float)
    worse = times / times.min(axis=1, keepdims=True)
    units = ["MB" if "MB" in str(row) else "ms" for row in table.index]
    text = [
        [f"{value:.3g} {unit}" for value in row] for row, unit in zip(times, units, strict=True)
    ]
    fig = go.Figure(
        go.Heatmap(
            x=list(table.columns), y=list(table.index), z=np.log10(worse), text=text,
            texttemplate="%{text}", customdata=worse, zmin=0, zmax=3, colorscale="Blues",
            colorbar={"title": "times the best", "tickvals": [0, 1, 2, 3],
                      "ticktext": ["1", "10", "100", "1,000"]},
            hovertemplate="%{y}, %{x}: %{text}, %{customdata:.3g} times the best<extra></extra>",
        )
    )  # fmt: skip
    title = "No layout is the best at everything"
    fig.update_layout(title=title, height=360, margin={"t": 60})
    return fig.update_yaxes(autorange="reversed")
