"""What a grade is made of: four courses' schemes as data, and the function that applies them.

The data are in `schemes.toml`. Deadlines, lateness and penalties are not here: a mark comes in as
it counts.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import plotly.graph_objects as go

from mlsys.theme import BLUE, GREY, SERIES

Mark = float | Sequence[float]
"""A share from 0 to 1; or one share for each item of a part, where a part has items."""

_DATA = Path(__file__).with_name("schemes.toml")


class SchemeError(ValueError):
    """A scheme or a mark that does not fit; the message is one sentence."""


@dataclass(frozen=True)
class Part:
    """One part of a grade. `points` are of the scheme's total; its `items` count alike."""

    name: str
    points: float
    items: int = 1

    @property
    def item_points(self) -> float:
        """What one item is worth, in points of the whole grade."""
        return self.points / self.items


@dataclass(frozen=True)
class Scheme:
    """A course's grade: parts whose points add up to `out_of`."""

    name: str
    course: str
    out_of: float
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        total = math.fsum(part.points for part in self.parts)
        if not math.isclose(total, self.out_of):
            raise SchemeError(f"The parts of {self.name} add up to {total:g}, not {self.out_of:g}.")


@cache
def schemes() -> tuple[Scheme, ...]:
    """The schemes of the four syllabuses, in the order of their years."""
    data = tomllib.loads(_DATA.read_text(encoding="utf-8"))
    return tuple(
        Scheme(name, raw["course"], raw["out_of"], tuple(Part(**part) for part in raw["parts"]))
        for name, raw in data.items()
    )


def scheme(name: str) -> Scheme:
    """The scheme of that name, such as "sharif-2023"."""
    for one in schemes():
        if one.name == name:
            return one
    known = ", ".join(one.name for one in schemes())
    raise SchemeError(f"There is no scheme {name!r}; there are {known}.")


def points(scheme: Scheme, marks: Mapping[str, Mark]) -> dict[str, float]:
    """Points earned in each part, in the scheme's order.

    `marks` needs every part: a share from 0 to 1, or a list with a share for each of its items.
    Raises SchemeError for a part that is missing or unknown and for a mark that cannot be.
    """
    names = [part.name for part in scheme.parts]
    for name in marks:
        if name not in names:
            raise SchemeError(f"{scheme.name} has no part {name!r}; it has {', '.join(names)}.")
    missing = [name for name in names if name not in marks]
    if missing:
        raise SchemeError(f"{scheme.name} also needs a mark for {', '.join(missing)}.")
    return {part.name: part.points * _share(part, marks[part.name]) for part in scheme.parts}


def grade(scheme: Scheme, marks: Mapping[str, Mark]) -> float:
    """The grade in points, from 0 to `scheme.out_of`; see `points` for `marks`."""
    return math.fsum(points(scheme, marks).values())


def draw_parts(*, title: str) -> go.Figure:
    """All schemes, one bar each: what share of the grade every part is, %."""
    names = list(dict.fromkeys(part.name for one in schemes() for part in one.parts))
    fig = go.Figure()
    for name, colour in zip(names, SERIES):
        shares = {
            one.name: 100 * part.points / one.out_of
            for one in schemes()
            for part in one.parts
            if part.name == name
        }
        fig.add_bar(
            x=list(shares.values()),
            y=list(shares),
            orientation="h",
            name=name,
            marker_color=colour,
            text=[f"{name}<br>{share:.0f} %" for share in shares.values()],
            textposition="inside",
            textangle=0,
            insidetextanchor="middle",
            hovertemplate="%{y}<br>" + name + " %{x:.1f} %<extra></extra>",
        )
    fig.update_layout(title=title, barmode="stack", showlegend=False)
    fig.update_xaxes(title="share of the grade, %", range=[0, 100])
    return fig.update_yaxes(
        categoryorder="array", categoryarray=[one.name for one in schemes()][::-1]
    )


def draw_grade(scheme: Scheme, marks: Mapping[str, Mark]) -> go.Figure:
    """One scheme: points earned and lost in each part, the grade as the headline."""
    earned = points(scheme, marks)
    lost = {part.name: part.points - earned[part.name] for part in scheme.parts}
    total = grade(scheme, marks)
    fig = go.Figure()
    for name, values, colour in (("earned", earned, BLUE), ("lost", lost, GREY)):
        fig.add_bar(
            x=list(values.values()),
            y=list(values),
            orientation="h",
            name=name,
            marker_color=colour,
            text=[f"{value:.3g} {name}" if value else "" for value in values.values()],
            textangle=0,
            hovertemplate="%{y}<br>%{x:.2f} points " + name + "<extra></extra>",
        )
    title = f"{total:.1f} of {scheme.out_of:g} points: {total / scheme.out_of:.0%}"
    fig.update_layout(title=title, barmode="stack", showlegend=False)
    return fig.update_xaxes(title="points").update_yaxes(autorange="reversed")


def _share(part: Part, mark: Mark) -> float:
    if isinstance(mark, str):
        raise SchemeError(f"The mark for {part.name} is {mark!r}; it must be a share from 0 to 1.")
    if not isinstance(mark, Sequence):
        return _checked(part, mark)
    if len(mark) != part.items:
        raise SchemeError(
            f"{part.name} has {part.items} item(s) and got {len(mark)} marks; "
            "write 0 for what was not handed in."
        )
    return math.fsum(_checked(part, one) for one in mark) / part.items


def _checked(part: Part, mark: float) -> float:
    try:
        share = float(mark)
    except (TypeError, ValueError):
        share = math.nan
    if not 0 <= share <= 1:
        raise SchemeError(f"The mark for {part.name} is {mark}; it must be a share from 0 to 1.")
    return share
