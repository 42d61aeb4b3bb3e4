"""A client of Valkey that dies on purpose, for who must show that nothing goes wrong in between."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis


class Killed(BaseException):
    """The worker is dead from here on. No `except Exception` saves it."""


class _DyingConnection(redis.Connection):
    """Sends so many packets of commands and then raises; those of the log-in are not counted."""

    budget: list[int]

    def __init__(self, *, budget: list[int], **options: Any) -> None:
        super().__init__(**options)
        self.budget, self._counts = budget, False

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if self._counts:
            if self.budget[0] <= 0:
                raise Killed("killed before the next command")
            self.budget[0] -= 1
        super().send_packed_command(command, check_health)

    def connect(self) -> None:
        if self._sock is None:
            self._counts = False
            super().connect()
        self._counts = True


def dying_client(broker: redis.Redis, after: int) -> redis.Redis:
    """A client of the same server that is killed before the packet of commands after `after`.

    A single command is a packet, and so is a whole pipeline. Killed is no Exception.
    """
    told = broker.connection_pool.connection_kwargs
    where = {key: told[key] for key in ("host", "port", "db", "decode_responses") if key in told}
    pool = redis.ConnectionPool(connection_class=_DyingConnection, budget=[after], **where)
    return redis.Redis(connection_pool=pool)


def redelivered(
    broker: redis.Redis, consume: Callable[[redis.Redis, Any], object], message: Any, *, after: int
) -> None:
    """A worker takes the message and is killed after so many packets; then another one gets it."""
    with suppress(Killed):
        consume(dying_client(broker, after), message)
    consume(broker, message)


def balance_after(
    broker: redis.Redis, credit: Callable[[redis.Redis, Any], object], payment: Any, *, after: int
) -> int:
    """The key `balance`, empty before, when a payment is `redelivered`; 0 when there is none."""
    broker.delete("balance", *broker.scan_iter("balance*"))
    redelivered(broker, credit, payment, after=after)
    return int(broker.get("balance") or 0)
