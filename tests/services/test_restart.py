"""*Restart* in Jupyter's menu ends a kernel as politely as it can; its servers go as well."""

import json
from pathlib import Path

import psutil
import pytest
from jupyter_client import KernelManager
from leftovers import await_gone

START_TWO = """
import json
from pathlib import Path
import psutil
from mlsys import services
kept = [services.valkey(), services.nginx(config="location / { return 200 'x'; }")]
servers = [one.__enter__() for one in kept]
Path("report.json").write_text(json.dumps({
    "family": [p.pid for p in psutil.Process().children(recursive=True)],
    "roots": [s.process.pid for s in servers],
    "folders": [str(s.process.folder) for s in servers]}))
"""


@pytest.mark.parametrize("now", [False, True], ids=["asked to end", "killed"])
def test_a_kernel_that_is_restarted_leaves_no_server_and_starts_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: bool
) -> None:
    monkeypatch.delenv("MLSYS_REDIS_URL", raising=False)
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    families = []
    try:
        for _ in range(2):
            client.wait_for_ready(timeout=60)
            said = client.execute_interactive(START_TWO, timeout=90, output_hook=lambda _: None)
            assert said["content"]["status"] == "ok", said["content"]
            report = json.loads((tmp_path / "report.json").read_text())
            family = [psutil.Process(pid) for pid in report["family"]]
            assert set(report["roots"]) < {one.pid for one in family}
            families.append((family, report["folders"]))
            if len(families) == 1:
                manager.restart_kernel(now=now)
                await_gone(*families[0])
        assert all(psutil.pid_exists(pid) for pid in report["roots"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    await_gone(*families[-1])
