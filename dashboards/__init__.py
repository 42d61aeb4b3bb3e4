"""The Streamlit dashboards: `app.py` is the navigation, `views/` one page a file."""
