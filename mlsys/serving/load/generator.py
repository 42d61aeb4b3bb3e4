"""The load generator of all lessons: it asks a server on schedule and says how long answers took.

`open_loop` sends at instants fixed beforehand, as users do who know nothing of each other, and
counts a latency from the instant at which a request was due. `closed_loop` has clients that wait
for their answer, so that a stalled server is asked less: the omission that makes most home-made
measurements look well (G. Tene, "How NOT to measure latency", 2013). Both report both times.
Only servers on this machine are asked. The histogram is in `mlsys.serving.latency`, the pictures
in `mlsys.serving.load.figures`, theory to compare with in `mlsys.serving.queueing`.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import numpy as np

from mlsys.serving.load.arrivals import (
    MOST_REQUESTS,
    MOST_SECONDS,
    LoadError,
    check_seconds,
    check_trace,
    fixed,
    poisson,
)
from mlsys.serving.load.engine import Record, precise_loop, send_closed, send_open
from mlsys.serving.load.process import in_own_process
from mlsys.serving.load.result import LoadResult, summarise
from mlsys.serving.load.senders import as_cycle, is_async, with_index
from mlsys.serving.load.targets import Request, Tcp

T = TypeVar("T")
_MOST_CONNECTIONS = 20_000
Target = str | Request | Tcp | Sequence[str | Request] | Callable[..., Any]


async def open_loop(
    target: Target,
    *,
    rate: float | None = None,
    seconds: float | None = None,
    arrivals: str = "poisson",
    trace: Sequence[float] | np.ndarray | None = None,
    seed: int = 0,
    connections: int = 512,
    timeout: float = 5.0,
    warm: int = 0,
    apart: bool = False,
    name: str = "",
) -> LoadResult:
    """Ask on a schedule that does not wait for the server.

    `rate` requests a second for `seconds`, with `arrivals` "poisson" or "fixed"; or a `trace` of
    instants (s from the start) of your own. `target` is an address, a Request, a Tcp, a list of
    addresses and Requests taken in turn, a function `ask()` or `ask(number)`, plain or async, or
    the name of one in a module, as "package.module:function". At most `connections` requests
    are under way at once, the others wait in line, which counts in their latency. `timeout`, s,
    counts from the send. `warm` requests go before, unrecorded. With `apart` the generator runs
    in a process of its own, so that it shares no GIL with a server in this one. Raises LoadError.
    """
    if trace is not None:
        if rate is not None or seconds is not None:
            raise LoadError("Give a rate and seconds, or a trace of instants; not both.")
        times = check_trace(trace)
        length = float(times[-1]) if times.size else 0.0
    else:
        if rate is None or seconds is None:
            raise LoadError("Say how much: rate=... and seconds=..., or trace=[...].")
        if arrivals not in ("poisson", "fixed"):
            raise LoadError(f"{arrivals!r} are no arrivals; take 'poisson', 'fixed' or a trace.")
        times = poisson(rate, seconds, seed=seed) if arrivals == "poisson" else fixed(rate, seconds)
        length = seconds
    how = {
        "arrivals": times.tolist(),
        "timeout": _checked_timeout(timeout),
        "connections": _at_least_one(connections, "connections"),
        "warm": _not_negative(warm, "warm"),
    }
    return await _measure(
        target, "open", send_open, how, length, apart=apart, name=name, wall=length + 3 * timeout
    )


async def closed_loop(
    target: Target,
    *,
    clients: int = 1,
    seconds: float | None = None,
    count: int | None = None,
    think: float = 0.0,
    timeout: float = 5.0,
    warm: int = 0,
    apart: bool = False,
    name: str = "",
) -> LoadResult:
    """Ask with `clients` that each wait for the answer, think for `think` s, and ask again.

    Ends after `seconds` or `count` requests, whatever comes first. The other arguments are those of
    `open_loop`. A request is due when it is sent, so latency and service
    time are the same: what was not asked while the clients waited is not in it. Raises LoadError.
    """
    if seconds is None and count is None:
        raise LoadError("Say when to end: seconds=..., count=..., or both.")
    if count is not None and not 1 <= count <= MOST_REQUESTS:
        raise LoadError(f"{count} requests are no count; take 1 to {MOST_REQUESTS:,}.")
    longest = MOST_SECONDS if seconds is None else seconds
    check_seconds(longest)
    if not 0 <= think <= longest:
        raise LoadError(f"A client cannot think for {think} s here; take 0 to {longest:g}.")
    how = {
        "clients": _at_least_one(clients, "clients"),
        "seconds": longest,
        "count": count or MOST_REQUESTS,
        "think": think,
        "timeout": _checked_timeout(timeout),
        "warm": _not_negative(warm, "warm"),
    }
    return await _measure(
        target, "closed", send_closed, how, 0.0, apart=apart, name=name,
        wall=longest + think + 3 * timeout,
    )  # fmt: skip


def run_now(load: Coroutine[Any, Any, T]) -> T:
    """The result of a load without `await`: for plain code, and for the callback of a widget.

    `run_now(open_loop(...))` runs it in a thread with an event loop of its own, and waits.
    """
    thread = _Thread(load)
    try:
        return thread.future.result()
    except BaseException:  # an interrupt of the kernel comes here, not to the thread
        thread.stop()
        raise


async def _measure(
    target: Any,
    loop: str,
    send: Callable[..., Coroutine[Any, Any, Record]],
    how: dict[str, Any],
    length: float,
    *,
    apart: bool,
    name: str,
    wall: float,
) -> LoadResult:
    named = isinstance(target, str) and ":" in target and "/" not in target
    ready = find_function(target) if named else as_cycle(target)
    if callable(ready):
        with_index(ready)  # refuses here what it would refuse once for each request
    name = name or _name(target)
    if apart:
        kind = {"function": target} if named else ready
        children: list[subprocess.Popen] = []
        run = partial(in_own_process, length=length, wall=wall, begun=children.append)
        try:
            told = await asyncio.to_thread(run, kind, loop, how)
        except asyncio.CancelledError:
            for child in children:
                child.kill()
            raise
        return LoadResult.from_dict({**told, "name": name})
    if callable(ready) and is_async(ready):
        record = await send(ready, **how)  # its clients belong to the loop of who calls
    else:
        record = await _elsewhere(send(ready, **how))
    return summarise(record, name=name, loop=loop, seconds=length)


def find_function(name: str) -> Callable[..., Any]:
    """The function called "package.module:function"; LoadError when there is none."""
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise LoadError(f"There is no function {name!r} to ask: {error}.") from None
    if not callable(found):
        raise LoadError(f"{name!r} is not a function, so it cannot be asked.")
    return found


async def _elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """Run it on a precise loop in a thread; cancelled here, it is cancelled there."""
    thread = _Thread(work)
    try:
        return await asyncio.wrap_future(thread.future)
    except asyncio.CancelledError:
        thread.stop()
        raise


class _Thread:
    """A coroutine that runs on a precise loop of its own in a thread."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()
        self._loop = precise_loop()
        self._task = self._loop.create_task(work)
        threading.Thread(target=self._run, name="load generator", daemon=True).start()

    def stop(self) -> None:
        with suppress(RuntimeError):  # its loop has been closed: it is over
            self._loop.call_soon_threadsafe(self._task.cancel)

    def _run(self) -> None:
        try:
            asyncio.set_event_loop(self._loop)
            result = self._loop.run_until_complete(self._task)
        except BaseException as error:
            end, said = self.future.set_exception, error
        else:
            end, said = self.future.set_result, result
        with suppress(Exception):
            _let_go(self._loop)
        self._loop.close()
        end(said)


def _let_go(loop: asyncio.AbstractEventLoop) -> None:
    """End what tasks are left, so that their connections are closed before the loop is."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, asyncio.sleep(0), return_exceptions=True))


def _name(target: Any) -> str:
    if isinstance(target, (list, tuple)) and target:
        return f"{_name(target[0])} and {len(target) - 1} more"
    if isinstance(target, Tcp):
        return f"{target.host}:{target.port}"
    for attribute in ("url", "__qualname__"):
        if isinstance(getattr(target, attribute, None), str):
            return getattr(target, attribute)
    return target if isinstance(target, str) else type(target).__name__


def _at_least_one(number: int, what: str) -> int:
    if not 1 <= number <= _MOST_CONNECTIONS:
        raise LoadError(f"{number} {what} cannot be; take 1 to {_MOST_CONNECTIONS:,}.")
    return number


def _not_negative(number: int, what: str) -> int:
    if not 0 <= number <= MOST_REQUESTS:
        raise LoadError(f"{what}={number} is no number of requests; take 0 or more.")
    return number


def _checked_timeout(timeout: float) -> float:
    if not 0 < timeout <= MOST_SECONDS:
        raise LoadError(f"A time-out of {timeout} s cannot be; take more than 0, to 600.")
    return timeout
