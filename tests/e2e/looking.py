"""What the tests in a real browser share: servers and pages are waited for, never for a time.

A limit is far beyond what a busy machine takes; it ends a test whose page will never come.
"""

import random
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from dashboards.launch import port_is_free

LIMIT = 300.0  # seconds
PICTURES = Path(__file__).parent.parent.parent / "artifacts" / "screenshots"

# What a page's charts show, each as JSON: their titles, and their data without what Plotly adds as
# it draws them.
CHARTS = """[...document.querySelectorAll('.js-plotly-plot')].map(one => JSON.stringify(
    [one.layout.title?.text, one.data],
    (key, value) => key === '_inputArray' ? undefined : value))"""

# Streamlit has run the script, every chart is drawn, and nothing changed for four looks.
STILL = """() => {
    const app = document.querySelector('[data-testid=stApp]');
    const charts = [...document.querySelectorAll('[data-testid=stPlotlyChart]')];
    const ready = app?.dataset.testScriptState === 'notRunning'
        && !document.querySelector('[data-testid=stSkeleton]')
        && charts.every(one => one.querySelector('.js-plotly-plot')?._fullLayout);
    const now = ready && document.body.innerHTML;
    window.still = now && now === window.seen ? window.still + 1 : 0;
    window.seen = now;
    return window.still >= 3;
}"""


def free_port() -> int:
    """A port below those that systems deal out: nobody is given it before its server takes it."""
    ports = random.sample(range(20_000, 32_000), 100)
    return next(port for port in ports if port_is_free(port))


def answers(url: str, server: subprocess.Popen, log: Path) -> None:
    """Wait until a server answers at an address."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=30).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)
    pytest.fail(f"Nothing answers at {url}: {log.read_text()[-2000:]}")


def settle(page: Page) -> None:
    """Wait until a dashboard has run its script and drawn all of it."""
    page.wait_for_function(STILL, polling=100)


def becomes(
    page: Page, script: str, right: Callable[[Any], bool], *, limit: float = LIMIT / 3
) -> None:
    """Wait until what a script finds on the page is right: a page is drawn in steps."""
    deadline = time.monotonic() + limit
    while not right(found := page.evaluate(script)):
        assert time.monotonic() < deadline, f"{script} stayed {found!r:.1000}"
        page.wait_for_timeout(100)


def press(page: Page, slider: str, key: str) -> None:
    """Move a dashboard's slider by the keyboard, and wait until a chart's data have changed.

    The slider itself moves at once. Where it does not, the page put another in its place between
    the focus and the key, and the key is pressed again, as a person would.
    """
    before = page.evaluate(CHARTS)
    thumb = page.get_by_role("slider", name=slider).first
    stood = thumb.input_value()
    for _ in range(5):
        thumb.press(key)
        if (moved := thumb.input_value()) != stood:
            break
        settle(page)
    assert moved != stood, f"{slider} stayed at {stood}"
    try:
        becomes(page, CHARTS, lambda charts: charts != before)
    except AssertionError:
        now = thumb.input_value()
        pytest.fail(f"No chart changed with {slider}: {stood}, {moved} and now {now}; {page.url}")
    settle(page)
    assert page.evaluate(CHARTS) != before, f"{slider} changed a chart for a moment only"


def wrong(page: Page) -> list[str]:
    """What axe finds wrong with a dashboard (WCAG 2.2 and its best practices).

    It looks again when it found something: what is wrong stays so, what is being drawn does not.
    """
    found: list[str] = []
    for _ in range(3):
        settle(page)
        found = [
            f"{fault['impact']}: {fault['help']}: {node['html'][:200]}"
            for fault in Axe().run(page).response["violations"]
            for node in fault["nodes"]
        ]
        if not found:
            break
    return found


def keep(page: Page, name: str, *, whole: bool = False) -> None:
    """A picture for a person to look at; `whole`: of a dashboard, which scrolls inside."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    if whole:
        high = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": page.viewport_size["width"], "height": min(high, 4_000)})
        settle(page)
    page.screenshot(path=PICTURES / f"{name}.png")
