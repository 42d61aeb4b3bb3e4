"""The frame around the pages: the start, the theme, the navigation, the proxy's entry."""

import os
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import plotly.graph_objects as go
import pytest
from pages import FOLDER, open_page
from streamlit.testing.v1 import AppTest

from dashboards import launch
from mlsys import theme


@pytest.fixture
def taken_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_the_navigation_opens_and_names_each_page():
    app = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=120).run()
    assert not app.exception
    assert app.title[0].value.startswith("ML Systems Workbook")


def test_the_overview_asks_each_pages_question():
    # A page link needs the navigation, which a page alone does not have.
    app = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=120).run()
    views = {path.stem for path in (FOLDER / "views").glob("*.py")} - {"overview"}
    assert len(app.header) == len(views)


def test_streamlits_colours_are_the_themes_own():
    colours = tomllib.loads((FOLDER / ".streamlit" / "config.toml").read_text())["theme"]
    for part, template, lead in (
        ("light", "mlsys", theme.BLUE),
        ("dark", "mlsys_dark", theme.SKY),
    ):
        layout = go.Figure(layout={"template": template}).layout.template.layout
        assert colours[part]["primaryColor"] == lead
        assert colours[part]["backgroundColor"] == layout.paper_bgcolor
        assert colours[part]["textColor"] == layout.font.color


def test_pages_read_in_both_themes_have_contrast():
    for template in ("mlsys", "mlsys_dark"):
        layout = go.Figure(layout={"template": template}).layout.template.layout
        assert _contrast(layout.font.color, layout.paper_bgcolor) >= 7
        lead = theme.BLUE if template == "mlsys" else theme.SKY
        for colour in (lead, theme.RED, theme.GREEN):
            assert _contrast(colour, layout.paper_bgcolor) >= 3


def test_a_taken_port_gets_one_sentence(taken_port):
    with pytest.raises(launch.LaunchError, match=f"Port {taken_port} is in use"):
        launch.serve(taken_port, open_browser=False)


def test_a_port_that_does_not_exist_gets_one_sentence():
    with pytest.raises(launch.LaunchError, match="no port 70000"):
        launch.serve(70_000, open_browser=False)


def test_the_proxys_entry_lets_the_proxy_choose_the_port():
    entry = launch.jupyter_entry()
    assert "--server.port={port}" in entry["command"]
    assert Path(entry["launcher_entry"]["icon_path"]).exists()


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent in another way on Windows")
def test_the_dashboards_start_anywhere_and_stop_with_ctrl_c(tmp_path):
    script = "from dashboards.launch import serve; raise SystemExit(serve(open_browser=False))"
    starter = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        said = starter.stdout.readline()
        assert said.startswith("The dashboards are at http://127.0.0.1:")
        health = f"{said.split()[4]}/_stcore/health"
        with urllib.request.urlopen(health, timeout=60) as answer:
            assert answer.read() == b"ok"
        os.killpg(starter.pid, signal.SIGINT)
        assert starter.wait(60) == 0
    finally:
        if starter.poll() is None:
            os.killpg(starter.pid, signal.SIGKILL)
        starter.stdout.close()
    with pytest.raises(OSError):
        urllib.request.urlopen(health, timeout=2)


def test_running_a_page_again_leaves_its_address_alone():
    page = open_page("cap")
    for _ in range(3):
        page.run()
    assert page.query_params == {}


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
