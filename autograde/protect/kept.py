"""The warm processes that this program keeps, by what they have imported; and in a worker that the
program forked, its own lines to them.
"""

import atexit
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from autograde.protect.warm import Line, Zygote

Imports = tuple[str, ...]
_MOST = 4

_mine: dict[Imports, Zygote] = {}
_taken: dict[Imports, Line] = {}  # in a worker
_lock = threading.Lock()
_owner = os.getpid()


def line_for(imports: Imports) -> Line:
    """A line to the process that has imported these; one is started if there is none. It is not
    waited for: that is done when it is first asked to fork.
    """
    with _lock:
        _leave_to_the_parent()
        if (line := _taken.get(imports)) and line.is_open():
            return line
        zygote = _mine.pop(imports, None)
        if zygote is not None and not zygote.is_open():
            zygote.close()
            zygote = None
        if zygote is None:
            while len(_mine) >= _MOST:
                _mine.pop(next(iter(_mine))).close()
            zygote = Zygote(imports)
        _mine[imports] = zygote
        return zygote


def _leave_to_the_parent() -> None:
    """After a fork, what the parent started is the parent's; we have only the seats it left us."""
    global _owner
    if _owner == os.getpid():
        return
    _owner = os.getpid()
    for imports, zygote in _mine.items():
        if line := zygote.take_seat():
            _taken[imports] = line
    _mine.clear()


@contextmanager
def shared(wanted: Iterable[Imports], count: int) -> Iterator[None]:
    """While this is entered, `count` workers that are forked find a line to each process. What
    had to be started for that is ended on leaving."""
    wanted = list(dict.fromkeys(wanted))[:_MOST]
    before = set(_mine)
    for imports in wanted:
        line_for(imports)
        _mine[imports].make_seats(count)
    try:
        yield
    finally:
        for imports in set(wanted) & set(_mine):
            if imports in before:
                _mine[imports].remove_seats()
            else:
                _mine.pop(imports).close()


def leave_seats() -> None:
    """The workers have been forked: a line that only one of them has is closed when it ends."""
    for zygote in _mine.values():
        zygote.remove_seats()


@atexit.register
def close_all() -> None:
    """End the warm processes of this program, and its lines to those of others."""
    with _lock:
        _leave_to_the_parent()
        for kept in (_mine, _taken):
            while kept:
                kept.popitem()[1].close()
