"""The pictures of the page *CAP trade-offs*: a setting played, judged and drawn once for all.

Everything here is kept by its setting, so that a change of one of two settings compared leaves the
other's pictures alone. What the pictures look like is `mlsys.cap.figures`' business; what is said
beside them, `cap_story.py`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from dashboards import cap_scene, cap_story, layout
from dashboards.layout import Panel
from mlsys.cap import Draws, Scene, figures, profile, wars

Fault = tuple[float, float] | None


@dataclass(frozen=True)
class Side:
    """One of the settings that the page compares."""

    name: str
    alone: bool
    scene: Scene
    fault: Fault
    dark: bool

    @property
    def result(self) -> cap_story.Result:
        """The run, judged and measured."""
        return _played(self.scene, self.fault)

    @property
    def headline(self) -> tuple[str, str]:
        """Was it right, and who got answers meanwhile?"""
        return cap_story.rightness(self.result), cap_story.price(self.result)

    @property
    def files(self) -> dict[str, tuple[Callable[[], str], str]]:
        """The history to take home, as Jepsen writes it and as JSON."""
        history = self.result.run.history
        return {
            "history.edn": (history.to_edn, "text/plain"),
            "history.json": (history.to_json, "application/json"),
        }

    @property
    def panels(self) -> dict[str, Panel]:
        """Its pictures but the cluster's, by name: timeline, availability, latency, staleness."""
        return _drawn("" if self.alone else f" · {self.name}", self.scene, self.fault, self.dark)

    def cluster(self, at: int) -> Panel:
        """The cluster's picture at an instant, in ms."""
        return _pictured(self.name, self.scene, self.fault, at, self.dark)


def sides(values: Mapping[str, object]) -> list[Side]:
    """The one or two settings that the page's values ask for."""
    fault, dark = cap_scene.fault(values), layout.dark()
    choices = cap_scene.choices(values)
    return [
        Side(choice.name, len(choices) == 1, cap_scene.scene(choice, values), fault, dark)
        for choice in choices
    ]


# Results and figures are kept by reference, so that a hit costs no copy; nobody changes them.
@st.cache_resource(max_entries=60, show_spinner=False)
def _played(scene: Scene, fault: Fault) -> cap_story.Result:
    return cap_story.play(scene, fault)


@st.cache_resource(max_entries=30, show_spinner=False)
def _model(latency: str, n: int) -> Draws:
    return wars(profile(latency), n=n, trials=20_000)


@st.cache_resource(max_entries=60, show_spinner=False)
def _drawn(of: str, scene: Scene, fault: Fault, dark: bool) -> dict[str, Panel]:
    """`of` ends each title: on a narrow page the settings stand below each other."""
    result = _played(scene, fault)
    made = {
        name: draw(result, of) for name, draw in (
            ("timeline", _timeline), ("availability", _availability),
            ("latency", _latency), ("staleness", _staleness),
        )
    }  # fmt: skip
    return {name: layout.panel(fig, alt, dark=dark) for name, (fig, alt) in made.items()}


@st.cache_resource(max_entries=200, show_spinner=False)
def _pictured(name: str, scene: Scene, fault: Fault, at: int, dark: bool) -> Panel:
    instant = _played(scene, fault).run.at(float(at))
    figure = figures.cluster(instant, title=f"{name} at {at} ms")
    return layout.panel(figure, cap_story.picture(instant), dark=dark)


def _timeline(result: cap_story.Result, of: str) -> tuple[go.Figure, str]:
    title = f"{result.stale} of {len(result.ages)} reads were stale{of}"
    figure = figures.timeline(
        result.run, result.ages, result.verdict.witness, title=title, fault=result.fault
    )
    return figure, f"{title}, client by client. {cap_story.rightness(result)} {result.verdict}"


def _availability(result: cap_story.Result, of: str) -> tuple[go.Figure, str]:
    told = "; ".join(f"{phase}, {side}: {share.share:.0%}" for phase, side, share in result.shares)
    figure = figures.availability(result.shares, title=f"Who got answers{of}")
    return figure, f"Requests answered. {told}."


def _latency(result: cap_story.Result, of: str) -> tuple[go.Figure, str]:
    figure = figures.latency(result.latencies, title=f"How long an answer took{of}")
    return figure, f"Latency percentiles. {cap_story.percentiles(result)}."


def _staleness(result: cap_story.Result, of: str) -> tuple[go.Figure, str]:
    """For a quorum, the model of a healthy one stands beside the run."""
    scene = result.run.scene
    model = _model(scene.latency, scene.n) if scene.store == "quorum" else None
    figure = figures.staleness(
        result.visibility, model, r=scene.r, w=scene.w, title=f"How stale a read can be{of}"
    )
    oldest = max((age.age for age in result.ages), default=0)
    return figure, (
        f"Stale reads by time since the last write: {result.stale} of {len(result.ages)} "
        f"reads, out of date for up to {oldest:.0f} ms."
    )
