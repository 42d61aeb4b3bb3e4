"""What every lesson shares: asking for a guess before a result is shown, and remembering it.

A guess is the student's own: it is appended to a ledger, a file of one JSON object a line in
their workspace, and never leaves the machine. Importing this module also puts the workbook's
theme on all figures.
"""

import html
import json
import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
from IPython.display import HTML, display

from mlsys import theme

theme.apply(os.environ.get("MLSYS_THEME", "light"))

# A kernel's first picture makes plotly import nbformat, that jsonschema, and that the grammar of
# international web addresses: one to four seconds, for a format that no notebook uses. jsonschema
# does without where the package is missing.
if "jsonschema" not in sys.modules:
    sys.modules.setdefault("rfc3987_syntax", None)

LEDGER = ".ledger.jsonl"


def ledger_path() -> Path:
    """The student's ledger: `MLSYS_LEDGER`, else in the workspace, else in this folder."""
    if named := os.environ.get("MLSYS_LEDGER"):
        return Path(named)
    here = Path.cwd()
    workspaces = [folder for folder in (here, *here.parents) if folder.name == "workspace"]
    return (workspaces[0] if workspaces else here) / LEDGER


def ledger() -> pd.DataFrame:
    """Every guess so far, one row each: when, lesson, question, guess, truth, note.

    Lines that are not ours (an editor's slip) are passed over, never an error.
    """
    rows = []
    path = ledger_path()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            continue
    return pd.DataFrame(rows, columns=["when", "lesson", "question", "guess", "truth", "note"])


class Guess:
    """A question to answer before the experiment, and the guess beside the truth after it.

    Parameters
    ----------
    question: what is asked, with its unit.
    low, high: the range of a number; or, as `low`, a list of choices.

    Nothing waits for the student: a lesson that is run from top to bottom shows the truth alone.
    """

    def __init__(self, question: str, low: float | list[str] = 0.0, high: float = 100.0):
        self.question = question
        self.choices = list(low) if isinstance(low, list | tuple) else None
        self.value: float | str | None = None
        if self.choices:
            self.low = self.high = None
            self._control = widgets.RadioButtons(
                options=self.choices, value=None, layout={"width": "auto"}
            )
        else:
            self.low, self.high = float(low), float(high)
            if not self.low < self.high:
                raise ValueError(f"A guess needs low < high, not {low} and {high}.")
            self._control = widgets.Text(
                placeholder=f"a number from {_plain(self.low)} to {_plain(self.high)}, then Enter",
                continuous_update=False,
                layout={"width": "24em"},
            )
        self._control.tooltip = question
        self._said = widgets.HTML("")
        self._control.observe(self._keep, names="value")
        self._box = widgets.VBox(
            [widgets.HTML(f"<b>Your guess.</b> {html.escape(question)}"), self._control, self._said]
        )

    def _keep(self, change: dict) -> None:
        said = change["new"]
        try:
            self.value = said if self.choices else self._number(said)
        except ValueError as wrong:
            self.value, said = None, str(wrong)
        else:
            said = f"Noted: {_plain(self.value)}. Now run the next cells."
        self._said.value = f"<i>{html.escape(said)}</i>"

    def _number(self, said: str) -> float:
        try:
            value = float(said.strip().rstrip("%").replace(",", "."))
        except ValueError:
            value = float("nan")
        if not self.low <= value <= self.high:
            raise ValueError(
                f"Please type one number from {_plain(self.low)} to {_plain(self.high)}."
            )
        return value

    def _repr_mimebundle_(self, **options: object) -> dict:
        bundle = self._box._repr_mimebundle_(**options)
        bundle["text/plain"] = f"Your guess: {self.question}"
        # For a page without a kernel, where no control can be shown.
        bundle["text/html"] = f"<p><b>Your guess.</b> {html.escape(self.question)}</p>"
        return bundle

    def reveal(self, truth: float | str, note: str = "") -> None:
        """Show the guess, if one was made, beside the truth; write both to the ledger."""
        truth = truth if isinstance(truth, str) else float(truth)
        if self.value is not None:
            entry = Entry(
                when=datetime.now().isoformat(timespec="seconds"),
                lesson=Path(os.environ.get("JPY_SESSION_NAME", "")).stem,
                question=self.question,
                guess=self.value,
                truth=truth,
                note=note,
            )
            entry.write()
        display(HTML(self._picture(truth, note), metadata={"alt": self._sentence(truth, note)}))

    def _sentence(self, truth: float | str, note: str) -> str:
        told = f"You guessed {_plain(self.value)}. " if self.value is not None else ""
        said = note or f"The answer is {_plain(truth)}"
        return f"{told}{said[:1].upper()}{said[1:].rstrip('.')}."

    def _picture(self, truth: float | str, note: str) -> str:
        words = html.escape(self._sentence(truth, note))
        if self.choices or isinstance(truth, str):
            return f"<p><b>{words}</b></p>"
        low, high = min(self.low, truth), max(self.high, truth)
        marks = [(truth, theme.BLUE, "measured")]
        if self.value is not None:
            marks.append((self.value, theme.ORANGE, "your guess"))
        dots = "".join(
            f'<circle cx="{20 + 460 * (x - low) / (high - low):.1f}" cy="18" r="7" fill="{colour}">'
            f"<title>{name}: {_plain(x)}</title></circle>"
            for x, colour, name in marks
        )
        legend = " ".join(
            f'<tspan fill="{colour}">&#9679; {name} {_plain(x)}</tspan>'
            for x, colour, name in marks
        )
        return (
            f"<p><b>{words}</b></p>"
            f'<svg role="img" aria-label="{words}" width="500" height="56" viewBox="0 0 500 56">'
            f'<line x1="20" x2="480" y1="18" y2="18" stroke="{theme.GREY}" stroke-width="2"/>{dots}'
            f'<text x="20" y="48" font-size="14" font-family="{theme.FONT}">{legend}</text></svg>'
        )


@dataclass(frozen=True)
class Entry:
    """One line of the ledger."""

    when: str
    lesson: str
    question: str
    guess: float | str
    truth: float | str
    note: str = ""

    def write(self) -> None:
        """Append to the ledger in one write, so that two lessons never mix their lines."""
        line = json.dumps(self.__dict__, ensure_ascii=False) + "\n"
        with ledger_path().open("a", encoding="utf-8") as file:
            file.write(line)


def _plain(value: float | str | None) -> str:
    return value if isinstance(value, str) else f"{value:,.4g}"
