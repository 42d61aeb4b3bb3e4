"""What every running server shows of itself: address, process, memory, version, log.

Each adapter returns its own small subclass with a client added where one is natural; this module
knows how to show them, not how to start them.
"""

from __future__ import annotations

import html
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from mlsys.services.errors import ServiceError
from mlsys.services.find import address
from mlsys.services.process import Process, first_that_binds

S = TypeVar("S", bound="Server")


@dataclass(frozen=True, repr=False, kw_only=True)
class Server:
    """A server that answers at host:port.

    `found` says where it came from: a variable of the environment, "PATH", or the wheel's name.
    `started_in` is the time from the start of the process to its first answer, s (0 for a server
    that was already there). `pid` is None when the process is not ours to see.
    """

    name: str
    url: str
    host: str
    port: int
    version: str
    found: str
    started_in: float = 0.0
    process: Process | None = field(default=None)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def memory(self) -> float | None:
        """Resident memory with all worker processes, MB; None when the process is not ours."""
        return self.process.memory if self.process else None

    @property
    def log(self) -> str:
        """What the server has written; readable after its end as well."""
        return self.process.log if self.process else ""

    @property
    def alive(self) -> bool:
        return self.process.alive if self.process else True

    def kill(self) -> None:
        """Crash the server: `kill -9`, nothing flushed, nothing said to its clients."""
        self._own("kill").signal("SIGKILL" if hasattr(signal, "SIGKILL") else "SIGTERM")

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): alive, reachable, and silent, as in a long GC pause."""
        self._own("pause").signal("SIGSTOP")

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        self._own("resume").signal("SIGCONT")

    def _own(self, what: str) -> Process:
        if self.process is None:
            raise ServiceError(
                f"{self.name} at {self.host}:{self.port} comes from {self.found}, so it is not"
                f" ours to {what}; unset {self.found} to run one here."
            )
        return self.process

    def facts(self) -> Mapping[str, str]:
        """The rows of the small table, as text."""
        memory = self.memory
        return {
            "address": self.url,
            "process": str(self.pid) if self.pid else "not ours",
            "memory": f"{memory:.0f} MB" if memory is not None else "not ours to see",
            "version": f"{self.version} ({self.found})",
            "ready after": f"{1000 * self.started_in:.0f} ms" if self.process else "already there",
        }

    def __repr__(self) -> str:
        facts = ", ".join(f"{key} {value}" for key, value in self.facts().items())
        return f"<{self.name}: {facts}>"

    def _repr_html_(self) -> str:
        return as_table(self.name, self.facts())


@contextmanager
def there_or_ours(
    variable: str, there: Callable[[str], S], ours: Callable[[], AbstractContextManager[S]]
) -> Iterator[S]:
    """The server at the address in the environment's variable; without one, a server of ours."""
    if url := address(variable):
        yield there(url)
        return
    with first_that_binds(ours) as server:
        yield server


def as_table(caption: str, rows: Mapping[str, str]) -> str:
    """A two-column table, escaped."""
    body = "".join(
        f"<tr><th scope='row' style='text-align:left'>{html.escape(key)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for key, value in rows.items()
    )
    return f"<table><caption>{html.escape(caption)}</caption><tbody>{body}</tbody></table>"
