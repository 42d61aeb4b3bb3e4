"""The part *Traffic* of the page *Model monitoring*: how often, how fast, which class and version.

The counting and the figure are the engine's (`requests`, `requests_figures`); here is what is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboards import layout
from dashboards.monitoring_story import plain
from mlsys.monitoring import requests_figures as figures
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.requests import LogRequests, Requests
from mlsys.monitoring.store import Log

MAIL = {"0": "good mail", "1": "spam"}  # what the mail gateway's classes mean
REPLAYED = "these rows are replayed, and nobody waited for an answer"
UNLOGGED = "no column took_ms says how many milliseconds an answer took"
FEW = 100  # latencies: with fewer, the 99th percentile is the slowest
WORDS = {
    "1s": "second", "10s": "10 seconds", "1min": "minute", "10min": "10 minutes", "1h": "hour",
    "6h": "6 hours", "1D": "day", "7D": "week", "28D": "4 weeks", "336D": "48 weeks",
    "67200D": "184 years",
}  # fmt: skip


@dataclass(frozen=True)
class Traffic:
    """What was asked, and how to speak of it: `names` of classes, and why there is no latency.

    `until` is as for `Requests.windows`.
    """

    asked: Requests
    names: Mapping[str, str] = field(default_factory=dict)
    unmeasured: str = UNLOGGED
    until: pd.Timestamp | None = None


def of_rows(rows: pd.DataFrame, **settings) -> Traffic:
    """All rows at once; columns as `Requests.add` takes them, settings as `Traffic` does."""
    asked = Requests()
    asked.add(rows)
    return Traffic(asked, **settings)


@st.cache_resource(max_entries=4, show_spinner=False)
def _counted(folder: str) -> LogRequests:
    return LogRequests(Log(Path(folder)))


def of_log(log: Log, **settings) -> Traffic:
    """A log as it is now; what was counted at an earlier look is not read again."""
    try:
        return Traffic(_counted(str(log.folder)).look(), **settings)
    except OSError as error:
        raise MonitoringError(f"The log cannot be read: {error.strerror}.") from None


def show(seen: Traffic, *, beside: Sequence[pd.Timestamp] | None = None) -> None:
    """The figure and under it what it says; `beside` are the ends of the axis that it shares.

    Traffic that would be a sliver there, an hour among days, has an axis of its own.
    """
    if beside is not None and not _fills(seen, *map(pd.Timestamp, beside)):
        beside = None
    figure = figures.over_time(
        seen.asked, title=numbers(seen), names=seen.names, until=seen.until, span=beside
    )
    st.header("Traffic")
    layout.show(layout.panel(figure, alt(seen), dark=layout.dark()), key="traffic")
    layout.note(f"{plain(sentence(seen))} {latency(seen)}")


def _fills(seen: Traffic, start: pd.Timestamp, end: pd.Timestamp) -> bool:
    table = seen.asked.windows()
    return table["at"].iloc[-1] - table["at"].iloc[0] >= (end - start) / 10


def sentence(seen: Traffic) -> str:
    """The newest full window and the version that answers."""
    full = seen.asked.windows(until=seen.until)["rate"].notna().any()
    when = f"Newest full {WORDS[seen.asked.every]}" if full else "So far"
    return f"{when}: {', '.join(filter(None, [numbers(seen), version(seen)]))}."


def numbers(seen: Traffic) -> str:
    """Rate, latency and class in the newest full window, or all there is before one is full."""
    table, shares = seen.asked.windows(until=seen.until), seen.asked.shares()
    full = table["rate"].last_valid_index()
    place = len(table) - 1 if full is None else full
    now, share = table.loc[place], shares.iloc[place]
    parts = [f"{now['rows']:,} predictions"]
    if full is not None:
        unit, seconds = figures.per(now["rate"])
        parts = [f"{_short(seconds * now['rate'])} predictions/{unit}"]
    if now["measured"]:
        what = "p99" if now["measured"] >= FEW else "slowest"
        parts.append(f"{what} {_short(now['p99'])} ms")
    if share.notna().any():
        told = "1" if set(shares) <= {"0", "1"} else share.idxmax()
        parts.append(f"{share.get(told, 0.0):.0%} {seen.names.get(told, f'class {told}')}")
    return ", ".join(parts)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def version(seen: Traffic) -> str:
    """Which version answers since when; nothing when the log names none."""
    changes = seen.asked.changes()
    if not changes:
        return ""
    at, name = changes[-1]
    day = "" if at.date() == seen.asked.newest.date() else f" on {at.day} {at:%B}"
    return f"version {name} since {at:%H:%M}{day}"


def latency(seen: Traffic) -> str:
    """What the latencies measure, or why there are none."""
    if not seen.asked.windows()["measured"].any():
        return f"Latency is not shown: {seen.unmeasured}."
    return (
        "Latency is the log's column took_ms. This course's service measures it from a request's "
        "headers to its scores, before the log's disk; a prediction took as long as its request."
    )


def alt(seen: Traffic) -> str:
    """The figure in words."""
    table, changes = seen.asked.windows(until=seen.until), seen.asked.changes()
    lanes = "predictions by time, percentiles of latency and the share of each class"
    if not table["measured"].any():
        lanes = "predictions by time and the share of each class"
    first, last = table["at"].iloc[0], table["at"].iloc[-1]
    said = f"Traffic from {first:%d %B %Y %H:%M} to {last:%d %B %Y %H:%M}, a point for each "
    said += f"{WORDS[seen.asked.every]}: {lanes}. {sentence(seen)}"
    told = "; ".join(f"{name[:40]} from {at:%d %B %H:%M}" for at, name in changes[-figures.MARKS :])
    return f"{said} Versions: {told}." if told else said
