"""What the supervisor does when a submission's processes misbehave, and that it leaves nothing."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from judging import verdict

from autograde.protect.supervisor import Bounds, Names, Session, Step, Zygote
from autograde.sandbox import bubblewrap

alone_in_a_bubble = pytest.mark.skipif(
    bool(bubblewrap.prefix()), reason="in bubblewrap's namespaces one submission runs at a time"
)

NAMES = Names(frozenset({"f", "g"}))


def errors(outcome) -> list[str]:
    return [output.ename for output in outcome.outputs if output.output_type == "error"]


def test_a_cell_that_hangs_is_interrupted_and_keeps_its_process(zygote):
    with Session(zygote, NAMES) as session:
        session.run(Step(student="def f(): return 1"))
        hung = session.run(Step(student="print('so far')\nwhile True: pass", seconds=0.3))
        assert errors(hung)[-1] == "CellTimeoutError"
        assert hung.outputs[0].text == "so far\n"
        assert verdict(session.run(Step(trusted="assert f() == 1", test=True))) == "passed"
        assert session.restarts == 0


def test_a_cell_that_does_not_obey_is_ended_and_the_others_run_again(zygote):
    with Session(zygote, NAMES) as session:
        session.run(Step(student="def f(): return 1"))
        session.run(Step(student="import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"))
        session.run(Step(student="while True: pass", seconds=0.3))
        session.run(Step(student="def g(): return f() + 1"))
        assert verdict(session.run(Step(trusted="assert g() == 2", test=True))) == "passed"
        assert session.restarts == 1


def test_a_hung_call_fails_its_test_only(zygote):
    with Session(zygote, NAMES) as session:
        session.run(Step(student="import time\ndef f():\n    while True: pass\ndef g(): return 2"))
        step = Step(trusted="f()", test=True, seconds=5, call_seconds=0.3)
        assert verdict(session.run(step)) == "CellTimeoutError"
        assert verdict(session.run(Step(trusted="assert g() == 2", test=True))) == "passed"


def test_a_loop_of_the_tests_own_ends_at_the_deadline(zygote):
    with Session(zygote, NAMES) as session:
        session.run(Step(student="def g(): return 2"))
        outcome = session.run(Step(trusted="while True: pass", test=True, seconds=0.3))
        assert verdict(outcome) == "CellTimeoutError"
        assert verdict(session.run(Step(trusted="assert g() == 2", test=True))) == "passed"


def test_a_submission_that_ends_its_process_again_and_again_is_given_up(zygote):
    bounds = Bounds(restarts=2)
    with Session(zygote, NAMES, bounds=bounds) as session:
        session.run(Step(student="import os\ndef f(): os._exit(0)"))
        got = [verdict(session.run(Step(trusted="f()", test=True))) for _ in range(5)]
        assert got == ["Lost"] * 3 + ["ProcessEnded"] * 2


def test_a_folder_that_grows_too_big_ends_the_process_and_the_others_go_on(zygote, tmp_path):
    text = (
        "import itertools\nfor i in itertools.cycle(range(200)):\n"
        "    with open(str(i), 'wb') as f: f.write(bytes(1_000_000))"
    )
    (tmp_path / "given.txt").write_text("7")
    bounds = Bounds(folder_bytes=5_000_000)
    with Session(zygote, NAMES, files=tmp_path, bounds=bounds) as session:
        outcome = session.run(Step(student=text, seconds=300))
        assert errors(outcome) == ["ProcessEnded"] and "wrote more than 5 MB" in outcome.event
        later = "import os, time\ntime.sleep(1)\ndef f(): return open('given.txt').read()"
        assert errors(session.run(Step(student=later))) == []  # in a folder as it was given
        assert verdict(session.run(Step(trusted="assert f() == '7'", test=True))) == "passed"


FAMILY = """
import os, time
def hold():
    for _ in range(14):
        if os.fork() == 0:
            kept = b"x" * 80_000_000
            time.sleep(600)
            os._exit(0)
    while True:
        pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_processes_that_each_keep_the_bound_on_memory_may_not_exceed_it_together(zygote):
    bounds = Bounds(memory=1_000_000_000)
    with Session(zygote, NAMES, bounds=bounds) as session:
        session.run(Step(student="def g(): return 2"))
        outcome = session.run(Step(student=f"{FAMILY}\nhold()", seconds=300))
        assert errors(outcome) == ["ProcessEnded"]
        assert "more than 1000 MB of memory" in outcome.event
        assert verdict(session.run(Step(trusted="assert g() == 2", test=True))) == "passed"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_call_that_exceeds_a_bound_fails_its_test_and_needs_no_person(zygote):
    names = Names(frozenset({"hold"}))
    with Session(zygote, names, bounds=Bounds(memory=1_000_000_000)) as session:
        session.run(Step(student=FAMILY))
        outcome = session.run(Step(trusted="hold()", test=True, seconds=300))
        assert verdict(outcome) == "ProcessEnded" and "of memory" in outcome.event


def test_too_much_output_is_cut(zygote):
    with Session(zygote, NAMES) as session:
        outcome = session.run(Step(student="for _ in range(3000): print('x' * 1000)"))
        assert len(outcome.outputs) == 1
        assert 900_000 < len(outcome.outputs[0].text) < 1_100_000


def test_output_past_python_displays_and_plots_are_kept(zygote):
    with Session(zygote, NAMES) as session:
        outcome = session.run(
            Step(student="import os\n_ = os.write(1, b'raw\\n')\nos.system('echo sh')")
        )
        assert "raw\nsh" in "".join(o.text for o in outcome.outputs)
        outcome = session.run(Step(student="import pandas as pd\npd.DataFrame({'a': [1]})"))
        assert "text/html" in outcome.outputs[0].data
        outcome = session.run(Step(student="%%time\nx = 5\nx"))
        assert any(o.data.get("text/plain") == "5" for o in outcome.outputs)


@alone_in_a_bubble
def test_two_submissions_share_nothing(zygote):
    with Session(zygote, NAMES) as one, Session(zygote, NAMES) as two:
        one.run(Step(student="open('left', 'w').write('x')\nimport numpy as np\nnp.secret = 1"))
        path = str(one.folder / "left")
        two.run(
            Step(
                student="import os, numpy as np\n"
                "def f():\n    try:\n"
                f"        return open({path!r}).read()\n"
                "    except OSError:\n"
                "        return hasattr(np, 'secret'), os.listdir('.')"
            )
        )
        outcome = two.run(Step(trusted="assert f() == (False, []), f()", test=True))
        assert verdict(outcome) == "passed"


def test_the_warm_process_has_one_thread(zygote):
    assert zygote.about()["threads"] == 1
    assert zygote.about()["failed"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_no_process_and_no_folder_is_left_when_the_grader_itself_is_killed(tmp_path):
    program = (
        "from autograde.protect.supervisor import *\n"
        "z = Zygote()\ns = Session(z, Names())\ns.run(Step(student='x = 1'))\n"
        "print(z.process.pid, *[p for pair in s.pids for p in pair], flush=True)\n"
        "s.run(Step(student='while True: pass', seconds=60))\n"
    )
    place = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=place) as grader:
        pids = [int(pid) for pid in grader.stdout.readline().split()]
        watched = [os.pidfd_open(pid) for pid in pids]
        assert len(watched) == 5
        grader.send_signal(signal.SIGKILL)
    for descriptor in watched:
        assert has_ended(descriptor, 30)
        os.close(descriptor)
    assert list(tmp_path.iterdir()) == []  # the warm process ends last, and tidies up


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes")
def test_what_a_warm_process_forked_has_ended_when_it_is_closed():
    with Zygote() as warm:
        session = Session(warm, NAMES)
        session.run(
            Step(student="import os\nif os.fork() == 0: os.setsid(); __import__('signal').pause()")
        )
        folders = [session.parent, Path(warm.folder)]
        watched = [os.pidfd_open(pid) for pair in session.pids for pid in pair]
        assert len(watched) == 4 and all(folder.is_dir() for folder in folders)
    assert all(has_ended(descriptor, 0) for descriptor in watched)
    assert not any(folder.exists() for folder in folders)
    for descriptor in watched:
        os.close(descriptor)


@alone_in_a_bubble
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes")
def test_a_killed_workers_pair_ends_and_the_warm_process_serves_the_others(tmp_path):
    program = (
        "import os, signal\nfrom autograde.protect import kept\n"
        "from autograde.protect.supervisor import *\n"
        "def work():\n"
        "    s = Session(kept.line_for(()), Names())\n"
        "    s.run(Step(student='x = 1'))\n"
        "    pids = [os.getpid(), *(p for pair in s.pids for p in pair)]\n"
        "    os.write(1, ' '.join(map(str, pids)).encode() + b'\\n')\n"
        "    s.run(Step(student='while True: pass', seconds=60))\n"
        "with kept.shared([()], 2):\n"
        "    for _ in range(2):\n"
        "        if not os.fork():\n            work()\n"
        "    kept.leave_seats()\n"
        "    input()\n"
        "    with Session(kept.line_for(()), Names()) as own:\n"
        "        print(own.run(Step(student='print(6 * 7)')).outputs[0].text, flush=True)\n"
        "    os.killpg(0, signal.SIGKILL)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as grader:  # fmt: skip
        families = [[int(word) for word in grader.stdout.readline().split()] for _ in range(2)]
        (killed, *doomed), (_, *spared) = families
        assert len(doomed) == len(spared) == 4  # two guards, the child, the trusted process
        watched = [os.pidfd_open(pid) for pid in doomed]
        others = [os.pidfd_open(pid) for pid in spared]
        os.kill(killed, signal.SIGKILL)
        assert all(has_ended(descriptor, 30) for descriptor in watched)
        assert not any(has_ended(descriptor, 0) for descriptor in others)
        grader.stdin.write("\n")
        grader.stdin.flush()
        assert grader.stdout.readline() == "42\n"
    assert all(has_ended(descriptor, 30) for descriptor in others)
    for descriptor in (*watched, *others):
        os.close(descriptor)


def has_ended(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])
