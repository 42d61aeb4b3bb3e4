"""Runs Python as an ordinary user who may make no namespaces, on any machine where root may:
`python closed.py HOME ARGUMENT ...`. The user, whose folder HOME is, stands in a user namespace in
which no other may be made. The kernel means it; what works there is a bubblewrap that is setuid
root, and HOME/bin is searched for one.
"""

import os
import signal
import sys
import traceback
from pathlib import Path

from autograde.sandbox import kernel
from autograde.sandbox.layers import open_way, python_folders

REPOSITORY = Path(__file__).parents[3]


def main(home: str, *arguments: str) -> int:
    """Run Python there; returns its exit code."""
    entered, told = os.pipe()
    mapped, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWNS)
            kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
            open_way([*python_folders(), str(REPOSITORY)])
            kernel.unshare(kernel.CLONE_NEWUSER)
            os.write(told, b"x")
            os.read(mapped, 1)
            Path("/proc/sys/user/max_user_namespaces").write_text("0")  # of this namespace alone
            _become(Path(home).stat().st_uid)
            os.chdir(home)
            os.environ["PATH"] = os.pathsep.join([str(Path(home) / "bin"), os.environ["PATH"]])
            os.environ |= {"HOME": home, "TMPDIR": home, "PYTHONPATH": str(REPOSITORY)}
            os.execv(sys.executable, [sys.executable, *arguments])
        except BaseException:
            traceback.print_exc()
            os._exit(127)
    os.close(told)
    if os.read(entered, 1):
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{name}").write_text("0 0 4294967295")  # all are who they were
        os.write(tell, b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # as after a login
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
