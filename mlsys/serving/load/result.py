"""What a load measured: rates, counts, histograms, and the instants themselves.

Made from the engine's record; frozen, so that two runs can be compared and none is edited.
"""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from mlsys.serving.latency import PERCENTS, Histogram
from mlsys.serving.load.engine import Record

EVENTS_KEPT = 20_000
# The generator kept up when 99 % of its requests were ready within 5 ms of their instant, or
# within a tenth of the p99 that it reports: then its own lateness is not what it measured.
LATE_SECONDS = 0.005
LATE_SHARE = 0.1


@dataclass(frozen=True, repr=False, eq=False)
class LoadResult:
    """One load on one target. Times in s, rates in requests a second.

    offered: the rate of the schedule (of the requests sent, in a closed loop). achieved: good
    answers a second, from the start to the last answer or the schedule's end. latency: from the
    instant at which a request was meant to be sent; service: from the actual send. Both count
    good answers, and time-outs with the time that was waited. lag: how late the generator itself
    was. errors by kind: "timeout", "refused", "reset", "closed", "bad reply", "status 503", "not
    sent" (the run ended before its turn), or the name of an exception.
    events: one row a request, at most EVENTS_KEPT: failures first, the others evenly thinned.
    """

    name: str
    loop: str
    seconds: float
    offered: float
    achieved: float
    planned: int
    sent: int
    ok: int
    statuses: Mapping[int, int]
    errors: Mapping[str, int]
    labels: Mapping[str, int]
    latency: Histogram
    service: Histogram
    lag: Histogram
    events: pd.DataFrame = field(repr=False)

    @property
    def failed(self) -> float:
        """Share of the planned requests without a good answer."""
        return 1 - self.ok / self.planned if self.planned else 0.0

    @property
    def kept_up(self) -> bool:
        """Whether the generator itself kept to its schedule; if not, do not trust the latency."""
        if not self.lag.count:
            return True
        allowed = LATE_SECONDS
        if self.latency.count:
            allowed = max(allowed, LATE_SHARE * self.latency.p99)
        return self.lag.p99 <= allowed

    def percentiles(self, percents: tuple[float, ...] = PERCENTS) -> pd.DataFrame:
        """Latency and service time in ms, one row a percentage."""
        columns = {"latency, ms": self.latency, "service, ms": self.service}
        return pd.DataFrame(
            {n: [1000 * t for t in h.percentiles(percents).values()] for n, h in columns.items()},
            index=pd.Index([f"p{p:g}" for p in percents], name="percentile"),
        )

    def describe(self) -> str:
        """The run in a few sentences."""
        asked = "scheduled" if self.loop == "open" else "sent"
        said = (
            f"{self.ok:,} of {self.planned:,} requests answered well"
            f" ({self.offered:,.4g} a second {asked}, {self.achieved:,.4g} answered)"
        )
        if self.latency.count:
            said += f"; latency p50 {_ms(self.latency.p50)}, p99 {_ms(self.latency.p99)}"
            if self.loop == "open":
                said += f" from the intended instant ({_ms(self.service.p99)} from the send)"
        said += "."
        if self.errors:
            kinds = sorted(self.errors.items(), key=lambda item: -item[1])
            said += " Failed: " + ", ".join(f"{n:,} {kind}" for kind, n in kinds) + "."
        if not self.kept_up:
            said += (
                f" The generator could not keep up: 1 % of its requests were at least"
                f" {_ms(self.lag.p99)} late by its own fault, so part of the latency is its own;"
                " lower the rate, or leave it more of the machine (apart=True: a GIL of its own)."
            )
        return said

    def __repr__(self) -> str:
        return f"<load on {self.name}: {self.describe()}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th scope='row' style='text-align:left'>{percent}</th>"
            + "".join(f"<td>{value:.3g} ms</td>" for value in row)
            + "</tr>"
            for percent, row in zip(self.percentiles().index, self.percentiles().to_numpy())
        )
        return (
            f"<p>{html.escape(self.describe())}</p><table>"
            f"<caption>{html.escape(self.name)}</caption>"
            "<thead><tr><th scope='col'></th><th scope='col'>latency</th>"
            f"<th scope='col'>service</th></tr></thead><tbody>{rows}</tbody></table>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("latency", "service", "lag"):
            plain[name] = plain[name].to_dict()
        # NaN is not JSON: an instant that never came is null.
        events = self.events.astype(object).where(self.events.notna(), None)
        return plain | {"events": events.to_dict("list")}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> LoadResult:
        """What `to_dict` gave, through JSON as well."""
        values = dict(plain)
        for name in ("latency", "service", "lag"):
            values[name] = Histogram.from_dict(values[name])
        values["statuses"] = {int(status): n for status, n in values["statuses"].items()}
        times = ["intended", "sent", "done"]
        events = pd.DataFrame(values["events"])
        values["events"] = events.astype(dict.fromkeys(times, float))
        return cls(**values)


def summarise(record: Record, *, name: str, loop: str, seconds: float) -> LoadResult:
    """The result of a record; `seconds` is the length of the schedule."""
    intended, ready, sent, done = (
        np.array(column, dtype=float)
        for column in (record.intended, record.ready, record.sent, record.done)
    )
    errors = np.array(record.error, dtype=object)
    ok = errors == ""
    # A request that was given up has lasted at least as long: leaving it out would flatter.
    timed = ok | (errors == "timeout") | ((errors == "not sent") & ~np.isnan(done))
    went = ~np.isnan(sent)
    length = max(seconds, float(np.nanmax(done, initial=0.0)))
    planned = len(intended)
    return LoadResult(
        name=name,
        loop=loop,
        seconds=length,
        offered=planned / ((loop == "open" and seconds) or length) if planned else 0.0,
        achieved=float(ok.sum()) / length if length else 0.0,
        planned=planned,
        sent=int(went.sum()),
        ok=int(ok.sum()),
        statuses=dict(sorted(Counter(s for s in record.status if s).items())),
        errors=dict(Counter(kind for kind in record.error if kind)),
        labels=dict(Counter(label for label in record.label if label).most_common(100)),
        latency=Histogram.of(np.maximum(done - intended, 0)[timed]),
        service=Histogram.of(np.maximum(done - sent, 0)[timed & went]),
        lag=Histogram.of(np.maximum(ready - intended, 0)[~np.isnan(ready)]),
        events=_events(record, intended, sent, done, ok),
    )


def _events(record: Record, intended: Any, sent: Any, done: Any, ok: Any) -> pd.DataFrame:
    kept = np.arange(len(intended))
    if len(kept) > EVENTS_KEPT:
        bad, good = kept[~ok], kept[ok]
        bad = bad[:: math.ceil(len(bad) / (EVENTS_KEPT // 2))] if len(bad) else bad
        good = good[:: math.ceil(len(good) / (EVENTS_KEPT - len(bad)))]
        kept = np.sort(np.concatenate([bad, good]))
    return pd.DataFrame(
        {
            "request": kept,
            "intended": intended[kept],
            "sent": sent[kept],
            "done": done[kept],
            "ok": ok[kept],
            "status": np.array(record.status, dtype=int)[kept],
            "label": np.array(record.label, dtype=object)[kept],
            "error": np.array(record.error, dtype=object)[kept],
            "lane": np.array(record.lane, dtype=int)[kept],
        }
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
