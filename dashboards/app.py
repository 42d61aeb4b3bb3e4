"""The dashboards' navigation: which pages there are, in which order, under which address."""

from pathlib import Path

import streamlit as st

PAGES = (
    st.Page("views/overview.py", title="Overview", icon=":material/home:", default=True),
    st.Page("views/cap.py", title="CAP trade-offs", icon=":material/hub:"),
    st.Page("views/monitoring.py", title="Model monitoring", icon=":material/monitoring:"),
)

st.set_page_config(
    page_title="ML Systems Workbook",
    page_icon=str(Path(__file__).with_name("icon.svg")),
    layout="wide",
)
st.navigation(list(PAGES)).run()
