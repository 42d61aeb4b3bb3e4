"""Guesses: asked before, shown beside the truth after, and kept for the student alone."""

import json
import subprocess
import sys

import plotly.io as pio
import pytest

from mlsys import lesson, theme
from mlsys.lesson import Guess

FIRST_PICTURE = """
import sys
import mlsys.lesson
import plotly.graph_objects as go
go.Figure().show(renderer="json")
assert "nbformat" in sys.modules
print("lark" in sys.modules)
"""


def answer(guess: Guess, text: str) -> None:
    """Type into the guess's box, as the student does."""
    guess._control.value = text


def shown(capsys) -> str:
    return capsys.readouterr().out


def test_a_guess_and_its_truth_are_kept_in_the_ledger(ledger):
    guess = Guess("Slow pages, in %", 0, 100)
    answer(guess, "30 %")
    guess.reveal(63.4, "63 % of the pages were slow")
    (row,) = lesson.ledger().to_dict("records")
    assert (row["question"], row["guess"], row["truth"]) == ("Slow pages, in %", 30.0, 63.4)


def test_who_does_not_guess_sees_the_truth_and_leaves_no_line(ledger):
    guess = Guess("Slow pages, in %", 0, 100)
    guess.reveal(63)
    assert not ledger.exists()
    assert guess._sentence(63.0, "") == "The answer is 63."


@pytest.mark.parametrize("typed", ["many", "-1", "101", "nan", ""])
def test_a_guess_that_is_no_number_in_range_gets_a_sentence(ledger, typed):
    guess = Guess("Slow pages, in %", 0, 100)
    answer(guess, "50")
    answer(guess, typed)
    assert guess.value is None
    assert "one number from 0 to 100" in guess._said.value


def test_a_choice_is_kept_as_its_words(ledger):
    guess = Guess("Which is fastest?", ["look-up", "over HTTP"])
    answer(guess, "over HTTP")
    guess.reveal("look-up", "A look-up is fastest")
    assert json.loads(ledger.read_text())["guess"] == "over HTTP"


def test_the_question_is_escaped_where_it_is_shown():
    guess = Guess("is 1 < 2 <script>?", 0, 1)
    assert "<script>" not in guess._picture(0.5, "<script>")
    assert "<script>" not in guess._box.children[0].value


def test_a_ledger_with_a_broken_line_still_reads(ledger):
    ledger.write_text('{"question": "a", "guess": 1}\nnot json\n[1, 2]\n{"question": "b"}\n')
    assert list(lesson.ledger().question) == ["a", "b"]


def test_a_range_that_is_none_is_refused():
    with pytest.raises(ValueError, match="low < high"):
        Guess("?", 5, 5)


def test_importing_the_lesson_module_puts_the_theme_on_every_figure():
    assert pio.templates.default == "mlsys"
    theme.apply("dark")
    assert pio.templates.default == "mlsys_dark"
    theme.apply("light")


def test_the_first_picture_does_not_wait_for_a_grammar_of_web_addresses():
    ran = subprocess.run([sys.executable, "-c", FIRST_PICTURE], capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "False", ran.stderr
