"""Bytes, and the characters that two encodings make of them: what lesson 01 draws of a text file.

A decoder is fed a byte at a time, as by a network, so that each character stands at the byte that
completes it. Nothing is said about which encoding a file has: it does not know.
"""

import codecs

import numpy as np
import plotly.express as px
import plotly.graph_objects as go

SHADES = ["#eef0f3", "#f6cf86"]  # as it was written; not as it was written
MOST = 24  # characters shown


def arrivals(data: bytes, encoding: str) -> list[str]:
    """The text that each further byte completes: often one character, sometimes none."""
    decode = codecs.getincrementaldecoder(encoding)("replace").decode
    last = len(data) - 1
    return [decode(bytes([one]), place == last) for place, one in enumerate(data)]


def draw_bytes(text: str = "Zürich", written: str = "utf-8", read: str = "latin-1") -> go.Figure:
    """A text (its first 24 characters), its bytes as written, and what a reader makes of them.

    Marked are the bytes at which the reader has other characters than the writer.
    """
    data = text[:MOST].encode(written, "replace") or b" "
    top, low = arrivals(data, written), arrivals(data, read)
    rows = [f"written: {written}", "bytes", f"read: {read}"]
    shade = [[0] * len(data)] * 2 + [[a != b for a, b in zip(top, low)]]
    fig = px.imshow(np.array(shade, float), y=rows, zmin=0, zmax=1)
    fig.data[0].text = [top, [f"{one:02x}" for one in data], low]
    fig.update_traces(texttemplate="%{text}", textfont_size=17, xgap=3, ygap=3)
    fig.update_coloraxes(colorscale=SHADES, showscale=False)
    fig.update_xaxes(title="position of the byte", dtick=1)
    title = f"{text[:MOST]} comes back as {''.join(low)}"
    return fig.update_layout(title=title, height=260, font_color="#2b2f36")
