"""The pictures and files of the page *Model monitoring*, and what is kept between two looks at it.

What the pictures look like is the business of `mlsys.monitoring.figures`; what is said beside them,
of `monitoring_story.py`.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import streamlit as st

from dashboards import layout, monitoring_scene, monitoring_story
from dashboards.layout import Panel
from dashboards.monitoring_live import FOLDER, Run, State, known_store
from dashboards.monitoring_seen import Seen, of_log, of_watch
from mlsys.monitoring import figures, report, traffic, watch
from mlsys.monitoring.dilution import diluted
from mlsys.monitoring.store import Store
from mlsys.monitoring.verdict_report import Verdict


# Kept by reference, so that a hit costs no copy; nobody changes them.
@st.cache_resource(max_entries=30, show_spinner="Four weeks of mail pass")
def _replayed(scene: str, strength: int, seed: int) -> tuple[traffic.Traffic, watch.Watch]:
    made = diluted(scene, strength / 100, seed=seed)
    return made, watch.replay(made)


@st.cache_resource(show_spinner=False)
def live_run() -> Run:
    """The one live run of this server."""
    return Run()


def of_scene(values: Mapping[str, object]) -> Seen:
    """The chosen scene at the end of the chosen day."""
    made, watched = _replayed(values["scene"], values["strength"], values["seed"])
    source = f"Scene: {made.scene.title}, {values['strength']} % of the mails touched, seed "
    source += f"{values['seed']}, at the end of day {values['day']}"
    return of_watch(
        watched, made.reference, made.live,
        source=source, story=monitoring_scene.story(values), day=values["day"],
    )  # fmt: skip


@st.cache_resource(max_entries=2, show_spinner=False)
def _logged(
    folder: str, predictions: int, labels: int, scene: str, share: float, seed: int
) -> Seen:
    """A log as it was when it had so many rows."""
    made = diluted(scene, share, seed=seed)
    source = f"Live service, sent the scene: {made.scene.title}, {share:.0%} of the mails touched"
    return of_log(
        Store(Path(folder)), made.reference, source=f"{source}, seed {seed}",
        story=monitoring_scene.story({"scene": scene}),
    )  # fmt: skip


def of_run(folder: Path, state: State) -> Seen:
    """The log of the service started here. Raises MonitoringError while it is empty."""
    return _logged(str(folder), state.predictions, state.labels, *state.scene)


@st.cache_resource(ttl=2.0, max_entries=1, show_spinner=False)
def of_named() -> Seen:
    """The log that the environment names. Raises MonitoringError while it is empty."""
    seed = int(os.environ.get("MONITORED_SEED", "0"))
    reference = traffic.traffic("healthy", seed=seed).reference
    return of_log(known_store(), reference, source=f"The log in ${FOLDER}")


def column(seen: Seen, one: Verdict, *, dark: bool) -> Panel:
    """A column then and now."""
    empty = seen.reference[one.column].iloc[:0]
    figure = figures.compare_column(
        seen.reference[one.column],
        seen.current.get(one.column, empty),
        one,
        title=figures.shown(monitoring_story.column_title(one), most=70),
        unit=figures.shown(one.column, most=40),
    )
    return layout.panel(figure, monitoring_story.column_alt(one, figures.threshold(one)), dark=dark)


def over_time(seen: Seen, *, dark: bool) -> Panel:
    """Accuracy, drift and alerts on one axis."""
    figure = figures.over_time(
        seen.windows, seen.arrived, seen.notices,
        reference=seen.before, change_at=seen.change_at, title=monitoring_story.time_title(seen),
    )  # fmt: skip
    return layout.panel(figure, monitoring_story.time_alt(seen), dark=dark)


def files(seen: Seen) -> dict[str, tuple[Callable[[], str | bytes], str]]:
    """The report to take home, as HTML and as JSON."""
    answer = monitoring_story.verdict(seen)
    what, value, change = monitoring_story.number(seen)
    summary = report.Summary(
        source=seen.source,
        sentence=f"{answer.sentence} {answer.more}".strip(),
        number=(f"{what} ({change})" if change else what, value),
        report=seen.report,
        findings=seen.findings,
        windows=seen.windows,
        notices=seen.notices,
        reference=float("nan") if seen.before is None else seen.before,
        change_at=seen.change_at,
        story=seen.story,
        cannot_see=monitoring_story.BLIND,
        not_shown=seen.not_shown,
    )
    return {
        "monitoring.html": (lambda: report.to_html(summary), "text/html"),
        "monitoring.json": (lambda: report.to_json(summary), "application/json"),
    }
