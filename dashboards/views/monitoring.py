"""Model monitoring: has the data changed, and does it matter to the model?"""

import pandas as pd
import streamlit as st

from dashboards import address, layout
from mlsys.data import load
from mlsys.monitoring import demo, figures

FIELDS = (
    address.choice("kind", "adversarial", demo.KINDS),
    address.whole("strength", 60, 0, 100, step=5),
    address.whole("start", 7, 2, demo.WEEKS),
    address.choice("column", "length", demo.COLUMNS),
)


@st.cache_resource(show_spinner="Training the spam filter")
def trained() -> demo.Filter:
    """The filter, trained once for all viewers."""
    return demo.train(load("sms_spam", stand_in=True))


@st.cache_data(max_entries=50, show_spinner=False)
def log(scene: demo.Scene) -> pd.DataFrame:
    """Twelve weeks of traffic."""
    return demo.traffic(trained(), scene)


complaints = address.open_scene(FIELDS)
with st.sidebar:
    kind = st.selectbox(
        "What happens", list(demo.KINDS), key="kind", format_func=lambda k: demo.KINDS[k].name
    )
    layout.note(demo.KINDS[kind].story)
    strength = st.slider("Messages touched, in %", 0, 100, step=5, key="strength")
    start = st.slider("From week", 2, demo.WEEKS, key="start")
    column = st.selectbox(
        "Look into", list(demo.COLUMNS), key="column", format_func=demo.COLUMNS.get
    )

st.title("Has the data changed, and does it matter?")
layout.complain(complaints)

spam = trained()
traffic = log(demo.Scene(kind, strength / 100, start))
now = traffic[traffic["week"] >= start]
drift = demo.drift(spam.reference, now)
expected, measured = demo.accuracy(spam.reference), demo.accuracy(now)
sentence, danger = demo.verdict(drift, spam.reference, now)
layout.headline(sentence, danger=danger)

row = st.grid(2, min_column_width=400)
with row.cell():
    moved = f"{drift['drifted'].sum()} of {len(drift)} columns moved since week {start}"
    layout.figure(
        figures.drift_bars(drift, demo.COLUMNS, title=moved),
        alt=f"Bars, {moved}: "
        + ", ".join(f"{row.column} {row.distance:.2f}" for row in drift.itertuples())
        + f"; threshold {drift['threshold'].max():.2f}.",
        key="drift",
    )
with row.cell():
    layout.figure(
        figures.accuracy_over_time(
            demo.weekly(traffic),
            expected=expected,
            start=start if kind != "healthy" and strength else None,
            title=f"Accuracy: {measured:.1%} since week {start}",
        ),
        alt=f"Accuracy by week: {expected:.1%} on the reference, "
        f"{measured:.1%} since week {start}.",
        key="accuracy",
    )
layout.figure(
    figures.compare_column(
        spam.reference[column],
        now[column],
        title=f"{demo.COLUMNS[column].capitalize()}: reference and since week {start}",
        unit=demo.COLUMNS[column],
    ),
    alt=f"Distribution of {demo.COLUMNS[column]} in the reference and since week {start}.",
    key="distribution",
)
with st.expander("What this page cannot see", icon=":material/visibility_off:"):
    st.write(
        "Drift is measured on the inputs and the score alone: when the same message comes to mean "
        "something else (concept drift), no column moves. Accuracy here uses every true label at "
        "once; in service labels come late, for some messages only, or never. A column can move "
        "inside its threshold for weeks, and two columns can change together while each alone "
        "stays as it was."
    )
    st.dataframe(drift, hide_index=True)
data = "Synthetic stand-in messages" if spam.synthetic else "UCI SMS Spam Collection"
layout.note(f"{data}; {demo.PER_WEEK} messages a week; a real classifier, trained here.")
layout.copy_link(address.keep_scene(FIELDS))
