"""CAP trade-offs: when the network breaks, who may read and write, and how stale is it?"""

import streamlit as st

from dashboards import address, cap_scene, cap_story, layout
from mlsys.cap import PRESETS, READS, Draws, Scene, figures, profile, wars


# Results are frozen values: kept by reference, so that a hit costs no copy.
@st.cache_resource(max_entries=60, show_spinner=False)
def played(scene: Scene, fault: tuple[float, float] | None) -> cap_story.Result:
    """The scene, run and judged."""
    return cap_story.play(scene, fault)


@st.cache_resource(max_entries=30, show_spinner=False)
def drawn(latency: str, n: int) -> Draws:
    """Trials of the WARS model for the staleness curve."""
    return wars(profile(latency), n=n, trials=20_000)


def quorum_controls(suffix: str = "") -> None:
    """N, R and W of one setting."""
    most = st.slider("Replicas of a key (N)", 1, cap_scene.NODES, key=f"n{suffix}")
    if most > 1:
        st.slider("Replicas that a read asks (R)", 1, most, key=f"r{suffix}")
        st.slider("Replicas that a write waits for (W)", 1, most, key=f"w{suffix}")


def controls() -> None:
    """Everything that makes the scene, on the left."""
    st.selectbox("Store", list(cap_scene.STORES), key="store", format_func=cap_scene.STORES.get)
    if st.session_state["store"] == "quorum":
        quorum_controls()
    st.selectbox("Scene", list(PRESETS), key="scene", format_func=str.capitalize)
    still = st.session_state["scene"] in ("healthy", "cross-continent")
    st.slider(
        "Fault begins and ends, in ms", 0, cap_scene.DURATION, step=100, key="fault", disabled=still
    )
    st.pills(
        "Nodes cut off or slowed (none: the scene's own)",
        [str(node) for node in range(cap_scene.NODES)],
        selection_mode="multi",
        key="cut",
        disabled=still or st.session_state["scene"] == "isolated leader",
    )
    st.selectbox(
        "Latency", list(cap_scene.LATENCIES), key="latency", format_func=cap_scene.LATENCIES.get
    )
    st.selectbox(
        "Compare with",
        ["nothing", *cap_scene.STORES],
        key="other",
        format_func=lambda name: cap_scene.STORES.get(name, "nothing"),
    )
    if st.session_state["other"] == "quorum":
        quorum_controls("2")
    with st.expander("More"):
        ways = ["default", *READS[st.session_state["store"]]]
        st.selectbox("Way to read", ways, key="reads")
        st.number_input("Seed", 0, 999, key="seed")


@st.fragment
def moment(results: list[cap_story.Result], names: list[str]) -> None:
    """The cluster's picture at an instant: alone redrawn when the instant moves."""
    at = st.slider("The cluster at this instant, in ms", 0, cap_scene.DURATION, step=50, key="at")
    grid = st.grid(len(results), min_column_width=400)
    for place, (result, name) in enumerate(zip(results, names)):
        instant = result.run.at(float(at))
        with grid.cell():
            layout.figure(
                figures.cluster(instant, title=f"{name} at {at} ms"),
                alt=cap_story.picture(instant),
                key=f"cluster{place}",
            )
    layout.copy_link(address.keep_scene(cap_scene.FIELDS))


def timeline(result: cap_story.Result, key: int) -> None:
    """Who asked what, and what came of it."""
    title = f"{result.stale} stale reads in {len(result.ages)}, client by client"
    layout.figure(
        figures.timeline(
            result.run, result.ages, result.verdict.witness, title=title, fault=result.fault
        ),
        alt=f"{title}. {cap_story.headline(result)} {result.verdict}",
        key=f"timeline{key}",
    )
    st.caption(str(result.verdict))


def availability(result: cap_story.Result, key: int) -> None:
    """Who got answers, before, during and after."""
    told = "; ".join(f"{phase}, {side}: {share.share:.0%}" for phase, side, share in result.shares)
    layout.figure(
        figures.availability(result.shares, title="Who got answers"),
        alt=f"Requests answered. {told}.",
        key=f"availability{key}",
    )


def latency(result: cap_story.Result, key: int) -> None:
    """How long an answer took."""
    layout.figure(
        figures.latency(result.latencies, title="How long an answer took"),
        alt=f"Latency percentiles. {cap_story.percentiles(result)}.",
        key=f"latency{key}",
    )


def staleness(result: cap_story.Result, key: int) -> None:
    """How stale a read can be; for a quorum, the model of a healthy one beside it."""
    scene = result.run.scene
    model = drawn(scene.latency, scene.n) if scene.store == "quorum" else None
    layout.figure(
        figures.staleness(
            result.visibility, model, r=scene.r, w=scene.w, title="How stale a read can be"
        ),
        alt=f"Stale reads by time since the last write: {result.stale} of {len(result.ages)} "
        f"reads, out of date for up to {max((a.age for a in result.ages), default=0):.0f} ms.",
        key=f"staleness{key}",
    )


def download(result: cap_story.Result, key: int) -> None:
    """The history, as Jepsen writes it and as JSON."""
    history = result.run.history
    with st.popover("Download history", icon=":material/download:", key=f"history{key}"):
        for name, text, mime in (
            ("EDN", history.to_edn, "text/plain"),
            ("JSON", history.to_json, "application/json"),
        ):
            file = f"history.{name.lower()}"
            st.download_button(name, text, file, mime, key=f"{file}{key}", on_click="ignore")


complaints = address.open_scene(cap_scene.FIELDS, cap_scene.mend)
with st.sidebar:
    controls()
values = dict(st.session_state)
choices = cap_scene.choices(values)
names = [choice.name for choice in choices]
results = [played(cap_scene.scene(one, values), cap_scene.fault(values)) for one in choices]

st.title("When the network breaks: who may read and write, and how stale?")
layout.complain(complaints)
row = st.grid(len(results), min_column_width=400)
for result, name in zip(results, names):
    with row.cell():
        if len(results) > 1:
            st.subheader(name)
        layout.headline(cap_story.headline(result), danger=result.danger)
if len(results) == 1:
    row = st.grid(2, min_column_width=400)
    with row.cell():
        moment(results, names)
else:
    moment(results, names)
    row = st.grid(2, min_column_width=400)
for key, result in enumerate(results):
    with row.cell():
        timeline(result, key)
row = st.grid(3 if len(results) == 1 else 2, min_column_width=290)
for panel in (availability, latency, staleness, download):
    for key, result in enumerate(results):
        with row.cell():
            panel(result, key)
