"""The pictures and files of the page *Model monitoring*, and what is kept between two looks at it.

What the pictures look like is the business of `mlsys.monitoring.figures`; what is said beside them,
of `monitoring_story.py`.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import streamlit as st

from dashboards import layout, monitoring_requests, monitoring_scene, monitoring_story
from dashboards.layout import Panel
from dashboards.monitoring_live import FOLDER, Run, State, known_store
from dashboards.monitoring_requests import MAIL, REPLAYED
from dashboards.monitoring_seen import Followed, Seen, of_watch
from mlsys.monitoring import figures, reference, report, traffic, watch
from mlsys.monitoring.dilution import diluted
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.scenes import SCENES
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
    seen = of_watch(
        watched, made.reference, made.live,
        source=source, story=monitoring_scene.story(values), day=values["day"],
    )  # fmt: skip
    now = seen.windows["at"].iloc[-1]
    asked = monitoring_requests.of_rows(made.live[made.live["at"] < now], until=now,
                                        names=MAIL, unmeasured=REPLAYED)  # fmt: skip
    return replace(seen, traffic=asked)


# A log is followed by one for all who look: its rows are read once, however many those are.
@st.cache_resource(max_entries=2, show_spinner=False)
def _run_followed(folder: str, scene: str, share: float, seed: int) -> Followed:
    return Followed(Store(Path(folder)), diluted(scene, share, seed=seed).reference)


@st.cache_resource(max_entries=2, show_spinner=False)
def _named_followed(folder: str, named: str | None, stamp: int, seed: int) -> Followed:
    """`stamp`: when the reference was written, for a new one begins anew."""
    store = Store(Path(folder))
    if named is None:
        return Followed(store, traffic.traffic("healthy", seed=seed).reference)
    rows = reference.read_reference(Path(named))
    return Followed(store, rows, columns=reference.watched(rows))


def of_run(folder: Path, state: State) -> Seen:
    """The log of the service started here. Raises MonitoringError while it is empty."""
    scene, share, seed = state.scene
    touched = f"{share:.0%} of the mails touched, seed {seed}"
    seen = _look(
        _run_followed(str(folder), scene, share, seed),
        source=f"Live service, sent the scene: {SCENES[scene].title}, {touched}",
        story=monitoring_scene.story({"scene": scene}),
    )
    return replace(seen, traffic=monitoring_requests.of_log(Store(folder).predictions, names=MAIL))


def of_named() -> Seen:
    """The log that the environment names. Raises MonitoringError while it is empty."""
    store = known_store()
    if store is None:
        raise MonitoringError(f"There is no log of predictions in ${FOLDER}.")
    path = reference.beside(store)
    stamp = path.stat().st_mtime_ns if path else 0
    seed = int(os.environ.get("MONITORED_SEED", "0"))
    followed = _named_followed(str(store.folder), str(path) if path else None, stamp, seed)
    against = path.name if path else "healthy mail"
    seen = _look(followed, source=f"The log in ${FOLDER}, held against {against}")
    names = {} if path else MAIL
    return replace(seen, traffic=monitoring_requests.of_log(store.predictions, names=names))


def _look(followed: Followed, **said: str) -> Seen:
    with st.spinner("The whole log is read, once") if followed.is_new else nullcontext():
        return followed.look(**said)


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
