"""What lesson 35 draws, and the data that it spoils on purpose; what it teaches stands in it.

A figure's title is the caller's: it says what to see. Tables are of frames, or of a `Watch`.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mlsys.monitoring.styles import judge_like
from mlsys.monitoring.traffic import FEATURES, START, Traffic, traffic
from mlsys.monitoring.verdict_power import clean_table
from mlsys.monitoring.verdicts import Rules, judge
from mlsys.monitoring.watch import Watch
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, RED

SPOILED = ("normal 0", "lognormal 0", "uniform", "category of 5", "category of 50")
CURVES = {"this course's": BLUE, "evidently": ORANGE, "NannyML": GREEN, "whylogs": PURPLE}


def spoiled_table(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """`clean_table`, then five of its twenty columns (`SPOILED`) changed.

    The bell moves by 0.3 standard deviations, the lognormal's sigma grows from 1 to 1.2, the
    uniform becomes Beta(1.2, 1), a fifth of the first of 5 categories becomes the last, and 2 % of
    the rows get a category that is not among the 50 known ones.
    """
    table = clean_table(rng, rows)
    table["normal 0"] = table["normal 0"] + 0.3
    table["lognormal 0"] = table["lognormal 0"] ** 1.2
    table["uniform"] = rng.beta(1.2, 1, rows)
    five, fifty = table["category of 5"], table["category of 50"]
    moved = (five.codes == 0) & (rng.random(rows) < 0.2)
    table["category of 5"] = pd.Categorical.from_codes(
        np.where(moved, 4, five.codes), five.categories
    )
    new = np.where(rng.random(rows) < 0.02, 50, fifty.codes)
    table["category of 50"] = pd.Categorical.from_codes(new, [*fifty.categories, "new"])
    return pd.DataFrame(table)


def raised(tool: str, before: pd.DataFrame, now: pd.DataFrame) -> set[str]:
    """The columns that one of `CURVES`'s monitors calls drifted, by its defaults."""
    if tool == "this course's":
        return set(judge(before, now).drifted)
    methods = ["jensen_shannon"] if tool == "NannyML" else None
    said = judge_like(tool.lower(), before, now, methods=methods)
    return set(said["column"][said["drifted"]])


def after_change(scene: str, *, per_day: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The reference of a scene, and the last two weeks of its live rows."""
    made = traffic(scene, per_day=per_day, seed=seed)
    day = pd.Timestamp("2026-03-16", tz="UTC")
    return made.reference, made.live[made.live["at"] >= day].reset_index(drop=True)


def harm(scene: str, *, per_day: int = 500, seed: int = 0) -> tuple[str, str, float, float]:
    """Scene, its worst input, how far that moved (in floors), and the accuracy lost (points)."""
    old, new = after_change(scene, per_day=per_day, seed=seed)
    worst = judge(old[[*FEATURES]], new[[*FEATURES]]).verdicts[0]
    before, now = (100 * (x["label"] == x["prediction"]).mean() for x in (old, new))
    return scene, worst.column, worst.effect, before - now


def three_worlds(*, per_day: int, seed: int) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """A reference, and rows after a covariate shift, a label shift and a concept drift.

    For the label shift two of three good mails are left out: what is left of each class is as it
    was. (The scene "label_shift" draws spam twice, and a classifier would know it again.)
    """
    old, same = after_change("healthy", per_day=per_day, seed=seed)
    kept = (same["label"] == 1) | (np.arange(len(same)) % 3 == 0)
    return old, {
        "covariate shift": after_change("covariate", per_day=per_day, seed=seed)[1],
        "label shift": same[kept],
        "concept drift": after_change("concept", per_day=per_day, seed=seed)[1],
    }


@lru_cache(maxsize=2)
def _healthy(seed: int) -> Traffic:
    return traffic("healthy", per_day=1000, seed=seed)


def trial(setting: Mapping[str, float], growth: float, *, seed: int) -> np.ndarray:
    """Hours, counted from the start of the third week, at which an alarm on `size_kb` starts.

    Four weeks of a thousand healthy mails a day, their sizes times `growth` from that moment on.
    `setting`: hours (of a window), floor, alpha, k and n. Negative hours are false alarms, and so
    are all when `growth` is 1. Raises MonitoringError where `Rules` does.
    """
    made = _healthy(seed)
    rows, at = made.live[["size_kb"]].copy(), made.live["at"]
    change = START + pd.Timedelta(days=14)
    rows["size_kb"] *= np.where(at >= change, growth, 1.0)
    rules = Rules(alpha=setting["alpha"], number=setting["floor"], spread=10.0)
    k, n = Rules(k=setting["k"], n=setting["n"]).k, setting["n"]
    raised, starts, ringing = [], [], False
    for begin, part in rows.groupby(at.dt.floor(f"{setting['hours']}h")):
        raised.append(bool(judge(made.reference[["size_kb"]], part, rules=rules).drifted))
        before, ringing = ringing, sum(raised[-n:]) >= k
        if ringing and not before:
            end = begin + pd.Timedelta(hours=setting["hours"])
            starts.append((end - change) / pd.Timedelta("1h"))
    return np.array(starts)


def psi_alarms(alarms: pd.DataFrame, *, title: str) -> go.Figure:
    """The share of clean windows over a threshold, by rows; columns rows, threshold, alarms."""
    fig = go.Figure()
    for (name, part), colour in zip(
        alarms.groupby("threshold", sort=False), (ORANGE, PURPLE, BLUE)
    ):
        fig.add_scatter(
            x=part["rows"], y=100 * part["alarms"], name=name, mode="lines+markers",
            line_color=colour,
        )  # fmt: skip
    fig.update_layout(title=title, height=360)
    fig.update_xaxes(
        title="rows in the window and in the reference", type="log",
        tickvals=sorted(alarms["rows"].unique()),
    )  # fmt: skip
    return fig.update_yaxes(title="clean windows that alarm, in %", range=[-3, 103])


def power_curves(panels: Mapping[str, pd.DataFrame], *, title: str) -> go.Figure:
    """How often each monitor finds a move, one panel for each frame of `verdict_power.power`.

    The keys are the panels' x titles; the leftmost point, a move of 0, is the false alarms.
    """
    fig = make_subplots(1, len(panels), shared_yaxes=True, horizontal_spacing=0.06)
    for place, (unit, frame) in enumerate(panels.items(), start=1):
        for name, part in frame.groupby("monitor", sort=False):
            fig.add_scatter(
                x=100 * part["shift"], y=100 * part["found"], name=name, row=1, col=place,
                line={"color": CURVES.get(name, GREY), "width": 3 if name in CURVES else 2},
                mode="lines+markers", showlegend=place == 1,
            )  # fmt: skip
        fig.update_xaxes(title=unit, row=1, col=place)
    fig.update_yaxes(range=[-4, 104])
    fig.update_yaxes(title="windows that alarm, in %", row=1, col=1)
    return fig.update_layout(title=title, height=400)


def harm_by_drift(scenes: pd.DataFrame, *, title: str) -> go.Figure:
    """A mark a scene: columns scene, effect (of the worst column, in floors), loss (points)."""
    quiet = scenes["effect"] < 1
    hurt = scenes["loss"] >= 2
    fig = go.Figure()
    fig.add_scatter(
        x=scenes["effect"].clip(lower=0.3), y=scenes["loss"], mode="markers+text",
        text=scenes["scene"], textposition=_below(scenes["scene"], "healthy"),
        marker={"size": 12, "color": np.select([hurt & quiet, hurt], [RED, ORANGE], BLUE)},
        hovertemplate="%{text}: %{x:.1f} floors, %{y:.1f} points<extra></extra>", cliponaxis=False,
    )  # fmt: skip
    fig.add_vline(1, line={"color": GREY, "dash": "dash"})
    fig.add_annotation(
        x=0, y=1, yref="paper", xanchor="left", yanchor="bottom", showarrow=False,
        text="right of here the inputs drifted",
    )  # fmt: skip
    fig.update_layout(title=title, height=430, showlegend=False)
    fig.update_xaxes(
        title="largest move of an input, in multiples of its floor", type="log",
        range=[np.log10(0.2), np.log10(1.8 * scenes["effect"].max())],
        tickvals=[0.3, 1, 3, 10, 30],
    )  # fmt: skip
    return fig.update_yaxes(title="accuracy lost, in points")


def _below(names: pd.Series, one: str) -> list[str]:
    """Labels stand above their marks, but for one whose neighbour's would cover it."""
    return ["bottom center" if name == one else "top center" for name in names]


def detectors(found: pd.DataFrame, *, title: str) -> go.Figure:
    """Delay against false alarms, a mark a detector; the frame of `streams.delays`."""
    fig = go.Figure(
        go.Scatter(
            x=found["false_alarms"] + 1, y=found["delay"], mode="markers+text",
            text=found["detector"], textposition=_below(found["detector"], "PageHinkley"),
            cliponaxis=False,
            marker={"size": 8 + 10 * found["detected"], "color": BLUE},
            hovertemplate="%{text}: %{y:.0f} predictions<extra></extra>",
        )
    )  # fmt: skip
    fig.update_xaxes(
        title="false alarms in 100,000 predictions", type="log", range=[-0.15, 3],
        tickvals=[1, 2, 6, 11, 101, 501], ticktext=["0", "1", "5", "10", "100", "500"],
    )  # fmt: skip
    top = 1.25 * float(found["delay"].max())
    fig.update_yaxes(title="predictions until it notices", range=[0, top])
    return fig.update_layout(title=title, height=380, showlegend=False)


def one_axis(seen: Watch, *, title: str, change: pd.Timestamp | None = None) -> go.Figure:
    """Accuracy as estimated, known and true; the inputs' worst move; and the notices: one axis.

    `change` is the true moment, where `seen` does not know it (a running service's log).
    """
    table, change = seen.windows, change or seen.change_at
    fig = make_subplots(
        3, 1, shared_xaxes=True, row_heights=[0.5, 0.32, 0.18], vertical_spacing=0.08
    )
    for column, name, colour, dash in (
        ("truth", "true (known to nobody then)", GREY, "dot"),
        ("estimate", "estimated without labels", ORANGE, "solid"),
        ("known", "by the labels that had come", BLUE, "solid"),
    ):
        fig.add_scatter(
            x=table["at"], y=100 * table[column], name=name, mode="lines", row=1, col=1,
            line={"color": colour, "dash": dash, "width": 2},
        )  # fmt: skip
    fig.add_bar(
        x=table["at"], y=table["effect"], row=2, col=1, showlegend=False,
        marker_color=[RED if drifted else GREY for drifted in table["drifted"] > 0],
        customdata=table["worst"],
        hovertemplate="%{customdata}: %{y:.1f} times its floor<extra></extra>",
    )  # fmt: skip
    fig.add_hline(1.0, row=2, col=1, line={"color": GREY, "dash": "dash"})
    fig.add_annotation(
        x=0, xref="x2 domain", y=1, yref="y2 domain", xanchor="left", yanchor="bottom",
        showarrow=False, text="grey: chance, or has not lasted; red: drifted", font={"size": 12},
    )  # fmt: skip
    levels = {"ticket": ORANGE, "page": RED}
    for severity, colour in levels.items():
        told = [n for n in seen.notices if n.severity == severity and n.event != "resolved"]
        fig.add_scatter(
            x=[n.at for n in told], y=[severity] * len(told), mode="markers", row=3, col=1,
            marker={"color": colour, "size": 13, "symbol": "diamond"}, showlegend=False,
            text=[n.sentence for n in told], hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    if change is not None:
        fig.add_vline(change, line={"color": GREEN, "width": 2})
        fig.add_annotation(
            x=change, y=1, yref="y domain", xanchor="left", yanchor="top",
            showarrow=False, text=" the change", font={"color": GREEN},
        )  # fmt: skip
    fig.update_yaxes(title="accuracy, %", row=1, col=1)
    fig.update_yaxes(title="worst input,<br>in floors", row=2, col=1, rangemode="tozero")
    fig.update_yaxes(
        row=3, col=1, categoryorder="array", categoryarray=list(levels), range=[-0.6, 1.6],
        tickvals=list(levels), type="category",
    )  # fmt: skip
    first, last = table["at"].iloc[0], table["at"].iloc[-1]
    fig.update_xaxes(range=[first - pd.Timedelta("1D"), last + pd.Timedelta("1D")])
    return fig.update_layout(title=title, height=560, hovermode="x")


def by_day(lines: Mapping[str, Sequence[float]], *, change: float, title: str) -> go.Figure:
    """Accuracy (shares) by day, a line for each policy, smoothed over three days."""
    fig = go.Figure()
    for (name, values), colour in zip(lines.items(), (GREY, PURPLE, ORANGE, GREEN, BLUE)):
        smooth = 100 * pd.Series(values).rolling(3, min_periods=1).mean()
        fig.add_scatter(
            x=np.arange(1, len(smooth) + 1), y=smooth, name=name, mode="lines",
            line={"color": colour, "width": 2},
        )  # fmt: skip
    fig.add_vline(change + 1, line={"color": GREY, "dash": "dash"})
    fig.update_xaxes(title="day")
    fig.update_yaxes(title="accuracy, in %")
    return fig.update_layout(title=title, height=400)


def rounds(lines: Mapping[str, Sequence[float]], *, title: str) -> go.Figure:
    """A share (0 to 1) by round of retraining, a line for each way, labelled at its end."""
    fig = go.Figure()
    for (name, values), colour in zip(lines.items(), (RED, BLUE)):
        fig.add_scatter(
            x=list(range(len(values))), y=[100 * v for v in values], name=name,
            mode="lines+markers", line_color=colour,
        )  # fmt: skip
    fig.update_xaxes(title="times retrained", dtick=1)
    fig.update_yaxes(title="good mail that is blocked, in %", rangemode="tozero")
    return fig.update_layout(title=title, height=360)
