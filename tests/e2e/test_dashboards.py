"""The look door in a real browser: each page opens, its slider moves its chart, by keyboard, in
light and dark, wide and narrow, and axe finds nothing wrong with it. The screenshots are for a
person to look at."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from looking import CHARTS, LIMIT, answers, becomes, free_port, keep, press, settle, wrong
from playwright.sync_api import BrowserContext, Locator, Page, expect

from dashboards.launch import command

pytestmark = pytest.mark.e2e

# Each view that is looked at: its address and how its title begins.
VIEWS = {
    "cap": ("cap", "When the network breaks"),
    "cap_compare": ("cap?store=quorum&other=raft&links=01.02&cut=3", "When the network breaks"),
    "monitoring": ("monitoring", "Has the data changed"),
}

# A page with a path of its own makes Streamlit ask for its server below that path first.
SEARCH = re.compile(r"/(cap|monitoring)/_stcore/(health|host-config)$")

DESCRIPTIONS = """() => [...document.querySelectorAll('[data-testid=stPlotlyChart]')].map(one =>
    [one, ...one.querySelectorAll('[aria-label], [alt]')].map(each =>
        each.getAttribute('aria-label') || each.getAttribute('alt') || '').join(''))"""
WIDTHS = "[...document.querySelectorAll('.js-plotly-plot')].map(one => one.clientWidth)"
PAPER = "document.querySelector('.js-plotly-plot')?._fullLayout?.paper_bgcolor"
SCROLLS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """The app, started elsewhere than in the repository."""
    folder, port = tmp_path_factory.mktemp("elsewhere"), free_port()
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command(port), cwd=folder, stdout=log, stderr=log)
        try:
            answers(f"http://127.0.0.1:{port}/_stcore/health", server, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(LIMIT)


@pytest.fixture(scope="module")
def contexts(browser) -> Iterator[dict[str, BrowserContext]]:
    """A light and a dark viewer, whose browser keeps what it has loaded and compiled."""
    made = {
        scheme: browser.new_context(color_scheme=scheme, reduced_motion="reduce")
        for scheme in ("light", "dark")
    }
    for context in made.values():
        context.set_default_timeout(1000 * LIMIT)
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def open_page(contexts, address):
    """Open a path of the app; afterwards, nobody may have complained in the console."""
    opened, complaints = [], []

    def open_page(path: str, *, scheme: str = "light", width: int = 1440) -> Page:
        page = contexts[scheme].new_page()
        opened.append(page)
        page.set_viewport_size({"width": width, "height": 1000})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                said.type == "error"
                and not SEARCH.search(said.location.get("url", ""))
                and complaints.append(f"{said.text} {said.location.get('url', '')}")
            ),
        )
        page.goto(f"{address}/{path}")
        page.locator(".js-plotly-plot" if path else "h1").first.wait_for()
        settle(page)
        return page

    yield open_page
    for page in opened:
        page.close()
    assert complaints == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("dark", 900)])
@pytest.mark.parametrize("view", list(VIEWS))
def test_a_view_reads_in_both_themes_wide_and_narrow(open_page, view, scheme, width):
    path, title = VIEWS[view]
    page = open_page(path, scheme=scheme, width=width)
    expect(page.get_by_role("heading", level=1)).to_contain_text(title)
    becomes(page, PAPER, {"light": "#ffffff", "dark": "#0e1117"}[scheme].__eq__)
    becomes(page, WIDTHS, lambda wide: min(wide, default=0) >= 290)
    becomes(page, SCROLLS, lambda scrolls: not scrolls)
    becomes(page, DESCRIPTIONS, lambda said: min(map(len, said), default=0) > 40)
    keep(page, f"dashboard_{view}_{scheme}_{width}", whole=True)
    assert wrong(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_overview_leads_to_each_page(open_page, scheme):
    page = open_page("", scheme=scheme)
    for title in ("CAP trade-offs", "Model monitoring"):
        expect(page.get_by_role("link", name=f"Open {title}")).to_be_visible()
    keep(page, f"dashboard_overview_{scheme}", whole=True)
    assert wrong(page) == []
    page.get_by_role("link", name="Open CAP trade-offs").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("When the network breaks")


def test_links_are_cut_by_a_click_and_by_the_keyboard(open_page):
    page = open_page("cap?scene=healthy")
    for act in (Locator.click, lambda link: link.press("Enter")):
        before = page.evaluate(CHARTS)
        link = page.get_by_role("button", name="0→1", exact=True)
        act(link)
        becomes(page, CHARTS, lambda charts, before=before: charts != before)
        cut = act is Locator.click
        page.wait_for_url(lambda url, cut=cut: ("links=01" in url) == cut)
        settle(page)


@pytest.mark.parametrize(
    ("path", "moves"),
    [
        (
            "cap?store=quorum&r=2&w=2",
            {
                "Replicas that a read asks": ("ArrowLeft", "store=quorum&w=2"),
                "The cluster at this instant": ("ArrowRight", "at=3050"),
                "Fault begins and ends": ("ArrowRight", "fault=2100-4000"),
            },
        ),
        (
            "monitoring?scene=concept",
            {
                "Mails that the change touches": ("ArrowLeft", "strength=90"),
                "As of day": ("ArrowLeft", "day=27"),
            },
        ),
    ],
)
def test_sliders_move_their_charts_and_the_address_by_keyboard_alone(open_page, path, moves):
    page = open_page(path)
    for slider, (key, named) in moves.items():
        press(page, slider, key)
        page.wait_for_url(re.compile(re.escape(named)))


def test_a_link_reproduces_the_view(open_page):
    page = open_page("cap?store=raft&scene=isolated+leader&fault=1000-4000")
    press(page, "The cluster at this instant", "ArrowLeft")
    page.get_by_role("button", name="Copy link").click()
    code = page.get_by_test_id("stCode")
    expect(code).to_contain_text("at=2950")
    link = code.inner_text().strip()
    again = open_page(link.partition("/cap")[1].strip("/") + link.partition("/cap")[2])
    drawn = page.evaluate(CHARTS)
    becomes(again, CHARTS, lambda charts: charts == drawn)


def test_the_history_can_be_downloaded_and_read_back(open_page):
    from mlsys.cap import History, check

    page = open_page("cap")
    page.get_by_role("button", name="Download history").click()
    for name, read in (("EDN", History.from_edn), ("JSON", History.from_json)):
        with page.expect_download() as started:
            page.get_by_role("button", name=name, exact=True).click()
        history = read(Path(started.value.path()).read_text(encoding="utf-8"))
        assert check(history).linearizable is False


def test_a_hostile_address_is_shown_as_text_and_runs_nothing(open_page):
    page = open_page("cap?store=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&n=%60%5Bx%5D(//evil)")
    warning = page.get_by_test_id("stAlert").first
    expect(warning).to_contain_text("store=<img src=x onerror=alert(1)>")
    assert warning.locator("img, a").count() == 0


def test_a_viewer_goes_from_a_scene_to_own_files_and_takes_the_report_home(open_page, tmp_path):
    rows = "".join(f"{place % 9},{'ab'[place % 2]}\n" for place in range(400))
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    before.write_text(f"<b>size,=kind\n{rows}", encoding="utf-8")
    after.write_text(f"<b>size,=kind\n{rows.replace('a', '=1+1')}", encoding="utf-8")
    page = open_page("monitoring", scheme="dark", width=400)
    expect(page.get_by_test_id("stAlert").first).to_contain_text("The data changed, and it hurts")
    becomes(page, SCROLLS, lambda scrolls: not scrolls)
    page.get_by_role("button", name="Expand sidebar").click()
    page.get_by_role("combobox", name="Scene").click()
    page.get_by_role("option", name="People change their minds").click()
    expect(page.get_by_test_id("stAlert").first).to_contain_text("only labels show it")
    page.wait_for_url(re.compile("scene=concept"))
    page.set_viewport_size({"width": 1200, "height": 1000})
    page.get_by_role("radio", name="Your own files").click()
    for place, file in enumerate((before, after)):
        page.locator("input[type=file]").nth(place).set_input_files(file)
        expect(page.get_by_text("Read: 400 rows, 2 columns.")).to_have_count(place + 1)
    expect(page.get_by_test_id("stAlert").first).to_contain_text("has values never seen before")
    keep(page, "dashboard_monitoring_files_dark", whole=True)
    # Streamlit's own place to drop a file on has a name and no role.
    assert [found for found in wrong(page) if "stFileUploaderDropzone" not in found] == []
    page.get_by_role("button", name="Download report").click()
    found = {}
    for name in ("HTML", "JSON"):
        with page.expect_download() as started:
            page.get_by_role("button", name=name, exact=True).click()
        found[name] = Path(started.value.path()).read_text(encoding="utf-8")
    assert json.loads(found["JSON"])["drift"]["drifted"] == ["'=kind"]
    assert "&lt;b&gt;size" in found["HTML"] and "<b>size" not in found["HTML"]
