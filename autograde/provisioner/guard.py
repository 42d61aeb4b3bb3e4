"""The process between a grader and a confined kernel. It makes the namespaces, starts the kernel
under a small first process, carries bytes between the grader's Unix sockets and the kernel's ports
on a loopback that only the kernel has, and ends everything when the grader is gone, when the kernel
is, or when the kernel has written or sent too much.
"""

import contextlib
import json
import os
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from autograde.protect.folder import holds_more_than, remove_tree
from autograde.provisioner.relay import Relay
from autograde.sandbox import kernel
from autograde.sandbox.layers import Policy, confine, isolate, own_places
from autograde.sandbox.memory import MemoryWatch
from autograde.sandbox.orphans import end_orphans

_LOOK_EVERY = 0.25  # seconds between two looks at folder and memory
_ENDED = "the kernel ended"
_LAST_WORDS = 2_000  # bytes of what the kernel's program wrote past its connections


class Order(msgspec.Struct):
    """What to start and how. `sockets` are the grader's paths, one for each of the kernel's
    `ports`; without namespaces there are none, and the ports are the machine's. `memory` is what
    all its processes may hold; the policy's bound on addresses is another. `scratch` are folders
    that the grader removes, and the guard if the grader was killed."""

    policy: Policy
    command: list[str]
    environment: dict[str, str]
    sockets: list[str]
    ports: list[int]
    required: list[str]
    memory: int
    folder_bytes: int
    sent_bytes: int
    scratch: list[str]


def main(number: int) -> None:
    """Serve the provisioner on the socket with this file descriptor, until either side ends."""
    control = socket.socket(fileno=number)
    with control.makefile("rb") as stream:
        order = msgspec.json.decode(stream.readline(), type=Order)
    inner, why, heard = 0, "", True
    try:
        if kernel.LINUX:
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        listeners = [_listen(path) for path in order.sockets]
        with tempfile.TemporaryFile() as words:
            inner, layers = _start(order, isolate(order.policy), words.fileno())
            _say(control, layers=layers)
            why = _serve(order, control, listeners, inner)
            words.seek(-min(_LAST_WORDS, words.seek(0, os.SEEK_END)), os.SEEK_END)
            heard = _say(control, ended=why, words=words.read().decode("utf-8", "replace"))
    except (OSError, ValueError) as error:
        heard = _say(control, problem=str(error))
    finally:
        if inner and why != _ENDED:
            with contextlib.suppress(OSError):
                os.kill(inner, signal.SIGKILL)
                os.waitpid(inner, 0)
        end_orphans()
        for folder in order.scratch if not heard else ():
            remove_tree(Path(folder))
        os._exit(0)


def _say(control: socket.socket, **told: object) -> bool:
    """Tell the grader; whether it is there to hear."""
    try:
        control.sendall(json.dumps(told).encode() + b"\n")
    except OSError:
        return False
    return True


def _listen(path: str) -> socket.socket:
    """A Unix socket of the network that we are about to leave, in a folder closed to others."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  (left by the kernel that this one takes the place of)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def _serve(order: Order, control: socket.socket, listeners: list[socket.socket], inner: int) -> str:
    """Carry bytes until something ends; says what that was."""
    signal.signal(signal.SIGINT, lambda number, frame: os.kill(inner, signal.SIGINT))
    relay = Relay(listeners, order.ports)
    relay.watch(control, "control")
    memory = MemoryWatch(order.memory)
    look = time.monotonic()
    while True:
        for _ in relay.turn(_LOOK_EVERY):
            if not control.recv(1):
                return "the grader is gone"
        if relay.sent > order.sent_bytes:
            return f"it sent more than {order.sent_bytes / 1e6:.0f} MB"
        if os.waitpid(inner, os.WNOHANG)[0]:
            return _ENDED
        if time.monotonic() - look > _LOOK_EVERY:
            if holds_more_than(order.policy.folder, order.folder_bytes):
                return f"it wrote more than {order.folder_bytes / 1e6:.0f} MB"
            if memory.sees_too_much(inner):
                return f"it held more than {order.memory / 1e6:.0f} MB of memory"
            look = time.monotonic()


def _start(order: Order, isolated: Sequence[str], words: int) -> tuple[int, list[str]]:
    """Fork the first process of the sandbox; returns its number and the layers it has put on."""
    reader, writer = os.pipe()
    guard = os.getpid()
    inner = os.fork()
    if inner == 0:
        try:
            os.dup2(words, 1)
            os.dup2(words, 2)
            _be_first(order, isolated, writer, guard)
        except BaseException as error:
            os.write(writer, json.dumps({"problem": str(error)}).encode())
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = json.loads(pipe.read() or b'{"problem": "The sandbox did not start."}')
    if "problem" in told:
        raise OSError(told["problem"])
    return inner, told["layers"]


def _be_first(order: Order, isolated: Sequence[str], writer: int, guard: int) -> None:
    """The first process of the sandbox, confined as the kernel is. It starts the kernel, hands
    interrupts on, buries the dead and ends with the kernel; in a namespace its end is the end of
    all.
    """
    import resource  # not on Windows

    os.setsid()
    for number in range(3, 1024):
        if number != writer:
            with contextlib.suppress(OSError):
                os.close(number)
    policy = own_places(order.policy) if "namespaces" in isolated else order.policy
    os.chdir(policy.folder)
    with contextlib.suppress(ValueError):  # it is lower already
        resource.setrlimit(resource.RLIMIT_DATA, (order.memory, order.memory))
    # Without namespaces the kernel's ports are the machine's: the instructor has allowed that.
    layers = [*isolated, *confine(policy, isolated=True, terminals="terminals" in isolated)]
    if missing := sorted(set(order.required) - set(layers)):
        raise OSError(f"The sandbox lacks {', '.join(missing)}.")
    if "namespaces" not in isolated and os.getppid() != guard:
        return
    proper = _start_kernel(order)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, frame: _hand_on(proper, n))
    os.write(writer, json.dumps({"layers": layers}).encode())
    os.close(writer)
    while os.waitpid(-1, 0)[0] != proper:
        pass
    os._exit(0)


def _start_kernel(order: Order) -> int:
    """Fork the kernel proper and wait until its program runs. Raises OSError if it does not."""
    failed, failing = os.pipe()  # closed by a program that starts
    proper = os.fork()
    if proper == 0:
        try:
            os.setpgid(0, 0)
            if kernel.LINUX:
                kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            os.execvpe(order.command[0], order.command, order.environment)
        except BaseException as error:
            os.write(failing, str(error).encode())
        os._exit(127)
    os.close(failing)
    with os.fdopen(failed, "rb") as pipe:
        if why := pipe.read().decode():
            raise OSError(f"The kernel's program {order.command[0]!r} does not start: {why}.")
    return proper


def _hand_on(process: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process, number)
