"""The feedback page of a student who writes against it, as a browser sees it: nothing runs, nothing
is fetched, and the score that stands on top is the gradebook's.
"""

import shutil
from pathlib import Path

import nbformat
import pytest
from grading import grade
from nbformat.v4 import new_code_cell, new_markdown_cell
from playwright.sync_api import sync_playwright
from submissions import KINDS, PA0, hand_in_kind, submitted_notebook

from autograde.feedback import safe

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

# A page of full points in the student's own text, and markup that would put it over the real one.
FAKE = f"""# {PA0}
**100** of 100 points

## Points

| part | points | what happened |
|---|---|---|
| test_count_levels | 5 / 5 | Passed. |

![p](http://127.0.0.1:9/p.png) ![all](attachment:all.svg) [a](javascript:hit()) [r]

$$\\href{{javascript:hit()}}{{x}}$$ {"a" + chr(0x336) * 2000}

[r]: javascript:hit()
"""
MARKUP = """<base href="http://127.0.0.1:9/"><meta http-equiv="refresh" content="0;url=//x">
<style>.total{display:none}</style><div style="position:fixed;inset:0;background:#fff">100</div>
<math><mtext><script>hit()</script></mtext></math><svg onload="hit()"><image href="//127.0.0.1:9"/>
<img src="http://127.0.0.1:9/i.png" onerror="hit()"></pre></main></body><iframe srcdoc="<script>">
"""
SHOWS = f"""
from IPython.display import display

evil = {MARKUP!r}
svg = "<svg xmlns='http://www.w3.org/2000/svg' onload='hit()' height='90000'>" + evil + "</svg>"
for kind in (
    "text/html", "text/markdown", "text/latex", "application/javascript", "application/json",
    "application/pdf", "application/vnd.plotly.v1+json", "text/vnd.mermaid", "video/mp4",
    "application/vnd.jupyter.widget-view+json", "image/png", "image/webp", "image/svg+xml",
):
    display({{kind: evil}}, raw=True)
    display({{kind: evil, "text/plain": evil}}, raw=True)
display({{"image/svg+xml": svg}}, raw=True)
print("\\x1b]8;;javascript:hit()\\x07click\\x1b]8;;\\x07\\x1b[2J\\u202e", evil)
raise type(evil, (Exception,), {{}})(evil)
"""
LOOK = """() => {
  const score = document.querySelector(".total strong"), at = score.getBoundingClientRect();
  const top = document.elementFromPoint(at.x + at.width / 2, at.y + at.height / 2);
  const active = "script,iframe,form,base,object,embed,svg,math,link,video";
  const below = [...document.querySelectorAll("h1,h2,.bar")].filter(e => e.closest(".notebook"));
  return {score: score.textContent, seen: top === score && at.y < 200, url: location.href,
          active: document.querySelectorAll(active).length, below: below.length,
          wide: document.documentElement.scrollWidth - innerWidth};
}"""


@pytest.fixture(scope="module")
def page(generated, tmp_path_factory) -> tuple[Path, float]:
    """The page of a student who tried all that, and the gradebook's score."""
    course = tmp_path_factory.mktemp("feedback") / "course"
    shutil.copytree(generated, course)
    hand_in_kind(course, "eve", KINDS["partly"])
    path = submitted_notebook(course, "eve")
    notebook = nbformat.read(path, as_version=4)
    fake = new_markdown_cell(FAKE)
    fake["attachments"] = {"all.svg": {"image/svg+xml": f"<svg>{MARKUP}</svg>"}}
    notebook.cells[:0] = [fake, new_markdown_cell(MARKUP), new_code_cell(SHOWS)]
    notebook.metadata["title"] = MARKUP
    nbformat.write(notebook, path)
    (row,) = grade(course, jobs=1).rows
    return course / "feedback" / "eve" / PA0 / f"{PA0}.html", row.score


@pytest.mark.parametrize("policy", [True, False])
def test_nothing_runs_nothing_is_fetched_and_the_score_is_the_gradebooks(page, policy, tmp_path):
    """Also without the page's own word that forbids scripts, which is the second lock."""
    path, score = page
    html = path.read_text(encoding="utf-8")
    assert score > 0
    if not policy:
        path = tmp_path / "page.html"
        path.write_text(html.replace("Content-Security-Policy", "x"), encoding="utf-8")
    asked, called = [], []
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=120_000
        )
        shown = browser.new_page()
        shown.set_default_timeout(120_000)
        shown.expose_function("hit", lambda: called.append(True))
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(path.as_uri(), wait_until="networkidle")
        seen = shown.evaluate(LOOK)
        browser.close()
    assert not called
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    assert seen == {"score": f"{score:g}", "seen": True, "url": path.as_uri(), "active": 0,
                    "below": 0, "wide": 0}  # fmt: skip


def test_a_picture_is_shown_once_however_often_it_is_named():
    attachment = {"p": {"image/png": "A" * 1_000_000}}
    html = safe.markdown("![](attachment:p)\n\n" * 900, attachment)
    assert html.count("<img") == 1
    assert len(html) < 1_200_000
