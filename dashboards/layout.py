"""What every page looks like: its head, its figures in the viewer's theme, its link to copy."""

import json

import plotly.graph_objects as go
import streamlit as st

from mlsys import theme


def dark() -> bool:
    """Whether the viewer looks at the dark theme."""
    return st.context.theme.type == "dark"


def complain(sentences: list[str]) -> None:
    """Say what was wrong with an address or an upload, above everything else."""
    if sentences:
        st.warning("  \n".join(sentences), icon=":material/info:")


def headline(sentence: str, *, danger: bool = False) -> None:
    """The answer, in one sentence that changes with the controls."""
    (st.error if danger else st.success)(
        f"**{sentence}**", icon=":material/warning:" if danger else ":material/check_circle:"
    )


def figure(fig: go.Figure, *, alt: str, key: str) -> None:
    """Draw a figure in the viewer's theme, with a description for those who cannot see it.

    On dark paper the palette's blue is too dim to read: its lighter sibling stands for it there.
    """
    fig.update_layout(template="mlsys", title={"xref": "container", "x": 0.01})
    if dark():
        fig = go.Figure(json.loads(fig.to_json().replace(theme.BLUE, theme.SKY)))
        fig.update_layout(template="mlsys_dark")
    st.plotly_chart(
        fig,
        theme=None,
        alt=alt,
        key=key,
        config={"displayModeBar": False, "scrollZoom": False},
    )


def copy_link(link: str) -> None:
    """A button that opens the link of this view with a copy button beside it."""
    with st.popover("Copy link", icon=":material/link:", help="A link that reproduces this view"):
        st.code(link, language=None, wrap_lines=True)
