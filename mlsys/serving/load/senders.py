"""Senders of what is not HTTP: an exchange over TCP, an async function, a plain function.

Each sends request i when asked to, and tells once how it ended. They differ from `load.http` in
that every request is a task of its own: dearer, and free in what it does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from mlsys.serving.load.arrivals import LoadError
from mlsys.serving.load.http import HttpSender, Told, error_kind
from mlsys.serving.load.targets import Request, Tcp

_MOST_THREADS = 256


class TaskSender:
    """Runs `ask(i)` in a task for each request; a text that it returns is the answer's label."""

    def __init__(
        self,
        ask: Callable[[int], Awaitable[Any]],
        timeout: float,
        told: Told,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._ask, self._timeout, self._told, self._close = ask, timeout, told, close
        self._tasks: set[asyncio.Task] = set()

    def send(self, index: int) -> None:
        task = asyncio.get_running_loop().create_task(self._one(index))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._close()

    async def _one(self, index: int) -> None:
        label, error = "", ""
        try:
            async with asyncio.timeout(self._timeout):
                said = await self._ask(index)
            label = said if isinstance(said, str) else ""
        except Exception as caught:  # whatever the caller's function raises is a result here
            error = error_kind(caught)
        self._told(index, 0, label, error)


def make_sender(
    target: Any, timeout: float, told: Told, connections: int
) -> HttpSender | TaskSender:
    """The sender for a target; to be called on the loop that will run it."""
    if isinstance(target, Tcp):
        exchange = _TcpExchange(target)
        return TaskSender(exchange.ask, timeout, told, exchange.close)
    if isinstance(target, Sequence):
        return HttpSender(target, timeout, told)
    ask = with_index(target)
    if is_async(target):
        return TaskSender(ask, timeout, told)
    pool = ThreadPoolExecutor(min(connections, _MOST_THREADS), thread_name_prefix="load")
    loop = asyncio.get_running_loop()

    async def in_thread(index: int) -> Any:
        return await loop.run_in_executor(pool, ask, index)

    return TaskSender(
        in_thread, timeout, told, lambda: pool.shutdown(wait=False, cancel_futures=True)
    )


def threads_of(target: Any, connections: int) -> int:
    """How many requests to a target can be under way at once."""
    is_plain = callable(target) and not is_async(target)
    return min(connections, _MOST_THREADS) if is_plain else connections


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        type(function).__call__
    )


def with_index(function: Callable[..., Any]) -> Callable[[int], Any]:
    """The function as one of the request's number; LoadError when it wants more than that."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return lambda _: function()
    needed = [
        p
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    only_named = [
        p
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind is p.KEYWORD_ONLY
    ]
    if len(needed) > 1 or only_named:
        name = getattr(function, "__name__", "the function")
        raise LoadError(f"{name}{signature} asks for too much; write it as ask() or ask(number).")
    return function if needed else lambda _: function()


class _TcpExchange:
    """Message and reply over connections that are kept when the target says so."""

    def __init__(self, target: Tcp) -> None:
        self._target = target
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, index: int) -> None:
        target = self._target
        kept = self._idle.pop() if self._idle else None
        reader, writer = kept or await asyncio.open_connection(target.host, target.port)
        good = False
        try:
            writer.write(target.message)
            if target.until:
                await reader.readuntil(target.until)
            else:
                await reader.readexactly(target.size)
            good = True
        finally:
            if good and target.keep and not reader.at_eof():
                self._idle.append((reader, writer))
            else:
                writer.transport.abort()

    def close(self) -> None:
        for _, writer in self._idle:
            with suppress(RuntimeError):  # the loop may have been closed meanwhile
                writer.transport.abort()


def as_cycle(target: Any) -> Any:
    """A URL, a request, or a list of them, as a list of requests; anything else as it is.

    An object with a `url`, such as a server of `mlsys.services`, stands for that address.
    LoadError for what cannot be asked.
    """
    if isinstance(target, (Tcp, list, tuple)):
        if isinstance(target, Tcp):
            return target
        requests = [_request(one) for one in target]
        if not requests:
            raise LoadError("An empty list asks nothing; give at least one address.")
        return requests
    if callable(target):
        return target
    return [_request(target)]


def _request(one: Any) -> Request:
    if isinstance(one, Request):
        return one
    address = one if isinstance(one, str) else getattr(one, "url", None)
    if not isinstance(address, str):
        raise LoadError(
            f"{one!r} cannot be asked; give an address, a Request, a Tcp or a function."
        )
    return Request(address)
