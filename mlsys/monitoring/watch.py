"""All views of a stretch of traffic on one time axis: what a dashboard or a person on call reads.

`watch` cuts live rows into windows and says for each what quality, drift, the estimate without
labels, the labels known by then and the rules had to say, each with what was knowable at that
window's end and nothing later. `replay` hands it a scene, `of_store` a running service's log;
`follow` looks at such a log again and again and tells what is new.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from mlsys.monitoring import quality
from mlsys.monitoring.alerts import Alerts, Notice, Rule, Silence
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.estimation import CANNOT_SEE, calibrate, estimate_accuracy
from mlsys.monitoring.labels import known_at
from mlsys.monitoring.performance import wilson
from mlsys.monitoring.profiles import profile
from mlsys.monitoring.quality import Checks, Finding
from mlsys.monitoring.scenes import Scene
from mlsys.monitoring.store import Store
from mlsys.monitoring.traffic import FEATURES, Traffic, traffic
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


@dataclass(frozen=True)
class Watch:
    """`windows`, one row each: at (its end), rows, drifted (columns), worst (column), effect,
    broken (share of the worst finding), estimate, estimate_low, estimate_high, known,
    known_low, known_high, labelled (labels of the last `label_windows` windows that had come by
    `at`), usual (what labels of those ages said in the reference: hold `known` against it),
    truth (accuracy with every label, nan without), notices (count).

    `reports` and `findings` have an entry a window. `reference` is the accuracy then.
    """

    windows: pd.DataFrame
    reports: tuple[Report, ...]
    findings: tuple[tuple[Finding, ...], ...]
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


def watch(
    reference: pd.DataFrame,
    live: pd.DataFrame,
    *,
    every: str = "1D",
    rules: Sequence[Rule] = RULES,
    silences: Sequence[Silence] = (),
    checks: Checks | None = None,
    drift: Rules | None = None,
    label_windows: int = 7,
    change_at: pd.Timestamp | None = None,
    columns: Sequence[str] = WATCHED,
) -> Watch:
    """Watch live rows (columns of `Traffic.live`; label and label_at may be missing) by window.

    The reference needs labels; of its columns those in `columns` are watched. Without `checks` they
    are suggested from it; without `drift` a column must move in two of three windows. Raises
    MonitoringError for an empty side.
    """
    for name, rows in (("reference", reference), ("live rows", live)):
        if not len(rows):
            raise MonitoringError(f"There is nothing to watch: the {name} have no rows.")
    inputs = [name for name in columns if name in reference]
    checks = checks or quality.suggest(reference[inputs])
    drift = drift or Rules(k=2, n=3)
    before = profile(reference[inputs])
    calibrator = calibrate(reference["score"], reference["label"])
    accuracy = float((reference["label"] == reference["prediction"]).mean())
    early = _usual_accuracy(reference, every, label_windows, accuracy)
    engine = Alerts(rules, silences)
    profiles, reports, findings, notices, table = [], [], [], [], []
    start = live["at"].dt.floor(every)
    for number, window in enumerate(sorted(start.unique())):
        rows = live[start == window]
        at = window + pd.Timedelta(every)
        profiles = [*profiles[1 - drift.n :], profile(rows[inputs], like=before)]
        report = judge(before, profiles[-drift.n :], rules=drift)
        found = tuple(quality.check(rows[inputs], checks, now=at))
        estimate = estimate_accuracy(calibrator, rows["score"])
        recent = live[live["at"] >= at - label_windows * pd.Timedelta(every)]
        known = known_at(recent, at)
        share = wilson(int((known["label"] == known["prediction"]).sum()), len(known))
        usual = early[min(number, label_windows - 1)]
        ever = rows[rows["label"].notna()]
        truth = (ever["label"] == ever["prediction"]).mean() if len(ever) else float("nan")
        broken = max((one.share for one in found), default=0.0)
        worst = report.verdicts[0]
        for metric, value in (
            ("quality", broken),
            ("drifted columns", float(len(report.drifted))),
            # A loss counts as far as it is sure: from the near end of its interval.
            ("estimated loss of accuracy", accuracy - estimate.high),
            ("known loss of accuracy", usual - share.high if share.n else float("nan")),
        ):
            engine.observe(at, metric, value, model="spam")
        told = engine.advance(at)
        notices += told
        reports.append(report)
        findings.append(found)
        table.append(
            (at, len(rows), len(report.drifted), worst.column, worst.effect, broken,
             estimate.value, estimate.low, estimate.high, share.value, share.low, share.high,
             share.n, usual, truth, len(told))
        )  # fmt: skip
    names = ["at", "rows", "drifted", "worst", "effect", "broken"]
    names += ["estimate", "estimate_low", "estimate_high", "known", "known_low", "known_high"]
    names += ["labelled", "usual", "truth", "notices"]
    windows = pd.DataFrame(table, columns=names)
    return Watch(windows, tuple(reports), tuple(findings), tuple(notices), accuracy, change_at)


def _usual_accuracy(
    reference: pd.DataFrame, every: str, most: int, accuracy: float
) -> tuple[float, ...]:
    """Accuracy by the labels that had come so far, over the last 1 to `most` windows, averaged over
    the reference's days: labels that come early are not like the rest (a complaint is quick, its
    absence takes days), so a live number of that kind is compared with one of the same kind.
    """
    if not {"at", "label_at"} <= set(reference.columns):
        return (accuracy,) * most
    step, right = pd.Timedelta(every), (reference["label"] == reference["prediction"]).to_numpy()
    at, told = reference["at"], reference["label_at"]
    ends = sorted(at.dt.floor(every).unique())
    made = []
    for windows in range(1, most + 1):
        good = seen = 0
        for end in (one + step for one in ends[windows - 1 :]):
            known = ((at >= end - windows * step) & (at < end) & (told <= end)).to_numpy()
            good, seen = good + int(right[known].sum()), seen + int(known.sum())
        made.append(good / seen if seen else accuracy)
    return tuple(made)


def replay(scene: str | Scene | Traffic, *, per_day: int = 500, seed: int = 0, **settings) -> Watch:
    """Watch a scene from its first day to its last."""
    made = scene if isinstance(scene, Traffic) else traffic(scene, per_day=per_day, seed=seed)
    return watch(made.reference, made.live, change_at=made.change_at, **settings)


def of_store(
    store: Store, reference: pd.DataFrame, *, before: pd.Timestamp | None = None, **settings
) -> Watch:
    """Watch the live log of a running service, or its rows older than `before`."""
    live = store.joined().to_pandas()
    if "score" not in live:
        raise MonitoringError(f"The log in {store.folder} has no predictions yet.")
    live["at"] = live["at"].dt.as_unit("us")
    return watch(reference, live if before is None else live[live["at"] < before], **settings)


def follow(
    clock: Iterable[pd.Timestamp],
    store: Store,
    reference: pd.DataFrame,
    *,
    tell: Callable[[Notice], object],
    start: pd.Timestamp,
    every: str = "7D",
    **settings,
) -> Watch:
    """Look at a live log at `start` and then regularly, while `clock` (the log's own time) runs.

    Each look judges all rows so far and tells the notices that the looks before it had not. Returns
    the last look; raises MonitoringError when the clock stops before the first.
    """
    told, due, seen = 0, start, None
    for now in clock:
        if now >= due:
            seen = of_store(store, reference, before=due, **settings)
            for notice in seen.notices[told:]:
                tell(notice)
            told, due = len(seen.notices), due + pd.Timedelta(every)
    if seen is None:
        raise MonitoringError(f"The clock stopped before {start}: nobody has looked at the log.")
    return seen
