"""What submissions can and cannot do in bubblewrap's namespaces, as JSON: a program for
`closed.py`. With the argument `unscoped`, on a kernel whose Landlock does not keep signals in.
"""

import json
import os
import select
import socket
import sys
from pathlib import Path

from autograde import sandbox
from autograde.protect import supervisor, warm
from autograde.protect.supervisor import Bounds, Names, Session, Step, SupervisorError, Zygote
from autograde.sandbox import bubblewrap
from autograde.sandbox.memory import family

OLD_LANDLOCK = (
    "import autograde.sandbox.landlock as l; abi = l.abi; l.abi = lambda: min(5, abi()); "
)
LOOK = """
import os, signal, socket
def may(do):
    try:
        do()
    except OSError:
        return False
    return True
def meet_itself():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), 5).close()
"""
ASK = """
import json
print(json.dumps([
    may(lambda: socket.create_connection(("127.0.0.1", {port}), 5)), may(meet_itself),
    may(lambda: os.kill({outsider}, 0)), may(lambda: os.listdir("/proc")), os.getpid() < 1000,
]))
"""
STAY = """
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.pause()
"""
# Without the signal that its guard's end would send, and so without a guard.
STRIKE = """
import ctypes
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
    os.kill(1, number)
os.kill(os.getppid(), signal.SIGKILL)
"""
HOLD = """
for _ in range(3):
    if os.fork() == 0:
        if os.fork():
            os._exit(0)
        held = b"x" * 150_000_000
        signal.pause()
while True:
    pass
"""


def shown(session: Session, student: str, seconds: float = 300.0) -> str:
    outcome = session.run(Step(student=student, seconds=seconds))
    texts = [output.text or output.evalue for output in outcome.outputs]
    return "".join(texts) if not outcome.event else outcome.event


def look(zygote: Zygote) -> dict[str, object]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ask = ASK.format(port=server.getsockname()[1], outsider=os.getpid())
        with Session(zygote, Names()) as session:
            shown(session, LOOK)
            facts = {"may": json.loads(shown(session, ask)), "layers": session.layers}
            shown(session, STAY)
            facts["stayed"] = len(list(family(zygote.process.pid))) - 2  # bubblewrap, warm process
            facts["hung"] = shown(session, "kept = 6\nwhile True: pass", 0.5)
            facts["kept"] = shown(session, "print(kept * 7)")
            try:
                Session(zygote, Names()).run(Step(student="1"))
            except SupervisorError as error:
                facts["second"] = str(error)
    facts["left"] = len(list(family(zygote.process.pid))) - 2
    return facts


def strike(zygote: Zygote) -> dict[str, object]:
    with Session(zygote, Names(), bounds=Bounds(restarts=0)) as session:
        shown(session, LOOK)
        facts = {"unguarded": shown(session, STRIKE + STAY + "while True: pass")}
    with Session(zygote, Names()) as session:
        facts["next"] = shown(session, "print(6 * 7)")
    facts["left"] = len(list(family(zygote.process.pid))) - 2
    return facts


def hold(zygote: Zygote) -> dict[str, object]:
    with Session(zygote, Names(), bounds=Bounds(memory=300_000_000, restarts=0)) as session:
        shown(session, LOOK)
        return {"held": shown(session, HOLD)}


def main(*how: str) -> None:
    supervisor._GRACE = 120.0  # an interrupt may take its time on a busy machine
    if "unscoped" in how:
        warm._START = warm._START.replace("from autograde", OLD_LANDLOCK + "from autograde", 1)
    problem = bubblewrap.problem()
    facts = {"problem": problem, "rows": [vars(row) for row in sandbox.doctor()]}
    if not problem:
        with Zygote() as zygote:
            facts["command"] = list(zygote.bubble)
            steps = (strike,) if "unscoped" in how else (look, hold)
            for step in steps:
                facts |= step(zygote)
            folder, ended = zygote.folder, [os.pidfd_open(p) for p in family(zygote.process.pid)]
        facts["closed"] = not Path(folder).exists() and all(map(has_ended, ended))
    print(json.dumps(facts))


def has_ended(process: int) -> bool:
    return bool(select.select([process], [], [], 0)[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
