"""The report to take home: whole, small, escaped, and the same in HTML and JSON."""

import html.parser
import json
import math

import numpy as np
import pandas as pd
import pytest

from mlsys.monitoring import judge, quality, watch
from mlsys.monitoring.report import Summary, to_html, to_json

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "formula": "=cmd|' /C calc'!A0",
    "long": "x" * 5_000,
    "arabic": "عمود",
    "override": "a\u202eb",
    "quote": "\"'><img src=x onerror=alert(1)>",
    "at": "@SUM(A1)",
}


class Reader(html.parser.HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.said, self.cells = [], [], [], []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes += attrs
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        self.said.append(data)
        if "td" in self.open:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def hostile() -> Summary:
    rng = np.random.default_rng(0)
    before = pd.DataFrame({name: rng.normal(size=400) for name in HOSTILE.values()})
    before["=label()"] = rng.choice(["=1+1", "<b>", "c"], 400)
    now = before.copy()
    now[HOSTILE["script"]] += 2
    now[HOSTILE["formula"]] = np.nan
    now["=label()"] = "=HYPERLINK(1)"
    report = judge(before, now)
    findings = quality.check(now, quality.suggest(before))
    return Summary(
        "=files: <b>a.csv</b>", "It drifted.", ("columns drifted", "3 of 8"), report, findings,
        not_shown=("<i>No labels.</i>",), cannot_see=("Concept drift.",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def concept() -> Summary:
    made = watch.replay("concept", per_day=120)
    return Summary(
        "Scene: concept", made.sentence, ("accuracy", "75%"), made.reports[-1], made.findings[-1],
        made.windows, made.notices, made.reference, made.change_at, "A story.", ("Not this.",),
    )  # fmt: skip


def test_the_page_runs_nothing_fetches_nothing_and_is_small(hostile, concept):
    for summary in (hostile, concept):
        page = to_html(summary)
        read = Reader(page)
        assert not {"script", "img", "link", "iframe", "object", "form"} & set(read.tags)
        assert not [name for name, _ in read.attributes if name.startswith("on")]
        assert not [name for name, _ in read.attributes if name in ("src", "href", "xlink:href")]
        assert "://" not in page and len(page.encode()) < 40_000


def test_names_from_data_are_text_and_cut_in_the_page(hostile):
    page = to_html(hostile)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "<script" not in page
    assert "x" * 300 not in page and "\u202e" not in page
    assert HOSTILE["arabic"] in page and "<bdi>" in page


def test_no_cell_of_the_page_is_a_formula(hostile):
    cells = Reader(to_html(hostile)).cells
    assert any(cell.startswith("'=cmd") for cell in cells)
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "@"))]


def test_the_pictures_are_described(concept):
    read = Reader(to_html(concept))
    labels = [value for name, value in read.attributes if name == "aria-label"]
    assert read.tags.count("svg") == len(labels) == 2
    assert all(len(label) > 40 for label in labels)


def test_the_page_says_what_was_seen_and_what_cannot_be(concept):
    said = " ".join(Reader(to_html(concept)).said)
    assert concept.sentence in said and "Not this." in said and "A story." in said
    assert "page, opened: spam: known loss of accuracy" in said


def strings(value):
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


def test_the_json_is_strict_and_holds_no_formula(hostile, concept):
    for summary in (hostile, concept):
        text = to_json(summary)
        made = json.loads(text, parse_constant=lambda name: pytest.fail(name))
        assert not [one for one in strings(made) if one.lstrip().startswith(("=", "+", "@"))]
        assert len(made["drift"]["columns"]) == len(summary.report.verdicts)
        assert made["sentence"] == summary.sentence


def test_what_is_not_a_number_is_null_in_the_json(hostile):
    made = json.loads(to_json(hostile))
    gone = next(one for one in made["drift"]["columns"] if "cmd" in one["column"])
    assert gone["distance"] is None and gone["values"] == 0 and gone["drifted"] is True
    assert made["performance"] == {"reference_accuracy": None, "windows": []}


def test_the_json_carries_windows_and_alerts_as_they_were(concept):
    made = json.loads(to_json(concept))
    windows = made["performance"]["windows"]
    assert len(windows) == len(concept.windows)
    assert math.isclose(windows[-1]["known"], concept.windows["known"].iloc[-1])
    assert windows[0]["at"].startswith("2026-03-03T00:00:00")
    assert [one["event"] for one in made["alerts"]] == [one.event for one in concept.notices]


def test_a_thousand_columns_stay_small_in_the_page_and_whole_in_the_json():
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(60, 1_000)), columns=[f"c{i}" for i in range(1_000)])
    summary = Summary("wide", "Nothing.", ("columns", "0"), judge(table, table + 0.0))
    assert "500 more columns are in the JSON" in to_html(summary)
    assert len(json.loads(to_json(summary))["drift"]["columns"]) == 1_000
