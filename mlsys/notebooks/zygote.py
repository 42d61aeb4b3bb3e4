"""A process that has imported what most lessons import, and forks a kernel for each that runs.

Run as a script by `mlsys.notebooks.warm`; it imports libraries and nothing of this repository. A
kernel forked here is a fresh one but for the libraries in `sys.modules`: environment, folder,
streams, session, signals and random states are its own. It forks only while it has one thread.

File descriptors: 0 is a pipe that closes when the runner is gone; then the kernels end, all that
they started with them, and this process. The argument is the number of a listening socket. What
is asked there is JSON (arguments, cwd, env, mark) with descriptors for stdout and stderr; the
answer is the kernel's process number and a descriptor of the process.
"""

import array
import builtins
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

PRELOADED = (
    # what a kernel imports as it starts
    "ipykernel.kernelapp",
    "ipykernel.debugger",
    "ipykernel.zmqshell",
    "IPython.core.completerlib",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "psutil",
    "sqlite3",
    "tornado.platform.asyncio",
    "tornado.queues",
    # what nearly every lesson imports, and what shows its first table and figure; but nothing that
    # looks for the running kernel when imported, as ipywidgets and plotly.io._renderers do
    "numpy",
    "pandas",
    "pandas.io.formats.html",
    "plotly.express",
    "plotly.io._html",
    "plotly.offline",
    "plotly.tools",
    "narwhals._pandas_like.dataframe",
    "nbformat",
)
MARK = "MLSYS_RUN"
ANSWER_WITHIN = 10.0  # seconds for the one who asks to say what
LONGEST = 4_000_000  # bytes of a request
PR_SET_PDEATHSIG = 1


def main(number: int) -> None:
    """Serve until the runner is gone; return in each child, which is a kernel to be started."""
    signal.signal(signal.SIGINT, lambda *_: None)  # the runner decides what Ctrl-C means
    begun_with = set(os.environ)
    preload()
    set_by_libraries = {k: v for k, v in os.environ.items() if k not in begun_with}
    listener = socket.socket(fileno=number)
    kernels: dict[int, int] = {}  # descriptor of the process: its number
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(listener, select.POLLIN)
    while True:
        ready = {place for place, _ in poll.poll()}
        if 0 in ready:
            end_all()
            os._exit(0)
        for place in ready & set(kernels):
            os.waitpid(kernels.pop(place), 0)
            poll.unregister(place)
            os.close(place)
        if listener.fileno() not in ready:
            continue
        asker, _ = listener.accept()
        if threads() > 1:
            asker.close()  # a fork might hang: the one who asks starts a kernel itself
            continue
        forked = serve(asker, set_by_libraries)
        if forked is None:
            for held in (listener, asker):
                held.close()
            for place in kernels:
                os.close(place)
            return
        if forked:
            kernels[forked[1]] = forked[0]
            poll.register(forked[1], select.POLLIN)


class Notebook:
    """What pandas asks for: a shell that has a kernel."""

    kernel = None


def preload() -> None:
    """Import the libraries, and leave one thread only."""
    sys.modules["rfc3987_syntax"] = None  # see worker.skip_grammar
    # pandas does too, and only wants to know whether its tables are shown in a notebook.
    builtins.get_ipython = lambda: Notebook
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # then the lesson that wants it says so
    if plotly := sys.modules.get("plotly.express"):
        plotly.line(x=[0, 1], y=[0, 1]).to_json()  # a first figure imports the most
    del sys.modules["rfc3987_syntax"], builtins.get_ipython
    gc.collect()
    gc.freeze()
    # OpenBLAS ends its threads at a fork, and makes new ones when first used after it.
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


def threads() -> int:
    """How many threads this process has, those of libraries in C too."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def serve(
    asker: socket.socket, set_by_libraries: dict[str, str]
) -> tuple[int, int] | tuple[()] | None:
    """Fork one kernel; its number and descriptor, nothing if it could not be, None in the child."""
    asker.settimeout(ANSWER_WITHIN)
    try:
        with asker.dup() as line:
            request, streams = receive(line)
    except (OSError, ValueError):
        asker.close()
        return ()
    pid = os.fork()
    if pid == 0:
        request["env"] = set_by_libraries | request["env"]
        become(request, streams)
        return None
    for stream in streams:
        os.close(stream)
    place = os.pidfd_open(pid)
    try:
        socket.send_fds(asker, [json.dumps({"pid": pid}).encode()], [place])
    except OSError:  # nobody waits for it any more
        signal.pidfd_send_signal(place, signal.SIGKILL)
    asker.close()
    return pid, place


def receive(line: socket.socket) -> tuple[dict, list[int]]:
    """A request to its end, and the two streams that came with it."""
    parts, streams, size = [], array.array("i"), 0
    while True:
        part, numbers, _, _ = socket.recv_fds(line, 65536, 2)
        streams.extend(numbers)
        size += len(part)
        if not part:
            break
        if size > LONGEST:
            raise ValueError("a request too long")
        parts.append(part)
    request = json.loads(b"".join(parts))
    if len(streams) != 2:
        raise ValueError("a request without its streams")
    return request, list(streams)


def become(request: dict, streams: list[int]) -> None:
    """Make this process, just forked, what a new one would be."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    for number, place in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(place, number)
        os.close(place)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    show_mark(libc, request["mark"])
    os.environ.clear()
    os.environ.update(request["env"])
    os.environ["JPY_PARENT_PID"] = str(parent)
    os.chdir(request["cwd"])
    launcher = importlib.util.find_spec("ipykernel_launcher")
    sys.argv = [launcher.origin if launcher else "", *request["arguments"]]
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # random's own state is new after each fork, by Python


def show_mark(libc: ctypes.CDLL, mark: str) -> None:
    """Write the run's mark over this process' own, where /proc shows the environment.

    It shows the block that a process began with: what a kernel forks would carry no mark at all.
    """
    libc.getenv.restype = ctypes.c_void_p
    place = libc.getenv(MARK.encode())
    if place and len(os.environb.get(MARK.encode(), b"")) == len(mark):
        ctypes.memmove(place, mark.encode(), len(mark))


def end_all() -> None:
    """Kill the kernels, and what they started."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.Error:
            continue


if __name__ == "__main__":
    del sys.path[0]  # the folder of this script is none of a lesson's business
    main(int(sys.argv[1]))
    from ipykernel import kernelapp

    # ipykernel looks for its parent in the environment when imported, which was long ago.
    kernelapp.launch_new_instance(parent_handle=os.getppid())
