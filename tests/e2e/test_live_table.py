"""The philosophers' live table in a real JupyterLab: it moves while the guests dine.

The screenshots are for a person to look at.
"""

import re

import test_jupyterlab as jupyterlab
from looking import LIMIT, becomes, keep

from mlsys.serving.philosophers.figures import MOODS

pytestmark = jupyterlab.pytestmark
# A JupyterLab and a page of it, as the other tests of the learn door have them.
lab, context, page = jupyterlab.lab, jupyterlab.context, jupyterlab.page

LESSON = "d_networks/11_dining_philosophers.ipynb"
TABLE = ".widget-html svg[aria-label*='guest 0']"
COLOURS = f"""[...document.querySelectorAll("{TABLE} circle[r='25']")]
    .map(one => one.getAttribute('fill'))"""
# Keeps each drawing of the table, as the colours of its guests, and whether the kernel was at work.
WATCH = f"""() => {{
    window.drawn = [];
    const box = document.querySelector("{TABLE}").closest('.widget-html-content');
    new MutationObserver(() => window.drawn.push({{
        colours: {COLOURS},
        busy: document.querySelector('.jp-Notebook-ExecutionIndicator').dataset.status === 'busy',
    }})).observe(box, {{childList: true, subtree: true}});
}}"""


def test_the_live_table_moves_while_the_guests_dine(lab, page):
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{lab}/lab/tree/{LESSON}?token={jupyterlab.TOKEN}")
    page.get_by_role("heading", level=1).first.wait_for()
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    becomes(
        page,
        jupyterlab.PROMPTS,
        lambda shown: all(re.search(r"\d", one) for one in shown),
        limit=2 * LIMIT,
    )
    page.locator(TABLE).scroll_into_view_if_needed()
    becomes(page, COLOURS, lambda guests: len(guests) == 5)
    keep(page, "lab_table_before")

    page.evaluate(WATCH)
    controls = page.locator(".widget-interact", has_text="strategy")
    controls.get_by_label("strategy").select_option("waiter")
    green = MOODS["eats"]
    becomes(page, "window.drawn", lambda drawn: any(green in one["colours"] for one in drawn))
    keep(page, "lab_table_during")
    seen = "new Set(window.drawn.filter(one => one.busy).map(one => one.colours.join())).size"
    becomes(page, seen, lambda different: different >= 3)

    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
    controls.get_by_label("strategy").select_option("naive")
    becomes(page, COLOURS, lambda guests: set(guests) == {MOODS["waits in a circle"]})
    page.get_by_text("Deadlock: 5 guests wait").last.wait_for()
    keep(page, "lab_table_after")
    page.set_viewport_size({"width": 900, "height": 800})
    page.locator(TABLE).scroll_into_view_if_needed()
    keep(page, "lab_table_after_900")
    assert page.complaints == []
