"""The feedback page: what a student learns from it, and what nobody can learn or run through it."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from submissions import KINDS, PA0, hand_in_kind, open_api, submitted_notebook

from autograde.feedback import FeedbackExporter, safe
from autograde.feedback.page import Page, build_page
from autograde.feedback.shield import Markers, without

MARKERS = (
    Markers("BEGIN HIDDEN TESTS", "END HIDDEN TESTS"),
    Markers("BEGIN MARK SCHEME", "END MARK SCHEME"),
)
HIDDEN = "canary_4711"
TEST = f"""assert area(0) == 0, "area of nothing"
### BEGIN HIDDEN TESTS
assert area({HIDDEN!r}) == 1, "{HIDDEN} is wrong"
### END HIDDEN TESTS"""


def code(source: str, *outputs: Any, **about: Any) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell(source, outputs=list(outputs))
    return _marked(cell, about)


def prose(source: str, **about: Any) -> nbformat.NotebookNode:
    return _marked(nbformat.v4.new_markdown_cell(source), about)


def _marked(cell: nbformat.NotebookNode, about: dict[str, Any]) -> nbformat.NotebookNode:
    if about:
        cell.metadata["nbgrader"] = nbformat.from_dict({"grade_id": "cell", **about})
    return cell


def hidden_test(*outputs: Any, score: float = 0) -> nbformat.NotebookNode:
    return code(TEST, *outputs, grade_id="test_area", grade=True, locked=True, points=2,
                score=score)  # fmt: skip


def printed(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def error(name: str, value: str) -> nbformat.NotebookNode:
    lines = ["Traceback (most recent call last):", f'  File "<test>": {value}', f"{name}: {value}"]
    return nbformat.v4.new_output("error", ename=name, evalue=value, traceback=lines)


def page_of(*cells: nbformat.NotebookNode, **settings: Any) -> Page:
    given = {"report": {}, "repairs": (), "quarantined": "", "waiting": frozenset(),
             "show_hidden": False, "show_after": False} | settings  # fmt: skip
    about = {"notebook": "hw1", "score": 1.0, "max_score": 4.0}
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    return build_page(notebook, about, markers=MARKERS, **given)


def html_of(*cells: nbformat.NotebookNode, **settings: Any) -> str:
    """The whole page as it is written, without a course around it."""
    exporter = FeedbackExporter()
    exporter._page = lambda nb, resources: page_of(*nb.cells, **settings)
    return exporter.from_notebook_node(nbformat.v4.new_notebook(cells=list(cells)))[0]


@pytest.mark.parametrize(
    "output",
    [
        printed(f"called with {HIDDEN}"),
        error("AssertionError", f"{HIDDEN} is wrong"),
        error("KeyError", HIDDEN),
        error(HIDDEN, "a class of the student's own"),
        nbformat.v4.new_output("execute_result", data={"text/plain": HIDDEN}),
        nbformat.v4.new_output("display_data", data={"text/html": f"<b>{HIDDEN}</b>"}),
    ],
)
def test_a_hidden_test_its_data_and_its_messages_are_not_on_the_page(output):
    """Neither in its own cell nor where the student's later cells could have printed them."""
    own = code("print(seen)", output, grade_id="mine", solution=True)
    visible = code("assert area(1)", output, grade_id="t2", grade=True, locked=True, points=1)
    html = html_of(hidden_test(output), own, visible, code("print(seen)", output))
    assert HIDDEN not in html
    assert "assert area(0) == 0" in re.sub(r"<[^>]*>", "", html)
    assert "test_area" in html


def test_checks_and_reviews_of_hidden_tests_show_names_and_points_only():
    report = {
        "checks": {"test_area": [["circle", 1, True, ""], ["ring", 1, False, f"got {HIDDEN}"]]},
        "review": {"test_area": f"compares with {HIDDEN}"},
    }
    html = html_of(hidden_test(score=1), report=report, waiting=frozenset({"test_area"}))
    assert HIDDEN not in html
    assert "circle" in html
    assert "ring" in html


def test_an_instructor_may_show_hidden_tests():
    html = html_of(hidden_test(error("AssertionError", f"{HIDDEN} is wrong")), show_hidden=True)
    assert html.count(HIDDEN) > 2


def test_outputs_after_a_hidden_test_may_be_shown_without_the_test():
    own = code("print('mine')", printed("mine too"))
    html = html_of(hidden_test(printed(HIDDEN)), own, show_after=True)
    assert "mine too" in html
    assert HIDDEN not in html


def test_what_ran_before_any_hidden_test_is_shown_with_its_error():
    visible = code(
        "assert area(1) > 3", error("AssertionError", "area(1) is 2"), grade_id="t1", grade=True,
        locked=True, points=1, score=0,
    )  # fmt: skip
    page = page_of(code("1 / 0", error("ZeroDivisionError", "division by zero")), visible)
    assert "division by zero" in page.parts[0].outputs
    assert page.results[0].what == "Failed: area(1) is 2"


def test_a_message_that_students_have_already_read_is_shown():
    failed = hidden_test(error("AssertionError", "area of nothing"))
    assert page_of(failed).results[0].what == "Failed: area of nothing"
    failed = hidden_test(error("NameError", "name 'area' is not defined"))
    assert "name 'area'" in page_of(failed).results[0].what.replace("&#x27;", "'")
    failed = hidden_test(error("NotImplementedError", "area"))
    assert page_of(failed).results[0].what == "Not written yet: area."


@pytest.mark.parametrize("begin", ["BEGIN HIDDEN TESTS", "BEGIN MARK SCHEME"])
def test_a_hidden_region_without_an_end_hides_the_rest(begin):
    assert without(f"a\n### {begin}\nb\nc", MARKERS) == "a"


def test_the_page_says_what_was_mended_what_waits_and_what_limit_was_hit():
    report = {"events": {"test_area": "one call ran longer than 2 s"}}
    essay = prose("Because.", grade_id="why", grade=True, solution=True, points=3, score=0,
                  comment="Say *more*.")  # fmt: skip
    html = html_of(
        hidden_test(), essay, report=report, waiting=frozenset({"why"}),
        repairs=("hw1 (1).ipynb was taken for hw1.ipynb.",), quarantined="",
    )  # fmt: skip
    assert "hw1 (1).ipynb was taken for hw1.ipynb." in html
    assert "A limit was hit: one call ran longer than 2 s" in html
    assert "1 part waits for a person" in " ".join(html.split())
    assert "<em>more</em>" in html


ATTACKS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>",
    "[x](javascript:alert(1))", "![x](https://evil.example/t.png)", "<iframe src=//evil.example>",
    "[x](data:text/html;base64,PHNjcmlwdD4=)", '"><script>alert(1)</script>', "<style>*{}</style>",
    "$$\\href{javascript:alert(1)}{x}$$", "<!--", "</pre><script>", "<a href='&#106;avascript:x'>",
    "![x](attachment:evil)", "<https://evil.example/\"onmouseover=\"x>", "{{ 7 * 7 }}", "{% raw %}",
    "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07", "\x1b[2J\x1b[31mred", "\u202egnp.exe",
]  # fmt: skip


class Tags(HTMLParser):
    """The elements of a page, as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", {}))


PLAIN = set(
    "html head meta title style body main header h1 h2 h3 h4 h5 h6 p strong div section ul ol li "
    "table thead tbody tr th td a article span code pre img em del br hr blockquote".split()
)


def assert_harmless(html: str) -> None:
    for tag, about in Tags(html).found:
        assert tag in PLAIN, tag
        assert not [name for name in about if name.startswith("on")], about
        assert str(about.get("src", "data:image/")).startswith("data:image/"), about
        assert re.match(r"#|https?://|mailto:", about.get("href") or "#"), about
        assert not {"action", "srcset", "formaction", "background"} & set(about)
        assert tag in ("div", "th", "td") or "style" not in about
    assert "\x1b" not in html
    assert "\u202e" not in html


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_a_student_writes_becomes_markup(attack):
    outputs = [
        printed(attack),
        error(attack, attack),
        nbformat.v4.new_output("display_data", data={"text/html": attack, "text/plain": attack}),
        nbformat.v4.new_output("display_data", data={"image/svg+xml": f"<svg>{attack}</svg>"}),
        nbformat.v4.new_output("display_data", data={"image/png": attack}),
        nbformat.v4.new_output("display_data", data={"text/latex": attack}),
        nbformat.v4.new_output("display_data", data={"application/javascript": attack}),
    ]
    answer = prose(attack, grade_id=attack, grade=True, solution=True, points=1, score=0)
    answer["attachments"] = {"evil": {"image/png": attack, "text/html": attack}}
    html = html_of(
        answer, code(attack, *outputs), nbformat.v4.new_raw_cell(attack),
        code("f()", error("E", attack), grade_id=attack, grade=True, points=1, score=0),
        repairs=(attack,), quarantined=attack,
        report={"checks": {attack: [[attack, 1, False, attack]]}},
    )  # fmt: skip
    assert_harmless(html)
    assert ("7 * 7" in html) == ("7 * 7" in attack)


def test_the_page_forbids_scripts_and_all_that_is_loaded():
    html = html_of(code("1"))
    assert "default-src 'none'; img-src data:;" in html
    assert "cdnjs" not in html
    assert "mathjax" not in html.lower()
    assert_harmless(html)


def test_outputs_are_bounded():
    big = [printed("x" * 1_000_000) for _ in range(40)]
    many = printed("line\n" * 100_000)
    picture = nbformat.v4.new_output("display_data", data={"image/png": "A" * 3_000_000})
    html = html_of(code("f()", *big), code("g()", many, picture), prose("word " * 100_000))
    assert len(html) < 1_500_000


@pytest.mark.parametrize(
    "text",
    ["*" * 20_000, "[" * 20_000, "> " * 5_000, "- " * 3_000 + "x", "`" * 9_999, "|a" * 9_000,
     "\n".join("  " * n + "- x" for n in range(150)), "![" * 5_000 + "](" * 5_000, "<" * 19_999],
)  # fmt: skip
def test_text_made_to_tangle_a_reader_is_shown_as_it_is(text):
    assert_harmless(safe.markdown(text))


@settings(max_examples=150, deadline=None)
@given(
    st.text(alphabet=st.sampled_from("<>&\"'`*_[]()!#|~$\\\n\x1b]8;m\u202ea1:/.-="), max_size=120)
)
def test_any_text_stays_text(text):
    html = safe.markdown(text) + safe.preformatted(text) + safe.code(text)
    assert_harmless(html)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_plain_text_has_no_controls_and_is_plain_already(text):
    done = safe.plain(text)
    assert not set(done) & {chr(i) for i in [*range(9), *range(11, 32), *range(127, 160)]}
    assert safe.plain(done) == done


def test_a_progress_bar_shows_its_last_state():
    assert safe.plain("10%\r50%\r100%\ndone\r\nnext") == "100%\ndone\nnext"


def test_plain_nbgrader_repairs_puts_aside_and_explains(class_of):
    """`nbgrader autograde` and `generate_feedback`, with nothing but the configuration."""
    course = class_of(["perfect", "empty"])
    copied = hand_in_kind(course, "copied", KINDS["perfect"])
    copied.rename(copied.with_name(f"{PA0.upper()} (1).ipynb"))
    hand_in_kind(course, "linked", KINDS["perfect"]).unlink()
    submitted_notebook(course, "linked").symlink_to(submitted_notebook(course, "perfect"))
    hand_in_kind(course, "torn", KINDS["perfect"]).write_bytes(b'{"cells": [')
    hand_in_kind(course, "[odd]*", KINDS["perfect"])
    with (course / "nbgrader_config.py").open("a") as file:
        file.write("\nimport autograde\nautograde.configure(c)\n")
    api = open_api(course)
    api.coursedir.student_id = "*"
    assert api.autograde(PA0, "*")["success"]
    with api.gradebook as book:
        scores = {s.student.id: s.score for s in book.assignment_submissions(PA0)}
    full = scores["perfect"]
    assert full > 0
    assert scores == {"perfect": full, "copied": full, "[odd]*": full,
                      "empty": 0, "linked": 0, "torn": 0}  # fmt: skip
    for student, text in (
        ("copied", "was taken for"),
        ("torn", "no valid JSON"),
        ("linked", "a symbolic link"),
        ("empty", "Not written yet"),
    ):
        assert api.generate_feedback(PA0, student)["success"]
        html = (course / "feedback" / student / PA0 / f"{PA0}.html").read_text(encoding="utf-8")
        assert text in html
        assert "HIDDEN TESTS" not in html
        assert_harmless(html)
    assert Path(submitted_notebook(course, "linked")).is_symlink()
