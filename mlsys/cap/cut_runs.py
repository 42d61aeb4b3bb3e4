"""How lessons 16 and 36 cut links: steps put into a recorded run at known times, and its picture.

Who records is the caller's business (`mlsys.services.record` with a real cluster, for one); this
module turns what was recorded into a `History` and draws who was answered while a link was cut.
`pacelc` does the same to a simulated store, and asks for its bill on days without a cut.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import plotly.graph_objects as go

from mlsys.cap.history import Event, History
from mlsys.cap.measures import availability, by_second, percentiles
from mlsys.cap.runs import run
from mlsys.cap.scenes import preset
from mlsys.cap.staleness import read_ages
from mlsys.theme import BLUE, GREEN, GREY, ORANGE, RED

Step = tuple[float, Callable[[], Any]]


def watch(
    record: Callable[..., Sequence[Mapping[str, Any]]], steps: Mapping[str, Step], **options: Any
) -> tuple[History, dict[str, tuple[float, float]]]:
    """The history of a recorded run, and when each step began and ended in it.

    `steps`: name -> (when to do it, in ms, what to do); `record` gets them as `faults`, pairs of
    a time and a function, with the moment `started` from which all times count (perf_counter) and
    the `options`, and returns the events of the clients. Times are in ms.
    """
    started, when = perf_counter(), {}

    def do(name: str, act: Callable[[], Any]) -> None:
        before = perf_counter() - started
        act()
        when[name] = 1000 * before, 1000 * (perf_counter() - started)

    faults = [(ms, partial(do, name, act)) for name, (ms, act) in steps.items()]
    events = record(faults=faults, started=started, **options)
    return History(tuple(Event(**event) for event in events)), when


def write_ms(session: Any, *, count: int = 20) -> float:
    """Median time of a write in a store's session, in ms."""
    times = []
    for value in range(count):
        start = perf_counter()
        session.write("x", value)
        times.append(1000 * (perf_counter() - start))
    return median(times)


def draw(
    history: History,
    sides: Mapping[str, Sequence[int]],
    cut: tuple[float, float],
    title: str,
    *,
    width: float = 250,
) -> go.Figure:
    """Answered requests by side (name -> its clients), in bins of `width` ms; stale reads below.

    `cut`, in ms, is shaded; at most 1,500 stale reads are marked.
    """
    total = sum(map(len, sides.values()))
    fig = go.Figure(layout={"title": title, "height": 360})
    for (name, among), colour in zip(sides.items(), (BLUE, ORANGE, GREEN)):
        rows = by_second(history, among, clients=total, width=width)
        fig.add_scatter(
            x=[(row.begin + width / 2) / 1000 for row in rows],
            y=[100 * row.share for row in rows], name=name, line_color=colour, mode="lines",
        )  # fmt: skip
    stale = [age.start / 1000 for age in read_ages(history) if age.stale]
    marked = stale[:1500] or [None]
    fig.add_scatter(
        x=marked, y=[-12] * len(marked), name=f"{len(stale)} stale reads", mode="markers",
        marker={"color": RED, "symbol": "line-ns-open"},
    )  # fmt: skip
    fig.add_vrect(cut[0] / 1000, cut[1] / 1000, fillcolor=GREY, opacity=0.2)
    fig.update_xaxes(title="time, in s", rangemode="tozero")
    fig.update_yaxes(title="answered, in %", range=[-20, 108], tickvals=[0, 25, 50, 75, 100])
    return fig


def pacelc(*, seed: int, **store: Any) -> tuple[str, int, int, str]:
    """Abadi's letters for a store, measured; `store` are settings of `Scene`.

    Returns the share of writes that the smaller side of a split cluster takes, the median ms of a
    read and of a write across continents (75 ms each way), and the letters: PA if most of those
    writes are taken, EL if a read need not cross.
    """
    split = run(preset("split brain", seed=seed, **store))
    sides = split.side_of(5_000)
    lonely = {client: 1 for client, side in sides.items() if side == 1}
    when = {"clients": 6, "begin": 3_500, "end": 5_000}
    wrote = availability(split.history, lonely, f="write", **when)[1].share
    far = run(replace(preset("cross-continent", seed=seed, **store), loop="open", rate=5)).history
    read, write = (percentiles(far, f)[50] for f in ("read", "write"))
    letters = ("PA" if wrote > 0.5 else "PC", "EL" if read < 75 else "EC")
    return f"{wrote:.0%}", round(read), round(write), "/".join(letters)
