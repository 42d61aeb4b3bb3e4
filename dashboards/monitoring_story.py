"""What the page *Model monitoring* says: its verdict, its one number, its lists, in words."""

from dataclasses import dataclass

from dashboards.address import quoted
from dashboards.monitoring_seen import BOUND, Seen
from mlsys.monitoring.estimation import CANNOT_SEE
from mlsys.monitoring.verdict_report import Verdict, title_of

BLIND = (
    CANNOT_SEE,
    "A column can move inside its threshold for weeks; two columns can change together while each "
    "alone stays as it was.",
    "Labels come late and not for every row: the newest points rest on few of them, and on those "
    "that come early, which may not be like the rest.",
    "A change that all rows of the reference have too, such as a mistake in both, is not a change.",
)


@dataclass(frozen=True)
class Answer:
    """The page's verdict: `level` is fine, caution or danger."""

    level: str
    sentence: str
    more: str = ""


def plain(text: str) -> str:
    """Text from data for Markdown: every mark of it escaped, cut to a readable length."""
    cut = text if len(text) <= 220 else text[:219] + "…"
    shown = "".join(one if one.isprintable() else "�" for one in cut)
    return "".join(f"\\{one}" if one in _MARKS else one for one in shown)


LEAST = 100  # labels, for a sentence on accuracy
_MARKS = "\\`*_{}[]()<>#+-!|~$:^&"


def verdict(seen: Seen) -> Answer:
    """Has the data changed, and does it matter? Sentences in plain text."""
    drifted, total = len(seen.report.drifted), len(seen.report.verdicts)
    hurts = seen.fell > BOUND
    feared = seen.estimated_fall > BOUND
    if seen.broken is not None:
        return Answer(
            "danger",
            f"The data is broken: {seen.broken.sentence}",
            f"{_change(seen)} {_alerts(seen)}".strip(),
        )
    moved = f"{drifted} of {total} columns drifted"
    if drifted and hurts:
        return Answer(
            "danger", f"The data changed, and it hurts: {moved}, and {_fell(seen)}.", _more(seen)
        )
    if hurts:
        return Answer(
            "danger",
            f"No column drifted, and yet {_fell(seen)}: only labels show it.",
            _alerts(seen),
        )
    if drifted and feared:
        return Answer(
            "danger",
            f"The data changed, and it should hurt: {moved}, and accuracy is estimated at "
            f"{seen.estimate.value:.1%} ({seen.before:.1%} in the reference).",
            _more(seen),
        )
    if drifted:
        return Answer("caution", f"The data changed: {moved}{_harm(seen)}.", _more(seen))
    if seen.known is None:
        return Answer(
            "fine",
            f"Nothing drifted: none of {total} columns moved by more than chance and its floor."
            f"{_unjudged(seen)}",
            "Without labels nobody knows whether the model is still right.",
        )
    kept = f"accuracy {_held(seen)}"
    return Answer("fine", f"Nothing to do: none of {total} columns drifted, and {kept}.",
                  _alerts(seen))  # fmt: skip


def _unjudged(seen: Seen) -> str:
    unread = len(seen.report.unread)
    return f" {unread} more could not be judged." if unread else ""


def _fell(seen: Seen) -> str:
    return f"accuracy fell from {seen.before:.1%} to {seen.known.value:.1%}"


def _held(seen: Seen) -> str:
    if seen.known.n < LEAST:
        return f"is {seen.known.value:.1%} by {seen.known.n} labels only, too few to tell"
    if seen.fell > 0:
        return f"slipped from {seen.before:.1%} to {seen.known.value:.1%}, short of an alarm"
    return f"holds at {seen.known.value:.1%} ({seen.before:.1%} in the reference)"


def _harm(seen: Seen) -> str:
    if seen.known is not None:
        return f", and accuracy {_held(seen)}"
    return "; without labels nobody knows whether it hurts"


def _change(seen: Seen) -> str:
    if seen.known is None or seen.before is None:
        return "Without labels nobody knows how much it hurts."
    if seen.fell > BOUND:
        return f"Accuracy fell from {seen.before:.1%} to {seen.known.value:.1%}."
    return f"Accuracy {_held(seen)}."


def _more(seen: Seen) -> str:
    worst = seen.report.verdicts[0]
    return f"Most of all {cut(worst.column)}: {worst.what}. {_alerts(seen)}".strip()


def _alerts(seen: Seen) -> str:
    opened = [one for one in seen.notices if one.event == "opened"]
    if not opened:
        return "" if seen.windows is None else "No alert so far."
    first = opened[0]
    days = ""
    if seen.change_at is not None and first.at > seen.change_at:
        late = (first.at - seen.change_at).total_seconds() / 86_400
        days = f", {late:.0f} days after the change"
    return f"First alert on {first.at.day} {first.at:%B}{days}."


def cut(text: str, most: int = 40) -> str:
    """A stranger's name, short enough for a sentence."""
    return text if len(text) <= most else text[: most - 1] + "…"


def number(seen: Seen) -> tuple[str, str, str | None]:
    """The one number: what it is, its value, and how it changed."""
    if seen.known is not None:
        what = f"accuracy, by {seen.known.n:,} labels"
        change = 100 * (seen.known.value - seen.before)
        return what, f"{seen.known.value:.1%}", f"{change:+.1f} points"
    if seen.estimate is not None:
        change = 100 * (seen.estimate.value - seen.before)
        return "accuracy, estimated", f"{seen.estimate.value:.1%}", f"{change:+.1f} points"
    report = seen.report
    return "columns drifted", f"{len(report.drifted)} of {len(report.verdicts)}", None


def column_label(one: Verdict) -> str:
    """A column's line in the list, as Markdown."""
    head = quoted(one.column)
    return f"{head} {'drifted' if one.drifted else 'is healthy'}: {plain(one.what)}"


def column_title(one: Verdict) -> str:
    """What to see in a column's figure, in plain text."""
    name = cut(one.column, 28)
    if not one.move.m:
        return f"{name} has no values any more"
    if not one.drifted:
        return f"{name} stays where it was: {100 * one.move.distance:.0f} points at most"
    gaps = abs(one.move.missing[1] - one.move.missing[0])
    if not gaps <= max(one.move.distance, one.move.unseen):
        return f"{name}: {one.move.missing[1]:.0%} of its values are missing"
    return f"{name}: {title_of(one.move)}"


def below(one: Verdict) -> str:
    """How to read the lower part of a column's figure."""
    if not one.move.m:
        return ""
    if one.move.kind == "category":
        return "Below: by how many points each share changed; beyond the grey lines it counts."
    return (
        "Below: how many more rows than in the reference lie at or below each value, in points; "
        "beyond the dashed lines it counts."
    )


def column_alt(one: Verdict, limit: float) -> str:
    """A column's figure in words."""
    return (
        f"Distribution of {cut(one.column)} in the reference ({one.move.n:,} values) and now "
        f"({one.move.m:,} values). {one.sentence.removeprefix(one.column).strip().capitalize()} "
        f"The threshold is {100 * limit:.1f} points."
    )


def time_title(seen: Seen) -> str:
    """What to see in the figure over time: its newest window."""
    last = seen.windows.iloc[-1]
    if last["labelled"] < LEAST:
        return f"Accuracy is estimated at {last['estimate']:.1%}; few labels have come"
    now, fell = f"{last['known']:.1%}", last["usual"] - last["known_high"]
    if fell > BOUND:
        missed = last["estimate_low"] > last["known_high"]
        return f"Accuracy fell to {now}" + (
            "; the estimate missed it" if missed else ", and the estimate fell with it"
        )
    return f"Accuracy {'slipped to' if fell > 0 else 'holds at'} {now}"


def time_alt(seen: Seen) -> str:
    """The figure over time in words."""
    windows = seen.windows
    first, last = windows["at"].iloc[0], windows["at"].iloc[-1]
    parts = [
        f"Accuracy from {first:%d %B %Y} to {last:%d %B %Y} in {len(windows)} windows: "
        f"{seen.before:.1%} in the reference, estimated at {windows['estimate'].iloc[-1]:.1%} in "
        "the newest window"
    ]
    if seen.known is not None:
        parts.append(f"{seen.known.value:.1%} by the {seen.known.n:,} newest labels")
    drifted = int((windows["drifted"] > 0).sum())
    parts.append(f"columns drifted in {drifted} of the windows")
    told = "; ".join(
        f"{one.severity} {one.event} on {one.at:%d %B}: {one.alerts[0].rule}"
        for one in seen.notices
    )
    parts.append(f"alerts: {told}" if told else "no alert")
    return ", ".join(parts) + "."
