"""A picture in a lesson that changes while code runs.

It is an `ipywidgets.HTML`, which every notebook shows at once. A plotly `FigureWidget` (7.1) brings
5 MB of JavaScript of its own, to the page and into the saved file, and may stay empty: its data
come in a later message, which a view that is already there does not draw. What the picture is made
of is left to the `figures.py` beside each engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import ipywidgets as widgets

State = TypeVar("State")


class Live(Generic[State]):
    """A picture of a state that `show` replaces, wherever it is on the screen.

    Parameters
    ----------
    draw: makes HTML or SVG of a state.
    state: what is shown at first.
    """

    def __init__(self, draw: Callable[[State], str], state: State) -> None:
        self._draw = draw
        self._box = widgets.HTML(draw(state))

    def show(self, state: State) -> None:
        """Draw another state; from the callback of a control, too."""
        self._box.value = self._draw(state)

    def _repr_mimebundle_(self, **options: object) -> dict:
        bundle = self._box._repr_mimebundle_(**options)
        bundle["text/plain"] = "A picture that changes while code runs."
        # For a page without a kernel: what was shown last before the cell ended.
        bundle["text/html"] = self._box.value
        return bundle
