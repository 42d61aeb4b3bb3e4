"""The third process: it holds the deadlines, gives each side its cells, and ends what does not end.
It decodes nothing of the student's but bounded JSON of a fixed shape. A submission whose process
was ended goes on in a new one, in which its earlier cells run again.
"""

import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path

import msgspec

from autograde.protect.folder import copy_plain_files, holds_more_than, remove_tree
from autograde.protect.steps import Bounds, Names, Outcome, Output, Reply, Step, error_output
from autograde.protect.warm import Line, SupervisorError, Zygote
from autograde.protect.wire import Closed, Overdue, Wire
from autograde.sandbox.layers import Policy, some_user
from autograde.sandbox.memory import MemoryWatch

__all__ = ["Bounds", "Names", "Outcome", "Output", "Session", "Step", "SupervisorError", "Zygote"]

_GRACE = 2.0  # seconds in which a process may obey before it is ended
_LOOK_EVERY = 0.25  # seconds between two looks at what a submission uses
_reply = msgspec.json.Decoder(Reply)


class TooMuch(Closed):
    """The submission uses more than it may; the message says of what."""


class Session:
    """One submission: its folder, its two processes, and the steps that have run."""

    def __init__(
        self,
        zygote: Line,
        names: Names,
        *,
        files: Path | None = None,
        helpers: Path | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.zygote, self.names, self.bounds = zygote, names, bounds or Bounds()
        self.parent = Path(tempfile.mkdtemp(prefix="autograde-", dir=zygote.folder))
        self.parent.chmod(0o711)
        self.folder, self.files = self.parent / "work", files
        self._fill_folder()
        self.helpers = self.parent / "helpers"
        self.helpers.mkdir()
        self.helpers.chmod(0o755)
        if helpers is not None:
            copy_plain_files(helpers, self.helpers, mode=0o444, only=".py")
        self.memory = MemoryWatch(self.bounds.memory)
        self.restarts = -1
        self.done: list[Step] = []
        self.killers: set[int] = set()
        self.pids: list[list[int]] = []
        self.wires: list[Wire] = []
        self.layers: list[str] = []
        self.alive = False
        self.events: list[str] = []
        self.unsaid: list[str] = []  # names that the student's cells bound since the last order

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        remove_tree(self.parent)

    def _fill_folder(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o777)
        if self.files is not None:
            copy_plain_files(self.files, self.folder)

    def run(self, step: Step) -> Outcome:
        """Run one cell, wherever its parts belong; never raises for what a student did."""
        start = time.monotonic()
        outcome = Outcome()
        place = len(self.done)
        if self._ready():
            self._perform(step, outcome, place)
        elif step.test or step.student is not None:
            outcome.event = "not run: the submission ended its process too often"
            outcome.outputs.append(error_output("ProcessEnded", outcome.event))
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
        self.unsaid += step.bound
        try:
            order = {"op": "run", "source": step.student, "seed": step.seed}
            child.send(msgspec.json.encode(order))
            reply = self._receive(child, step.seconds)
        except Overdue:
            outcome.event = f"stopped after {step.seconds:g} s"
            outcome.outputs = self._interrupted(place)
            outcome.outputs.append(error_output("CellTimeoutError", outcome.event))
        except (Closed, msgspec.DecodeError) as error:
            outcome.event = f"its process ended in this cell ({error})"
            outcome.outputs = [error_output("ProcessEnded", outcome.event)]
            self.killers.add(place)
            self.kill()
        else:
            outcome.outputs = reply.outputs

    def _interrupted(self, place: int) -> list[Output]:
        """Interrupt the cell that runs; if it does not obey, end its process."""
        for _ in range(2):  # an interrupt that comes before the cell's first line is lost
            self._signal(signal.SIGINT)
            try:
                return self._receive(self.wires[0], _GRACE / 2).outputs
            except Overdue:
                continue
            except (Closed, msgspec.DecodeError):
                break
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
            "bound": self.unsaid,
            "seed": step.seed,
        }
        self.unsaid = []
        wire = self.wires[1]
        try:
            wire.send(msgspec.json.encode(order))
            reply = self._receive(wire, step.seconds + _GRACE)
        except Overdue:
            self.kill()
            reply = Reply(overdue=True)
        except TooMuch as error:
            self.kill()
            reply = Reply(outputs=[error_output("ProcessEnded", str(error))], lost=True)
            outcome.event = f"its process ended in this test ({error})"
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
            outcome.outputs = [*reply.outputs, error_output("CellTimeoutError", outcome.event)]
        elif reply.lost and not outcome.event:
            outcome.event = "its process ended in a call of this test"

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
                look = time.monotonic() + _LOOK_EVERY
                return _reply.decode(wire.receive(min(deadline, look)))
            except Overdue:
                if time.monotonic() >= deadline:
                    raise
                self._look()

    def _look(self) -> None:
        """Raise TooMuch if the submission is over a bound that no limit of one process sees."""
        bounds, guard = self.bounds, self.pids[0][0]  # what the child leaves behind is its guard's
        if holds_more_than(self.folder, bounds.folder_bytes):
            raise TooMuch(f"it wrote more than {bounds.folder_bytes / 1e6:.0f} MB")
        if not _is_there(guard):
            raise TooMuch("it ended the process that guards it")
        if self.memory.sees_too_much(guard):
            raise TooMuch(f"it held more than {bounds.memory / 1e6:.0f} MB of memory")

    def _signal(self, number: int) -> None:
        if (child := self.pids[0][1]) > 0:
            with contextlib.suppress(OSError):
                os.kill(child, number)

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
        if self.restarts and holds_more_than(self.folder, bounds.folder_bytes):
            remove_tree(self.folder)  # in it no other cell could go on
            self._fill_folder()
        policies = [
            Policy(
                str(self.folder), readable=readable, user=user, memory=bounds.memory,
                processes=bounds.processes, file_bytes=bounds.file_bytes,
            )
            for user, readable in zip(users, ((), (str(self.helpers),)))
        ]  # fmt: skip
        self.wires, self.pids = self.zygote.fork(*policies)
        self.alive, self.unsaid = True, []
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
            "writes": dict(self.names.writes),
            "imports": sorted(self.names.imports),
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
            self.zygote.end_submission()
        self.alive = False


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
