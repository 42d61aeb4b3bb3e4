"""The contract of a lesson: a lesson that keeps it has no finding; each breach has its own."""

import json

import pytest

from mlsys.lesson_text import to_notebook
from mlsys.lint import LONGEST_CELL, lint

SHORT = '{"grade_id": "%s", "grade": %s, "solution": %s, "locked": false}'
GOOD = f"""# %% [markdown]
# # How slow is slow?
#
# *About 30 minutes.*

# %% tags=["parameters"] profiles={{"full": {{"size": 100}}}}
size = 10  # full profile: 100

# %%
import plotly.express as px
from ipywidgets import IntSlider, interact

from mlsys.lesson import Guess

# %%
guess = Guess("How many?", 0, 100)
guess

# %%
guess.reveal(size)

# %%
def draw(n=3):
    return px.line(y=range(n), title="A line")

draw()

# %%
px.bar(y=[1, 2], title="Two bars")

# %%
interact(draw, n=IntSlider(3, 1, 9));

# %% nbgrader={SHORT % ("double", "false", "true")}
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={SHORT % ("double_test", "true", "false")}
assert double(1) == 2
### BEGIN HIDDEN TESTS
assert double(2) == 4
### END HIDDEN TESTS

# %% [markdown]
# ## What you can do now
# In code, `!=` and $n!$ are no shouting.
# <details><summary>One?</summary>1</details>
# <details><summary>Two?</summary>2</details>
# <details><summary>Three?</summary>3</details>
"""


@pytest.fixture
def findings(tmp_path):
    def of(text):
        (tmp_path / "lesson.py").write_text(text, encoding="utf-8")
        (tmp_path / "00_lesson.ipynb").unlink(missing_ok=True)
        to_notebook(tmp_path / "lesson.py", tmp_path / "00_lesson.ipynb")
        return [str(f).removeprefix(str(tmp_path)) for f in lint(tmp_path / "00_lesson.ipynb")]

    return of


def test_a_lesson_that_keeps_the_contract_has_no_finding(findings):
    assert findings(GOOD) == []


BREACHES = [
    ("# # How slow", "# How slow", "does not begin with a title"),
    ("*About 30 minutes.*", "*Soon.*", "how many minutes"),
    (' tags=["parameters"]', "", "0 cells tagged `parameters`"),
    ("  # full profile: 100", "", "what the full profile is"),
    ('"size": 100', '"sise": 100', "sets 'sise'"),
    ('guess = Guess("How many?", 0, 100)\n', "", "asks for no Guess"),
    ("guess.reveal(size)", "size", "never revealed"),
    ("interact(draw, n=IntSlider(3, 1, 9));", "draw(4)", "no control"),
    ('px.bar(y=[1, 2], title="Two bars")\n', "2\n", "draws 1 figures"),
    ("### BEGIN HIDDEN TESTS\n", "", "no test cell has a ### BEGIN HIDDEN TESTS"),
    ("assert double(1) == 2\n", "", "has no visible check"),
    ("    ### BEGIN SOLUTION\n", "", "without ### BEGIN SOLUTION"),
    ('"grade_id": "double_test"', '"grade_id": "double"', "used once"),
    ("    return px.line", f"    x = '{'x' * 75}'\n    return px.line", "a line of"),
    ("    return px.line", "    n = n\n" * LONGEST_CELL + "    return px.line", "29 lines"),
    ("draw()\n", "!ls\n", "a shell command"),
    ("draw()\n", "%%bash\nls\n", "a shell command"),
    ("draw()\n", "subprocess.run('ls', shell=True)\n", "a shell"),
    ("draw()\n", "asyncio.run(draw())\n", "write await"),
    ("draw()\n", "get('https://example.com/data.csv')\n", "outside this machine"),
    ("What you can do now", "Well done!", "an exclamation mark"),
    ("What you can do now", "Well done \U0001f600", "an emoji: U+1F600"),
    ("What you can do now", "![](picture.png)", "an image without a description"),
    ("<details><summary>Two", "<b><summary>Two", "2 questions that open"),
    ("draw()\n", "draw(\n", "does not parse"),
]


@pytest.mark.parametrize("was, becomes, says", BREACHES, ids=[b[2] for b in BREACHES])
def test_a_breach_has_a_finding_that_says_so(findings, was, becomes, says):
    assert was in GOOD
    found = findings(GOOD.replace(was, becomes, 1))
    assert any(says in finding for finding in found), found


@pytest.mark.parametrize(
    "line",
    [
        "get('http://127.0.0.1:8000/x')\n",
        "get(f'http://{host}:80')\n",
        "get('http://localhost:1')\n",
        "await draw()\n",
        "draw() != 3\n",
    ],
)
def test_what_only_looks_like_a_breach_has_none(findings, line):
    assert findings(GOOD.replace("draw()\n", line, 1)) == []


def raw(tmp_path, change):
    (tmp_path / "lesson.py").write_text(GOOD, encoding="utf-8")
    path = tmp_path / "00_lesson.ipynb"
    to_notebook(tmp_path / "lesson.py", path)
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return [finding.says for finding in lint(path)]


def set_outputs(content):
    content["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]


def set_random_id(content):
    content["cells"][2]["id"] = "4c96a975"


def set_same_id(content):
    content["cells"][2]["id"] = content["cells"][3]["id"]


def set_editors_metadata(content):
    content["cells"][2]["metadata"]["collapsed"] = False


def set_machines_kernel(content):
    content["metadata"]["kernelspec"]["name"] = "my-venv"


@pytest.mark.parametrize(
    "change, says",
    [
        (set_outputs, "holds outputs"),
        (set_random_id, "made-up id"),
        (set_same_id, "two cells have this id"),
        (set_editors_metadata, "metadata of an editor: collapsed"),
        (set_machines_kernel, "python3 kernel's alone"),
    ],
)
def test_what_an_editor_leaves_has_a_finding(tmp_path, change, says):
    assert any(says in said for said in raw(tmp_path, change))


@pytest.fixture
def in_a_course(tmp_path):
    """Findings of lesson 12 about its links; 09 lies beside it, 35 in another folder."""
    notebooks = tmp_path / "notebooks"
    (tmp_path / "README.md").write_text("not handed out", encoding="utf-8")
    for place in ("d_networks/09_sockets.ipynb", "g_operate/35_drift.ipynb"):
        (notebooks / place).parent.mkdir(parents=True)
        (tmp_path / "lesson.py").write_text(GOOD, encoding="utf-8")
        to_notebook(tmp_path / "lesson.py", notebooks / place)

    def of(head, body="Plain."):
        text = GOOD.replace("*About 30 minutes.*", f"*About 30 minutes. {head}*\n#\n# {body}")
        (tmp_path / "lesson.py").write_text(text, encoding="utf-8")
        to_notebook(tmp_path / "lesson.py", notebooks / "d_networks/12_async.ipynb")
        return [finding.says for finding in lint(notebooks / "d_networks/12_async.ipynb")]

    return of


@pytest.mark.parametrize(
    "head, says",
    [
        ("After: 09, 35. Covers: 35 things.", ["09", "35"]),
        ("After: lesson 09 (sockets), what 10 said", ["09"]),
        ("After: [09](09_sockets.ipynb), 35. Covers: much.", ["35"]),
        ("After: [09](../g_operate/35_drift.ipynb). Covers: much.", ["09"]),
        ("After: [09](09_sockets.ipynb), [35](../g_operate/35_drift.ipynb).", []),
        ("After: 17, 120. See 09.", []),
        ("After: nothing, start here.", []),
    ],
)
def test_a_lesson_links_the_lessons_it_comes_after_if_they_exist(in_a_course, head, says):
    assert in_a_course(head) == [f"comes after {number} and does not link it" for number in says]


@pytest.mark.parametrize(
    "link, kept",
    [
        ("[a](09_sockets.ipynb)", True),
        ("[a](../g_operate/35_drift.ipynb#how-slow)", True),
        ("[a](https://example.org/x.ipynb) [b](#here) ![c](attachment:c.png)", True),
        ("`d[0](x)` and $f[1](x)$", True),
        ("[a](10_threads.ipynb)", False),
        ("[a](35_drift.ipynb)", False),
        ("[a](../d_networks)", False),
        ("[a](../../README.md)", False),
        ("![a picture](picture.png)", False),
    ],
)
def test_a_link_leads_to_a_file_that_students_get_too(in_a_course, link, kept):
    found = in_a_course("", link)
    assert found == [] if kept else ["which is not there" in says for says in found] == [True]


def test_a_file_that_is_no_notebook_is_one_finding(tmp_path):
    (tmp_path / "x.ipynb").write_text("[1]", encoding="utf-8")
    (finding,) = lint(tmp_path / "x.ipynb")
    assert "is not a notebook" in finding.says
