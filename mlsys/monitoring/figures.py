"""Figures of model monitoring: a column then and now, and a model over time with its alerts.

Lessons and the dashboard draw the same pictures from the same calls. RED marks danger: a column
that drifted, an accuracy under its bound, a page. Text that came from data is escaped, for plotly
reads tags in it. No figure has more than 2,000 marks.
"""

import html
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy import stats

from mlsys.monitoring.alerts import Notice
from mlsys.monitoring.distances import ks_by_chance
from mlsys.monitoring.drift import OF_UNSEEN
from mlsys.monitoring.text_measures import AXES, compared
from mlsys.monitoring.verdict_report import Verdict
from mlsys.monitoring.verdicts import Rules
from mlsys.theme import BLUE, GREY, ORANGE, PURPLE, RED

BINS = 40
CATEGORIES = 8
WIDE_RATIO = 300.0  # a range of this many times its lower end is drawn on a logarithmic axis
SEVERITY = {"info": GREY, "ticket": ORANGE, "page": RED}
_FILL = "rgba(127, 127, 127, 0.35)"
_BAND = "rgba(86, 180, 233, 0.3)"


def shown(text: object, *, most: int = 24) -> str:
    """A stranger's text for a figure: cut, made printable and escaped."""
    plain = "".join(one if one.isprintable() else "�" for one in str(text)[:most])
    return html.escape(plain + ("…" if len(str(text)) > most else ""), quote=False)


def threshold(verdict: Verdict, *, rules: Rules | None = None) -> float:
    """From which distance on the column counts as moved, as a share of rows.

    For a number the KS distance that is over its floor (chance taken off, see `verdicts`) and that
    equal data exceed in a share `alpha` of windows; for a category its floor alone.
    """
    rules, move = rules or Rules(), verdict.move
    if move.kind == "category":
        return rules.category
    rows = 1 / (1 / move.n + 1 / max(move.m, 1))
    floor = rules.number + ks_by_chance(move.n, max(move.m, 1))
    level = rules.alpha * (1 - OF_UNSEEN)
    return min(1.0, max(floor, float(stats.kstwo.isf(level, max(1, round(rows))))))


def compare_column(
    reference: pd.Series, current: pd.Series, verdict: Verdict, *, title: str, unit: str = "share"
) -> go.Figure:
    """A column then and now, and below it how far it moved against its threshold.

    Above: the share of values by bin or category, with n in the legend. Below, for a number, how
    many more rows lie at or below each value than in the reference (the largest is the KS
    KS distance); for a category, by how much its share changed. `unit` is the x axis' title. Texts
    are drawn by what `verdict` measured of them, those that it compared.
    """
    if verdict.move.kind == "text":
        sides = compared(*(side.dropna().to_numpy(object) for side in (reference, current)))
        reference, current = (side[verdict.move.measured] for side in sides)
        unit = f"{AXES[verdict.move.measured]} of {unit}"
    empty = not verdict.move.m
    fig = make_subplots(rows=2 - empty, cols=1, shared_xaxes=True,
                        row_heights=[1.0] if empty else [0.62, 0.38],
                        vertical_spacing=0.09)  # fmt: skip
    names = [
        f"{name} (n = {len(values) - gaps:,}{f', {gaps / len(values):.0%} missing' * bool(gaps)})"
        for name, values, gaps in (
            (name, values, int(values.isna().sum()))
            for name, values in (("reference", reference), ("now", current))
        )
    ]
    if verdict.move.kind == "category":
        _categories(fig, reference, current, verdict, names)
    else:
        _numbers(fig, reference, current, verdict, names)
    fig.update_layout(title=title, height=400, barmode="group", bargap=0.25, margin={"t": 92})
    # The names of the two sides fit one line beside each other at any width.
    fig.update_layout(legend={"entrywidth": 0, "font": {"size": 13}, "y": 1.0})
    fig.update_yaxes(title="share, in %", row=1, col=1, rangemode="tozero")
    if empty:
        before, now = verdict.move.missing
        unit += f"<br>missing: {before:.1%} then, {now:.0%} now, "
        unit += f"threshold {100 * Rules().missing:.0f} point"
    else:
        fig.update_yaxes(title="points", row=2, col=1)
    fig.update_xaxes(title=unit, row=2 - empty, col=1)
    return fig


def _values(series: pd.Series, kind: str) -> np.ndarray:
    """Finite numbers; times as seconds since 1970."""
    if kind == "time":
        stamps = pd.to_datetime(series, utc=True, errors="coerce").dropna()
        return stamps.dt.as_unit("us").astype("int64").to_numpy(float) / 1e6
    values = pd.to_numeric(series, errors="coerce").to_numpy(float, na_value=np.nan)
    return values[np.isfinite(values)]


def _edges(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, bool]:
    """Bin edges that hold 99 % of both sides' values, and whether they lie on a log scale."""
    ends = [np.quantile(one, [0.005, 0.995]) for one in (old, new) if len(one)]
    low, high = min(one[0] for one in ends), max(one[1] for one in ends)
    if low > 0 and high > 10 and high / low > WIDE_RATIO:
        return np.geomspace(low, high, BINS + 1), True
    if low == high:
        low, high = low - 0.5, high + 0.5
    values = np.unique(np.concatenate([old[:5_000], new[:5_000]]))
    whole = high - low <= BINS and bool((values == np.round(values)).all())
    if whole:  # a count has one bin a number
        return np.arange(math.floor(low), math.ceil(high) + 2) - 0.5, False
    return np.linspace(low, high, BINS + 1), False


def _numbers(fig, reference, current, verdict: Verdict, names: list[str]) -> None:
    kind = verdict.move.kind
    old, new = _values(reference, kind), _values(current, kind)
    edges, log = _edges(old, new)

    def places(values):
        return pd.to_datetime(values, unit="s") if kind == "time" else values

    below = []
    for values, name, line, fill in (
        (old, names[0], {"color": GREY, "width": 1}, _FILL),
        (new, names[1], {"color": ORANGE, "width": 2.5}, None),
    ):
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
        share = 100 * counts / max(len(values), 1)
        below.append(np.concatenate([[0.0], np.cumsum(share)]))
        fig.add_scatter(
            x=places(edges), y=np.append(share, share[-1]), name=name, line={**line, "shape": "hv"},
            mode="lines", fill="tozeroy" if fill else None, fillcolor=fill,
            hovertemplate="from %{x:.4g}: %{y:.1f} %<extra></extra>", row=1, col=1,
        )  # fmt: skip
    if log:
        fig.update_xaxes(type="log", dtick=1, exponentformat="none")
    if not len(new):
        return
    limit = 100 * threshold(verdict)
    change = below[1] - below[0]
    fig.add_scatter(
        x=places(edges), y=change, mode="lines", showlegend=False,
        line={"color": RED if verdict.drifted else BLUE, "width": 2},
        hovertemplate="at or below %{x:.4g}: %{y:+.1f} points<extra></extra>", row=2, col=1,
    )  # fmt: skip
    _bounds(fig, limit, max(limit, float(np.abs(change).max())))


def _categories(fig, reference, current, verdict: Verdict, names: list[str]) -> None:
    old, new = (side.dropna().astype(str).value_counts() for side in (reference, current))
    n, m = int(old.sum()), int(new.sum())
    both = pd.DataFrame({"old": old / max(n, 1), "new": new / max(m, 1)}).fillna(0.0)
    both = both.loc[(both.max(axis=1)).sort_values(ascending=False, kind="stable").index]
    worst = str(verdict.move.where)
    if len(both) > CATEGORIES and worst in both.index:
        both = pd.concat([both.loc[[worst]], both.drop(worst)])
    rest, both = both.iloc[CATEGORIES:], both.iloc[:CATEGORIES]
    labels = _unlike([shown(label, most=14) for label in both.index])
    if len(rest):
        new_ones = rest["old"] == 0
        several = rest.loc[new_ones, "new"].sum() >= Rules().category
        parts = {"(known others)": ~new_ones, "(new others)": new_ones}
        for label, part in (parts if several else {"(all others)": slice(None)}).items():
            labels.append(label)
            both = pd.concat([both, rest.loc[part].sum().to_frame().T])
    for side, name, colour in (("old", names[0], GREY), ("new", names[1], ORANGE)):
        fig.add_bar(
            x=labels, y=100 * both[side].to_numpy(), name=name, marker_color=colour,
            hovertemplate="%{x}: %{y:.1f} %<extra></extra>", row=1, col=1,
        )  # fmt: skip
    if not m:
        return
    change = 100 * (both["new"] - both["old"]).to_numpy()
    # What chance gives a single category at the level alpha over all of them, or the floor.
    pooled = (both["old"] * n + both["new"] * m).to_numpy() / max(n + m, 1)
    rules = Rules()
    z = stats.norm.isf(rules.alpha / 2 / max(len(both), 1))
    chance = z * np.sqrt(pooled * (1 - pooled) * (1 / max(n, 1) + 1 / max(m, 1)))
    limit = 100 * np.maximum(rules.category, chance)
    fig.add_bar(
        x=labels, y=change, showlegend=False,
        marker_color=[RED if verdict.drifted and abs(c) > t else BLUE
                      for c, t in zip(change, limit)],
        hovertemplate="%{x}: %{y:+.1f} points<extra></extra>", row=2, col=1,
    )  # fmt: skip
    for sign in (1, -1):
        fig.add_scatter(
            x=labels, y=sign * limit, mode="markers", showlegend=False,
            marker={"symbol": "line-ew", "size": 34, "line": {"width": 2, "color": GREY}},
            hovertemplate="threshold %{y:+.1f} points<extra></extra>", row=2, col=1,
        )  # fmt: skip
    reach = float(max(np.abs(change).max(initial=0), limit.max(initial=0)))
    fig.update_yaxes(range=[-1.3 * reach, 1.3 * reach], row=2, col=1)
    _say(fig, f"grey lines: threshold, {limit.min():.1f} to {limit.max():.1f} points")


def _unlike(labels: list[str]) -> list[str]:
    """Labels that were cut to the same text get a number, or plotly would draw them as one."""
    seen: dict[str, int] = {}
    for place, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > 1:
            labels[place] = f"{label} ({seen[label]})"
    return labels


def _bounds(fig: go.Figure, limit: float, reach: float) -> None:
    """The threshold, both ways, in the lower picture."""
    for sign in (1, -1):
        fig.add_hline(y=sign * limit, line={"color": GREY, "dash": "dash"}, row=2, col=1)
    fig.update_yaxes(range=[-1.3 * reach, 1.3 * reach], row=2, col=1)
    _say(fig, f"dashed: threshold, {limit:.1f} points")


def _say(fig: go.Figure, text: str) -> None:
    fig.add_annotation(
        text=text, xref="paper", yref="y2 domain", x=1, y=1, xanchor="right", yanchor="bottom",
        showarrow=False, font={"size": 12},
    )  # fmt: skip


def over_time(
    windows: pd.DataFrame,
    arrived: pd.DataFrame | None,
    notices: Sequence[Notice],
    *,
    reference: float,
    title: str,
    change_at: pd.Timestamp | None = None,
    bound: float = 0.03,
) -> go.Figure:
    """Accuracy by window, how many columns drifted, and the alerts, on one axis of time.

    `windows` are those of `watch.Watch`: what is known then is to be held against what is usual for
    labels that came as early. `arrived`, of `labels.as_known`, is each window's accuracy
    by the labels that have come until now: hollow where fewer than half have. `reference` is the
    accuracy then, and `bound` below it the alert's threshold (shares).
    """
    fig = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=[0.62, 0.16, 0.22],
                        vertical_spacing=0.05)  # fmt: skip
    at = windows["at"]
    _estimate(fig, windows)
    if windows["labelled"].any():
        fig.add_scatter(
            x=at, y=100 * windows["known"], mode="lines", name="known then",
            line={"color": PURPLE, "width": 3}, customdata=windows["labelled"],
            hovertemplate="%{x|%d %b}: %{y:.1f} % of the %{customdata:,.0f} newest labels that had "
            "come by then<extra></extra>", row=1, col=1,
        )  # fmt: skip
        fig.add_scatter(
            x=at, y=100 * windows["usual"], mode="lines", name="usual at that age",
            line={"color": PURPLE, "width": 1, "dash": "dot"},
            hovertemplate="%{x|%d %b}: labels as early as those say %{y:.1f} % in the reference"
            "<extra></extra>", row=1, col=1,
        )  # fmt: skip
    if arrived is not None and len(arrived):
        _truth(fig, windows, arrived, reference, bound)
    _levels(fig, windows, arrived, reference, bound)
    fig.add_bar(
        x=at, y=windows["drifted"], marker_color=BLUE, showlegend=False,
        hovertemplate="%{x|%d %b}: %{y} columns drifted<extra></extra>", row=2, col=1,
    )  # fmt: skip
    _alerts(fig, windows, notices)
    if change_at is not None:
        # An annotation on the axis itself: add_vline would write it once a lane.
        fig.add_vline(x=change_at, line={"color": GREY, "width": 2, "dash": "dot"})
        start, end = _span(at)
        side = "right" if change_at > start + (end - start) / 2 else "left"
        fig.add_annotation(
            x=change_at, yref="paper", y=1, xanchor=side, yanchor="top", showarrow=False,
            text=" the change begins ", font={"size": 12},
        )  # fmt: skip
    fig.update_layout(title=title, height=620, margin={"t": 64, "b": 170})
    # Six entries never fit one line: they stand below, where no height of the plot reaches them.
    fig.update_layout(legend={"yref": "container", "y": 0, "x": 0})
    fig.update_yaxes(title="accuracy, in %", row=1, col=1)
    most = int(windows["drifted"].max())
    fig.update_yaxes(title="drifted", row=2, col=1, dtick=max(1, math.ceil(most / 2)),
                     range=[0, 1.15 * max(1, most)])  # fmt: skip
    fig.update_xaxes(range=_span(at), row=3, col=1)
    fig.update_xaxes(title="time, in UTC", row=3, col=1)
    return fig


def _span(at: pd.Series) -> list[pd.Timestamp]:
    step = at.diff().median() if len(at) > 1 else pd.Timedelta("1D")
    return [at.iloc[0] - 1.5 * step, at.iloc[-1] + 1.5 * step]


def _estimate(fig: go.Figure, windows: pd.DataFrame) -> None:
    at = windows["at"]
    fig.add_scatter(
        x=pd.concat([at, at[::-1]]),
        y=100 * pd.concat([windows["estimate_high"], windows["estimate_low"][::-1]]),
        fill="toself", fillcolor=_BAND, line={"width": 0}, hoverinfo="skip", showlegend=False,
        mode="lines", row=1, col=1,
    )  # fmt: skip
    fig.add_scatter(
        x=at, y=100 * windows["estimate"], mode="lines", name="estimate without labels",
        line={"color": BLUE, "width": 2},
        hovertemplate="%{x|%d %b}: estimated at %{y:.1f} %<extra></extra>", row=1, col=1,
    )  # fmt: skip


def _truth(fig, windows, arrived: pd.DataFrame, reference: float, bound: float) -> None:
    """Each window by all the labels that have come until now."""
    at = windows["at"].to_numpy()[: len(arrived)]
    low = reference - bound
    colours = [RED if high < low else GREY for high in arrived["high"]]
    symbols = ["circle" if share >= 0.5 else "circle-open" for share in arrived["known"]]
    fig.add_scatter(
        x=at, y=100 * arrived["value"], mode="markers", name="labels so far",
        marker={"color": colours, "symbol": symbols, "size": 8},
        customdata=np.column_stack([arrived["labelled"], arrived["predictions"]]),
        hovertemplate="%{x|%d %b}: %{y:.1f} % by %{customdata[0]:,.0f} labels for "
        "%{customdata[1]:,.0f} rows<extra></extra>", row=1, col=1,
    )  # fmt: skip


def _levels(fig, windows, arrived, reference: float, bound: float) -> None:
    columns = [windows["estimate_low"], windows["known"]]
    columns += [] if arrived is None else [arrived["value"]]
    seen = pd.concat(columns).dropna()
    low = 100 * min(float(seen.min()) if len(seen) else 1.0, reference - bound)
    high = 100 * max(float(windows["estimate_high"].max()), reference, float(seen.max()))
    room = 0.1 * (high - low)
    fig.update_yaxes(range=[low - room, min(101.0, high + 2.5 * room)], row=1, col=1)
    for level, colour, text in (
        (reference, GREY, f"reference {reference:.1%}"),
        (reference - bound, RED, f"threshold {reference - bound:.1%}"),
    ):
        fig.add_scatter(
            x=_span(windows["at"]), y=[100 * level] * 2, mode="lines", name=text,
            line={"color": colour, "dash": "dash", "width": 1.5}, hoverinfo="skip", row=1, col=1,
        )  # fmt: skip


def _alerts(fig: go.Figure, windows: pd.DataFrame, notices: Sequence[Notice]) -> None:
    """From when to when somebody was asked to look, by severity, and by which rule first."""
    start, end = _span(windows["at"])
    for place, notice in enumerate(notices):
        if notice.event == "resolved":
            continue
        over = (one.at for one in notices[place + 1 :] if one.event in ("resolved", "rose"))
        until = next(over, windows["at"].iloc[-1])
        rule = max(notice.alerts, key=lambda one: (one.severity == notice.severity, one.since)).rule
        late = notice.at > start + (end - start) / 2
        fig.add_scatter(
            x=[notice.at, until], y=[notice.severity] * 2, mode="lines+markers+text",
            text=[f"{shown(rule)}, {notice.at:%d %b}", ""], cliponaxis=False,
            textposition="top left" if late else "top right", textfont={"size": 12},
            line={"color": SEVERITY[notice.severity], "width": 6}, showlegend=False,
            marker={"size": [11, 1], "color": SEVERITY[notice.severity]},
            hovertemplate=f"{shown(notice.sentence, most=120)}<extra></extra>", row=3, col=1,
        )  # fmt: skip
    if not notices:
        fig.add_scatter(x=[windows["at"].iloc[0]], y=["ticket"], mode="markers",
                        marker={"opacity": 0}, showlegend=False, hoverinfo="skip",
                        row=3, col=1)  # fmt: skip
        fig.add_annotation(text="no alert", x=0.5, xref="x3 domain", y=0.5, yref="y3 domain",
                           showarrow=False)  # fmt: skip
    fig.update_yaxes(
        type="category", categoryorder="array", categoryarray=["ticket", "page"],
        range=[-0.5, 1.9], row=3, col=1,
    )  # fmt: skip
