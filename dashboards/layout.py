"""What every page looks like: its head, its figures in the viewer's theme, its link to copy."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from mlsys import theme

FONT = f"Source Sans, {theme.FONT}"  # Streamlit's own letters, under the name that it gives them


def dark() -> bool:
    """Whether the viewer looks at the dark theme."""
    return st.context.theme.type == "dark"


def complain(sentences: list[str]) -> None:
    """Say what was wrong with an address or an upload, above everything else."""
    if sentences:
        st.warning("  \n".join(sentences), icon=":material/info:")


def headline(sentence: str, more: str = "", *, danger: bool = False) -> None:
    """The answer, in one sentence that changes with the controls, and what it cost in another."""
    (st.error if danger else st.success)(
        f"**{sentence}** {more}".rstrip(),
        icon=":material/warning:" if danger else ":material/check_circle:",
    )


def choose(label: str, options: Mapping[str, str], *, key: str) -> None:
    """One of a few words, each shown as what it means."""
    st.selectbox(label, list(options), key=key, format_func=options.get)


def choose_some(label: str, options: Mapping[str, str], *, key: str) -> None:
    """Some of a few words, each a button; none of them leaves the matter to the scene.

    Not a multiselect: on dark paper Streamlit writes its choices white on the light blue.
    """
    st.pills(
        label,
        list(options),
        selection_mode="multi",
        key=key,
        format_func=options.get,
        help="None chosen: what the scene itself does.",
    )


def note(text: str) -> None:
    """A remark in small letters; unlike a caption as dark as all text, so that it can be read."""
    st.markdown(f":small[{text}]")


def cells(count: int, *, across: int = 0, least: int = 400) -> list[DeltaGenerator]:
    """Places side by side, `across` in a row (all of them), each at least `least` pixels wide."""
    grid = st.grid(across or count, min_column_width=least)
    return [grid.cell() for _ in range(count)]


@dataclass(frozen=True)
class Panel:
    """A figure in the viewer's theme, with a description for those who cannot see it."""

    figure: go.Figure
    alt: str


def panel(fig: go.Figure, alt: str, *, dark: bool) -> Panel:
    """A figure made ready for a theme.

    On dark paper the palette's blue is too dim to read: its lighter sibling stands for it there.
    """
    fig.update_layout(template="mlsys", title={"xref": "container", "x": 0.01}, font_family=FONT)
    if dark:
        fig = go.Figure(json.loads(fig.to_json().replace(theme.BLUE, theme.SKY)))
        fig.update_layout(template="mlsys_dark")
    return Panel(fig, alt)


def show(made: Panel, *, key: str) -> None:
    """Draw a panel."""
    st.plotly_chart(
        made.figure,
        theme=None,
        alt=made.alt,
        key=key,
        config={"displayModeBar": False, "scrollZoom": False},
    )


def figure(fig: go.Figure, *, alt: str, key: str) -> None:
    """Draw a figure in the viewer's theme, with a description for those who cannot see it."""
    show(panel(fig, alt, dark=dark()), key=key)


def downloads(label: str, files: Mapping[str, tuple[Callable[[], str], str]], *, key: str) -> None:
    """A button that offers files: each name with the function that writes it and its type."""
    with st.popover(label, icon=":material/download:", key=key):
        for name, (text, mime) in files.items():
            kind = name.rpartition(".")[2].upper()
            st.download_button(kind, text, name, mime, key=f"{key}{kind}", on_click="ignore")


def copy_link(link: str) -> None:
    """A button that opens the link of this view with a copy button beside it."""
    with st.popover("Copy link", icon=":material/link:", help="A link that reproduces this view"):
        st.code(link, language=None, wrap_lines=True)
