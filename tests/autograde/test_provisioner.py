"""Real kernels in the sandbox: they work as kernels do, reach nothing, and leave nothing."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager
from kernelspecs import open_folder, shell_kernel

from autograde import sandbox
from autograde.protect.steps import Bounds, Outcome, Step
from autograde.provisioner import local
from autograde.provisioner.local import SandboxedProvisioner
from autograde.provisioner.session import KernelSession
from autograde.sandbox import SandboxError

WORKS = {row.layer for row in sandbox.doctor() if row.works}

pytestmark = pytest.mark.skipif(
    not {"namespaces", "landlock", "seccomp"} <= WORKS, reason="a layer is missing here"
)


def errors(outcome: Outcome) -> list[str]:
    return [output.ename for output in outcome.outputs if output.output_type == "error"]


def text_of(outcome: Outcome) -> str:
    return "".join(o.text or o.data.get("text/plain", "") for o in outcome.outputs)


@pytest.fixture(scope="module")
def shared() -> Iterator[KernelSession]:
    """A Python kernel for the tests that leave it as it is."""
    with KernelSession("python3", bounds=Bounds(memory=2_000_000_000)) as session:
        yield session


@pytest.fixture
def ask(shared: KernelSession) -> Callable[..., Outcome]:
    """`ask(source)`: runs a cell in the shared kernel."""
    return lambda source, seconds=120.0: shared.run(Step(source, seconds=seconds))


def test_every_layer_of_this_machine_is_on(ask, shared):
    assert text_of(ask("1 + 1")) == "2"
    assert {"limits", "namespaces", "landlock", "seccomp"} <= set(shared.layers)
    assert ("user" in shared.layers) == ("user" in WORKS)


def test_magics_shell_lines_and_displays_work_as_in_jupyterlab(ask):
    assert text_of(ask("%%bash\necho $((20 + 3))")) == "23\n"
    assert text_of(ask("!echo from a terminal")).split() == ["from", "a", "terminal"]
    assert text_of(ask("%%writefile note.txt\nkept")) == "Writing note.txt\n"
    assert text_of(ask("print(open('note.txt').read())")).strip() == "kept"
    assert "text/html" in ask("from IPython.display import HTML\nHTML('<b>x</b>')").outputs[0].data
    assert errors(ask("%%bash\nexit 3")) == ["CalledProcessError"]


def test_a_widget_that_is_moved_tells_its_observers(ask):
    told = ask(
        "import ipywidgets as w\nslider, seen = w.IntSlider(), []\n"
        "slider.observe(lambda change: seen.append(change['new']), 'value')\n"
        "slider.value = 7\nslider.comm is not None, get_ipython().kernel is not None, seen"
    )
    assert text_of(told) == "(True, True, [7])"


def test_gradebook_home_and_other_submissions_are_out_of_sight(ask, tmp_path):
    secret = tmp_path / "gradebook.db"
    secret.write_text("grades")
    secret.chmod(0o666)
    with KernelSession("python3") as other:
        (other.folder / "answer").write_text("42")
        home = str(Path("~/.bashrc").expanduser())
        places = [str(secret), str(other.folder / "answer"), __file__, "/etc/passwd", home,
                  "/proc/1/environ", "/proc/1/maps"]  # fmt: skip
        text = (
            f"found = []\nfor path in {places!r}:\n"
            "    try:\n        found.append(open(path).read())\n    except OSError: pass\n"
            f"for path in {[str(tmp_path), str(other.folder), str(Path.cwd())]!r}:\n"
            "    try:\n        found += __import__('os').listdir(path)\n    except OSError: pass\n"
            "found"
        )
        assert text_of(ask(text)) == "[]"
    assert text_of(ask(f"%%bash\ncat {secret} 2>/dev/null || echo refused")) == "refused\n"
    assert secret.read_text() == "grades"


@pytest.mark.skipif("user" not in WORKS, reason="an ordinary user may get no /proc in a container")
def test_programs_find_themselves_in_proc_and_nobody_else(ask):
    seen = "import os\nsorted(int(n) for n in os.listdir('/proc') if n.isdigit())[:2] == [1, 2]"
    assert text_of(ask(seen)) == "True"
    usual = "import psutil\npsutil.Process().memory_info().rss > 1_000_000"
    assert text_of(ask(usual)) == "True"
    assert text_of(ask("import duckdb\nduckdb.sql('select 6 * 7').fetchall()")) == "[(42,)]"


@pytest.mark.skipif("user" not in WORKS, reason="an ordinary user may get no /proc in a container")
def test_processes_of_a_pool_share_locks_and_memory(ask):
    assert not errors(ask("open('squares.py', 'w').write('def square(x): return x * x')"))
    for how in ("fork", "spawn"):
        text = (
            "import multiprocessing, squares\n"
            f"with multiprocessing.get_context({how!r}).Pool(2) as pool:\n"
            "    print(pool.map(squares.square, range(4)))"
        )
        assert text_of(ask(text)) == "[0, 1, 4, 9]\n"
    text = "import joblib\njoblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-i) for i in range(3))"
    assert text_of(ask(text)) == "[0, 1, 2]"
    shared = (
        "from multiprocessing.shared_memory import SharedMemory\n"
        "kept = SharedMemory(create=True, size=10)\nkept.buf[3] = 7\n"
        "seen = SharedMemory(kept.name)\nprint(seen.buf[3])\nseen.close()\nkept.unlink()"
    )
    assert text_of(ask(shared)) == "7\n"


def test_addresses_that_are_only_reserved_cost_nothing(ask):
    """As V8, Java and Go reserve them: far more than a submission may hold."""
    text = "import mmap\nlen(mmap.mmap(-1, 1 << 40, mmap.MAP_PRIVATE, 0))"
    assert text_of(ask(text)) == str(1 << 40)


def test_there_is_no_network_but_its_own_loopback(ask):
    with socket.create_server(("127.0.0.1", 0)) as outside:
        port = outside.getsockname()[1]
        text = (
            "import socket\nfound = []\n"
            f"for address in (('127.0.0.1', {port}), ('8.8.8.8', 53)):\n"
            "    try:\n        socket.create_connection(address, 1)\n"
            "        found.append(address)\n"
            "    except OSError: pass\n"
            "try:\n    socket.socket(socket.AF_UNIX); found.append('unix')\n"
            "except OSError: pass\n"
            "server = socket.create_server(('127.0.0.1', 0))\n"
            "socket.create_connection(server.getsockname(), 1)\nfound"
        )
        assert text_of(ask(text)) == "[]"


def test_its_parent_and_the_grader_cannot_be_ended(ask):
    text = (
        "import os, signal\nrefused = 0\n"
        f"for pid in (os.getppid(), {os.getpid()}, {os.getppid()}):\n"
        "    try:\n        os.kill(pid, signal.SIGKILL)\n    except OSError: refused += 1\n"
        "refused"
    )
    assert text_of(ask(text)) == "2"  # a signal to the first process of its own is lost
    assert text_of(ask("'still here'")) == "'still here'"


def test_processes_memory_and_files_are_bounded(ask):
    bomb = (
        "import os, time\ncount = 0\ntry:\n    while count < 500:\n"
        "        if os.fork() == 0:\n            time.sleep(600); os._exit(0)\n"
        "        count += 1\nexcept OSError:\n    pass\ncount < 64"
    )
    with KernelSession("python3", bounds=Bounds(memory=2_000_000_000)) as session:
        assert errors(session.run(Step("x = bytearray(3_000_000_000)"))) == ["MemoryError"]
        big = "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        big += "open('big', 'wb').write(bytes(200_000_000))"
        assert errors(session.run(Step(big))) == ["OSError"]
        assert text_of(session.run(Step(bomb))) == "True"


def test_processes_that_each_keep_the_bound_on_memory_may_not_exceed_it_together():
    text = (
        "import os, time\nfor _ in range(20):\n    if os.fork() == 0:\n"
        "        kept = b'x' * 80_000_000; time.sleep(600)\ntime.sleep(600)"
    )
    with KernelSession("python3", bounds=Bounds(memory=1_500_000_000)) as session:
        outcome = session.run(Step(text, seconds=300))
        assert errors(outcome) == ["ProcessEnded"]
        assert "more than 1500 MB of memory" in outcome.event


def test_a_folder_that_grows_too_big_ends_the_kernel_and_the_others_cells_run_again():
    text = (
        "import itertools\nfor i in itertools.cycle(range(200)):\n"
        "    with open(str(i), 'wb') as f: f.write(bytes(1_000_000))"
    )
    with KernelSession("python3", bounds=Bounds(folder_bytes=5_000_000)) as session:
        session.run(Step("x = 5"))
        outcome = session.run(Step(text, seconds=300))
        assert errors(outcome) == ["ProcessEnded"] and "MB" in outcome.event
        assert text_of(session.run(Step("x"))) == "5"


def test_a_cell_that_hangs_or_floods_is_stopped_and_what_it_had_is_kept(ask):
    ask("kept = 1")
    hung = ask("print('so far')\nwhile True: pass", 3.0)
    assert errors(hung)[-1] == "CellTimeoutError" and text_of(hung) == "so far\n"
    flood = ask("while True: print('x' * 10_000)", 60.0)
    # Interrupted after 10 MB, or ended when it has sent 200 before it obeys: whichever is first.
    assert errors(flood)[-1] in {"CellTimeoutError", "ProcessEnded"} and "MB" in flood.event
    assert len(text_of(flood)) < 1_100_000
    trickle = (
        "import time\nwhile True:\n"
        "    get_ipython().kernel.iopub_socket.send_multipart([b'y'])\n    time.sleep(0.01)"
    )
    assert errors(ask(trickle, 1.0))[-1] == "CellTimeoutError"
    assert text_of(ask("kept")) == "1"


def test_a_kernel_that_ends_itself_is_started_again_and_then_given_up():
    with KernelSession("python3", bounds=Bounds(restarts=1)) as session:
        session.run(Step("x = 3"))
        assert errors(session.run(Step("import os\nos._exit(0)"))) == ["ProcessEnded"]
        assert text_of(session.run(Step("x"))) == "3"
        assert errors(session.run(Step("import os, signal\nos.kill(os.getpid(), 9)")))
        assert errors(session.run(Step("x"))) == ["ProcessEnded"]


def test_a_cell_that_asks_its_kernel_to_exit_costs_itself_alone():
    with KernelSession("python3", bounds=Bounds(restarts=1)) as session:
        session.run(Step("x = 3"))
        asked = session.run(Step("exit()"))
        assert errors(asked) == ["ProcessEnded"] and "asked for" in asked.event
        assert [text_of(session.run(Step("x"))) for _ in range(2)] == ["3", "3"]


def test_an_output_widget_takes_in_what_is_shown_in_it(ask):
    text = "import ipywidgets\nout = ipywidgets.Output()\nwith out:\n    print('inside')\n    1 / 0"
    taken = ask(text)
    assert errors(taken) == [] and "inside" in text_of(taken) and "Zero" in text_of(taken)
    kinds = "[(o['output_type'], o.get('text')) for o in out.outputs]"
    assert text_of(ask(kinds)) == "[('stream', 'inside\\n'), ('error', None)]"
    ask("out.clear_output()")
    assert text_of(ask("out.outputs")) == "()"


def test_a_display_is_updated_and_cleared_as_in_a_notebook(ask):
    updated = ask("shown = display('one', display_id=True)\nshown.update('two')")
    assert text_of(updated) == "'two'"
    assert text_of(ask("shown.update('three')")) == ""
    text = "from IPython.display import clear_output\nfor i in range(3):\n    print(i)\n"
    assert text_of(ask(text + "    clear_output(wait=True)")) == "2\n"
    assert text_of(ask(text + "    clear_output()")) == ""


def test_messages_that_a_submission_forges_do_no_harm(ask):
    """It knows the key, and can send what it likes on the kernel's own sockets."""
    text = (
        "k = get_ipython().kernel\n"
        "def send(kind, content):\n"
        "    k.session.send(k.iopub_socket, kind, content, parent=k.get_parent())\n"
        "send('stream', {'name': 7, 'text': ['no', 'text']})\n"
        "send('stream', [])\nsend('error', {'ename': {}, 'traceback': 5})\n"
        "send('execute_result', {'data': 'none'})\n"
        "send('display_data', {'data': {'text/plain': 5}})\n"
        "send('comm_open', {'comm_id': [], 'data': {'state': {'_model_name': 'OutputModel'}}})\n"
        "send('comm_msg', {'comm_id': [], 'data': {'state': {'msg_id': {}, 'outputs': 5}}})\n"
        "send('comm_msg', {'data': 3})\nsend('clear_output', {'wait': [1]})\n"
        "send('update_display_data', {'data': {}, 'transient': {'display_id': []}})\n"
        "send('status', {})\nk.iopub_socket.send_multipart([b'x', b'<IDS|MSG>', b'garbage'])\n"
        "for _ in range(3000): k.iopub_socket.send_multipart([b'y'])\n"
    )
    outcome = ask(text)
    assert all(isinstance(output.text, str) for output in outcome.outputs)
    assert text_of(ask("'in step'")) == "'in step'"


@pytest.fixture
def plain_sh(monkeypatch) -> Iterator[Path]:
    """The file of a kernelspec whose language is no Python."""
    with shell_kernel(monkeypatch) as (_, path):
        yield path


def test_a_kernel_of_another_language_runs_and_its_failures_count(plain_sh):
    with KernelSession("plain-sh") as session:
        told = session.run(Step("mean() { echo $((($1 + $2) / 2)); }; mean 2 4 > out"))
        assert told.review == ""
        assert text_of(session.run(Step("cat out"))) == "3\n"
        assert errors(session.run(Step("test $(cat out) -eq 4"))) == ["Exit"]
        assert errors(session.run(Step("test $(cat out) -eq 3"))) == []
        assert errors(session.run(Step("cat /etc/passwd"))) == ["Exit"]


def test_tests_wait_for_a_person_where_a_kernel_does_not_tell_failures(monkeypatch):
    with shell_kernel(monkeypatch, silent=True), KernelSession("plain-sh") as session:
        assert "does not say when a cell fails" in session.run(Step("false")).review


def test_a_kernel_that_is_not_installed_gets_a_sentence():
    with KernelSession("no-such") as session, pytest.raises(SandboxError, match="no-such"):
        session.run(Step("1"))


def test_a_program_that_does_not_start_gets_a_sentence(plain_sh):
    argv = [sys.executable, "-c", "raise SystemExit('x')"]
    about = json.loads(plain_sh.read_text()) | {"argv": argv}
    plain_sh.write_text(json.dumps(about))
    with KernelSession("plain-sh") as session, pytest.raises(SandboxError, match="it said: x"):
        session.run(Step("1"))
    plain_sh.write_text(json.dumps(about | {"argv": ["/no/such/program"]}))
    with KernelSession("plain-sh") as session, pytest.raises(SandboxError, match="/no/such"):
        session.run(Step("1"))


def test_without_a_layer_it_asks_for_trust_with_the_sentence_of_the_grader(monkeypatch):
    rows = [
        sandbox.Row(row.layer, row.works and row.layer != "namespaces", row.detail, row.without)
        for row in sandbox.doctor()
    ]
    monkeypatch.setattr(local.sandbox, "doctor", lambda: rows)
    with (
        KernelSession("python3") as session,
        pytest.raises(SandboxError, match=r"lacks .*namespaces.*trust_submissions = True"),
    ):
        session.run(Step("1"))
    with KernelSession("python3", trust=True) as session:
        assert text_of(session.run(Step("6 * 7"))) == "42"
        assert "namespaces" not in session.layers and "landlock" in session.layers
        assert errors(session.run(Step("open('/etc/passwd')"))) == ["PermissionError"]


def test_any_kernel_manager_takes_the_provisioner(tmp_path):
    manager = KernelManager(kernel_name="python3")
    manager.provisioner = SandboxedProvisioner(
        parent=manager, kernel_spec=manager.kernel_spec, kernel_id="x"
    )
    manager.start_kernel()
    try:
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        assert client.execute_interactive("1 + 1", timeout=20)["content"]["status"] == "ok"
        place = Path(manager.provisioner.folder)
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=60)
        client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)
    assert not place.exists()


def test_nothing_outlives_a_grader_that_is_killed():
    program = (
        "import sys, os\nfrom autograde.provisioner.session import KernelSession\n"
        "from autograde.protect.steps import Step\n"
        "s = KernelSession('python3')\n"
        "s.run(Step('import os\\nfor _ in range(2):\\n    if os.fork() == 0:\\n"
        '        os.setsid(); __import__("time").sleep(600)\'))\n'
        "print(s.manager.provisioner.pid, flush=True)\n"
        "s.run(Step('while True: pass', seconds=60))\n"
    )
    command = [sys.executable, "-c", program]
    with open_folder() as place:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, env=os.environ | {"TMPDIR": str(place)}
        ) as grader:
            guard = int(grader.stdout.readline())
            watched = [os.pidfd_open(pid) for pid in (guard, *descendants(guard))]
            assert len(watched) >= 5  # guard, first process, kernel, its two children
            grader.send_signal(signal.SIGKILL)
        for descriptor in watched:
            assert select.select([descriptor], [], [], 60)[0]
            os.close(descriptor)
        assert list(place.iterdir()) == []


def descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found
