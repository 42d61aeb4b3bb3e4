"""Windows of live traffic: each judged against the reference, its labels counted as they come.

`learn` sums a reference up once, `judge_rows` judges the rows of a window, `arrivals` counts labels
by the window's end at which they were there, and `together` makes of judged windows what a person
reads. Once judged, a window needs its rows no more: labels that come later change counts alone.
Which rows make a window is for `watch`, which has them all, and for `watcher`, which reads a log.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import pandas as pd

from mlsys.monitoring import quality
from mlsys.monitoring.alerts import Alerts, Notice, Rule, Silence
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.estimation import CANNOT_SEE, Calibrator, calibrate, estimate_accuracy
from mlsys.monitoring.intervals import Interval, wilson
from mlsys.monitoring.labels import known_at
from mlsys.monitoring.profiles import Profile, profile
from mlsys.monitoring.quality import Checks, Finding
from mlsys.monitoring.traffic import FEATURES
from mlsys.monitoring.verdict_report import Report
from mlsys.monitoring.verdicts import Rules, judge

WATCHED = (*FEATURES, "score")
RULES = (
    Rule("broken data", "quality", "page", above=0.2, k=2, n=2,
         advice="Look at the pipeline before the model: units, missing columns, renamed values."),
    Rule("inputs drifted", "drifted columns", "ticket", above=0, k=2, n=3,
         advice="See whether the estimate or the labels moved too; drift alone does no harm."),
    Rule("estimate is low", "estimated loss of accuracy", "ticket", above=0.03, k=2, n=3,
         advice="Label a sample of the newest rows and compare."),
    Rule("accuracy is low", "known loss of accuracy", "page", above=0.03, k=2, n=3,
         advice="Roll back or retrain: the labels say that it is real."),
)  # fmt: skip
EVER = pd.Timestamp.max.tz_localize("UTC")
_TABLE = (
    "at", "rows", "drifted", "worst", "effect", "broken",
    "estimate", "estimate_low", "estimate_high", "known", "known_low", "known_high",
    "labelled", "usual", "truth", "notices",
)  # fmt: skip
_ARRIVED = ("window", "value", "low", "high", "labelled", "predictions", "known")


@dataclass(frozen=True)
class Watch:
    """`windows`, one row each: at (its end), rows, drifted (columns), worst (column), effect,
    broken (share of the worst finding), estimate, estimate_low, estimate_high, known,
    known_low, known_high, labelled (labels of the last `label_windows` windows that had come by
    `at`), usual (what labels of those ages said in the reference: hold `known` against it),
    truth (accuracy with every label, nan without), notices (count).

    `reports` and `findings` have an entry a window. `arrived` is each window's accuracy by the
    labels that have come by the end of the last, as `labels.as_known` gives it. `reference` is the
    accuracy then.
    """

    windows: pd.DataFrame
    reports: tuple[Report, ...]
    findings: tuple[tuple[Finding, ...], ...]
    arrived: pd.DataFrame
    notices: tuple[Notice, ...]
    reference: float
    change_at: pd.Timestamp | None
    cannot_see: str = CANNOT_SEE

    @property
    def sentence(self) -> str:
        """What is the matter now, in a sentence."""
        last = self.windows.iloc[-1]
        parts = [self.reports[-1].sentence.rstrip(".")]
        if self.findings[-1]:
            parts.insert(0, self.findings[-1][0].sentence.rstrip("."))
        parts.append(f"accuracy was {self.reference:.1%}, is estimated at {last['estimate']:.1%}")
        if last["known"] == last["known"]:
            parts[-1] += f", and is {last['known']:.1%} by the {last['labelled']:.0f} newest labels"
        return "; ".join(parts) + "."

    @property
    def told(self) -> str:
        """How many incidents were opened for nothing, and how late the first real one was."""
        end = self.change_at or self.windows["at"].iloc[-1]
        opened = [one.at for one in self.notices if one.event == "opened"]
        later = [(at - end) / pd.Timedelta("1D") for at in opened if at > end]
        return f"{len(opened) - len(later)} false alarms" + (
            f", told after {later[0]:.1f} days" if later else ""
        )


@dataclass(frozen=True)
class Standard:
    """What windows are held against: the reference, summed up, and the settings of `learn`."""

    every: pd.Timedelta
    inputs: tuple[str, ...]
    checks: Checks
    drift: Rules
    rules: tuple[Rule, ...]
    silences: tuple[Silence, ...]
    label_windows: int
    change_at: pd.Timestamp | None
    profile: Profile
    calibrator: Calibrator
    accuracy: float
    usual: tuple[float, ...]


def learn(
    reference: pd.DataFrame,
    *,
    every: str = "1D",
    rules: Sequence[Rule] = RULES,
    silences: Sequence[Silence] = (),
    checks: Checks | None = None,
    drift: Rules | None = None,
    label_windows: int = 7,
    change_at: pd.Timestamp | None = None,
    columns: Sequence[str] = WATCHED,
) -> Standard:
    """Sum up labelled reference rows; those of their columns that are in `columns` are watched.

    Without `checks` they are suggested from the reference; without `drift` a column must move in
    two of three windows. `change_at` is the true moment of change, where somebody knows it. Raises
    MonitoringError for a reference that is empty or has too few labels.
    """
    if not len(reference):
        raise MonitoringError("There is nothing to watch: the reference has no rows.")
    inputs = [name for name in columns if name in reference]
    accuracy = float((reference["label"] == reference["prediction"]).mean())
    return Standard(
        every=pd.Timedelta(every),
        inputs=tuple(inputs),
        checks=checks or quality.suggest(reference[inputs]),
        drift=drift or Rules(k=2, n=3),
        rules=tuple(rules),
        silences=tuple(silences),
        label_windows=label_windows,
        change_at=change_at,
        profile=profile(reference[inputs]),
        calibrator=calibrate(reference["score"], reference["label"]),
        accuracy=accuracy,
        usual=_usual_accuracy(reference, pd.Timedelta(every), label_windows, accuracy),
    )


def _usual_accuracy(
    reference: pd.DataFrame, step: pd.Timedelta, most: int, accuracy: float
) -> tuple[float, ...]:
    """Accuracy by the labels that had come so far, over the last 1 to `most` windows, averaged over
    the reference's days: labels that come early are not like the rest (a complaint is quick, its
    absence takes days), so a live number of that kind is compared with one of the same kind.
    """
    if not {"at", "label_at"} <= set(reference.columns):
        return (accuracy,) * most
    counts = [
        (start + step, arrivals(rows, step))
        for start, rows in reference.groupby(reference["at"].dt.floor(step))
    ]
    made = []
    for windows in range(1, most + 1):
        good = seen = 0
        for end, _ in counts[windows - 1 :]:
            since = end - windows * step
            n, right = _come([one for at, one in counts if since < at <= end], micros(end))
            good, seen = good + right, seen + n
        made.append(good / seen if seen else accuracy)
    return tuple(made)


Arrivals = dict[float, list[int]]
"""Of a window's labels how many came, and how many of those the model had right, by the first
window's end by which they were there (µs since 1970; inf for a label without a time)."""


def arrivals(rows: pd.DataFrame, every: pd.Timedelta) -> Arrivals:
    """Count the labels of a window's rows (prediction, label, at, label_at).

    Raises MonitoringError for a label that is older than its prediction.
    """
    counts: Arrivals = defaultdict(lambda: [0, 0])
    told = rows[rows["label"].notna()]
    right = (told["label"] == told["prediction"]).to_numpy()
    end, dated = np.full(len(told), inf), told["label_at"].notna().to_numpy()
    if dated.any():
        at = known_at(told[["at", "label_at"]], EVER)["label_at"]
        end[dated] = at.dt.ceil(every).dt.as_unit("us").astype("int64")
    add_arrivals(counts, end, right, np.ones(len(told)))
    return counts


def add_arrivals(counts: Arrivals, end: np.ndarray, right: np.ndarray, sign: np.ndarray) -> None:
    """Count more labels, by the windows' ends at which they are there; with sign −1 fewer."""
    ends, place = np.unique(end, return_inverse=True)
    many, good = np.bincount(place, sign), np.bincount(place, sign * right)
    for at, n, well in zip(ends.tolist(), many.tolist(), good.tolist()):
        counts[at][0] += int(n)
        counts[at][1] += int(well)


def micros(at: pd.Timestamp) -> int:
    """µs since 1970."""
    return at.value // 1_000


def _come(counts: Iterable[Arrivals], by: float) -> tuple[int, int]:
    """How many labels were there at a window's end, and how many the model had right."""
    there = [pair for one in counts for at, pair in one.items() if at <= by]
    return sum(n for n, _ in there), sum(right for _, right in there)


@dataclass
class Window:
    """A window, judged. `profile` is dropped when no later verdict needs it; `labels` grow."""

    start: pd.Timestamp
    rows: int
    profile: Profile | None
    report: Report
    findings: tuple[Finding, ...]
    estimate: Interval
    labels: Arrivals


def judge_rows(
    standard: Standard,
    start: pd.Timestamp,
    rows: pd.DataFrame,
    earlier: Sequence[Window],
    labels: Arrivals,
) -> Window:
    """Judge the rows of the window that begins at `start`; `earlier` windows are the oldest first.

    Raises MonitoringError when they have no sound score or nothing that can be compared.
    """
    inputs = rows.reindex(columns=list(standard.inputs))
    made = profile(inputs, like=standard.profile)
    before = [one.profile for one in earlier[max(0, len(earlier) - standard.drift.n + 1) :]]
    return Window(
        start=start,
        rows=len(rows),
        profile=made,
        report=judge(standard.profile, [*before, made], rules=standard.drift),
        findings=tuple(quality.check(inputs, standard.checks, now=start + standard.every)),
        estimate=estimate_accuracy(standard.calibrator, rows["score"]),
        labels=labels,
    )


def together(standard: Standard, windows: Sequence[Window]) -> Watch:
    """Windows in the order of time as what a person reads; the rules run over all of them."""
    engine, step = Alerts(standard.rules, standard.silences), standard.every
    notices, table = [], []
    for number, one in enumerate(windows):
        at, most = one.start + step, standard.label_windows
        recent = [
            other.labels
            for other in windows[max(0, number - most + 1) : number + 1]
            if other.start >= at - most * step
        ]
        labelled, right = _come(recent, micros(at))
        known = wilson(right, labelled)
        usual = standard.usual[min(number, most - 1)]
        broken = max((found.share for found in one.findings), default=0.0)
        worst, drifted = one.report.verdicts[0], len(one.report.drifted)
        for metric, value in (
            ("quality", broken),
            ("drifted columns", float(drifted)),
            # A loss counts as far as it is sure: from the near end of its interval.
            ("estimated loss of accuracy", standard.accuracy - one.estimate.high),
            ("known loss of accuracy", usual - known.high if labelled else float("nan")),
        ):
            engine.observe(at, metric, value, model="spam")
        told = engine.advance(at)
        notices += told
        ever, good = _come([one.labels], inf)
        table.append(
            (at, one.rows, drifted, worst.column, worst.effect, broken,
             one.estimate.value, one.estimate.low, one.estimate.high,
             known.value, known.low, known.high, labelled, usual,
             good / ever if ever else float("nan"), len(told))
        )  # fmt: skip
    return Watch(
        windows=pd.DataFrame(table, columns=list(_TABLE)),
        reports=tuple(one.report for one in windows),
        findings=tuple(one.findings for one in windows),
        arrived=_arrived(windows, windows[-1].start + step),
        notices=tuple(notices),
        reference=standard.accuracy,
        change_at=standard.change_at,
    )


def _arrived(windows: Sequence[Window], now: pd.Timestamp) -> pd.DataFrame:
    rows = []
    for one in windows:
        n, right = _come([one.labels], micros(now))
        known = wilson(right, n)
        rows.append((one.start, known.value, known.low, known.high, n, one.rows, n / one.rows))
    return pd.DataFrame(rows, columns=list(_ARRIVED))
