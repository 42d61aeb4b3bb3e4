"""The learn door in a real browser: a lesson opens, runs, its widget moves its figure, and the
launcher opens the dashboards. The screenshots are for a person to look at."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from looking import LIMIT, answers, becomes, free_port, keep, press, settle
from playwright.sync_api import Page

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).parent.parent.parent
LESSON = "b_systems/03_three_workflows.ipynb"
TOKEN = "e2e"

PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(one => one.innerText)"
DRAWN = "JSON.stringify(document.querySelector('.widget-interact .js-plotly-plot')?.data)"

# What a browser on a machine without the internet says about things that are not ours.
NOT_OURS = re.compile(
    r"ERR_INTERNET_DISCONNECTED|ERR_NAME_NOT_RESOLVED|jupyterlab.github.io|favicon|PyPI|"
    r"lab/api/extensions|the server responded with a status of 404.*workspaces"
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab as `make lab` starts it, on a copy of the course, so that no one's is touched."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks")
    shutil.copytree(REPOSITORY / "autograde" / "course", folder / "autograde" / "course")
    shutil.copy(REPOSITORY / "requirements.lock", folder)
    port = free_port()
    log = (folder / "lab.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "mlsys", "lab", "--no-browser", f"--port={port}"],
        cwd=folder,
        env=os.environ | {"JUPYTER_TOKEN": TOKEN},
        stdout=log,
        stderr=log,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        answers(f"{address}/api?token={TOKEN}", server, folder / "lab.log")
        yield address
    finally:
        server.terminate()
        server.wait(LIMIT)
        log.close()


@pytest.fixture(scope="module")
def context(browser):
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.set_default_timeout(1000 * LIMIT)
    yield context
    context.close()


@pytest.fixture
def page(context):
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: _note(page, message))
    page.on("pageerror", lambda error: _note_error(page, str(error)))
    yield page
    page.close()


def _note(page: Page, message) -> None:
    said = f"{message.text} {message.location.get('url', '')}"
    if message.type == "error" and not NOT_OURS.search(said):
        page.complaints.append(said)


def _note_error(page: Page, said: str) -> None:
    # plotly.js lays out a picture that ipywidgets has just replaced by the next one.
    if said != "Resize must be passed a displayed plot div element.":
        page.complaints.append(said)


def test_a_lesson_opens_runs_and_its_widget_moves_its_figure(lab, page):
    page.goto(f"{lab}/lab/tree/{LESSON}?token={TOKEN}")
    page.get_by_role("heading", level=1).first.wait_for()
    keep(page, "lab_lesson_opened")
    # The menu says nothing while the kernel is not there yet.
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    # A cell that has run shows a number, one that is still to run a star.
    becomes(page, PROMPTS, lambda shown: all(re.search(r"\d", one) for one in shown), limit=LIMIT)
    becomes(page, DRAWN, bool)
    before = page.evaluate(DRAWN)
    slider = page.locator(".widget-slider .noUi-handle, .widget-hslider .noUi-handle").first
    slider.scroll_into_view_if_needed()
    slider.focus()
    for _ in range(5):
        page.keyboard.press("PageUp")
    becomes(page, DRAWN, lambda drawn: drawn not in (None, before))
    page.evaluate("document.querySelector('.widget-interact').scrollIntoView()")
    page.wait_for_timeout(1000)  # for the picture only
    keep(page, "lab_widget_moved")
    # Only what is still to be written may fail, and its checks.
    errors = page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']")
    failed = [said for said in errors.all_inner_texts() if "Traceback" in said]
    assert failed
    assert all("NotImplementedError" in said or "AssertionError" in said for said in failed)
    assert page.complaints == []


def test_the_launcher_opens_the_dashboards_and_a_slider_changes_their_chart(lab, page, context):
    page.goto(f"{lab}/lab?reset&token={TOKEN}")
    page.locator(".jp-Launcher").first.wait_for()
    keep(page, "lab_launcher")
    with context.expect_page() as opened:
        page.locator(".jp-LauncherCard", has_text="Dashboards").click()
    dashboards = opened.value
    dashboards.complaints = []
    dashboards.on("console", lambda message: _note(dashboards, message))
    dashboards.get_by_role("heading", level=1).first.wait_for()
    dashboards.get_by_role("link", name="CAP trade-offs").first.click()
    dashboards.locator(".main-svg").first.wait_for()
    settle(dashboards)
    press(dashboards, "Fault begins and ends", "ArrowRight")
    keep(dashboards, "lab_dashboards")
    assert dashboards.complaints == [] and page.complaints == []


def test_a_link_to_another_lesson_opens_it_beside(lab, page):
    page.goto(f"{lab}/lab/tree/a_start/01_python_for_systems.ipynb?reset&token={TOKEN}")
    page.locator('.jp-MarkdownCell a[href*="10_threads"]').first.click()
    page.locator(".lm-TabBar-tabLabel", has_text="10_threads_processes_gil").first.wait_for()
    assert page.complaints == []
