"""The page *Model monitoring* in parts: what each source asks of the viewer, and what all show.

One order for all three: the verdict and the one number, the columns worst first, performance and
alerts over time, traffic, the story, what the page cannot see, and the report.
"""

import pandas as pd
import streamlit as st

from dashboards import (
    layout,
    monitoring_files,
    monitoring_live,
    monitoring_requests,
    monitoring_scene,
    monitoring_together,
)
from dashboards import monitoring_panels as panels
from dashboards import monitoring_story as story
from dashboards.monitoring_seen import Seen
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.verdict_report import Verdict

OPENED = 8  # drifted columns that have a line of their own
REFRESH = 3.0  # seconds
REFERENCE_HELP = (
    "A log of your own service is held against a reference of your own: put `reference.parquet` or "
    "`reference.csv` beside its folder `predictions`, with labelled rows of before, when all was "
    "well. It needs `score` and `label` (0 or 1); what else it has is watched, and must be in the "
    "log by the same name, except `id`, `at`, `prediction`, `label_at`, `version` and `took_ms`. "
    "Without that file the log is held against healthy mail, as this course's service gets it."
)
BOXES = {
    "fine": (st.success, ":material/check_circle:"),
    "caution": (st.warning, ":material/change_circle:"),
    "danger": (st.error, ":material/warning:"),
}


# --- the three sources ----------------------------------------------------------------------------


def scene() -> None:
    """A scene replayed, as of a day."""
    with st.sidebar:
        _scene_controls()
        st.slider("As of day", 1, monitoring_scene.DAYS, key="day")
        layout.note("The page as it stood at the end of that day.")
    _show(panels.of_scene(st.session_state))


def _scene_controls() -> None:
    layout.choose("Scene", monitoring_scene.NAMES, key="scene")
    st.slider("Mails that the change touches, in %", 0, 100, step=10, key="strength")
    st.number_input("Seed", 0, 999, key="seed")


def live() -> None:
    """The log of a running service: one that the environment names, or one started here."""
    run, named = panels.live_run(), monitoring_live.known_store()
    with st.sidebar:
        own = named is None or st.radio(
            "Log", ["named", "own"], key="_log", help=REFERENCE_HELP,
            format_func={"named": f"the one in ${monitoring_live.FOLDER}",
                         "own": "of a service started here"}.get,
        ) == "own"  # fmt: skip
        if own:
            _scene_controls()
    if own:
        alive = run.look().alive
        label = "Stop the service" if alive else "Start the service and its traffic"
        if st.button(label, type="secondary" if alive else "primary", key="_run"):
            with st.spinner("The service stops" if alive else "The service starts"):
                run.stop() if alive else run.start(*_traffic())
            st.rerun()
    refresh = REFRESH if not own or run.state.alive else None
    st.fragment(_log, run_every=refresh)(own)


def _traffic() -> tuple[str, float, int]:
    state = st.session_state
    return state["scene"], state["strength"] / 100, state["seed"]


def _log(own: bool) -> None:
    """The log as it is now; alone redrawn while traffic flows."""
    run = panels.live_run()
    state = run.look()
    if own:
        if st.session_state.get("_alive") and not state.alive:
            st.session_state["_alive"] = False
            st.rerun()
        st.session_state["_alive"] = state.alive
        _where(state)
        if run.folder is None:
            return _blind()
    try:
        seen = panels.of_run(run.folder, state) if own else panels.of_named()
    except MonitoringError as error:
        st.info(story.plain(str(error)), icon=":material/hourglass_empty:")
        return _blind()
    _show(seen)


def _where(state: monitoring_live.State) -> None:
    """Which process, which port, how many rows."""
    if state.phase == "failed":
        st.error(story.plain(f"The service could not run. {state.said}"))
    elif state.phase == "nothing":
        st.info(
            "Nothing runs yet. The button starts the real service in a process of its own and "
            "sends it four weeks of mail, a day in about a second; the page reads its log.",
            icon=":material/play_circle:",
        )
    elif state.phase == "starting":
        layout.note("The service starts: a process of its own loads the model.")
    else:
        doing = f"Process {state.pid} answers at `{state.url}`" if state.alive else state.said
        layout.note(
            f"{doing}: {state.predictions:,} predictions and {state.labels:,} labels are safe in "
            "the log."
        )


def files() -> None:
    """Two files of the viewer's own."""
    places = layout.cells(2, least=280)
    given = [
        _upload(place, key, label)
        for place, key, label in zip(
            places, ("_reference", "_current"), ("Reference: how it was", "Current: how it is")
        )
    ]
    if any(one is None or one.rows is None for one in given):
        st.info(
            "Give two tables with the same columns, CSV or Parquet, up to 200 MB each. They are "
            "read in memory, on this machine, and kept nowhere.",
            icon=":material/upload_file:",
        )
        return _blind()
    reference, current = given
    roles = _roles(reference, current)
    try:
        seen = _compared(reference, current, roles)
    except MonitoringError as error:
        st.error(story.plain(str(error)), icon=":material/error:")
        return _blind()
    _show(seen)
    monitoring_together.show(seen)


def _upload(place, key: str, label: str) -> monitoring_files.Upload | None:
    """A file, read once; when it cannot be read, why."""
    with place:
        given = st.file_uploader(label, key=key)
        if given is None:
            st.session_state.pop(f"{key} read", None)
            return None
        kept = st.session_state.get(f"{key} read")
        if kept is None or kept[0] != given.file_id:
            with st.spinner("Reading"):
                kept = given.file_id, monitoring_files.read(given.getvalue(), given.name)
            st.session_state[f"{key} read"] = kept
        if kept[1].rows is None:
            st.error(story.plain(kept[1].complaint), icon=":material/error:")
        else:
            rows, columns = kept[1].rows.shape
            layout.note(f"Read: {rows:,} rows, {columns:,} columns.")
        return kept[1]


def _roles(reference: monitoring_files.Upload, current: monitoring_files.Upload) -> dict[str, str]:
    """Which column means what: guessed from its name, and the viewer's to change."""
    state, pair = st.session_state, (id(reference), id(current))
    names = list(dict.fromkeys([*reference.rows, *current.rows]))
    if state.get("_pair") != pair:
        state["_pair"] = pair
        for role, name in monitoring_files.guess(reference.rows, current.rows).items():
            state[f"_role {role}"] = name
    with st.sidebar:
        return {
            role: st.selectbox(label, [monitoring_files.NONE, *names], key=f"_role {role}")
            for role, (label, _) in monitoring_files.ROLES.items()
        }


def _compared(reference, current, roles: dict[str, str]) -> Seen:
    state, asked = st.session_state, (id(reference), id(current), tuple(roles.values()))
    if state.get("_compared", (None,))[0] != asked:
        with st.spinner("Comparing"):
            names = reference.name, current.name
            made = monitoring_files.of_files(reference.rows, current.rows, roles, names)
        state["_compared"] = asked, made, reference, current
    return state["_compared"][1]


# --- what all show --------------------------------------------------------------------------------


def _show(seen: Seen) -> None:
    """The verdict and all that it rests on."""
    _answer(seen)
    left, right = layout.cells(2)
    with left:
        st.header("Columns, worst first")
        st.fragment(_columns)(seen)
        if seen.story:
            st.header("What happens in this scene")
            st.write(story.plain(seen.story))
        if seen.traffic or not seen.report.drifted:  # under the shorter of the two
            _blind()
    with right:
        st.header("Performance and alerts")
        if seen.windows is None:
            layout.note("Not drawn for these files:")
        else:
            over_time = panels.over_time(seen, dark=layout.dark())
            layout.show(over_time, key="over_time")
            layout.note(
                "Each point is a window by the labels that have come so far: hollow while fewer "
                "than half have, red when surely under the threshold. *Known then* is what the "
                "newest labels of seven windows said at that time; dotted, what labels as early "
                "say in the reference."
            )
        if seen.traffic is not None:
            axis = None if seen.windows is None else over_time.figure.layout.xaxis3.range
            monitoring_requests.show(seen.traffic, beside=axis)
        if seen.not_shown:
            st.header("What is not shown, and why")
            st.markdown("\n".join(f"- {story.plain(one)}" for one in seen.not_shown))
        if seen.report.drifted and not seen.traffic:
            _blind()
    layout.downloads("Download report", panels.files(seen), key="report")


def _blind() -> None:
    """What no verdict on this page can say, whatever the source."""
    st.header("What this page cannot see")
    st.markdown("\n".join(f"- {sentence}" for sentence in story.BLIND))


def _answer(seen: Seen) -> None:
    answer = story.verdict(seen)
    what, value, change = story.number(seen)
    box, icon = BOXES[answer.level]
    words, figure = st.columns([3, 1], vertical_alignment="center")
    with words:
        box(f"**{story.plain(answer.sentence)}** {story.plain(answer.more)}".rstrip(), icon=icon)
    with figure:
        colour = "normal" if answer.level == "danger" else "off"
        st.metric(what[:1].upper() + what[1:], value, change, delta_color=colour)


def _columns(seen: Seen) -> None:
    """The drifted columns, each to open, and the healthy ones folded away."""
    verdicts = seen.report.verdicts
    drifted = [one for one in verdicts if one.drifted]
    if not drifted:
        st.write(f"None of {len(verdicts)} columns drifted.")
    for place, one in enumerate(drifted[:OPENED]):
        fold = st.expander(
            story.column_label(one), expanded=place == 0, key=f"column{place}", on_change="rerun"
        )
        if fold.open:
            with fold:
                _column(seen, one, key=f"chart{place}")
    rest = [*drifted[OPENED:], *(one for one in verdicts if not one.drifted)]
    if rest:
        fold = st.expander(_rest_label(rest), key="rest", on_change="rerun")
        if fold.open:
            with fold:
                _others(seen, rest)
    checks = [one.sentence for one in seen.findings[:5]]
    if checks:
        st.markdown(
            "**Failed checks of quality**\n"
            + "\n".join(f"- {story.plain(sentence)}" for sentence in checks)
        )


def _rest_label(rest: list[Verdict]) -> str:
    more = sum(one.drifted for one in rest)
    healthy = f"{len(rest) - more} healthy column{'s' * (len(rest) - more != 1)}"
    return f"{more} more drifted and {healthy}" if more else healthy


def _others(seen: Seen, rest: list[Verdict]) -> None:
    table = pd.DataFrame(
        [(one.column, one.effect, one.adjusted_p, one.move.m) for one in rest],
        columns=["column", "times its floor", "adjusted p", "n now"],
    )
    st.dataframe(table, hide_index=True, alt="Columns that did not drift, or are not shown above.")
    names = [one.column for one in rest]
    chosen = st.selectbox("Look into", range(len(rest)), format_func=names.__getitem__, key="_into")
    _column(seen, rest[min(chosen or 0, len(rest) - 1)], key="chart_rest")


def _column(seen: Seen, one: Verdict, *, key: str) -> None:
    layout.show(panels.column(seen, one, dark=layout.dark()), key=key)
    layout.note(f"{story.plain(_sure(one))} {story.below(one)}")


def _sure(one: Verdict) -> str:
    said = one.sentence.removeprefix(f"{one.column} ")
    return said[:1].upper() + said[1:]
