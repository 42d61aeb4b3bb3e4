"""A process that has imported what an assignment imports, has one thread, and forks a fresh pair of
processes for each submission in milliseconds. It never sees a solution or a test: what is not in
its memory cannot be found in its children's.
"""

import contextlib
import dataclasses
import gc
import importlib
import json
import os
import select
import signal
import socket
import tempfile
import warnings
from pathlib import Path

import msgspec

from autograde.protect import child, trusted
from autograde.protect.folder import remove_tree
from autograde.protect.shell import make_shell
from autograde.protect.wire import Wire, receive_sockets
from autograde.sandbox import kernel
from autograde.sandbox.layers import Policy, can_isolate, confine, isolate, own_places
from autograde.sandbox.orphans import end_all_others, end_orphans

_REAPED_EVERY = 200  # milliseconds


def main(number: int, imports: list[str], folder: str, *, bubble: bool) -> None:
    """Serve the supervisor on the socket with this file descriptor, and whoever it hands a seat,
    until the supervisor is gone. Then what was forked has ended, and `folder`, where sessions have
    their own, is removed: a grader that was killed cannot do that.

    `bubble`: this is the first process of bubblewrap's namespaces, in which one submission runs at
    a time, since two would see each other.
    """
    if kernel.LINUX:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        if not bubble and os.geteuid() != 0:
            can_isolate()  # tried once, for all that is forked
    failed = preload(imports)
    gc.freeze()  # what is imported stays: no collection, IPython's own neither, need look at it
    shell = make_shell()
    gc.freeze()
    gc.enable()  # it was off since the process began
    for signum in (signal.SIGINT, signal.SIGTERM):  # told to a whole group: the supervisor's
        signal.signal(signum, signal.SIG_IGN)
    about = json.dumps({"failed": failed, "threads": threads(), "bubble": bubble}).encode()
    lines: dict[int, tuple[socket.socket, set[int]]] = {}
    poll = select.poll()

    def seat(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is gone already
            sock.sendall(about)
        lines[sock.fileno()] = sock, set()
        poll.register(sock, select.POLLIN)

    seat(socket.socket(fileno=number))
    while number in lines:
        for place, _ in poll.poll(_REAPED_EVERY if _reap(lines) else None):
            supervisor, guards = lines[place]
            try:
                message, sockets = receive_sockets(supervisor)
            except OSError:
                message, sockets = b"", []
            if not message:  # it is gone, and what ran for it ends
                poll.unregister(supervisor)
                _end(guards)
                lines.pop(place)[0].close()
            elif not sockets:  # a submission is over, and all that it started
                end_all_others()
                guards.clear()
                with contextlib.suppress(OSError):
                    supervisor.sendall(b"[]")
            elif len(sockets) == 1:
                seat(sockets[0])
            else:
                orders = json.loads(message)
                if bubble:
                    if any(running for _, running in lines.values()):
                        orders = []  # nothing is forked, and that is the answer
                    else:
                        end_all_others()
                open_lines = [sock for sock, _ in lines.values()]
                pids = _fork_pair(orders, sockets, shell, open_lines, bubble=bubble)
                guards.update(guard for guard, _ in pids)
                with contextlib.suppress(OSError):
                    _tell(supervisor, pids, bubble=bubble)
    for _, guards in lines.values():
        _end(guards)
    if bubble:
        end_all_others()
    else:
        end_orphans()
    remove_tree(Path(folder))
    os._exit(0)  # nothing that was imported has anything to tidy up


def _reap(lines: dict[int, tuple[socket.socket, set[int]]]) -> bool:
    """Take leave of what has ended, so that its processor time is counted; whether any is left."""
    try:
        while ended := os.waitpid(-1, os.WNOHANG)[0]:
            for _, guards in lines.values():
                guards.discard(ended)
    except ChildProcessError:
        return False
    return True


def _end(guards: set[int]) -> None:
    """Have guards end what they guard, and themselves."""
    for guard in guards:
        with contextlib.suppress(OSError):
            os.kill(guard, signal.SIGTERM)


def _fork_pair(
    orders: list[dict],
    sockets: list[socket.socket],
    shell: object,
    lines: list[socket.socket],
    *,
    bubble: bool,
) -> list[list[int]]:
    pids = []
    for role, order, pair in zip(("child", "trusted"), orders, (sockets[:2], sockets[2:])):
        policy = msgspec.convert(order, Policy)
        if bubble:
            policy = dataclasses.replace(policy, layers=("bubblewrap", *policy.layers))
        pids.append(_launch(role, policy, pair, shell, lines))
    for sock in sockets:
        sock.close()
    return pids


def _tell(supervisor: socket.socket, pids: list[list[int]], *, bubble: bool) -> None:
    """Tell the numbers of guards and of what they guard. In a bubble they hold in here alone:
    descriptors of the processes go with the message, in which 1 stands for each and 0 for none.
    """
    opened: list[int] = []
    try:
        for pair in pids if bubble else ():
            for place, pid in enumerate(pair):
                pair[place] = 0
                with contextlib.suppress(OSError):  # it has ended already
                    opened.append(os.pidfd_open(pid))
                    pair[place] = 1
        socket.send_fds(supervisor, [json.dumps(pids).encode()], opened)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def preload(names: list[str]) -> list[str]:
    """Import modules by name; returns those that could not be."""
    failed = []
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for name in ("autograde.protect.tables", "autograde.checks", *names):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(name)
        except BaseException:
            failed.append(name)
    return failed


def threads() -> int:
    """Threads of this process; only one may be there when it forks."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 1


def _launch(
    role: str,
    policy: Policy,
    sockets: list[socket.socket],
    shell: object,
    lines: list[socket.socket],
) -> list[int]:
    """Fork a guard, which makes the namespaces and forks the process proper; returns both pids."""
    reader, writer = os.pipe()
    guard = os.fork()
    if guard:
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read(8)
        return [guard, int.from_bytes(told, "little")]
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for line in lines:
            line.close()
        os.setsid()
        if kernel.LINUX:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        layers = isolate(policy)
        inner = os.fork()
        if inner == 0:
            _become(role, policy, sockets, shell, layers)
        signal.signal(signal.SIGTERM, lambda *about: os.kill(inner, signal.SIGKILL))
        os.write(writer, inner.to_bytes(8, "little"))
        os.closerange(0, 1024)
        os.waitpid(inner, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_orphans()
    except BaseException:
        os._exit(1)
    os._exit(0)


def _become(
    role: str, policy: Policy, sockets: list[socket.socket], shell: object, layers: list[str]
) -> None:
    try:
        control, calls = (Wire(sock) for sock in sockets)
        os.chdir(policy.folder)
        _point_outputs_at(policy.folder if role == "child" else None)
        kept = {control.fileno(), calls.fileno()}
        for number in range(3, 1024):
            if number not in kept:
                with contextlib.suppress(OSError):
                    os.close(number)
        os.environ.pop("XDG_CACHE_HOME", None)
        places = ("HOME", "TMPDIR", "MPLCONFIGDIR", "IPYTHONDIR")
        os.environ.update(dict.fromkeys(places, policy.folder))
        tempfile.tempdir = None
        try:
            if "namespaces" in layers:
                policy = own_places(policy)
            layers = layers + confine(policy, isolated=bool(layers))
        except Exception as error:
            control.send(msgspec.json.encode({"problem": str(error)}))
            os._exit(1)
        control.send(msgspec.json.encode({"layers": layers}))
        if role == "child":
            child.main(shell, control, calls)
        else:
            trusted.main(control, calls)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _point_outputs_at(folder: str | None) -> None:
    """Standard input is empty; what is written past Python goes to a file without a name."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    if folder is None:
        os.dup2(null, 1)
        os.dup2(null, 2)
        return
    number, path = tempfile.mkstemp(dir=folder)
    os.unlink(path)  # noqa: PTH108  (the descriptor is all that is wanted)
    os.set_inheritable(number, True)
    os.dup2(number, 1)
    os.dup2(number, 2)
