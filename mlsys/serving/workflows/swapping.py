"""Asking without pause while a model is being replaced, and noting which version answered when.

What is asked is the caller's function, so that a table, a file and a service are judged alike.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from mlsys.serving.workflows.compare import ANSWER_WITHIN, WorkflowError


@dataclass(frozen=True)
class Call:
    """One question asked at `at` seconds: the version that answered, or None and the error."""

    at: float
    version: int | None
    error: str = ""


@dataclass
class Calls:
    """What was answered so far; `mark()` says that the change begins now."""

    made: list[Call] = field(default_factory=list)
    began: float = field(default_factory=perf_counter)
    _heard: threading.Condition = field(default_factory=threading.Condition, repr=False)
    _mistake: Exception | None = None

    def mark(self) -> None:
        """Count seconds from now on; what was asked before has negative times."""
        self.began = perf_counter()

    def settle(self, calls: int = 2) -> None:
        """Wait until this many more calls have ended: what was under way before has ended too.

        Raises what `ask` raised, if that was not a WorkflowError.
        """
        with self._heard:
            enough = len(self.made) + calls
            self._heard.wait_for(
                lambda: self._mistake or len(self.made) >= enough, timeout=ANSWER_WITHIN
            )
            if self._mistake:
                raise self._mistake
            if len(self.made) < enough:
                raise WorkflowError("Nobody has been asking for a minute.")

    def timeline(self) -> list[Call]:
        """All calls, with seconds since the mark."""
        return [Call(call.at - self.began, call.version, call.error) for call in self.made]

    @property
    def failed(self) -> int:
        return sum(call.version is None for call in self.made)

    def first(self, version: int) -> float:
        """Seconds from the mark to the first call that this version answered.

        Raises WorkflowError when it never did.
        """
        times = [call.at for call in self.timeline() if call.version == version]
        if not times:
            raise WorkflowError(f"Version {version} has not answered a single call.")
        return times[0]


def summary(swaps: Mapping[str, Calls], *, version: int) -> list[dict[str, Any]]:
    """One row a swap: until the new version answered, and what was asked in vain."""
    return [
        {
            "workflow": name,
            "seconds to the new model": round(calls.first(version), 3),
            "asked": len(calls.made),
            "failed": calls.failed,
        }
        for name, calls in swaps.items()
    ]


@contextmanager
def steady_calls(ask: Callable[[], int], *, pause: float = 0.005) -> Iterator[Calls]:
    """Call `ask`, which returns the version that answered, every `pause` seconds until the end.

    A call that raises WorkflowError counts as failed.
    """
    calls, done = Calls(), threading.Event()

    def keep_asking() -> None:
        while not done.wait(pause):
            try:
                version, error = ask(), ""
            except WorkflowError as failure:
                version, error = None, str(failure)
            except Exception as failure:  # a mistake in `ask` itself: `settle` raises it
                with calls._heard:
                    calls._mistake = failure
                    calls._heard.notify_all()
                return
            with calls._heard:
                calls.made.append(Call(perf_counter(), version, error))
                calls._heard.notify_all()

    thread = threading.Thread(target=keep_asking, name="steady calls", daemon=True)
    thread.start()
    try:
        calls.settle(20)
        calls.mark()
        yield calls
        calls.settle(20)
    finally:
        done.set()
        thread.join(ANSWER_WITHIN)
