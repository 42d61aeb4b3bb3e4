"""What was seen of a model, to take home: one HTML page and one JSON document.

The page stands alone: no script, no address, pictures as SVG in the text; a few kilobytes. All that
came from data (names of columns, categories) is escaped for HTML; in both files a text that a
spreadsheet would run as a formula has an apostrophe before it. What the sentences say is decided
by whoever makes the `Summary`.
"""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from mlsys.monitoring.alerts import Notice
from mlsys.monitoring.quality import Finding
from mlsys.monitoring.verdict_report import Report, Verdict, safe_cell

MOST = 200  # characters of a stranger's text
BARS = 12
ROWS = 500  # columns in the page's table; the JSON has them all


@dataclass(frozen=True)
class Summary:
    """All that a report says. `number` is (what, value) in words; `windows` those of `watch.Watch`.

    `not_shown` has a sentence for each view that the data do not allow, `cannot_see` those that are
    true of every report.
    """

    source: str
    sentence: str
    number: tuple[str, str]
    report: Report
    findings: Sequence[Finding] = ()
    windows: pd.DataFrame | None = None
    notices: Sequence[Notice] = ()
    reference: float = math.nan
    change_at: pd.Timestamp | None = None
    story: str = ""
    cannot_see: Sequence[str] = ()
    not_shown: Sequence[str] = ()


def to_json(summary: Summary) -> bytes:
    """Everything, as UTF-8 JSON: null for what is not a number, times as ISO text in UTC."""
    report = summary.report
    windows = [] if summary.windows is None else summary.windows.to_dict("records")
    document = {
        "format": 1,
        "source": summary.source,
        "sentence": summary.sentence,
        "number": {"what": summary.number[0], "value": summary.number[1]},
        "drift": {
            "sentence": report.sentence,
            "drifted": list(report.drifted),
            "rows": report.rows,
            "rules": {"alpha": report.alpha, "k": report.k, "n": report.n},
            "columns": report.to_frame().to_dict("records"),
            "unread": dict(report.unread),
        },
        "quality": [vars(one) for one in summary.findings],
        "performance": {"reference_accuracy": summary.reference, "windows": windows},
        "alerts": [one.to_dict() for one in summary.notices],
        "change_at": summary.change_at,
        "story": summary.story,
        "not_shown": list(summary.not_shown),
        "cannot_see": list(summary.cannot_see),
    }
    return msgspec.json.format(msgspec.json.encode(_plain(document)), indent=1)


def _plain(value: Any) -> Any:
    """Values that JSON has: no NaN, no NumPy, no formula."""
    if isinstance(value, Mapping):
        return {str(safe_cell(str(key))): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, pd.Timestamp):
        return value.isoformat() if value is not pd.NaT else None
    if value is None or value is pd.NaT:
        return None
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return safe_cell(str(value))


def to_html(summary: Summary) -> str:
    """The page."""
    report = summary.report
    parts = [
        f"<p class=number><b>{_text(summary.number[1])}</b> {_text(summary.number[0])}</p>",
        f"<p><strong>{_text(summary.sentence)}</strong></p>",
        "<h2>Columns, worst first</h2>",
        _bars(report.verdicts),
        _table(report),
        _listed("Not judged", report.unread.values()),
        _listed("Failed checks of quality", [one.sentence for one in summary.findings]),
    ]
    if summary.windows is not None and len(summary.windows):
        parts += ["<h2>Accuracy over time</h2>", _curve(summary)]
        parts.append(_listed("Alerts", [_alert(one) for one in summary.notices], "None."))
    if summary.story:
        parts += ["<h2>The scene</h2>", f"<p>{_text(summary.story)}</p>"]
    parts.append(_listed("What is not shown, and why", summary.not_shown))
    parts.append(_listed("What this report cannot see", summary.cannot_see))
    return _PAGE.format(source=_text(summary.source), body="\n".join(filter(None, parts)))


def _text(value: object) -> str:
    text = str(safe_cell(str(value)))
    text = "".join(one if one.isprintable() or one == " " else "�" for one in text)
    return html.escape(text)


def _cut(text: str, most: int = MOST) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _alert(notice: Notice) -> str:
    return f"{notice.at:%d %b %Y %H:%M}, {notice.severity}, {notice.event}: {notice.sentence}"


def _listed(title: str, sentences: Any, none: str = "") -> str:
    # dir=auto: a name in Arabic must not turn the sentences around it.
    items = "".join(f"<li dir=auto>{_text(_cut(one, 2 * MOST))}</li>" for one in sentences)
    if not items and not none:
        return ""
    return f"<h2>{_text(title)}</h2>" + (f"<ul>{items}</ul>" if items else f"<p>{none}</p>")


def _table(report: Report) -> str:
    rows = "".join(
        f"<tr{' class=bad' if one.drifted else ''}><td><bdi>{_text(_cut(one.column, 60))}</bdi>"
        f"</td><td>{'drifted' if one.drifted else 'healthy'}</td>"
        f"<td>{_short(one.effect)}</td><td>{_p(one.adjusted_p)}</td>"
        f"<td>{one.move.n:,}</td><td>{one.move.m:,}</td>"
        f"<td dir=auto>{_text(_cut(one.what))}</td></tr>"
        for one in report.verdicts[:ROWS]
    )
    left = len(report.verdicts) - ROWS
    more = f"<p>{left:,} more columns are in the JSON report.</p>" if left > 0 else ""
    return (
        "<table><thead><tr><th>column</th><th>verdict</th><th>times its floor</th>"
        "<th>adjusted p</th><th>n then</th><th>n now</th><th>what happened</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{more}"
        f"<p>Level {report.alpha:g} for the whole report; a column must be raised in {report.k} of "
        f"{report.n} windows; {report.rows:,} rows now.</p>"
    )


def _p(value: float) -> str:
    return "below 0.0001" if value < 1e-4 else f"{value:.2g}"


def _short(value: float) -> str:
    return f"{value:,.2f}" if math.isfinite(value) else "any"


def _bars(verdicts: Sequence[Verdict]) -> str:
    """How far each of the worst columns moved, in multiples of its floor, on a log scale."""
    some = [one for one in verdicts[:BARS] if math.isfinite(one.effect)]
    if not some:
        return ""
    high = max(10.0, *(one.effect for one in some))

    def x(effect: float) -> float:
        return 200 + 400 * (math.log10(max(effect, 0.1)) + 1) / (math.log10(high) + 1)

    rows = []
    for place, one in enumerate(some):
        y = 24 + 22 * place
        rows.append(
            f"<text x='192' y='{y + 13}' text-anchor='end'>{_text(_cut(one.column, 20))}</text>"
            f"<rect x='200' y='{y}' width='{x(one.effect) - 200:.1f}' height='16' "
            f"fill='{'#D55E00' if one.drifted else '#0072B2'}'/>"
            f"<text x='{x(one.effect) + 6:.1f}' y='{y + 13}'>{_short(one.effect)}</text>"
        )
    foot = 24 + 22 * len(some)
    said = "; ".join(f"{_cut(one.column, 20)} {_short(one.effect)}" for one in some)
    return _svg(
        700,
        foot + 8,
        f"How far the worst columns moved, in multiples of the floor that matters: {said}.",
        f"<line x1='{x(1):.1f}' x2='{x(1):.1f}' y1='18' y2='{foot}' stroke='#555' "
        f"stroke-dasharray='4'/><text x='{x(1):.1f}' y='12' text-anchor='middle'>the floor that "
        f"matters</text>{''.join(rows)}",
    ) + (
        "<p>Orange: drifted. Blue: under the floor, or over it by chance, or not for long enough."
        "</p>"
    )


def _curve(summary: Summary) -> str:
    """Accuracy by window: estimated, and as the labels of the time said."""
    windows = summary.windows
    values = windows[["estimate", "known"]].to_numpy(float)
    seen = np.append(values[np.isfinite(values)], summary.reference)
    low, high = float(np.nanmin(seen)) - 0.02, min(1.0, float(np.nanmax(seen)) + 0.02)

    def y(value: float) -> float:
        return 20 + 180 * (high - value) / max(high - low, 1e-9)

    step = 560 / max(len(windows) - 1, 1)
    lines = []
    for name, colour, width in (("estimate", "#0072B2", 2), ("known", "#9a4a74", 3)):
        points = " ".join(
            f"{60 + step * place:.1f},{y(value):.1f}"
            for place, value in enumerate(windows[name])
            if math.isfinite(value)
        )
        lines.append(
            f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='{width}'/>"
        )
    first, last = windows["at"].iloc[0], windows["at"].iloc[-1]
    level = y(summary.reference)
    marks = [(summary.change_at, "the change begins", 14)] if summary.change_at is not None else []
    marks += [(one.at, "first alert", 30) for one in summary.notices[:1]]
    whole = max((last - first).total_seconds(), 1.0)
    for at, name, top in marks:
        x = 60 + 560 * min(max((at - first).total_seconds() / whole, 0.0), 1.0)
        lines.append(
            f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{top}' y2='200' stroke='#555'/>"
            f"<text x='{x + 4:.1f}' y='{top + 8}'>{name}</text>"
        )
    now = windows.iloc[-1]
    said = f"Accuracy was {summary.reference:.1%} in the reference and is estimated at "
    said += f"{now['estimate']:.1%} in the newest window"
    if math.isfinite(now["known"]):
        said += f"; the {now['labelled']:,.0f} newest labels say {now['known']:.1%}"
    return (
        _svg(
            700,
            250,
            f"{said}.",
            f"<line x1='60' x2='620' y1='{level:.1f}' y2='{level:.1f}' stroke='#555' "
            f"stroke-dasharray='4'/><text x='626' y='{level + 4:.1f}'>reference</text>"
            f"<text x='54' y='28' text-anchor='end'>{high:.0%}</text>"
            f"<text x='54' y='200' text-anchor='end'>{low:.0%}</text>{''.join(lines)}"
            f"<text x='60' y='222'>{first:%d %b %Y}</text>"
            f"<text x='620' y='222' text-anchor='end'>{last:%d %b %Y}</text>"
            "<text x='60' y='244' fill='#0072B2'>estimate without labels</text>"
            "<text x='260' y='244' fill='#9a4a74'>known at the time, by labels</text>",
        )
        + f"<p>{_text(said)}.</p>"
    )


def _svg(width: int, height: int, said: str, body: str) -> str:
    return (
        f"<svg role='img' aria-label='{_text(said)}' viewBox='0 0 {width} {height}' "
        f"width='{width}' height='{height}' font-size='13'>{body}</svg>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Model monitoring report</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto;
       padding: 0 1rem; color: #2b2f36; background: #fff }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc;
         vertical-align: top }}
td:first-child, td:last-child {{ overflow-wrap: anywhere; min-width: 10rem }}
.bad td:nth-child(2) {{ color: #a23b00; font-weight: bold }}
.number b {{ font-size: 2.2rem }}
svg {{ max-width: 100%; height: auto }}
</style></head><body><main><h1>Model monitoring report</h1><p>{source}</p>
{body}
</main></body></html>
"""
