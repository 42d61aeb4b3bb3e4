"""How a worker gets its kernels forked: jupyter_client's way to say who starts a kernel.

Imported in a worker only. What is refused, or is no kernel of this interpreter, starts plainly.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from mlsys.notebooks.worker import MARK

ANSWER_WITHIN = 120.0  # seconds; the first time it loads its libraries, on a busy machine slowly
LAUNCHER = ["-m", "ipykernel_launcher"]

_asked_at: str = ""
_on_kernel: Callable[[int], None] = print


def use(address: str, on_kernel: Callable[[int], None]) -> None:
    """Ask at this address for each kernel from now on, and tell on_kernel its process number."""
    global _asked_at, _on_kernel
    _asked_at, _on_kernel = address, on_kernel
    factory = KernelProvisionerFactory.instance()
    factory.provisioners["mlsys"] = EntryPoint(
        "mlsys", f"{__name__}:Forked", KernelProvisionerFactory.GROUP_NAME
    )
    # Not by the environment: a lesson that starts kernels itself would inherit it.
    factory.default_provisioner_name = "mlsys"


class Forked(LocalProvisioner):
    """Has a kernel forked where it can be; all else is jupyter_client's."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        arguments = _arguments(cmd)
        process = None if arguments is None else fork_kernel(arguments, kwargs)
        if process is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process, self.pid, self.pgid = process, process.pid, process.pid
        self.cwd = kwargs.get("cwd", Path.cwd())
        _on_kernel(process.pid)
        return self.connection_info


def _arguments(cmd: list[str]) -> list[str] | None:
    """What follows the launcher's name, if this is ipykernel in this very interpreter."""
    program, *words = cmd
    if program == sys.executable and words[:2] == LAUNCHER:
        return words[2:]
    return None


def fork_kernel(arguments: list[str], options: dict[str, Any]) -> "Process | None":
    """The kernel's process, or None if none was given. options: as for subprocess.Popen."""
    env = options.get("env") or dict(os.environ)
    request = {
        "arguments": arguments,
        "cwd": str(options.get("cwd") or Path.cwd()),
        "env": env,
        "mark": env.get(MARK, ""),
    }
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ANSWER_WITHIN)
            line.connect(_asked_at)
            said = json.dumps(request).encode()
            line.sendall(said[socket.send_fds(line, [said], [1, 2]) :])
            line.shutdown(socket.SHUT_WR)
            answer, places, _, _ = socket.recv_fds(line, 4096, 1)
        return Process(json.loads(answer)["pid"], places[0])
    except (OSError, ValueError, LookupError):
        return None


class Process:
    """A process that is not our child, with what jupyter_client uses of subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = descriptor

    def poll(self) -> int | None:
        """None while it runs; then 0, whatever its status was, which is its parent's to know."""
        if self.returncode is None and select.select([self._descriptor], [], [], 0)[0]:
            os.close(self._descriptor)
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its end, or TimeoutError."""
        if self.returncode is None and not select.select([self._descriptor], [], [], timeout)[0]:
            raise TimeoutError(f"process {self.pid} still runs after {timeout} s")
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)
