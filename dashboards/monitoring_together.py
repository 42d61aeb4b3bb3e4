"""Whether columns of a viewer's two files changed together while each alone stayed as it was.

Columns that drifted are left out: that they can be told apart is no news. Of the rest, a classifier
guesses from which file a row comes, and the columns of numbers are rebuilt from their linear
relations. Asked for by a button, since it takes seconds.
"""

import numpy as np
import pandas as pd
import streamlit as st

from dashboards import layout
from dashboards.monitoring_seen import Seen
from dashboards.monitoring_story import plain
from mlsys.monitoring import domain_classifier, pca_reconstruction
from mlsys.monitoring.errors import MonitoringError

ROWS = 4_000  # of each file
CATEGORIES = 20  # of a column, each known by name to the classifier
ALPHA = 0.01
CLEAR = 0.55  # the AUC from which on it counts; normal columns moved by 0.18 sigma have it, too


def show(seen: Seen) -> None:
    """The question, and the answer for who asks."""
    st.header("Columns together")
    names = calm(seen)
    if len(names) < 2:
        layout.note("Fewer than two columns stayed as they were: there is nothing to ask.")
        return
    layout.note(
        f"Did the {len(names)} columns that each stayed as they were change together? A classifier "
        f"that learns to tell the files' rows apart finds out, on up to {ROWS:,} rows of each."
    )
    state, asked = st.session_state, id(seen)
    if st.button("Compare them together", key="_ask_together"):
        with st.spinner("Comparing"):
            state["_together"] = asked, together(seen), seen
    if state.get("_together", (None,))[0] == asked:
        st.write(plain(state["_together"][1]))


def calm(seen: Seen) -> list[str]:
    """The columns of numbers and categories that did not drift."""
    return [
        one.column
        for one in seen.report.verdicts
        if not one.drifted and one.move.kind in ("number", "category")
    ]


def together(seen: Seen) -> str:
    """What can be told of the calm columns taken together, in two sentences."""
    names = calm(seen)
    sides = [_some(rows[names]) for rows in (seen.reference, seen.current)]
    try:
        found = domain_classifier(*_encoded(*sides))
    except MonitoringError as error:
        return f"They cannot be compared together: {error}"
    auc = f"AUC {found.auc:.2f}, where 0.50 is chance"
    if found.p_value >= ALPHA or found.auc < CLEAR:
        return f"No: a classifier cannot tell the files apart by them ({auc})."
    return f"Yes: a classifier tells the files apart by them ({auc}). {_rebuilt(*sides)}".rstrip()


def _some(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sample(min(ROWS, len(rows)), random_state=0)


def _encoded(*sides: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Numbers as they are, and a column of 0 and 1 for each of the most frequent categories."""
    both = pd.concat(sides, ignore_index=True)
    parts = []
    for name in both:
        if pd.api.types.is_numeric_dtype(both[name]):
            parts.append(both[[name]].astype(float))
            continue
        words = both[name].astype(str)
        known = words.value_counts().index[:CATEGORIES]
        parts.append(pd.get_dummies(words.where(words.isin(known)), dtype=float))
    table = pd.concat(parts, axis=1).to_numpy(float)
    table[~np.isfinite(table)] = np.nan
    return table[: len(sides[0])], table[len(sides[0]) :]


def _rebuilt(reference: pd.DataFrame, current: pd.DataFrame) -> str:
    """Whether linear relations of the columns broke; nothing where that cannot be told."""
    sides = [
        side.select_dtypes("number").astype(float).replace([np.inf, -np.inf], np.nan).dropna()
        for side in (reference, current)
    ]
    if sides[0].shape[1] < 2:
        return ""
    try:
        found = pca_reconstruction(*sides)
    except MonitoringError:
        return ""
    if found.p_value >= ALPHA or found.current <= found.reference:
        return "Linear relations of the numbers still hold: it is something less simple."
    return (
        "Linear relations of the numbers broke: rebuilt from those of the reference, a row is off "
        f"by {found.current:.2f} standard deviations, and was by {found.reference:.2f}."
    )
