"""The third process: it holds the deadlines, gives each side its cells, and ends what does not end.
It decodes nothing of the student's but bounded JSON of a fixed shape. A submission whose process
was ended goes on in a new one, in which its earlier cells run again.
"""

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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from autograde.protect.folder import copy_plain_files, folder_bytes
from autograde.protect.wire import Closed, Overdue, Wire, send_sockets
from autograde.sandbox.layers import Policy, some_user

_ROOT = str(Path(__file__).parents[2])
_START = (
    "import sys; sys.path.append({root!r}); "
    "from autograde.protect.zygote import main; main({number})"
)
_GRACE = 2.0  # seconds in which a process may obey before it is ended
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV")


class SupervisorError(RuntimeError):
    """The machinery itself failed; the message says what to do."""


@dataclass(frozen=True)
class Step:
    """One cell. `student` is the text for the student's process, `trusted` for the other; a cell
    may have both. Only a `test` is judged. `bound` are the names that the student's text binds.
    """

    student: str | None = None
    trusted: str | None = None
    test: bool = False
    seconds: float = 30.0
    call_seconds: float | None = None
    write_back: bool = False
    bound: tuple[str, ...] = ()


@dataclass(frozen=True)
class Names:
    """The names that tests look up in the student's process, and those that they may set there."""

    student: frozenset[str] = frozenset()
    passed_on: frozenset[str] = frozenset()


class Output(msgspec.Struct):
    """A cell's output; what a hostile process sends must fit these types."""

    output_type: str
    name: str = ""
    text: str = ""
    data: dict[str, str] = {}
    metadata: dict[str, str] = {}
    ename: str = ""
    evalue: str = ""
    traceback: list[str] = []


class Reply(msgspec.Struct):
    """What a process says of a cell that it ran."""

    outputs: list[Output] = []
    layers: list[str] = []
    problem: str = ""
    refused: str = ""
    overdue: bool = False
    failed: bool = False
    hung: bool = False
    lost: bool = False
    checks: list[tuple[str, float, bool, str]] = []


@dataclass
class Outcome:
    """What came of one step. `review` says why a person must judge a test, if one must."""

    outputs: list[Output] = field(default_factory=list)
    checks: list[tuple[str, float, bool, str]] = field(default_factory=list)
    review: str = ""
    event: str = ""
    seconds: float = 0.0


_reply = msgspec.json.Decoder(Reply)


class Zygote:
    """A warm process for one assignment: a context manager that forks pairs."""

    def __init__(self, imports: Sequence[str] = ()) -> None:
        ours, theirs = socket.socketpair()
        environment = {k: os.environ[k] for k in _PASSED_ON if k in os.environ}
        environment |= dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
        )
        environment |= {"NBGRADER_EXECUTION": "autograde", "ARROW_DEFAULT_MEMORY_POOL": "system"}
        # pyarrow would start a thread of its allocator before the fork.
        environment["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
        self.folder = tempfile.mkdtemp(prefix="autograde-")
        environment |= {"HOME": self.folder, "IPYTHONDIR": self.folder}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START.format(root=_ROOT, number=theirs.fileno())],
                pass_fds=[theirs.fileno()], env=environment, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self.sock = ours
        self.sock.settimeout(180)
        self.sock.sendall(json.dumps({"imports": list(imports)}).encode())
        about = self._answer()
        self.failed: list[str] = about["failed"]
        self.threads: int = about["threads"]
        self.sock.settimeout(30)

    def _answer(self) -> Any:
        try:
            message = self.sock.recv(1 << 16)
        except OSError as error:
            raise SupervisorError(f"The warm process does not answer: {error}.") from None
        if not message:
            raise SupervisorError("The warm process ended; its error stands above.")
        return json.loads(message)

    def fork(self, child: Policy, trusted: Policy) -> tuple[list[Wire], list[list[int]]]:
        """A pair: the supervisor's wires to the child and the trusted process, and their pids."""
        to_child, child_control = socket.socketpair()
        to_trusted, trusted_control = socket.socketpair()
        child_calls, trusted_calls = socket.socketpair()
        sent = [child_control, child_calls, trusted_control, trusted_calls]
        policies = json.dumps([msgspec.to_builtins(child), msgspec.to_builtins(trusted)])
        send_sockets(self.sock, policies.encode(), sent)
        for sock in sent:
            sock.close()
        return [Wire(to_child), Wire(to_trusted)], self._answer()

    def close(self) -> None:
        """End the process and all that it forked."""
        self.sock.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Zygote":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True)
class Bounds:
    """What one submission may use."""

    memory: int = 4_000_000_000
    processes: int = 64
    folder_bytes: int = 500_000_000
    file_bytes: int = 100_000_000
    restarts: int = 5
    required: tuple[str, ...] = ("limits",)


class Session:
    """One submission: its folder, its two processes, and the steps that have run."""

    def __init__(
        self,
        zygote: Zygote,
        names: Names,
        *,
        files: Path | None = None,
        helpers: Path | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.zygote, self.names, self.bounds = zygote, names, bounds or Bounds()
        self.parent = Path(tempfile.mkdtemp(prefix="autograde-"))
        self.parent.chmod(0o711)
        self.folder = self.parent / "work"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        if files is not None:
            copy_plain_files(files, self.folder)
        self.helpers = self.parent / "helpers"
        self.helpers.mkdir()
        self.helpers.chmod(0o755)
        if helpers is not None:
            copy_plain_files(helpers, self.helpers, mode=0o444, only=".py")
        self.restarts = -1
        self.done: list[Step] = []
        self.killers: set[int] = set()
        self.pids: list[list[int]] = []
        self.wires: list[Wire] = []
        self.layers: list[str] = []
        self.alive = False
        self.events: list[str] = []

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        shutil.rmtree(self.parent, ignore_errors=True)

    def run(self, step: Step) -> Outcome:
        """Run one cell, wherever its parts belong; never raises for what a student did."""
        start = time.monotonic()
        outcome = Outcome()
        place = len(self.done)
        if self._ready():
            self._perform(step, outcome, place)
        elif step.test or step.student is not None:
            outcome.event = "not run: the submission ended its process too often"
            outcome.outputs.append(_error("ProcessEnded", outcome.event))
        self.done.append(step)
        outcome.seconds = time.monotonic() - start
        if outcome.event:
            self.events.append(outcome.event)
        return outcome

    def _perform(self, step: Step, outcome: Outcome, place: int) -> None:
        if step.student is not None:
            self._student(step, outcome, place)
        if step.trusted is not None and self._ready():
            self._trusted(step, outcome)

    def _student(self, step: Step, outcome: Outcome, place: int) -> None:
        child = self.wires[0]
        try:
            child.send(msgspec.json.encode({"op": "run", "source": step.student}))
            reply = self._receive(child, step.seconds)
        except Overdue:
            outcome.event = f"stopped after {step.seconds:g} s"
            outcome.outputs = self._interrupted(place)
            outcome.outputs.append(_error("CellTimeoutError", outcome.event))
        except (Closed, msgspec.DecodeError) as error:
            outcome.event = f"its process ended in this cell ({error})"
            outcome.outputs = [_error("ProcessEnded", outcome.event)]
            self.killers.add(place)
            self.kill()
        else:
            outcome.outputs = reply.outputs

    def _interrupted(self, place: int) -> list[Output]:
        """Interrupt the cell that runs; if it does not obey, end its process."""
        self._signal(signal.SIGINT)
        try:
            return self._receive(self.wires[0], _GRACE).outputs
        except (Overdue, Closed, msgspec.DecodeError):
            self.killers.add(place)
            self.kill()
            return []

    def _trusted(self, step: Step, outcome: Outcome) -> None:
        order = {
            "op": "test" if step.test else "setup",
            "source": step.trusted,
            "seconds": step.seconds,
            "call_seconds": step.call_seconds,
            "write_back": step.write_back,
            "bound": list(self._bound_since()),
        }
        wire = self.wires[1]
        try:
            wire.send(msgspec.json.encode(order))
            reply = self._receive(wire, step.seconds + _GRACE)
        except Overdue:
            self.kill()
            reply = Reply(overdue=True)
        except (Closed, msgspec.DecodeError) as error:
            self.kill()
            reply = Reply(refused=f"the trusted process ended: {error}")
        if reply.hung and self.alive:
            self._free_child()
        if reply.lost:
            self.kill()
        if not step.test:
            return
        outcome.outputs, outcome.checks = reply.outputs, reply.checks
        outcome.review = reply.refused
        if reply.overdue:
            outcome.event = f"the test was stopped after {step.seconds:g} s"
            outcome.outputs = [*reply.outputs, _error("CellTimeoutError", outcome.event)]
        elif reply.lost:
            outcome.event = "its process ended in a call of this test"

    def _bound_since(self) -> list[str]:
        """Names bound by the student's cells; the trusted side lets go of its own of that name."""
        found: list[str] = []
        for step in reversed(self.done):
            if step.trusted is not None:
                break
            found += step.bound
        return found

    def _free_child(self) -> None:
        """Bring a child that hangs in a call back to its loop, or end it."""
        self._signal(signal.SIGINT)
        try:
            self.wires[0].send(msgspec.json.encode({"op": "ping"}), time.monotonic() + _GRACE)
            self._receive(self.wires[0], _GRACE)
        except (Overdue, Closed, msgspec.DecodeError):
            self.kill()

    def _receive(self, wire: Wire, seconds: float) -> Reply:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return _reply.decode(wire.receive(min(deadline, time.monotonic() + 0.25)))
            except Overdue:
                if time.monotonic() >= deadline:
                    raise
                if folder_bytes(self.folder) > self.bounds.folder_bytes:
                    raise Closed(
                        f"it wrote more than {self.bounds.folder_bytes / 1e6:.0f} MB"
                    ) from None

    def _signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.kill(self.pids[0][1], number)

    def _ready(self) -> bool:
        """Have both processes running, with all earlier cells run in them; False if given up."""
        while not self.alive and self.restarts < self.bounds.restarts:
            self.restarts += 1
            self._start()
            for place, step in enumerate(self.done):
                if not self.alive:
                    break
                quiet = Outcome()
                if place in self.killers or step.test:
                    continue
                self._perform_again(step, quiet, place)
        return self.alive

    def _perform_again(self, step: Step, quiet: Outcome, place: int) -> None:
        if step.student is not None:
            self._student(step, quiet, place)
        if step.trusted is not None and self.alive:
            self._trusted(step, quiet)

    def _start(self) -> None:
        bounds, users = self.bounds, (some_user(), some_user())
        policies = [
            Policy(
                str(self.folder), readable=readable, user=user, memory=bounds.memory,
                processes=bounds.processes, file_bytes=bounds.file_bytes,
            )
            for user, readable in zip(users, ((), (str(self.helpers),)))
        ]  # fmt: skip
        self.wires, self.pids = self.zygote.fork(*policies)
        self.alive = True
        try:
            replies = [self._receive(wire, 30) for wire in self.wires]
        except (Overdue, Closed, msgspec.DecodeError) as error:
            self.kill()
            raise SupervisorError(f"A confined process did not start: {error}.") from None
        self.layers = replies[0].layers
        problems = [reply.problem for reply in replies if reply.problem]
        missing = set(bounds.required) - set(self.layers)
        if problems or missing:
            self.kill()
            raise SupervisorError(
                problems[0] if problems else f"The sandbox lacks {', '.join(sorted(missing))}."
            )
        order = {
            "op": "names",
            "student": sorted(self.names.student),
            "passed_on": sorted(self.names.passed_on),
            "helpers": str(self.helpers),
        }
        self.wires[1].send(msgspec.json.encode(order))

    def kill(self) -> None:
        """End both processes and all that they started."""
        if self.alive:
            for _, inner in self.pids:
                with contextlib.suppress(OSError):
                    if inner > 0:
                        os.kill(inner, signal.SIGKILL)
            for wire in self.wires:
                wire.close()
        self.alive = False


def _error(name: str, text: str) -> Output:
    return Output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])
