"""Nothing outlives its notebook: neither at a restart, nor after `kill -9`, nor after a fork."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from jupyter_client import KernelManager
from leftovers import await_gone

START_EVERYTHING = textwrap.dedent(
    """
    import json, os
    from contextlib import ExitStack
    from pathlib import Path
    import psutil
    from mlsys import services

    stack = ExitStack()
    names = ("valkey", "postgres", "nats", "nginx", "s3")
    servers = [stack.enter_context(getattr(services, name)()) for name in names]
    where = Path(os.environ["MLSYS_TEST_MODULES"])
    web = stack.enter_context(services.web_app("tiny_app:app", workers=2, cwd=where))
    group = stack.enter_context(services.worker("tiny_worker", count=2, ready="up", cwd=where))
    processes = [*(s.process for s in servers), web.process, *group.members]
    report = {
        "family": [p.pid for p in psutil.Process().children(recursive=True)],
        "roots": [p.pid for p in processes],
        "folders": [str(p.folder) for p in processes],
    }
    Path(os.environ["MLSYS_TEST_REPORT"]).write_text(json.dumps(report))
    """
)
TINY_APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(__import__("os").getpid()).encode()})
"""
# deaf to SIGTERM: the guardian has to insist
TINY_WORKER = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up")
while True:
    time.sleep(1)
"""


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the modules to run and a place for temporary folders that we can search."""
    (tmp_path / "tiny_app.py").write_text(TINY_APP)
    (tmp_path / "tiny_worker.py").write_text(TINY_WORKER)
    for variable in ("MLSYS_REDIS_URL", "MLSYS_POSTGRES_URL", "MLSYS_NATS_URL", "MLSYS_S3_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MLSYS_TEST_MODULES", str(tmp_path))
    monkeypatch.setenv("MLSYS_TEST_REPORT", str(tmp_path / "report.json"))
    return tmp_path


def read_report(scene: Path) -> dict[str, list]:
    import json

    return json.loads((scene / "report.json").read_text())


def processes(pids: list[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        try:
            found.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    return found


def test_nothing_survives_a_killed_kernel(scene: Path) -> None:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(scene))
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        reply = client.execute_interactive(
            START_EVERYTHING, timeout=90, output_hook=lambda message: None
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        report = read_report(scene)
        family = processes(report["family"])
        assert set(report["roots"]) <= {process.pid for process in family}
        assert len(family) > len(report["roots"]) + 3  # backends, workers, the guardian itself
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        await_gone(family, report["folders"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run_python(code: str, scene: Path) -> subprocess.Popen[bytes]:
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=scene, env=env)


@pytest.mark.parametrize(
    "end",
    [
        "pass",
        "raise SystemExit(3)",
        "os._exit(4)",
        "os.kill(os.getpid(), 15)",
        "pipe = process.guardian().child.stdin; pipe.write('{'); pipe.flush(); os._exit(4)",
    ],
    ids=["end of the program", "exit", "abrupt exit", "SIGTERM", "death in mid-sentence"],
)
def test_nothing_survives_an_interpreter_that_ends_without_its_with(end: str, scene: Path) -> None:
    code = f"""
import json, os, psutil
from pathlib import Path
from mlsys import services
from mlsys.services import process
kept = services.valkey()
kv = kept.__enter__()
Path("report.json").write_text(json.dumps({{
    "family": [p.pid for p in psutil.Process().children(recursive=True)],
    "roots": [kv.pid], "folders": [str(kv.process.folder)]}}))
{end}
"""
    child = run_python(code, scene)
    child.wait(60)
    report = read_report(scene)
    await_gone(processes(report["family"]), report["folders"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_that_holds_the_pipe_open_keeps_no_server_alive(scene: Path) -> None:
    code = """
import json, os, time
from pathlib import Path
from mlsys import services
kv = (kept := services.valkey()).__enter__()
child = os.fork()
if child == 0:
    time.sleep(30)
    os._exit(0)
Path("report.json").write_text(json.dumps({
    "family": [kv.pid], "roots": [child], "folders": [str(kv.process.folder)]}))
os.kill(os.getpid(), 9)
"""
    run_python(code, scene).wait(60)
    report = read_report(scene)
    try:
        await_gone(processes(report["family"]), report["folders"])
        assert psutil.pid_exists(report["roots"][0])  # it really still held the pipe
    finally:
        os.kill(report["roots"][0], signal.SIGKILL)


@pytest.mark.skipif(os.name != "posix", reason="interrupts of a kernel are signals on POSIX only")
def test_an_interrupt_of_the_notebook_does_not_reach_the_server(scene: Path) -> None:
    code = """
import os, signal
from mlsys import services
with services.valkey() as kv:
    try:
        os.killpg(os.getpgrp(), signal.SIGINT)
        while True:
            pass
    except KeyboardInterrupt:
        raise SystemExit(0 if kv.client().ping() else 5)
"""
    child = subprocess.Popen([sys.executable, "-c", code], cwd=scene, start_new_session=True)
    assert child.wait(60) == 0


def test_a_killed_guardian_is_replaced_and_its_servers_still_stop(scene: Path) -> None:
    code = """
import psutil
from leftovers import await_gone
from mlsys import services
from mlsys.services import process
with services.valkey() as kv:
    victim = psutil.Process(process.guardian().child.pid)
    victim.kill()
    victim.wait(10)
    assert kv.client().ping()
    server = psutil.Process(kv.pid)
    assert server.is_running()
await_gone([server])
with services.valkey() as kv:
    assert kv.client().ping()
"""
    assert run_python(code, scene).wait(60) == 0
