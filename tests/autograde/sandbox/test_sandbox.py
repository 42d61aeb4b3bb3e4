"""What a confined process can and cannot do; each attempt runs in a bounded process of its own."""

import errno
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from autograde import sandbox
from autograde.sandbox import Policy, confine, isolate, kernel, landlock, seccomp
from autograde.sandbox.layers import some_user
from autograde.sandbox.orphans import end_orphans
from autograde.sandbox.trial import survives

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")


def confined(work: Callable[[], object], folder: Path, **policy) -> object:
    """What `work` returned in a confined process, through JSON; its error's name if it failed."""
    folder.chmod(0o777)
    # pytest's folders are for their owner; the confined user must be able to pass through.
    temporary = Path(tempfile.gettempdir()).resolve()
    for parent in folder.resolve().parents:
        if temporary in parent.parents and parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    settings = Policy(str(folder), user=some_user(), **policy)
    reader, writer = os.pipe()
    guard = os.fork()
    if guard == 0:
        signal.alarm(20)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        try:
            layers = isolate(settings)
            if (inner := os.fork()) == 0:
                confine(settings, isolated="namespaces" in layers)
                os.chdir(folder)
                try:
                    answer = work()
                except Exception as error:
                    answer = type(error).__name__
                os.write(writer, json.dumps(answer).encode())
                os._exit(0)
            os.close(writer)
            os.waitpid(inner, 0)
            end_orphans()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(guard, 0)
    return json.loads(said) if said else "ended"


def denied(do: Callable[[], object]) -> bool:
    try:
        do()
    except OSError:
        return True
    return False


def test_only_its_own_folder_and_pythons_can_be_read(tmp_path):
    if not landlock.abi():
        pytest.skip("no Landlock")
    secret = tmp_path / "gradebook.db"
    secret.write_text("grades")
    secret.chmod(0o666)
    work = tmp_path / "work"
    work.mkdir()

    def look() -> list[bool]:
        return [
            denied(lambda: secret.read_text()),
            denied(lambda: secret.write_text("x")),
            denied(lambda: list(tmp_path.iterdir())),
            denied(lambda: Path("/proc/self/environ").read_text()),
            denied(lambda: Path("/etc/passwd").read_text()),
            denied(lambda: (work / "mine").write_text("x")),
            denied(lambda: Path(os.__file__).read_text()),
        ]

    assert confined(look, work) == [True, True, True, True, True, False, False]
    assert secret.read_text() == "grades"


def test_links_lead_nowhere(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    work = tmp_path / "work"
    work.mkdir()

    def follow() -> list[bool]:
        (work / "soft").symlink_to(secret)
        return [
            denied(lambda: (work / "soft").read_text()),
            denied(lambda: (work / "hard").hardlink_to(secret)),
        ]

    assert confined(follow, work) == [True, True]


def test_no_network_outside_and_no_tracing_or_mounting(tmp_path):
    import ctypes
    import socket

    libc = ctypes.CDLL(None, use_errno=True)

    def attempt() -> list[bool]:
        return [
            denied(lambda: socket.create_connection(("127.0.0.1", 22), 1)),
            denied(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
            denied(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
            libc.ptrace(16, 1, 0, 0) < 0,
            libc.unshare(0x10000000) < 0,
            libc.mount(b"none", b"/tmp", b"tmpfs", 0, b"") < 0,
            libc.syscall(29, 0, 4096, 0o1777) < 0,
        ]

    assert confined(attempt, tmp_path) == [True] * 7


def test_without_namespaces_limits_and_priorities_of_others_stay_as_they_are(tmp_path):
    import resource

    mine = (resource.RLIMIT_CORE, (0, 0))

    def change() -> list[bool]:
        return [
            denied(lambda: resource.prlimit(os.getpid(), *mine)),  # as for any other number
            denied(lambda: os.sched_setaffinity(os.getpid(), {0})),
            denied(lambda: os.setpriority(os.PRIO_USER, 0, 5)),
            denied(lambda: os.setpriority(os.PRIO_PROCESS, os.getpid(), 5)),
            denied(lambda: resource.setrlimit(*mine)),
            denied(lambda: os.sched_setaffinity(0, os.sched_getaffinity(0))),
            denied(lambda: os.nice(1)),
        ]

    among_others = ("user", "landlock", "seccomp")
    assert confined(change, tmp_path, layers=among_others) == [True] * 4 + [False] * 3


def test_a_kernel_that_names_a_newer_landlock_than_it_takes_is_asked_for_less():
    """RHEL 9.7 says 6. Here a filter refuses a ruleset of that version's size, 24 bytes."""
    if landlock.abi() < 6:
        pytest.skip("no Landlock that could be refused")

    def attempt() -> None:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.install(
            [
                seccomp.step(0x20, 0),  # the number of the call
                seccomp.step(0x15, 444, 0, 3),  # landlock_create_ruleset
                seccomp.step(0x20, 24),  # its second argument
                seccomp.step(0x15, 24, 0, 1),
                seccomp.step(0x06, 0x00050000 | errno.EINVAL),
                seccomp.step(0x06, 0x7FFF0000),
            ]
        )
        assert landlock.abi() == 5
        landlock.restrict([], [], network=False)
        with pytest.raises(PermissionError):
            Path("/etc/passwd").read_text()

    assert survives(attempt)


def test_its_own_loopback_works_and_unix_sockets_of_the_machine_are_out_of_reach(tmp_path):
    import socket

    agent = socket.socket(socket.AF_UNIX)
    agent.bind(str(tmp_path / "agent"))
    agent.listen()
    (tmp_path / "agent").chmod(0o777)

    def talk() -> list[bool]:
        ends = socket.socketpair()
        ends[0].sendall(b"x")
        heard = False
        try:
            with socket.create_server(("127.0.0.1", 0)) as server:
                client = socket.create_connection(server.getsockname(), 5)
                line, _ = server.accept()
                line.sendall(b"y")
                heard = client.recv(1) == b"y"
        except PermissionError:  # without a network of its own there is none
            pass
        reached = not denied(lambda: socket.socket(socket.AF_UNIX).connect(str(tmp_path / "agent")))
        return [ends[1].recv(1) == b"x", heard, reached]

    try:
        paired, heard, reached = confined(talk, tmp_path)
    finally:
        agent.close()
    works = {row.layer for row in sandbox.doctor() if row.works}
    assert paired and heard == ("namespaces" in works) and not reached


def test_processes_memory_and_files_are_bounded(tmp_path):
    def spawn() -> int:
        count = 0
        try:
            while count < 500:
                if os.fork() == 0:
                    signal.pause()
                count += 1
        except OSError:
            pass
        return count

    assert confined(spawn, tmp_path, processes=20) < 40
    assert confined(lambda: len(bytearray(10**9)), tmp_path, memory=500_000_000) == "MemoryError"

    def fill() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        return (tmp_path / "big").write_bytes(bytes(2_000_000))

    assert confined(fill, tmp_path, file_bytes=1_000_000) == "OSError"


def test_signals_do_not_leave_and_nothing_outlives_it(tmp_path):
    outsider = os.fork()
    if outsider == 0:
        signal.alarm(60)
        signal.pause()
        os._exit(0)
    try:

        def strike() -> list[bool]:
            if os.fork() == 0:
                os.setsid()
                signal.pause()
            return [denied(lambda: os.kill(outsider, signal.SIGTERM)), os.getpid() == 1]

        refused, first = confined(strike, tmp_path)
        assert refused
        assert os.waitpid(outsider, os.WNOHANG) == (0, 0)
        works = {row.layer for row in sandbox.doctor() if row.works}
        assert first == ("namespaces" in works)
    finally:
        os.kill(outsider, signal.SIGKILL)
        os.waitpid(outsider, 0)


def test_it_cannot_become_another_user_again(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root has a user to leave")
    got = confined(lambda: [os.getuid(), denied(lambda: os.setuid(0)), os.getgroups()], tmp_path)
    assert got[0] >= 65534 and got[1:] == [True, []]


def test_an_ordinary_user_is_confined_as_well():
    """Without root the other layers hold: its own files outside the folder stay closed."""
    if os.geteuid() != 0:
        pytest.skip("this is how the other tests ran")
    home = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    secret = home / "secret"
    secret.write_text("x")
    work = home / "work"
    work.mkdir()
    for path in (home, secret, work):
        os.chown(path, 61234, 61234)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(61234, 61234, 61234)
            os.setresuid(61234, 61234, 61234)
            kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # as after a login
            look = confined(lambda: [denied(secret.read_text), (work / "a").write_text("b")], work)
            os.write(writer, json.dumps(look).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert json.loads(pipe.read()) == [True, 1]
    os.waitpid(child, 0)
    shutil.rmtree(home)


def test_the_doctor_says_what_is_open_where_a_layer_is_missing(monkeypatch):
    rows = sandbox.doctor()
    assert all(row.without and row.detail for row in rows)
    assert {row.layer for row in rows} >= {"limits", "user", "namespaces", "landlock", "seccomp"}
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    monkeypatch.setattr(seccomp, "is_supported", lambda: False)
    bare = sandbox.doctor()
    assert not sandbox.is_enough(bare)
    assert not next(row for row in bare if row.layer == "landlock").works
