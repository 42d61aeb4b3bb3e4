"""An executed notebook as a page that opens anywhere: figures live, no network for them."""

import html
import json
import re
from pathlib import Path
from typing import Any

from mlsys.lesson_text import write_atomically

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
LESSON_LINK = re.compile(r"(\]\((?![a-z]+:)[^()\s]+)\.ipynb(?=[)#])")


def write_page(executed: Path) -> Path:
    """Write the page of an executed notebook beside it, unless it is newer than the notebook.

    plotly.js stands in the page once (about 5 MB) if there is a figure: it needs no address.
    """
    page = executed.with_suffix(".html")
    if page.exists() and page.stat().st_mtime_ns >= executed.stat().st_mtime_ns:
        return page
    import nbformat
    from nbconvert import HTMLExporter

    nb = nbformat.read(executed, as_version=4)
    _draw_figures(nb)
    _say_what_was_asked(nb)
    _link_pages(nb, executed.stem)
    exporter = HTMLExporter(template_name="lab", embed_images=True)
    body, _ = exporter.from_notebook_node(nb, {"metadata": {"name": html.escape(executed.stem)}})
    write_atomically(page, body)
    return page


def _draw_figures(nb: Any) -> None:
    """Give each plotly output the HTML that nbconvert's templates lack."""
    import plotly.io

    first = True
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if PLOTLY not in data:
                continue
            figure = json.loads(json.dumps(data.pop(PLOTLY)))
            spec = {"data": figure.get("data", []), "layout": figure.get("layout", {})}
            data["text/html"] = plotly.io.to_html(
                spec, full_html=False, include_plotlyjs=first, validate=False
            )
            first = False


def _say_what_was_asked(nb: Any) -> None:
    """A page has no kernel for a control: show what stands in for it, where there is such."""
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if {WIDGET, "text/html"} <= set(output.get("data", {})):
                del output["data"][WIDGET]


def _link_pages(nb: Any, stem: str) -> None:
    """A link to another lesson leads to its page of the same run: what follows @ in the name."""
    run = "".join(stem.partition("@")[1:])
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = LESSON_LINK.sub(rf"\g<1>{run}.html", cell.source)
