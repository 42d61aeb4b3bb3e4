"""Links between lessons: they lead somewhere in a clone, in a workspace, and on pages."""

import re
from pathlib import Path

import nbformat
import pytest

from mlsys.notebooks.page import write_page
from mlsys.place import all_lessons, find_root
from mlsys.workspace import update

ROOT = find_root(Path(__file__).parent)
TO_LESSON = re.compile(r"\]\(((?:\.\./)?[\w./-]+\.ipynb)\)")
SAID = "See [lesson 35](../g_operate/35_drift.ipynb#how), [9](09_a.ipynb), [x](https://a.b/c.ipynb)"


@pytest.mark.parametrize("label", ["", "@full", "@student", "@set-12ab34"])
def test_a_page_links_the_pages_of_its_own_run(tmp_path, label):
    executed = tmp_path / f"12_async{label}.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_markdown_cell(SAID),
                nbformat.v4.new_code_cell("'](09_a.ipynb)'"),
            ]
        ),
        executed,
    )
    page = write_page(executed).read_text(encoding="utf-8")
    addresses = re.findall(r'href="([^"]+)"[^>]*>(?:lesson 35|9|x)<', page)
    assert addresses == [
        f"../g_operate/35_drift{label}.html#how",
        f"09_a{label}.html",
        "https://a.b/c.ipynb",
    ]
    assert "](09_a.ipynb)" in re.sub("<[^>]+>", "", page)  # code stays as it is


def test_every_link_of_a_lesson_leads_to_a_lesson_in_the_students_folder(tmp_path):
    update(ROOT, workspace=tmp_path / "workspace")
    links = [
        (path, target)
        for path in all_lessons(tmp_path / "workspace")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown"
        for target in TO_LESSON.findall(cell.source)
    ]
    assert links
    assert [str(link) for link in links if not (link[0].parent / link[1]).is_file()] == []
