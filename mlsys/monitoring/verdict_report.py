"""A report as people and programs read it: a sentence, a table, JSON, HTML, CSV.

Everything that came from data (column names, categories) is escaped: for HTML, and in CSV against
being run as a formula by a spreadsheet.
"""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import pandas as pd

from mlsys.monitoring.distances import ks_by_chance
from mlsys.monitoring.drift import Move
from mlsys.monitoring.text_measures import NAMES


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one column.

    `effect` is the move in multiples of the floor that matters, `adjusted_p` its p-value after the
    correction for all columns, `raised` whether each of the last windows was over the floor and not
    by chance, the newest last.
    """

    column: str
    drifted: bool
    move: Move
    effect: float
    adjusted_p: float
    raised: tuple[bool, ...]

    @property
    def what(self) -> str:
        """What happened to the column, as a part of a sentence."""
        move = self.move
        before, now = move.missing
        if not move.m:
            return f"it has no values any more ({before:.1%} were missing in the reference)"
        if math.isnan(move.distance):
            what = "it holds keys or texts, whose values are not judged here"
        elif move.kind == "category":
            what = _of_categories(move)
        elif move.kind == "text":
            what = _of_texts(move)
        else:
            what = _of_numbers(move)
        if abs(now - before) >= 0.0005:
            what += f"; missing values went from {before:.1%} to {now:.1%}"
        return what

    @property
    def sentence(self) -> str:
        """One sentence: what moved, by how much, and how sure that is."""
        if self.drifted:
            head = f"{self.column} drifted"
        elif any(self.raised):
            seen = len(self.raised)
            head = f"{self.column} moved, in {sum(self.raised)} of {seen} windows so far"
        elif self.effect < 1:
            head = f"{self.column} did not move by enough to matter"
        else:
            head = f"{self.column} shows no move that chance does not explain"
        return f"{head}: {self.what} (p {_p(self.adjusted_p)})."


def title_of(move: Move) -> str:
    """What moved, in a few words for a heading."""
    before, now = move.means
    if move.kind == "text" and move.measured == "unknown":
        return f"{100 * now:.0f} % of a text's words are new"
    if move.kind == "text":
        unit = NAMES[move.measured][1]
        return f"a text has {now:.3g}{unit}, and had {before:.3g}"
    if _tells_unseen(move):
        what = "have a new value" if move.kind == "category" else "lie beyond the reference"
        return f"{_share(move.unseen)} of the rows {what}"
    if _tells_moved(move):
        return f"{_share(move.moved)} of the rows would have to change"
    far = f"{100 * move.distance:.0f}"
    if move.kind == "category":
        label = str(move.where)
        label = label if len(label) <= 16 else label[:15] + "…"
        return f"the share of {label!r} moved by {far} points"
    return f"{far} % of the rows moved across {_place(move, move.where)}"


def _tells_unseen(move: Move) -> bool:
    """Whether rows with a value that the reference has not say best what happened."""
    if move.kind == "category":
        return move.unseen - move.unseen_by_chance > max(move.distance, 0.005)
    near = max(0.0, move.distance - ks_by_chance(move.n, move.m))
    return move.unseen - max(3 * move.unseen_by_chance, 0.0005) > near / 2


def _tells_moved(move: Move) -> bool:
    return move.kind == "category" and (
        move.moved - move.moved_by_chance > max(2 * move.distance, 0.01)
    )


def _of_categories(move: Move) -> str:
    about = "" if move.exact else "about "
    some = f", such as {move.example[:40]!r}" if move.example else ""
    if _tells_unseen(move):
        return (
            f"{about}{_share(move.unseen)} of its rows have a value that the reference has not"
            f"{some}{_chance(move.unseen_by_chance)}"
        )
    if _tells_moved(move):
        return (
            f"{_share(move.moved)} of its rows would have to change their value to be spread as in "
            f"the reference{_chance(move.moved_by_chance)}"
        )
    return f"the share of {move.where!r} changed by {100 * move.distance:.1f} points"


def _of_numbers(move: Move) -> str:
    if _tells_unseen(move):
        end = _place(move, move.example)
        what = f"{_share(move.unseen)} of its rows lie beyond all of the reference, as far as {end}"
        moved = "; its values moved by"
    else:
        what = f"{100 * move.distance:.1f} % of its rows moved across {_place(move, move.where)}"
        moved = ","
    if move.spread > 0 and math.isfinite(move.wasserstein / move.spread):
        what += f"{moved} {move.wasserstein / move.spread:.2f} standard deviations on average"
    return what


def _of_texts(move: Move) -> str:
    name, unit = NAMES[move.measured]
    before, now = move.means
    if move.measured == "unknown":
        return f"{name} went from {before:.1%} to {now:.1%} of a text's words on average"
    return f"{name} went from {before:.3g} to {now:.3g}{unit} on average"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %" if value < 0.1 else f"{100 * value:.0f} %"


def _chance(value: float) -> str:
    return f", where chance alone gives {_share(value)}" if value >= 0.001 else ""


def _place(move: Move, value: float | str) -> str:
    if move.kind != "time":
        return f"{value:.4g}"
    try:
        return f"{pd.Timestamp(value, unit='s'):%d %b %Y %H:%M}"
    except (ValueError, OverflowError):
        return f"{value:.4g} s"


@dataclass(frozen=True, slots=True)
class Report:
    """All verdicts, the worst column first; `unread` has a sentence for each that has none.

    `rows` of the newest window, the level `alpha`, and that `k` of `n` windows had to raise.
    """

    verdicts: tuple[Verdict, ...]
    unread: Mapping[str, str]
    rows: int
    alpha: float
    k: int
    n: int

    @property
    def drifted(self) -> tuple[str, ...]:
        """The names of the drifted columns, the worst first."""
        return tuple(one.column for one in self.verdicts if one.drifted)

    @property
    def sentence(self) -> str:
        """The whole report in one sentence."""
        found, total = len(self.drifted), len(self.verdicts)
        unread = f" {len(self.unread)} more could not be judged." if self.unread else ""
        if not found:
            return f"Nothing drifted: none of {total} columns, in {self.rows:,} rows.{unread}"
        worst = self.verdicts[0]
        head = f"{found} of {total} columns drifted" if total > 1 else "The column drifted"
        return f"{head}; in the worst, {worst.column}, {worst.what}.{unread}"

    def __getitem__(self, column: str) -> Verdict:
        return next(one for one in self.verdicts if one.column == column)

    def to_frame(self) -> pd.DataFrame:
        """A row a column, the worst first."""
        rows = [
            (
                one.column, one.move.kind, one.drifted, one.effect, one.adjusted_p,
                one.move.distance, str(one.move.where), one.move.wasserstein, one.move.psi,
                one.move.jensen_shannon, one.move.hellinger, one.move.moved, one.move.unseen,
                *one.move.missing, one.move.n, one.move.m, one.sentence,
            )
            for one in self.verdicts
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=_COLUMNS)

    def to_json(self) -> bytes:
        """Everything, with null for what is not a number."""
        document = {
            "format": 1,
            "sentence": self.sentence,
            "drifted": self.drifted,
            "rows": self.rows,
            "rules": {"alpha": self.alpha, "k": self.k, "n": self.n},
            "columns": _without_nan(self.to_frame().to_dict("records")),
            "unread": dict(self.unread),
        }
        return msgspec.json.encode(document)

    def to_csv(self) -> str:
        """The table, safe to open in a spreadsheet (see `safe_cell`)."""
        return safe_csv(self.to_frame())

    def to_html(self, *, title: str = "Drift report") -> str:
        """A page of its own, without scripts."""
        rows = "".join(
            f"<tr{' class=bad' if one.drifted else ''}><td>{html.escape(one.column)}</td>"
            f"<td>{'drifted' if one.drifted else 'healthy'}</td>"
            f"<td>{_number(one.effect)}</td><td>{_p(one.adjusted_p)}</td>"
            f"<td>{html.escape(one.sentence)}</td></tr>"
            for one in self.verdicts
        )
        unread = "".join(f"<li>{html.escape(why)}</li>" for why in self.unread.values())
        return _PAGE.format(
            title=html.escape(title),
            sentence=html.escape(self.sentence),
            rows=rows,
            unread=f"<h2>Not judged</h2><ul>{unread}</ul>" if unread else "",
            rules=f"Level {self.alpha:g} for the whole report; raised in {self.k} of "
            f"{self.n} windows; {self.rows:,} rows.",
        )


def safe_cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe before it (OWASP, CSV
    Injection); everything else stays."""
    if isinstance(value, str) and value.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value


def safe_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV in which no cell, and no heading, is a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([safe_cell(str(name)) for name in frame.columns])
    for row in frame.itertuples(index=False):
        writer.writerow(["" if _is_nan(value) else safe_cell(value) for value in row])
    return out.getvalue()


_COLUMNS = [
    "column", "kind", "drifted", "effect", "adjusted_p", "distance", "where", "wasserstein",
    "psi", "jensen_shannon", "hellinger", "moved", "unseen", "missing_before", "missing_now",
    "reference_values", "values", "sentence",
]  # fmt: skip

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto;
        padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc }}
.bad td:nth-child(2) {{ color: #b00020; font-weight: bold }}
</style></head><body><h1>{title}</h1><p><strong>{sentence}</strong></p>
<table><thead><tr><th>column</th><th>verdict</th><th>times its floor</th><th>adjusted p</th>
<th>what happened</th></tr></thead><tbody>{rows}</tbody></table>{unread}<p>{rules}</p></body></html>
"""


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _p(value: float) -> str:
    return "below 0.0001" if value < 1e-4 else f"{value:.2g}"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "any"


def _without_nan(rows: list[dict]) -> list[dict]:
    return [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        for row in rows
    ]
