"""`mlsys lab`: one real JupyterLab, asked over HTTP, and nothing of it left after Ctrl-C."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import websockets
from leftovers import await_gone

from dashboards.launch import port_is_free
from mlsys.lab import arguments, environment
from mlsys.lesson_text import to_notebook

COMMAND = "from mlsys.lab import lab_command; import typer; typer.run(lab_command)"
LESSON = '# %% [markdown]\n# # First\n\n# %% tags=["parameters"]\nsize = 1  # full: 2\n'


@dataclass(frozen=True)
class Lab:
    process: subprocess.Popen
    client: httpx.Client
    root: Path
    home: Path
    token: str

    @property
    def base(self) -> str:
        return str(self.client.base_url)


def start(root: Path, *options: str, home: Path) -> subprocess.Popen:
    env = os.environ | {"JUPYTER_RUNTIME_DIR": str(root / "runtime"), "HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--no-browser", *options],
        cwd=root,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    root = tmp_path_factory.mktemp("workbook")
    home = tmp_path_factory.mktemp("home")
    (root / "requirements.lock").touch()
    (root / "text.py").write_text(LESSON, encoding="utf-8")
    to_notebook(root / "text.py", root / "notebooks/a_start/00_start_here.ipynb")
    process = start(root, home=home)
    try:
        info = wait_for_server(process, root / "runtime")
        headers = {"Authorization": f"token {info['token']}"}
        with httpx.Client(base_url=info["url"], headers=headers, timeout=90) as client:
            yield Lab(process, client, root, home, info["token"])
    finally:
        if process.poll() is None:
            whole = psutil.Process(process.pid)
            for one in [*whole.children(recursive=True), whole]:
                one.kill()
        process.communicate(timeout=20)


def wait_for_server(process, runtime, *, seconds=120):
    """The server's own note of its address, once it answers there."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise AssertionError(process.stdout.read().decode())
        for note in runtime.glob("jpserver-*.json"):
            try:
                info = json.loads(note.read_text(encoding="utf-8"))
                httpx.get(info["url"] + "api", timeout=5)
                return info
            except (ValueError, httpx.HTTPError):
                pass
        time.sleep(0.1)
    raise AssertionError("JupyterLab did not answer")


def test_it_serves_the_student_edition(lab):
    there = lab.client.get("api/contents").json()["content"]
    assert [entry["name"] for entry in there] == ["a_start"]
    assert (lab.root / "workspace/a_start/00_start_here.ipynb").exists()


def test_it_keeps_its_settings_to_itself(lab):
    config = page_config(lab)
    assert config["userSettingsDir"].startswith(str(lab.root / ".mlsys" / "jupyter"))
    assert not (lab.home / ".jupyter").exists()


def page_config(lab):
    page = lab.client.get("lab").text
    start = page.index("{", page.index('id="jupyter-config-data"'))
    return json.JSONDecoder().raw_decode(page[start:])[0]


def test_a_student_sees_validate_and_no_instructors_tools(lab):
    disabled = page_config(lab)["disabledExtensions"]
    for tool in ("formgrader", "create-assignment", "assignment-list", "course-list"):
        assert f"@jupyter/nbgrader:{tool}" in disabled
    assert "@jupyter/nbgrader:validate-assignment" not in disabled
    assert lab.client.get("formgrader").status_code == 404
    validated = lab.client.post(
        "assignments/validate", params={"path": "a_start/00_start_here.ipynb"}
    )
    assert validated.status_code != 404


def test_no_prompt_for_news_and_the_theme_follows_the_system(lab):
    settings = lab.client.get("lab/api/settings").json()["settings"]
    by_id = {entry["id"]: entry for entry in settings}
    news = by_id["@jupyterlab/apputils-extension:notification"]["schema"]["properties"]
    assert news["fetchNews"]["default"] == "false"
    theme = by_id["@jupyterlab/apputils-extension:themes"]["schema"]["properties"]
    assert theme["adaptive-theme"]["default"] is True


def test_the_dashboards_are_in_the_launcher_and_answer_through_the_proxy(lab):
    (entry,) = lab.client.get("server-proxy/servers-info").json()["server_processes"]
    launcher = entry["launcher_entry"]
    assert (launcher["title"], launcher["enabled"]) == ("Dashboards", True)
    icon = lab.client.get(launcher["icon_url"])
    assert icon.status_code == 200 and "svg" in icon.text
    assert "Streamlit" in lab.client.get(launcher["path_info"]).text
    assert lab.client.get(launcher["path_info"] + "_stcore/health").text == "ok"
    asyncio.run(stream(lab))


async def stream(lab):
    """Open the socket by which a page lives, as a browser does: with this origin."""
    address = lab.base.replace("http", "ws", 1) + "dashboards/_stcore/stream"
    async with websockets.connect(
        f"{address}?token={lab.token}",
        origin=lab.base.rstrip("/"),
        subprotocols=["streamlit"],
        open_timeout=60,
    ) as socket:
        assert socket.subprotocol == "streamlit"


def test_a_taken_port_gets_one_sentence(lab):
    taken = lab.client.base_url.port
    process = start(lab.root, "--port", str(taken), home=lab.root)
    said = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 1
    assert said.strip() == f"Port {taken} is taken; leave --port out and a free one is found."


def test_ctrl_c_stops_the_lab_its_kernels_and_the_dashboards(lab):
    lab.client.post("api/kernels", json={"name": "python3"}).raise_for_status()
    lab.client.get("dashboards/_stcore/health").raise_for_status()
    children = psutil.Process(lab.process.pid).children(recursive=True)
    lines = " ".join(map(command_line, children))
    assert "ipykernel_launcher" in lines and "streamlit" in lines
    lab.process.send_signal(signal.SIGINT)
    lab.process.communicate(timeout=120)
    await_gone(children)


def command_line(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return ""


def test_the_first_time_opens_the_first_lesson_and_later_what_was_open(tmp_path):
    (tmp_path / "a_start").mkdir()
    (tmp_path / "a_start/00_start_here.ipynb").touch()
    first = arguments(tmp_path, port=None, browser=True, first=True)
    later = arguments(tmp_path, port=None, browser=False, first=False)
    assert "--LabApp.default_url=/lab/tree/a_start/00_start_here.ipynb" in first
    assert "--LabApp.default_url=/lab" in later and "--no-browser" in later


def test_an_instructor_gets_all_of_nbgrader(tmp_path):
    student = environment(tmp_path, instructor=False)["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    instructor = environment(tmp_path, instructor=True)["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert set(student) - set(instructor) == {str(Path(instructor[0]) / "student")}


def test_a_port_that_someone_listens_on_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not port_is_free(server.getsockname()[1])
