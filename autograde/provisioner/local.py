"""A provisioner for jupyter_client that starts any kernelspec's kernel inside our sandbox: no
network but a loopback of its own, no file but its folder and the programs, bounds on memory,
processes, files and what it sends. The kernel needs to know nothing of that: it listens on its
ports as ever, and the guard brings their bytes to Unix sockets in a folder that only we can open.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Bool, Dict, Integer, List, Unicode

from autograde import sandbox
from autograde.protect.folder import remove_tree
from autograde.provisioner.guard import Order
from autograde.sandbox.layers import Policy, some_user

_ROOT = str(Path(__file__).parents[2])
_START = (
    "import sys; sys.path.append({root!r}); "
    "from autograde.provisioner.guard import main; main({number})"
)
_CHANNELS = ("shell", "iopub", "stdin", "hb", "control")
_PORTS = range(49201, 49206)  # in a network of its own any port is free
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")
# Where Debian keeps what R and Java need to start.
_SETTINGS = ("/etc/R", *map(str, Path("/etc").glob("java-*")))
# V8, Java and Go reserve far more addresses than they will use. On Linux the guard bounds what is
# written to, for each process and for all together.
_ADDRESSES = 1 << 47 if sys.platform == "linux" else 0
_STARTS_WITHIN = 60.0
_OBEYS_WITHIN = 5.0
_MOST_PATH = 100  # what the address of a Unix socket holds, less a little


class SandboxedProvisioner(LocalProvisioner):
    """Starts a kernel that can reach nothing of this machine but its folder."""

    folder = Unicode("", help="Its working folder; one that is removed afterwards if empty.")
    memory = Integer(4_000_000_000, help="Bytes of memory of all its processes.").tag(config=True)
    processes = Integer(64, help="Processes and threads.").tag(config=True)
    file_bytes = Integer(100_000_000, help="Bytes of one file.").tag(config=True)
    folder_bytes = Integer(500_000_000, help="Bytes in its folder.").tag(config=True)
    sent_bytes = Integer(200_000_000, help="Bytes it may send to its client.").tag(config=True)
    readable = List(Unicode(), help="Files and folders it may read.").tag(config=True)
    programs = List(Unicode(), help="Folders with programs it needs.").tag(config=True)
    environment = Dict(help="More of its environment variables.").tag(config=True)
    scratch = Unicode("", help="A folder to remove should the client be killed, beside its own.")
    trust_submissions = Bool(
        False, help="Start although this machine's sandbox lacks a layer that matters."
    ).tag(config=True)

    layers: tuple[str, ...] = ()
    last_words: str = ""  # what the kernel's program wrote past its connections, when it has ended
    _place: Path | None = None
    _control: socket.socket | None = None
    _told: Any = None
    _end: str = ""
    _isolated = False

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Write two connection files: for the client sockets in our folder, for the kernel ports on
        its loopback. Raises SandboxError where a layer is missing that nobody allowed to miss.
        """
        works = {row.layer: row.works for row in require(trust=self.trust_submissions)}
        self._isolated = works["namespaces"]
        if self._place is None:
            self._place = _make_place()
            if not self.folder:
                self.folder = str(self._place / "work")
                Path(self.folder).mkdir()
                Path(self.folder).chmod(0o777)
        # Killed in the middle of a word, and another user's: IPython would not start over it.
        remove_tree(Path(self.folder) / ".ipython")
        km = self.parent
        km.connection_file = str(self._place / "sockets" / "k.json")
        if self._isolated:
            km.transport, km.ip = "ipc", str(self._place / "sockets" / "k")
        kwargs["env"] = self._environment()
        kwargs = await super().pre_launch(**kwargs)
        inner = self._write_connection()
        spec = str(self.kernel_spec.resource_dir)
        command = [part.replace(km.connection_file, str(inner)) for part in kwargs["cmd"]]
        program = shutil.which(command[0], path=kwargs["env"].get("PATH"))
        if program is None:
            raise sandbox.SandboxError(
                f"The kernel {self.kernel_spec.display_name!r} is started by {command[0]!r}, which "
                "this machine does not have."
            )
        kwargs["cmd"] = [program, *command[1:]]
        # Without mounts of its own, a user made for this run cannot come to a Python in a home.
        works["user"] &= self._isolated or _is_open(program)
        self._user = some_user() if works["user"] else None
        self._required = [n for n in ("namespaces", "user", "landlock", "seccomp") if works[n]]
        self._policy = Policy(
            str(Path(self.folder).resolve()),
            readable=(str(inner), spec, *_SETTINGS, *self.readable),
            programs=(*_folders_of(program), *self.programs),
            terminals=True,
            user=self._user,
            memory=_ADDRESSES or self.memory,
            processes=self.processes,
            file_bytes=self.file_bytes,
            layers=tuple(self._required),
        )
        if not self._isolated and self._user is not None:
            os.chown(inner, self._user, -1)
        return kwargs

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        places = ("HOME", "TMPDIR", "MPLCONFIGDIR", "JUPYTER_RUNTIME_DIR")
        kept |= dict.fromkeys(threads, "1") | dict.fromkeys(places, self.folder)
        hidden = str(Path(self.folder) / ".ipython")
        kept |= {"NBGRADER_EXECUTION": "autograde", "IPYTHONDIR": hidden}
        return kept | dict(self.environment)

    def _write_connection(self) -> Path:
        """The kernel's own connection file."""
        inner = self._place / "kernel.json"
        about = json.loads(Path(self.parent.connection_file).read_text(encoding="utf-8"))
        if self._isolated:
            ports = {f"{name}_port": port for name, port in zip(_CHANNELS, _PORTS)}
            about |= {"transport": "tcp", "ip": "127.0.0.1", **ports}
        with contextlib.suppress(FileNotFoundError):
            inner.unlink()
        inner.touch(0o600)
        inner.write_text(json.dumps(about), encoding="utf-8")
        if self._isolated:  # its user number is not known yet, and nobody else is in its network
            inner.chmod(0o644)
        return inner

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the guard, which starts the kernel. Raises SandboxError, with the reason."""
        about = self.connection_info
        sockets, ports = [], []
        if self._isolated:
            sockets = [f"{about['ip']}-{about[f'{name}_port']}" for name in _CHANNELS]
            ports = list(_PORTS)
        order = Order(
            self._policy, cmd, kwargs["env"], sockets, ports,
            self._required, self.memory, self.folder_bytes, self.sent_bytes,
            [str(self._place), *filter(None, [self.scratch])],
        )  # fmt: skip
        self._end = ""
        self._control, theirs = socket.socketpair()
        with theirs:
            text = _START.format(root=_ROOT, number=theirs.fileno())
            self.process = subprocess.Popen(
                [sys.executable, "-c", text],
                pass_fds=[theirs.fileno()], start_new_session=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self.pid, self.pgid = self.process.pid, None
        self._control.settimeout(_STARTS_WITHIN)
        self._told = self._control.makefile("rb")
        self._control.sendall(msgspec.json.encode(order) + b"\n")
        told = await asyncio.to_thread(self._hear)
        if "layers" not in told:
            await self.kill()
            raise sandbox.SandboxError(told.get("problem") or "The kernel's guard did not start.")
        self.layers = ("limits", *(n for n in told["layers"] if n != "limits"))
        self.cwd = self.folder
        return about

    def _hear(self) -> dict[str, Any]:
        try:
            return json.loads(self._told.readline() or b"{}")
        except (OSError, ValueError):
            return {}

    def why_ended(self) -> str:
        """What the guard says of the end of its kernel; empty as long as that runs."""
        if not self._end and self.process is not None and self.process.poll() is not None:
            told = self._hear()
            self.last_words = str(told.get("words", "")).strip()
            self._end = str(told.get("ended") or told.get("problem") or "the kernel ended")
        return self._end

    async def send_signal(self, signum: int) -> None:
        """An interrupt goes to the kernel and what it has started; any other signal ends it all."""
        if self.process is None or signum == 0:
            return
        if signum == signal.SIGINT:
            self.process.send_signal(signum)
            return
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)

    async def kill(self, restart: bool = False) -> None:
        """End the kernel and all that it started; returns when they have ended."""
        await self.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        stop = time.monotonic() + _OBEYS_WITHIN
        while self.process is not None and self.process.poll() is None:
            if time.monotonic() > stop:
                self.process.kill()
            await asyncio.sleep(0.005)

    async def terminate(self, restart: bool = False) -> None:
        """The same: a kernel has nothing to tidy up that would be kept."""
        await self.kill(restart)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove what was made for the kernel, its folder only if it was ours."""
        await super().cleanup(restart)
        if self._told is not None:
            self.why_ended()
            self._told.close()
            self._control.close()
            self._told = self._control = None
        if not restart and self._place is not None:
            remove_tree(self._place)
            self._place = None


def require(*, trust: bool) -> list[sandbox.Row]:
    """The sandbox's layers. Raises SandboxError if they are not enough for a kernel, which needs a
    network of its own, unless `trust`."""
    rows = sandbox.doctor()
    enough = sandbox.is_enough(rows) and any(r.works for r in rows if r.layer == "namespaces")
    if not (trust or enough):
        raise sandbox.SandboxError(sandbox.what_is_missing(rows))
    if os.name != "posix":
        raise sandbox.SandboxError("A kernel of its own needs Linux or macOS to grade in.")
    return rows


def _make_place() -> Path:
    """A folder for sockets, whose addresses must not be long."""
    for parent in (None, "/tmp"):
        place = Path(tempfile.mkdtemp(prefix="autograde-", dir=parent))
        if len(str(place)) + len("/sockets/k-5") <= _MOST_PATH:
            break
        place.rmdir()
    place.chmod(0o711)
    (place / "sockets").mkdir(0o700)
    return place


def _is_open(program: str) -> bool:
    """Whether any user may start a program: all folders above it are open, and those above what it
    is a link to.
    """
    path = Path(program)
    folders = {*path.parents, *path.resolve().parents}
    return all(folder.stat().st_mode & 0o001 for folder in folders)


def _folders_of(program: str) -> tuple[str, ...]:
    """Where a program and what it belongs to lie: a Python's or Conda's whole environment, else
    the program's own folder, and that of the file to which a link leads.
    """
    found = []
    for path in (Path(program), Path(program).resolve()):
        above = path.parent.parent
        whole = (above / "pyvenv.cfg").is_file() or (above / "conda-meta").is_dir()
        found.append(str(above if whole else path.parent))
    return tuple(dict.fromkeys(found))
