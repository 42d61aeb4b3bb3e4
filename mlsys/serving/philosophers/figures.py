"""Pictures of the philosophers: the table with its wait-for graph, meals, and what a check found.

RED is kept for those who wait in a circle, or for ever. What happened when is drawn by `timeline`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from mlsys import theme
from mlsys.serving.philosophers.dinner import Dinner
from mlsys.serving.philosophers.guest import Look
from mlsys.serving.philosophers.model import Space, story
from mlsys.serving.philosophers.table import Snapshot, cycle
from mlsys.serving.timeline import timeline

MOODS = {
    "thinks": theme.GREY,
    "waits": theme.ORANGE,
    "eats": theme.GREEN,
    "waits in a circle": theme.RED,
}
INK = "#111111"  # is read on each of them


def table(now: Snapshot) -> go.Figure:
    """The table at one instant: guests by mood, forks beside who holds them, arrows from who
    waits to whom it waits for (the wait-for graph)."""
    n = len(now.meals)
    spots = [_on_circle(i, n, 1.0) for i in range(n)]
    stuck = set(cycle(now.waits_for))
    moods = [_mood(now, i, stuck) for i in range(n)]
    figure = go.Figure()
    figure.add_scatter(
        x=[x for x, _ in spots],
        y=[y for _, y in spots],
        mode="markers+text",
        marker={"size": 50, "color": [MOODS[mood] for mood in moods]},
        text=[f"{i}<br>{meals:,}" for i, meals in enumerate(now.meals)],
        textfont={"color": "white", "size": 13},
        hovertext=[f"guest {i} {m}; {now.meals[i]:,} meals" for i, m in enumerate(moods)],
        hoverinfo="text",
        showlegend=False,
    )
    forks = [_fork_spot(k, now.holder[k], n) for k in range(n)]
    figure.add_scatter(
        x=[x for x, _ in forks],
        y=[y for _, y in forks],
        mode="markers+text",
        marker={"size": 13, "symbol": "diamond", "color": theme.BLUE},
        text=[f" {k} " for k in range(n)],
        textposition=[_outward(x, y) for x, y in forks],
        textfont={"color": theme.BLUE},
        hovertext=[_tell_fork(k, now.holder[k]) for k in range(n)],
        hoverinfo="text",
        showlegend=False,
    )
    for mood, colour in MOODS.items():
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name=mood, marker={"color": colour, "size": 12}
        )
    figure.update_layout(
        title=_headline(now, stuck),
        annotations=_arrows(now, spots, stuck),
        height=500,
    )
    figure.update_xaxes(visible=False, range=[-1.6, 1.6])
    return figure.update_yaxes(visible=False, range=[-1.5, 1.5], scaleanchor="x")


def drawing(now: Snapshot) -> str:
    """The same as SVG in HTML, light enough to be drawn ten times a second."""
    n = len(now.meals)
    stuck = set(cycle(now.waits_for))
    moods = [_mood(now, i, stuck) for i in range(n)]
    told = [f"guest {i} {mood}; {now.meals[i]:,} meals" for i, mood in enumerate(moods)]
    told += [_tell_fork(k, now.holder[k]) for k in range(n)]
    headline = _headline(now, stuck)
    parts = [_drawn_arrow(i, j, n, {i, j} <= stuck) for i, j in now.waits_for.items()]
    for i, mood in enumerate(moods):
        x, y = _pixel(*_on_circle(i, n, 1.0))
        parts.append(
            f'<g><title>{told[i]}</title><circle cx="{x}" cy="{y}" r="25" fill="{MOODS[mood]}"/>'
            f'<g fill="{INK}"><text x="{x}" y="{y - 3}" font-weight="bold">{i}</text>'
            f'<text x="{x}" y="{y + 13}">{now.meals[i]:,}</text></g></g>'
        )
    for k, holder in enumerate(now.holder):
        x, y = _pixel(*_fork_spot(k, holder, n))
        out = 1 + 18 / math.hypot(x, y)
        parts.append(
            f'<g><title>{told[n + k]}</title><path d="M{x} {y - 8}l8 8l-8 8l-8-8z" '
            f'fill="{theme.BLUE}"/><text x="{out * x:.1f}" y="{out * y + 5:.1f}">{k}</text></g>'
        )
    for place, (mood, colour) in enumerate(MOODS.items()):
        x = (-220, -125, -35, 50)[place]
        parts.append(
            f'<circle cx="{x}" cy="232" r="7" fill="{colour}"/>'
            f'<text x="{x + 13}" y="237" text-anchor="start">{mood}</text>'
        )
    return (
        f'<div style="line-height:1.4"><b>{headline}</b></div>'
        f'<svg viewBox="-240 -215 480 460" role="img" aria-label="{headline}: {", ".join(told)}"'
        ' style="display:block;width:100%;max-width:540px;height:auto" fill="currentColor"'
        f' font-family="{theme.FONT}" font-size="14" text-anchor="middle">{"".join(parts)}</svg>'
    )


def meals(dinners: Mapping[str, Sequence[int]], *, title: str) -> go.Figure:
    """A bar for each guest in a group for each strategy: who had how many meals."""
    figure = go.Figure()
    names = list(dinners)
    for i in range(max(len(each) for each in dinners.values())):
        shares = [each[i] if i < len(each) else None for each in dinners.values()]
        figure.add_bar(
            x=names,
            y=shares,
            name=f"guest {i}",
            marker={"color": theme.SERIES[i % len(theme.SERIES)]},
            text=[f"{share:,}" if share is not None else "" for share in shares],
            textposition="outside",
        )
    figure.update_layout(title=title, bargap=0.25, legend={"y": -0.12, "yanchor": "top"})
    return figure.update_yaxes(title="meals")


def survival(dinners: Mapping[str, Sequence[Dinner]], *, title: str) -> go.Figure:
    """Meals (log axis) of every dinner by thinking time: those that a deadlock ended are RED."""
    figure = go.Figure()
    kinds = (
        ("ended in a deadlock", theme.RED, "x"),
        ("still ate when time was up", theme.BLUE, "circle"),
    )
    for place, (kind, colour, symbol) in enumerate(kinds):
        spots = [
            (group + (at - (len(each) - 1) / 2) * 0.6 / len(each), max(1, sum(dinner.meals)))
            for group, each in enumerate(dinners.values())
            for at, dinner in enumerate(each)
            if bool(dinner.deadlock) != bool(place)
        ]
        figure.add_scatter(
            x=[spot for spot, _ in spots], y=[meals for _, meals in spots], name=kind,
            mode="markers", marker={"color": colour, "symbol": symbol, "size": 10},
            hovertemplate=f"%{{y:,}} meals, {kind}<extra></extra>", showlegend=True,
        )  # fmt: skip
    figure.update_layout(title=title)
    figure.update_xaxes(
        title="mean thinking time", tickvals=list(range(len(dinners))), ticktext=list(dinners),
        range=[-0.5, len(dinners) - 0.5], showgrid=False, zeroline=False,
    )  # fmt: skip
    return figure.update_yaxes(title="meals before the end (log scale)", type="log", dtick=1)


def growth(states: Mapping[int, int], runs: Mapping[int, int], *, title: str) -> go.Figure:
    """States to visit, and runs of some length to try, by the number of guests (log axis)."""
    figure = go.Figure()
    for name, counts, colour in (("runs", runs, theme.ORANGE), ("states", states, theme.BLUE)):
        labels = [_rounded(count) for count in counts.values()]
        figure.add_scatter(
            x=list(counts), y=[float(count) for count in counts.values()], name=name,
            mode="lines+markers+text", text=labels, textposition="top center", cliponaxis=False,
            line={"color": colour, "width": 3}, marker={"size": 9}, textfont={"color": colour},
        )  # fmt: skip
    figure.update_layout(title=title, height=400)
    figure.update_xaxes(title="guests", dtick=1, range=[min(states) - 0.4, max(states) + 0.4])
    top = math.log10(max(*runs.values(), *states.values()))
    return figure.update_yaxes(
        title="how many (log scale)", type="log", range=[0.5, top + 1.6], exponentformat="power"
    )


def way_to(space: Space, state: object, *, title: str) -> go.Figure:
    """A shortest run to the state: a row a guest, one step of the whole table a unit of time."""
    colours = {
        "thinks": "#d0d4da",
        "is hungry": theme.ORANGE,
        "holds one fork": theme.BLUE,
        "eats": theme.GREEN,
    }
    events = story(space, state)
    figure = timeline(events, title=title, colours=colours, danger=("waits for ever",))
    return figure.update_xaxes(title="steps of the whole table", dtick=1)


def remote_meals(
    looks: Sequence[Look], *, title: str, marks: Mapping[str, float] | None = None
) -> go.Figure:
    """Meals of each guest over time as the fork server counted them; marks: what happened when,
    in s on the server's clock."""
    figure = go.Figure()
    begin = looks[0].seconds
    seconds = [look.seconds - begin for look in looks]
    last = looks[-1].meals
    for i in range(len(last)):
        figure.add_scatter(
            x=seconds, y=[look.meals[i] for look in looks], name=f"guest {i}", mode="lines",
            line={"color": theme.SERIES[i % len(theme.SERIES)], "width": 3},
            hovertemplate=f"guest {i}: %{{y}} meals at %{{x:.2f}} s<extra></extra>",
        )  # fmt: skip
    for place, (what, at) in enumerate((marks or {}).items()):
        figure.add_vline(at - begin, line={"dash": "dash", "color": theme.GREY})
        figure.add_annotation(
            x=at - begin, y=1 - 0.09 * place, yref="paper", text=f" {what}", showarrow=False,
            xanchor="left", font={"color": theme.GREY},
        )  # fmt: skip
    figure.update_layout(title=title)
    figure.update_xaxes(title="time, s")
    return figure.update_yaxes(title="meals so far", range=[0, 1.3 * max(*last, 1)])


def _mood(now: Snapshot, i: int, stuck: set[int]) -> str:
    if i in stuck:
        return "waits in a circle"
    if now.eats[i]:
        return "eats"
    return "waits" if now.hungry[i] else "thinks"


def _headline(now: Snapshot, stuck: set[int]) -> str:
    total = f"{sum(now.meals):,} meals"
    if stuck:
        return f"Deadlock: {len(stuck)} guests wait for each other in a circle, after {total}"
    return f"{total}: {sum(now.eats)} eat, {sum(now.hungry)} wait"


def _on_circle(place: float, n: int, radius: float) -> tuple[float, float]:
    angle = math.pi / 2 - 2 * math.pi * place / n
    return radius * math.cos(angle), radius * math.sin(angle)


def _fork_spot(k: int, holder: int | None, n: int) -> tuple[float, float]:
    """Between guests k - 1 and k, or near the one who holds it."""
    if holder is None:
        return _on_circle(k - 0.5, n, 0.9)
    return _on_circle(k - 0.18 if holder == k else k - 0.82, n, 1.22)


def _outward(x: float, y: float) -> str:
    """Where a label stands that turns away from the middle of the table."""
    if abs(y) > 1.5 * abs(x):
        return "top center" if y > 0 else "bottom center"
    return "middle right" if x > 0 else "middle left"


def _tell_fork(k: int, holder: int | None) -> str:
    return f"fork {k} lies on the table" if holder is None else f"guest {holder} holds fork {k}"


def _arrows(now: Snapshot, spots: Sequence[tuple[float, float]], stuck: set[int]) -> list[dict]:
    return [
        {
            "x": spots[other][0], "y": spots[other][1], "ax": spots[i][0], "ay": spots[i][1],
            "xref": "x", "yref": "y", "axref": "x", "ayref": "y", "text": "", "showarrow": True,
            "arrowhead": 2, "arrowwidth": 3, "standoff": 27, "startstandoff": 27,
            "arrowcolor": theme.RED if {i, other} <= stuck else theme.ORANGE,
        }
        for i, other in now.waits_for.items()
    ]  # fmt: skip


def _pixel(x: float, y: float) -> tuple[float, float]:
    """A place of the table in the drawing, whose y grows downward."""
    return round(150 * x, 1), round(-150 * y, 1)


def _drawn_arrow(i: int, other: int, n: int, in_circle: bool) -> str:
    """From rim to rim of two guests."""
    (x, y), (to_x, to_y) = (_pixel(*_on_circle(each, n, 1.0)) for each in (i, other))
    angle = math.atan2(to_y - y, to_x - x)
    long = math.hypot(to_x - x, to_y - y) - 2 * 27
    return (
        f'<g transform="translate({x} {y}) rotate({math.degrees(angle):.1f}) translate(27 0)"'
        f' fill="{theme.RED if in_circle else theme.ORANGE}">'
        f'<path d="M0 -1.5h{long - 10:.1f}v-5l10 6.5l-10 6.5v-5h{10 - long:.1f}z"/></g>'
    )


def _rounded(count: int) -> str:
    if count < 100_000:
        return f"{count:,}"
    power = len(str(count)) - 1
    return f"{count / 10**power:.0f}·10<sup>{power}</sup>"
