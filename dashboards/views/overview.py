"""Overview: the dashboards, each with the question that it answers."""

import streamlit as st

QUESTIONS = (
    (
        "views/cap.py",
        "CAP trade-offs",
        "When the network breaks, who may still read and write, and how stale is what they read?",
    ),
    (
        "views/monitoring.py",
        "Model monitoring",
        "Has the data changed, and does it matter to the model?",
    ),
)

st.title("ML Systems Workbook: dashboards")
st.write("Every page runs the real computation as you move its controls; its link holds the view.")
for page, title, question in QUESTIONS:
    with st.container(border=True):
        st.header(title)
        st.write(question)
        st.page_link(page, label=f"Open {title}", icon=":material/arrow_forward:")
