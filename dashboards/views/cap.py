"""CAP trade-offs: when the network breaks, who may read and write, and how stale is it?"""

import streamlit as st

from dashboards import address, cap_scene, layout
from dashboards.cap_panels import Side, sides
from mlsys.cap import READS


def quorum(suffix: str = "") -> None:
    """N, R and W of one setting."""
    most = st.slider("Replicas of a key (N)", 1, cap_scene.NODES, key=f"n{suffix}")
    if most > 1:
        st.slider("Replicas that a read asks (R)", 1, most, key=f"r{suffix}")
        st.slider("Replicas that a write waits for (W)", 1, most, key=f"w{suffix}")


def controls() -> None:
    """Everything that makes the scene, on the left."""
    state = st.session_state
    layout.choose("Store", cap_scene.STORES, key="store")
    if state["store"] == "quorum":
        quorum()
    layout.choose("Scene", cap_scene.SCENES, key="scene")
    whole, end = not cap_scene.breaks(state), cap_scene.DURATION
    st.slider("Fault begins and ends, in ms", 0, end, step=100, key="fault", disabled=whole)
    layout.choose_some(cap_scene.acts(state), cap_scene.NAMES, key="cut")
    layout.choose_some("Links cut, each one way", cap_scene.LINKS, key="links")
    layout.choose("Latency", cap_scene.LATENCIES, key="latency")
    layout.choose("Compare with", cap_scene.OTHERS, key="other")
    if state["other"] == "quorum":
        quorum("2")
    with st.expander("More"):
        st.selectbox("Way to read", ["default", *READS[state["store"]]], key="reads")
        st.number_input("Seed", 0, 999, key="seed")


@st.fragment
def moment(shown: list[Side]) -> None:
    """The cluster's picture at an instant: alone redrawn when the instant moves."""
    at = st.slider("The cluster at this instant, in ms", 0, cap_scene.DURATION, step=50, key="at")
    for place, cell in enumerate(layout.cells(len(shown))):
        with cell:
            layout.show(shown[place].cluster(at), key=f"cluster{place}")
    layout.copy_link(address.keep_scene(cap_scene.FIELDS))


complaints = address.open_scene(cap_scene.FIELDS, cap_scene.mend)
with st.sidebar:
    controls()
shown = sides(dict(st.session_state))
alone = len(shown) == 1

st.title("When the network breaks: who may read and write, and how stale?")
layout.complain(complaints)
for side, cell in zip(shown, layout.cells(len(shown))):
    with cell:
        if not alone:
            st.header(side.name)
        layout.headline(*side.headline, danger=side.result.danger)
left, *right = layout.cells(2) if alone else [st.container(), *layout.cells(2)]
with left:
    moment(shown)
for place, (side, cell) in enumerate(zip(shown, right)):
    with cell:
        layout.show(side.panels["timeline"], key=f"timeline{place}")
        layout.note(str(side.result.verdict))
below = iter(layout.cells(3 if alone else 6, across=3 if alone else 2, least=290))
for name in ("availability", "latency", "staleness"):
    for place, side in enumerate(shown):
        with next(below):
            layout.show(side.panels[name], key=f"{name}{place}")
for place, (side, cell) in enumerate(zip(shown, layout.cells(len(shown)))):
    with cell:
        layout.downloads("Download history", side.files, key=f"history{place}")
