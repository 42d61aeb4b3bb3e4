"""A kernelspec whose language is no Python, for tests: every cell is run by `sh`."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager

_KERNEL = """
import os
import subprocess

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel


class Shell(Kernel):
    implementation = banner = "sh"
    implementation_version = "1"
    language_info = {"name": "sh", "mimetype": "text/x-sh", "file_extension": ".sh"}

    async def do_execute(self, code, silent, *args, **kwargs):
        done = subprocess.run(["sh", "-c", code], capture_output=True, text=True)
        if not silent and done.stdout:
            content = {"name": "stdout", "text": done.stdout}
            self.send_response(self.iopub_socket, "stream", content)
        if done.returncode and "SILENT" not in os.environ:
            why = str(done.returncode)
            return {"status": "error", "ename": "Exit", "evalue": why, "traceback": [done.stderr]}
        return {"status": "ok", "execution_count": self.execution_count, "payload": [],
                "user_expressions": {}}


IPKernelApp.launch_instance(kernel_class=Shell)
"""


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder through which any user can pass, as a kernel must, whose user number is its own;
    pytest's folders are for their owner.
    """
    with tempfile.TemporaryDirectory(prefix="open-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def shell_kernel(
    monkeypatch: pytest.MonkeyPatch, *, silent: bool = False
) -> Iterator[tuple[dict[str, str], Path]]:
    """The kernel `plain-sh` where Jupyter finds it: what a notebook says of it, and its file. It
    may be `silent` about cells that fail.
    """
    with open_folder() as share:
        place = share / "kernels" / "plain-sh"
        place.mkdir(parents=True)
        (place / "kernel.py").write_text(_KERNEL)
        argv = [sys.executable, str(place / "kernel.py"), "-f", "{connection_file}"]
        about = {"argv": argv, "display_name": "plain sh", "language": "sh"}
        about["env"] = {"SILENT": "1"} if silent else {}
        (place / "kernel.json").write_text(json.dumps(about))
        monkeypatch.setenv("JUPYTER_PATH", str(share))
        assert "plain-sh" in KernelSpecManager().find_kernel_specs()
        spec = {"name": "plain-sh", "display_name": "plain sh", "language": "sh"}
        yield spec, place / "kernel.json"
