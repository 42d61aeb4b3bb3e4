"""One look for notebooks and dashboards: the palette, and a light and a dark plotly template.

Streamlit's own colours live in `dashboards/.streamlit/config.toml` and repeat these. Figures are
made by the `figures.py` beside each engine; they name colours by role and take everything else
from the template, so that the same figure reads well on a white page and on a dark one.
"""

import plotly.graph_objects as go
import plotly.io as pio

# Okabe and Ito's palette, which people with any common colour blindness can tell apart
# (M. Okabe, K. Ito, "Color Universal Design", 2008). RED is kept for danger: a stale read, a
# failure, an alert.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
RED, PURPLE, SKY, GREY = "#D55E00", "#CC79A7", "#56B4E9", "#7F7F7F"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, GREY)

FONT = "Source Sans Pro, Segoe UI, Helvetica, Arial, sans-serif"


def _template(text: str, grid: str, paper: str, series: tuple[str, ...]) -> go.layout.Template:
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zerolinecolor": grid,
        "ticks": "",
        "automargin": True,
        "title": {"standoff": 8},
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 14, "color": text},
            # The title stands at the top of the picture, the legend between it and the plot.
            "title": {
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "pad": {"t": 16},
                "font": {"size": 17},
            },
            "paper_bgcolor": paper,
            "plot_bgcolor": paper,
            "colorway": list(series),
            "colorscale": {"sequential": "Cividis"},
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 60, "r": 24, "t": 84, "b": 52},
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
            "hoverlabel": {"font": {"family": FONT}},
            "height": 420,
        }
    )


# On dark paper the blue is too dim to read: its lighter sibling leads instead.
pio.templates["mlsys"] = _template("#2b2f36", "#e3e6ea", "#ffffff", SERIES)
pio.templates["mlsys_dark"] = _template(
    "#e6e8eb", "#3a3f47", "#0e1117", (SKY, ORANGE, GREEN, PURPLE, BLUE, GREY)
)


def apply(mode: str = "light") -> None:
    """Make the light or the dark template the default of every figure drawn from now on."""
    pio.templates.default = {"light": "mlsys", "dark": "mlsys_dark"}[mode]
