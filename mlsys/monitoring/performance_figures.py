"""Figures of performance and alerts: what labels knew when, what an estimate said, who was told.

Each takes the frames that `labels`, `performance`, `estimation`, `alerts` and `slo` return, and
draws at most 2,000 marks. RED marks what is wrong. What the dashboard draws of drift is in
`figures`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mlsys.monitoring.alerts import Notice
from mlsys.monitoring.scenes import SCENES
from mlsys.monitoring.slo import WORKBOOK_RULES, BurnRule
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, RED, SERIES

POINTS = 300
BARE = {"showlegend": False, "margin": {"t": 66}}  # no room kept for a legend


def _write(fig: go.Figure, x: object, y: object, text: str, colour: str, **place: object) -> None:
    """A curve's name beside it, in its colour."""
    asked = {"showarrow": False, "xanchor": "left", "yanchor": "bottom", **place}
    fig.add_annotation(x=x, y=y, text=text, font={"color": colour}, **asked)


def arrivals(log: pd.DataFrame, names: Mapping[int, str], *, days: float = 14) -> go.Figure:
    """Share of mails whose label has come, by days since the prediction; one curve a class."""
    age = (log["label_at"] - log["at"]) / pd.Timedelta(days=1)
    grid = np.linspace(0, days, 120)
    fig, early = go.Figure(), []
    for (label, name), colour in zip(names.items(), SERIES):
        mine = np.sort(age[log["label"] == label].to_numpy())  # missing ones go last
        came = 100 * np.searchsorted(mine, grid, side="right") / len(mine)
        early.append(float(np.interp(1, grid, came)))
        fig.add_scatter(
            x=grid, y=came, mode="lines", line={"color": colour, "width": 2.5}, name=name,
            hovertemplate=name + ": %{y:.0f} % known after %{x:.1f} days<extra></extra>",
        )  # fmt: skip
        place = int(np.argmax(came > 45))
        _write(fig, grid[place], came[place], name, colour, xshift=8, yanchor="top")
    known = " and ".join(f"{share:.0f} % of {name}" for share, name in zip(early, names.values()))
    fig.update_layout(title=f"After a day one knows {known}", height=320, **BARE)
    fig.update_xaxes(title="days since the prediction")
    fig.update_yaxes(title="label has come, in %", range=[0, 100])
    return fig


def reliability(curves: Mapping[str, pd.DataFrame], *, title: str) -> go.Figure:
    """The scores against what came true, with intervals; `curves` holds `calibration`'s tables."""
    fig = go.Figure()
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dash"}, hoverinfo="skip",
        name="as it should be",
    )  # fmt: skip
    for (name, table), colour in zip(curves.items(), SERIES):
        fig.add_scatter(
            x=table["score"], y=table["rate"], mode="lines+markers", name=name,
            line={"color": colour},
            error_y={
                "type": "data", "symmetric": False, "thickness": 1,
                "array": table["high"] - table["rate"],
                "arrayminus": table["rate"] - table["low"],
            },
            customdata=table["n"],
            hovertemplate=name + ": said %{x:.2f}, true %{y:.2f} of %{customdata}<extra></extra>",
        )  # fmt: skip
    fig.update_layout(title=title, height=380)
    fig.update_xaxes(title="mean score of the mails in a bin", range=[-0.02, 1.02])
    fig.update_yaxes(title="share that was spam", range=[-0.03, 1.03])
    return fig


def gap_by_scene(scenes: pd.DataFrame, *, tolerance: float, title: str) -> go.Figure:
    """A row a scene: the estimate, the truth, and the line between them.

    `scenes` has the scene's name as index and columns estimate and truth (shares); the line is RED
    where they differ by more than `tolerance`.
    """
    rows = scenes.iloc[::-1]
    labels = [f"{SCENES[one].title} ({SCENES[one].kind})" for one in rows.index]
    fig = go.Figure()
    for label, row in zip(labels, rows.itertuples()):
        off = 100 * (row.estimate - row.truth)
        colour = RED if abs(off) > 100 * tolerance else GREY
        fig.add_scatter(
            x=[100 * row.truth, 100 * row.estimate], y=[label, label], mode="lines",
            line={"color": colour, "width": 5}, showlegend=False, hoverinfo="skip",
        )  # fmt: skip
        _write(
            fig, 100 * max(row.estimate, row.truth), label, f"{off:+.1f} points", colour,
            xshift=12, yanchor="middle",
        )  # fmt: skip
    for column, name, colour in (("truth", "truth", GREEN), ("estimate", "estimate", BLUE)):
        fig.add_scatter(
            x=100 * rows[column], y=labels, mode="markers", name=name,
            marker={"color": colour, "size": 12},
            hovertemplate="%{y}: " + name + " %{x:.1f} %<extra></extra>",
        )  # fmt: skip
    low = 100 * rows.min().min()
    fig.update_layout(title=title, height=90 + 38 * len(rows))
    ticks = list(range(5 * int(low // 5), 101, 5))
    fig.update_xaxes(title="accuracy, in %", range=[low - 2, 106], tickvals=ticks)
    return fig


def knowledge(
    days: pd.DataFrame,
    *,
    change_at: pd.Timestamp | None,
    alarms: Mapping[str, datetime | None],
    title: str,
) -> go.Figure:
    """Three answers to "how accurate?" along time: the estimate, what was known, and the truth.

    `days` is the `windows` of a `Watch`; `alarms` says when a rule first alarmed, or None.
    """
    at = list(days["at"])
    fig = go.Figure()
    fig.add_scatter(
        x=at + at[::-1], fill="toself",
        y=100 * np.r_[days["estimate_high"], days["estimate_low"][::-1]],
        fillcolor="rgba(0, 114, 178, 0.15)", line={"width": 0}, hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    for column, name, line in (
        ("estimate", "estimate, no labels", {"color": BLUE, "width": 2.5}),
        ("known", "known then", {"color": ORANGE, "width": 2.5, "dash": "dash"}),
    ):
        fig.add_scatter(
            x=at, y=100 * days[column], mode="lines", line=line, name=name,
            hovertemplate=name + ": %{y:.1f} %<extra></extra>",
        )  # fmt: skip
    fig.add_scatter(
        x=at, y=100 * days["truth"], mode="markers", marker={"color": GREEN, "size": 8},
        name="truth, in hindsight", hovertemplate="truth: %{y:.1f} %<extra></extra>",
    )  # fmt: skip
    if change_at is not None:
        _mark_time(fig, change_at, "the change", GREY, 0.0)
    found = {when: name for name, when in alarms.items() if when is not None}
    for i, (when, name) in enumerate(sorted(found.items())):
        _mark_time(fig, when, name, RED, 0.1 * (i + 1))
    shown = 100 * days[["estimate_low", "estimate_high", "known", "truth"]]
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    fig.update_layout(title=title, height=400)
    fig.update_xaxes(title="end of the day (UTC)")
    fig.update_yaxes(title="accuracy, in %", range=[low - 0.35 * (high - low), high + 1])
    return fig


def _mark_time(fig: go.Figure, at: datetime, text: str, colour: str, height: float) -> None:
    fig.add_vline(x=at, line={"color": colour, "width": 2, "dash": "dot"})
    _write(fig, at, height, f" {text}", colour, yref="paper")


def slice_intervals(rows: pd.DataFrame, *, usual: float, title: str, x: str) -> go.Figure:
    """A row a slice: its value and interval (columns slice, value, low, high, n), worst on top.

    RED when the whole interval lies under `usual`, drawn as a dashed line.
    """
    rows = rows.sort_values("value", ascending=False)
    labels = [f"{one.slice} (n = {one.n:,})" for one in rows.itertuples()]
    fig = go.Figure()
    fig.add_vline(x=100 * usual, line={"color": GREY, "dash": "dash"})
    fig.add_scatter(
        x=100 * rows["value"], y=labels, mode="markers",
        marker={"size": 9, "color": [RED if high < usual else BLUE for high in rows["high"]]},
        error_x={
            "type": "data", "symmetric": False, "color": GREY, "thickness": 2,
            "array": 100 * (rows["high"] - rows["value"]),
            "arrayminus": 100 * (rows["value"] - rows["low"]),
        },
        hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
    )  # fmt: skip
    _write(fig, 100 * usual, 1, f"usual: {usual:.1%}", GREY, yref="paper", xanchor="center")
    fig.update_layout(title=title, height=120 + 34 * len(rows), **BARE)
    fig.update_xaxes(title=x)
    return fig


def told(crossings: pd.DataFrame, runs: Mapping[str, Sequence[Notice]], *, title: str) -> go.Figure:
    """What each set of rules told, above all that crossed a limit (columns at, what).

    A row for each of `runs`, then one a signal; a diamond holds the number of notices that came at
    once and is RED for pages.
    """
    rows = [*runs, *crossings["what"].unique()][::-1]
    shown = crossings.iloc[: 2_000 - 50]
    fig = go.Figure(
        go.Scatter(
            x=shown["at"], y=shown["what"], mode="markers", marker={"color": GREY, "size": 7},
            hovertemplate="%{y} over its limit on %{x|%d %b}<extra></extra>",
        )
    )  # fmt: skip
    colours = {"page": RED, "ticket": ORANGE, "info": BLUE}
    for name, notices in runs.items():
        spoken: dict[tuple[datetime, str], list[str]] = {}
        for one in notices:
            if one.event != "resolved":
                spoken.setdefault((one.at, one.severity), []).append(one.sentence)
        fig.add_scatter(
            x=[at for at, _ in spoken], y=[name] * len(spoken), mode="markers+text",
            marker={
                "size": 20, "symbol": "diamond", "color": [colours[how] for _, how in spoken]
            },
            text=[str(len(said)) for said in spoken.values()], textfont={"color": "white"},
            customdata=["<br>".join(said) for said in spoken.values()],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    fig.update_layout(title=title, height=110 + 32 * len(rows), **BARE)
    fig.update_xaxes(title="end of the day (UTC)")
    fig.update_yaxes(categoryorder="array", categoryarray=rows, range=[-0.6, len(rows) - 0.4])
    return fig


def burn_rates(
    burnt: pd.DataFrame, *, rules: Sequence[BurnRule] = WORKBOOK_RULES, title: str
) -> go.Figure:
    """Burn rates over each rule's long window on a log axis, and the spans in which a rule fired.

    `burnt` is what `slo.burn` returns. Each curve keeps the highest value of a few hours.
    """
    step = max(1, -(-len(burnt) // POINTS))
    part = burnt.groupby(np.arange(len(burnt)) // step)
    at = part["at"].first()
    fig = go.Figure()
    for i, (rule, colour) in enumerate(zip(rules, SERIES)):
        name = f"{rule.long_hours:g} h, {rule.severity} over {rule.rate:g}"
        rate = part[f"long_{i}"].max().clip(lower=0.1)
        fig.add_scatter(
            x=at, y=rate, mode="lines", name=name, line={"color": colour, "width": 2},
            hovertemplate=name + ": %{y:.1f}<extra></extra>",
        )  # fmt: skip
        fig.add_hline(y=rule.rate, line={"color": colour, "dash": "dot", "width": 1})
    for first, last, severity in spans(burnt):
        colour = RED if severity == "page" else ORANGE
        fig.add_vrect(x0=first, x1=last, fillcolor=colour, opacity=0.25, line_width=1)
        _write(fig, first, 0.96, f" {severity}", colour, yref="paper", yanchor="top")
    fig.update_layout(title=title, height=400)
    fig.update_xaxes(title="time (UTC)")
    fig.update_yaxes(title="budget spent, times the pace allowed", type="log")
    return fig


def spans(burnt: pd.DataFrame, *, gap: int = 12) -> list[tuple[datetime, datetime, str]]:
    """(first, last, worst severity) of each stretch in which rules fired.

    Fewer than `gap` quiet steps in a row do not end a stretch.
    """
    where = np.flatnonzero((burnt["severity"] != "").to_numpy())
    if not len(where):
        return []
    parts = np.split(where, np.flatnonzero(np.diff(where) > gap) + 1)
    at, severity = burnt["at"].to_list(), burnt["severity"].to_list()
    return [(at[one[0]], at[one[-1]], _worst(severity[i] for i in one)) for one in parts]


def _worst(severities: Iterable[str]) -> str:
    return max(severities, key=["", "info", "ticket", "page"].index)
