"""Puts the layers on, in the order in which they need each other. `isolate` is for the parent that
forks the confined process (namespaces, what is mounted); `confine` is for that process itself
(another user, resource limits, Landlock, seccomp). Each names the layers it has put on.
"""

import contextlib
import functools
import os
import random
import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from autograde.sandbox import kernel, landlock, seccomp
from autograde.sandbox.trial import survives

try:
    import resource  # before a sandbox closes, or a closed home hides the standard library
except ImportError:  # Windows
    resource = None

_SYSTEM = (
    "/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/localtime",
    "/etc/ssl", "/etc/fonts", "/etc/mime.types", "/etc/alternatives", "/etc/hosts",
    "/etc/nsswitch.conf", "/dev/urandom", "/dev/random", "/dev/zero", "/dev/null", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/stat", "/proc/self/maps", "/sys/fs/cgroup", "/sys/devices/system/cpu",
    "/opt/conda", "/opt/hostedtoolcache",
)  # fmt: skip
_DEVICES = ("/dev/null",)
_TERMINALS = ("/dev/ptmx", "/dev/pts")
_NOBODY = 65534


class SandboxError(RuntimeError):
    """A layer that this machine has could not be put on; nothing runs without it."""


@dataclass(frozen=True)
class Policy:
    """What a confined process may do: files, and amounts in bytes, seconds and pieces. `programs`
    are folders beside Python's own that are to be reached even if they lie in a closed home. The
    layer "bubblewrap" says that the process stands in its namespaces already.
    """

    folder: str
    readable: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    terminals: bool = False
    user: int | None = None
    memory: int = 4_000_000_000
    cpu_seconds: int = 600
    file_bytes: int = 100_000_000
    files: int = 256
    processes: int = 64
    layers: tuple[str, ...] = field(default=("user", "namespaces", "landlock", "seccomp"))


def python_folders() -> list[str]:
    """Where this Python and its packages are; a checkout's own folders are not among them."""
    return sorted({sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix})


def some_user() -> int | None:
    """A user number for one run that nobody else has; None unless we are root."""
    if not kernel.LINUX or os.geteuid() != 0:
        return None
    return 1_900_000_000 + random.SystemRandom().randrange(100_000_000)


def isolate(policy: Policy) -> list[str]:
    """Own processes, network, messages and mounts for what is forked next."""
    if "bubblewrap" in policy.layers:
        return ["bubblewrap"]
    if not kernel.LINUX or "namespaces" not in policy.layers:
        return []
    root = os.geteuid() == 0
    if not root and not can_isolate():
        return []
    try:
        _enter_namespaces()
    except OSError:
        return []
    with contextlib.suppress(OSError):
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    with contextlib.suppress(OSError):
        _raise_loopback()
    if root:
        open_way([*python_folders(), *policy.programs])
    if policy.terminals and _own_terminals():
        return ["namespaces", "terminals"]
    return ["namespaces"]


@functools.cache
def can_isolate() -> bool:
    """Whether this user may make namespaces, and is somebody in them. Ubuntu's AppArmor lets an
    ordinary user make some, then refuses all that one does there; there is no way back from those.
    """
    return survives(_enter_namespaces)


def _enter_namespaces() -> None:
    user, group = os.geteuid(), os.getegid()
    rest = kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
    if user == 0:
        kernel.unshare(rest)
    else:
        kernel.unshare(kernel.CLONE_NEWUSER | rest)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def own_places(policy: Policy) -> Policy:
    """For the first process of its namespaces: mount what programs expect to have for themselves, a
    /proc that shows the sandbox alone, and /dev/shm for semaphores and shared memory, which lie in
    the folder and count with it. The policy that comes back allows to read that /proc; in a
    container an ordinary user gets none. Without it there is no /dev/shm either, since joblib,
    which then works in one process, would fail with it.
    """
    try:
        kernel.unshare(kernel.CLONE_NEWNS)  # its parent goes on with the machine's
        kernel.mount("none", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NOEXEC)
    except OSError:
        return policy
    with contextlib.suppress(OSError):
        kernel.mount(policy.folder, "/dev/shm", None, kernel.MS_BIND)
    return replace(policy, readable=(*policy.readable, "/proc"))


def _own_terminals() -> bool:
    """Pseudo-terminals of its own, where programs that want one get one; the machine's are out of
    sight then.
    """
    try:
        flags = kernel.MS_NOSUID | kernel.MS_NOEXEC
        kernel.mount("none", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0600")
        # The device beside it may be the machine's, which some kernels open as such.
        kernel.mount("/dev/pts/ptmx", "/dev/ptmx", None, kernel.MS_BIND)
    except OSError:
        return False
    return True


def _raise_loopback() -> None:
    """Let servers and clients of one process meet at 127.0.0.1 of their own empty network."""
    import fcntl

    up = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        fcntl.ioctl(line, 0x8914, up)  # SIOCSIFFLAGS


def open_way(folders: Iterable[str]) -> None:
    """In this mount namespace, let an unprivileged user reach folders that lie in a closed home
    (a Python, its packages), and nothing else of that home. Only root can do that.
    """
    closed: dict[Path, list[tuple[str, int]]] = {}
    for folder in folders:
        above = [p for p in Path(folder).parents if not p.stat().st_mode & 0o001]
        if above:
            # Opened before the home is covered: a second folder of it could not be found after.
            place = os.open(folder, os.O_PATH)
            closed.setdefault(above[-1], []).append((folder, place))
    for top, kept in closed.items():
        kernel.mount("none", str(top), "tmpfs", kernel.MS_NOSUID, "mode=755,size=64k")
        for folder, place in kept:
            try:
                if not Path(folder).is_dir():  # one folder may lie within another
                    Path(folder).mkdir(parents=True, mode=0o755)
                    source = f"/proc/self/fd/{place}"
                    kernel.mount(source, folder, None, kernel.MS_BIND | kernel.MS_REC)
            finally:
                os.close(place)


def confine(policy: Policy, *, isolated: bool, terminals: bool = False) -> list[str]:
    """Become the policy's user under its limits, without a way back. Raises SandboxError.

    `isolated`: whether the process stands in an empty network, where sockets do no harm;
    `terminals`: whether it has terminals of its own.
    """
    done = ["limits"]
    os.umask(0)
    try:
        if kernel.LINUX:
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        if policy.user is not None and "user" in policy.layers:
            _become(policy.user)
            done.append("user")
        _limit(policy)
        if not kernel.LINUX:
            return done
        kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if landlock.abi() and "landlock" in policy.layers:
            programs = (*_SYSTEM, *python_folders(), *policy.programs)
            readable = [Path(p) for p in (*programs, *policy.readable)]
            writable = [Path(p) for p in (policy.folder, *_DEVICES)]
            devices = [Path(p) for p in _TERMINALS] if terminals else []
            landlock.restrict(readable, writable, devices, network=isolated)
            done.append("landlock")
        if seccomp.is_supported() and "seccomp" in policy.layers:
            alone = isolated and "bubblewrap" not in policy.layers
            seccomp.restrict(network=isolated, alone=alone)
            done.append("seccomp")
    except OSError as error:
        raise SandboxError(f"The sandbox could not be closed: {error}.") from error
    return done


def _become(user: int) -> None:
    os.setgroups([])
    try:
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError:  # a container may map few users
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _limit(policy: Policy) -> None:
    if resource is None:
        return
    wanted = {
        "RLIMIT_AS": policy.memory,
        "RLIMIT_CPU": policy.cpu_seconds,
        "RLIMIT_FSIZE": policy.file_bytes,
        "RLIMIT_NOFILE": policy.files,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": policy.processes,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
    for name, amount in wanted.items():
        number = getattr(resource, name, None)
        if number is None:
            continue
        _, most = resource.getrlimit(number)
        if most != resource.RLIM_INFINITY:
            amount = min(amount, most)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(number, (amount, amount))
