"""Model monitoring: has the data changed, and does it matter to the model?"""

import streamlit as st

from dashboards import address, layout, monitoring_page, monitoring_scene

state = st.session_state
complaints = address.open_scene(monitoring_scene.FIELDS)
st.title("Has the data changed, and does it matter?")
layout.complain(complaints)
st.segmented_control(
    "What to look at",
    list(monitoring_scene.SOURCES),
    key="source",
    format_func=monitoring_scene.SOURCES.get,
    required=True,
    label_visibility="collapsed",
)
show = {
    "scene": monitoring_page.scene,
    "live": monitoring_page.live,
    "files": monitoring_page.files,
}
show[state["source"]]()
layout.copy_link(address.keep_scene(monitoring_scene.FIELDS))
