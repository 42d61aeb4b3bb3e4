"""One grader at a time for a course; nbgrader's own runs, which may be several side by side, count
together as one. The lock is the operating system's and ends with the process that holds it, however
it ends; the file itself only says who that is.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from autograde.ledger import FOLDER

if TYPE_CHECKING:
    from nbgrader.converters import Autograde

if os.name == "nt":
    import msvcrt

    def _take(number: int, *, shared: bool) -> None:
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(number: int, *, shared: bool) -> None:
        # A record lock: network disks know it, and children do not inherit it.
        fcntl.lockf(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, 1)


class Busy(Exception):
    """Somebody else grades this course; the message says who."""


@contextlib.contextmanager
def only_one(
    root: Path,
    *,
    patience: float = 0.0,
    told: Callable[[str], None] | None = None,
    shared: bool = False,
) -> Iterator[None]:
    """Hold the course's lock. If another has it, wait up to `patience` seconds, saying so once
    through `told`; then raise Busy. Those who hold it `shared` do not keep out each other.
    """
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    number = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait(number, folder / "owner.json", patience, told, shared)
        owner = {"process": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        (folder / "owner.json").write_text(json.dumps(owner), encoding="utf-8")
        try:
            yield
        finally:
            (folder / "owner.json").unlink(missing_ok=True)
    finally:
        os.close(number)


def share_while_converting(converter: "Autograde") -> None:
    """Have a run of nbgrader's hold the lock, shared, from before it writes until after. While
    another grades the course it ends with one sentence, and nothing has been changed.
    """
    convert = converter.convert_notebooks

    def convert_notebooks() -> None:
        from nbgrader.converters import NbGraderException

        try:
            with only_one(Path(converter.coursedir.root), shared=True):
                convert()
        except Busy as error:
            converter.log.error("%s", error)
            raise NbGraderException(str(error)) from None

    converter.convert_notebooks = convert_notebooks


def _wait(
    number: int, owner: Path, patience: float, told: Callable[[str], None] | None, shared: bool
) -> None:
    stop = time.monotonic() + patience
    while True:
        try:
            _take(number, shared=shared)
            return
        except OSError:
            if time.monotonic() >= stop:
                who = _who(owner)
                raise Busy(f"{who} grades this course; try again when it is done.") from None
            if told:
                told(f"Waiting: {_who(owner)} grades this course.")
                told = None
            time.sleep(0.2)


def _who(owner: Path) -> str:
    try:
        about = json.loads(owner.read_text(encoding="utf-8"))
        since = time.strftime("%H:%M", time.localtime(about["since"]))
        return f"Process {about['process']} on {about['host']}, since {since},"
    except (OSError, ValueError, KeyError, TypeError):
        return "Another process"
