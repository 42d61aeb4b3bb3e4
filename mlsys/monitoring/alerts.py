"""From numbers to the few alerts that somebody should read: rules as data, and their life.

A `Rule` says which number is too high or too low and for how long (k of the last n windows). Alerts
that share a cause become one `Incident`, and only incidents speak: when they open, when they grow
more severe, and when they are over. Silences keep known things quiet without forgetting them. How
a notice reaches anybody is in `delivery`; budgets and burn rates are in `slo`.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from mlsys.monitoring import rulefile
from mlsys.monitoring.errors import MonitoringError

SEVERITIES = ("info", "ticket", "page")


@dataclass(frozen=True)
class Rule:
    """When a number asks for attention.

    The `metric` of an observation must lie over `above` or under `below` in at least `k` of its
    last `n` windows; the alert ends after `n` windows in a row within bounds. `labels` narrows the
    rule to observations with these labels. Alerts with the same values of the `group` labels are
    one incident: ("model",) makes one of all the columns that a broken pipeline moves.
    """

    name: str
    metric: str
    severity: str = "ticket"
    above: float | None = None
    below: float | None = None
    k: int = 2
    n: int = 3
    labels: Mapping[str, str] = field(default_factory=dict)
    group: tuple[str, ...] = ("model",)
    advice: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise MonitoringError(
                f"A severity is one of {', '.join(SEVERITIES)}, not {self.severity!r}."
            )
        if (self.above is None) == (self.below is None):
            raise MonitoringError(f"Rule {self.name!r} needs either above or below, and not both.")
        if not 1 <= self.k <= self.n <= 10_000:
            raise MonitoringError(
                f"Rule {self.name!r} asks for {self.k} of {self.n} windows; k lies from 1 to n."
            )

    @property
    def sentence(self) -> str:
        bound = f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"
        return f"{self.metric} {bound} in {self.k} of {self.n} windows"

    def broken(self, value: float) -> bool:
        """Is the value out of bounds? A missing value (nan) is not."""
        return value > self.above if self.above is not None else value < self.below


@dataclass(frozen=True)
class Silence:
    """From `start` until `end` nobody is told of alerts with these labels; `why` is for readers.

    The label "rule" is the rule's name. An alert that outlasts its silence speaks then.
    """

    start: datetime
    end: datetime
    why: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for moment in (self.start, self.end):
            if moment.tzinfo is None:
                raise MonitoringError(f"The silence {self.why!r} needs times with a zone.")
        if self.end <= self.start:
            raise MonitoringError(f"The silence {self.why!r} ends before it starts.")

    def covers(self, at: datetime, labels: Mapping[str, str]) -> bool:
        return self.start <= at < self.end and _match(self.labels, labels)


@dataclass(frozen=True)
class Alert:
    """One rule broken by one series of numbers, since a moment."""

    rule: str
    severity: str
    labels: Mapping[str, str]
    since: datetime
    value: float
    sentence: str


@dataclass(frozen=True)
class Notice:
    """What is delivered: an incident that `opened`, `rose` in severity or was `resolved`."""

    event: str
    at: datetime
    group: Mapping[str, str]
    severity: str
    sentence: str
    alerts: tuple[Alert, ...]
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, times as ISO text: what a webhook sends."""
        alerts = [
            {**vars(one), "labels": dict(one.labels), "since": one.since.isoformat()}
            for one in self.alerts
        ]
        return {
            **vars(self),
            "at": self.at.isoformat(),
            "group": dict(self.group),
            "alerts": alerts,
        }


@dataclass(frozen=True)
class _Incident:
    key: tuple
    opened: datetime
    members: Mapping[tuple, Alert]
    told: str | None  # the severity that was last told


def _match(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())


class Alerts:
    """The rules at work: `observe` takes numbers, `advance` ends a window and returns notices.

    State is bounded: n flags for each rule and series that was seen.
    """

    def __init__(self, rules: Iterable[Rule], silences: Iterable[Silence] = ()) -> None:
        self.rules = tuple(rules)
        names = [rule.name for rule in self.rules]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise MonitoringError(f"Two rules are called {twice.pop()!r}; a name is used once.")
        self.silences = list(silences)
        self._flags: dict[tuple, deque[bool]] = {}
        self._open: dict[tuple, Alert] = {}
        self._incidents: dict[tuple, _Incident] = {}

    def observe(self, at: datetime, metric: str, value: float, **labels: str) -> None:
        """One number of the window that ends at `at`; nan says that there is none."""
        if at.tzinfo is None:
            raise MonitoringError(f"The time {at} has no zone; use UTC.")
        if value != value:
            return
        for rule in self.rules:
            if rule.metric != metric or not _match(rule.labels, labels):
                continue
            key = (rule.name, *sorted(labels.items()))
            flags = self._flags.setdefault(key, deque(maxlen=rule.n))
            flags.append(rule.broken(value))
            if sum(flags) >= rule.k:
                since = self._open[key].since if key in self._open else at
                said = f"{_place(labels)}{rule.sentence}: now {value:.3g}"
                self._open[key] = Alert(rule.name, rule.severity, labels, since, value, said)
            elif key in self._open and len(flags) == rule.n and not any(flags):
                del self._open[key]

    def advance(self, at: datetime) -> list[Notice]:
        """End the window: what has to be told now, at most one notice an incident."""
        members: dict[tuple, dict[tuple, Alert]] = {}
        for key, alert in self._open.items():
            rule = self._rule(alert.rule)
            group = tuple((name, alert.labels.get(name, "")) for name in rule.group)
            members.setdefault(group, {})[key] = alert
        notices = []
        for group, found in members.items():
            before = self._incidents.get(group, _Incident(group, at, {}, None))
            audible = [
                alert
                for alert in found.values()
                if not any(
                    s.covers(at, {**alert.labels, "rule": alert.rule}) for s in self.silences
                )
            ]
            told = before.told
            worst = max((alert.severity for alert in audible), key=SEVERITIES.index, default=None)
            if worst and (told is None or SEVERITIES.index(worst) > SEVERITIES.index(told)):
                notices.append(self._notice("rose" if told else "opened", at, group, audible))
                told = worst
            self._incidents[group] = replace(before, members=found, told=told)
        for group in [group for group in self._incidents if group not in members]:
            over = self._incidents.pop(group)
            if over.told:
                was = list(over.members.values())
                notices.append(self._notice("resolved", at, group, was, over.told))
        return notices

    def _rule(self, name: str) -> Rule:
        return next(rule for rule in self.rules if rule.name == name)

    def _notice(
        self, event: str, at: datetime, group: tuple, alerts: list[Alert], severity: str = ""
    ) -> Notice:
        ordered = sorted(alerts, key=lambda one: (-SEVERITIES.index(one.severity), one.since))
        first = ordered[0]
        others = len(ordered) - 1
        more = f" (and {others} more with it)" if others else ""
        over = "Over: " if event == "resolved" else ""
        return Notice(
            event,
            at,
            dict(group),
            severity or first.severity,
            f"{over}{first.sentence}{more}.",
            tuple(ordered),
            self._rule(first.rule).advice,
        )

    @property
    def firing(self) -> list[Alert]:
        """The alerts that are open now, silenced ones too; the most severe first."""
        return sorted(self._open.values(), key=lambda one: -SEVERITIES.index(one.severity))


def _place(labels: Mapping[str, str]) -> str:
    return f"{', '.join(labels.values())}: " if labels else ""


_RULE_TYPES = {
    "name": str,
    "metric": str,
    "severity": str,
    "above": (int, float),
    "below": (int, float),
    "k": int,
    "n": int,
    "labels": dict,
    "group": list,
    "advice": str,
}
_SILENCE_TYPES = {"start": datetime, "end": datetime, "why": str, "labels": dict}


def from_toml(text: str) -> tuple[tuple[Rule, ...], tuple[Silence, ...]]:
    """Rules and silences from [[rule]] and [[silence]] tables.

    Raises MonitoringError: one sentence with the line.
    """
    document = rulefile.read(text, "alert rules")
    for name in document:
        if name not in ("rule", "silence"):
            raise MonitoringError(
                f"Alert rules hold [[rule]] and [[silence]]; {name!r} is neither."
            )
    made: dict[str, list] = {"rule": [], "silence": []}
    for name, kind, types in (("rule", Rule, _RULE_TYPES), ("silence", Silence, _SILENCE_TYPES)):
        tables = document.get(name, [])
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            raise MonitoringError(f"Line {rulefile.line_of(text, name)}: write [[{name}]].")
        for index, given in enumerate(tables):
            made[name].append(
                rulefile.build(
                    kind,
                    given,
                    types,
                    lambda key, name=name, index=index: rulefile.line_of(text, name, key, index),
                )
            )
    return tuple(made["rule"]), tuple(made["silence"])


def to_toml(rules: Sequence[Rule], silences: Sequence[Silence] = ()) -> str:
    """The text from which `from_toml` makes the same rules and silences."""
    tables = [("[[rule]]", _given(rule)) for rule in rules]
    tables += [("[[silence]]", _given(silence)) for silence in silences]
    return rulefile.write(tables)


def _given(one: Rule | Silence) -> dict[str, Any]:
    return {name: value for name, value in vars(one).items() if value not in ({}, "", None)}


def windows_to_notices(
    alerts: Alerts, windows: Iterable[tuple[datetime, Sequence[tuple[str, float, Mapping]]]]
) -> list[Notice]:
    """Run recorded windows, each (end, [(metric, value, labels), …]), through the rules."""
    found = []
    for at, numbers in windows:
        for metric, value, labels in numbers:
            alerts.observe(at, metric, value, **labels)
        found += alerts.advance(at)
    return found
