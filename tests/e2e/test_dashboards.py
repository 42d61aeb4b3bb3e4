"""The look door in a real browser: each page opens, its slider moves its chart, by keyboard, in
light and dark, wide and narrow. The screenshots are for a person to look at."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboards.launch import command

pytestmark = pytest.mark.e2e

PICTURES = Path(__file__).parent.parent.parent / "artifacts" / "screenshots"
PAGES = {"cap": "When the network breaks", "monitoring": "Has the data changed"}

# A page with a path of its own makes Streamlit ask for its server below that path first.
SEARCH = re.compile(r"/(cap|monitoring)/_stcore/(health|host-config)$")

CHARTS = "[...document.querySelectorAll('.js-plotly-plot')].map(one => JSON.stringify(one.data))"
# What axe calls "label", "button-name" and "select-name": a control that says nothing.
NAMELESS = """() => [...document.querySelectorAll('input, button, select, textarea, [role=slider]')]
    .filter(one => one.offsetParent && !one.closest('[aria-hidden=true]'))
    .filter(one => !(one.getAttribute('aria-label') || one.getAttribute('aria-labelledby')
        || one.innerText || one.title || (one.labels && one.labels.length)))
    .map(one => one.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """The app, started elsewhere than in the repository."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("elsewhere")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command(port), cwd=folder, stdout=log, stderr=log)
        try:
            yield _answering(f"http://127.0.0.1:{port}", server, folder / "log")
        finally:
            server.terminate()
            server.wait(30)


def _answering(base: str, server: subprocess.Popen, log: Path) -> str:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{base}/_stcore/health", timeout=5).close()
            return base
        except OSError:
            assert server.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)
    pytest.fail(f"The dashboards did not answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Open a path of the app; afterwards, nobody may have complained in the console."""
    contexts, complaints = [], []

    def open_page(path: str, *, scheme: str = "light", width: int = 1440) -> Page:
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 1000}, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
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
        page.locator(".js-plotly-plot").first.wait_for(timeout=90_000)
        settle(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def settle(page: Page) -> None:
    """Wait until the script has run and every chart is drawn."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 200)))")


def keep(page: Page, name: str) -> None:
    """The whole page as a picture: the browser grows to the page, for Streamlit scrolls inside."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    high = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": min(high, 4_000)})
    settle(page)
    page.screenshot(path=PICTURES / f"{name}.png")


def press(page: Page, slider: str, key: str) -> None:
    """Move a slider by the keyboard, and wait until a chart's data have changed."""
    before = page.evaluate(CHARTS)
    page.get_by_role("slider", name=slider).first.focus()
    page.keyboard.press(key)
    page.wait_for_function(f"before => {CHARTS}.join() !== before.join()", arg=before)
    settle(page)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("dark", 900)])
@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_reads_in_both_themes_wide_and_narrow(open_page, name, scheme, width):
    page = open_page(name, scheme=scheme, width=width)
    expect(page.get_by_role("heading", level=1)).to_contain_text(PAGES[name])
    paper = page.evaluate("document.querySelector('.js-plotly-plot')._fullLayout.paper_bgcolor")
    assert paper == {"light": "#ffffff", "dark": "#0e1117"}[scheme]
    wide = "[...document.querySelectorAll('.js-plotly-plot')].map(one => one.clientWidth)"
    assert min(page.evaluate(wide)) >= 290
    scrolls = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(scrolls)
    keep(page, f"dashboard_{name}_{scheme}_{width}")


@pytest.mark.parametrize(
    ("name", "slider", "key", "named"),
    [
        ("cap", "Fault begins and ends", "ArrowRight", "fault="),
        ("cap", "The cluster at this instant", "ArrowRight", "at=3050"),
        ("cap?store=quorum&r=2&w=2", "Replicas that a read asks", "ArrowLeft", "store=quorum&w=2"),
        ("monitoring", "Messages touched", "ArrowRight", "strength=65"),
    ],
)
def test_a_slider_moves_its_chart_and_the_address_by_keyboard_alone(
    open_page, name, slider, key, named
):
    page = open_page(name)
    press(page, slider, key)
    page.wait_for_url(re.compile(re.escape(named)))


def test_a_link_reproduces_the_view(open_page):
    page = open_page("cap?store=raft&scene=isolated+leader&fault=1000-4000")
    press(page, "The cluster at this instant", "ArrowLeft")
    page.get_by_role("button", name="Copy link").click()
    link = page.get_by_test_id("stCode").inner_text().strip()
    again = open_page(link.partition("/cap")[1].strip("/") + link.partition("/cap")[2])
    assert _drawn(again) == _drawn(page)


def _drawn(page: Page) -> list:
    """The charts' data."""
    return [json.loads(one) for one in page.evaluate(CHARTS)]


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


@pytest.mark.parametrize("name", ["cap?store=quorum&other=quorum", "monitoring"])
def test_every_control_has_a_name_and_every_chart_a_description(open_page, name):
    page = open_page(name)
    assert page.evaluate(NAMELESS) == []
    charts = page.get_by_test_id("stPlotlyChart")
    for place in range(charts.count()):
        described = charts.nth(place).evaluate(
            "one => [one, ...one.querySelectorAll('[aria-label], [aria-describedby], [alt]')]"
            ".map(each => each.getAttribute('aria-label') || each.getAttribute('alt') || '')"
            ".join('')"
        )
        assert len(described) > 40


def test_the_overview_leads_to_each_page(browser, address):
    page = browser.new_page()
    page.goto(address)
    for title in ("CAP trade-offs", "Model monitoring"):
        expect(page.get_by_role("link", name=f"Open {title}")).to_be_visible(timeout=60_000)
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "dashboard_overview.png")
    page.get_by_role("link", name="Open CAP trade-offs").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(PAGES["cap"])
    page.close()
