"""A fork server: forks are lent over TCP to guests that are processes of their own.

    python -m mlsys.serving.philosophers.server GUESTS [--lease SECONDS] [--no-fence]

A request and its answer are a line of JSON each: {"do": "take", "fork": 2} is answered when the
fork is free, with {"token": 17}, a number that only grows. {"do": "put", "fork": 2, "token": 17}
gives it back; {"do": "eat", "tokens": {"2": 17, "3": 18}} is the meal itself. With a lease a fork
comes back by itself after so long; with the fence (the default) a meal with the token of a fork
that has been lent to another since is refused. When a connection closes, its forks are free.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

HOST = "127.0.0.1"
LONGEST = 4096  # bytes of a request
READY = "forks are lent at port"


class Refused(ValueError):
    """A request that the server does not grant; the sentence goes to the client."""


@dataclass
class _Fork:
    holder: int | None = None
    token: int = 0
    fresh: bool = False  # lent, and not eaten with since
    waiting: deque[tuple[int, asyncio.Future]] = field(default_factory=deque)


class ForkServer:
    """The state of all forks, and what is done with them. All calls come from one event loop."""

    def __init__(self, guests: int, *, lease: float | None, fence: bool) -> None:
        self.forks = [_Fork() for _ in range(guests)]
        self.lease, self.fence = lease, fence
        self.tokens = 0
        self.meals = [0] * guests
        self.expired = self.refused = self.unsafe = 0
        self.begun = time.monotonic()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: its requests in order, and its forks when it has gone."""
        lent: dict[int, int] = {}
        gone = asyncio.ensure_future(self._answers(reader, writer, lent))
        with suppress(OSError, asyncio.CancelledError, ValueError):
            await gone
        for fork, token in lent.items():
            if self.forks[fork].token == token:
                self._free(self.forks[fork])
        writer.close()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lent: dict[int, int]
    ) -> None:
        while line := await reader.readline():
            try:
                answer = await self._answer(_parsed(line), lent, reader)
            except Refused as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    async def _answer(
        self, request: dict, lent: dict[int, int], reader: asyncio.StreamReader
    ) -> dict:
        match request.get("do"):
            case "take":
                guest, number = self._place(request, "guest"), self._place(request, "fork")
                token = await self._take(guest, self.forks[number], reader)
                lent[number] = token
                return {"token": token}
            case "put":
                number = self._place(request, "fork")
                fork = self.forks[number]
                if fork.holder is None or fork.token != request.get("token"):
                    return {"late": True}  # the lease was over before
                lent.pop(number, None)
                self._free(fork)
                return {"late": False}
            case "eat":
                return self._eat(request)
            case "look":
                return self.look()
        raise Refused(f"do is take, put, eat or look, not {request.get('do')!r}")

    def _place(self, request: dict, what: str) -> int:
        number = request.get(what)
        if type(number) is not int or not 0 <= number < len(self.forks):
            raise Refused(f"{what} is a number from 0 to {len(self.forks) - 1}, not {number!r}")
        return number

    async def _take(self, guest: int, fork: _Fork, reader: asyncio.StreamReader) -> int:
        """The token of the fork, first come, first served. A guest that goes leaves the line."""
        if fork.holder is None:
            return self._lend(fork, guest)
        granted = asyncio.get_running_loop().create_future()
        fork.waiting.append((guest, granted))
        try:
            while not granted.done():
                # A dead guest's connection is seen to be closed only if somebody looks.
                await asyncio.wait([granted], timeout=0.1)
                if reader.at_eof():
                    raise ConnectionError
            return granted.result()
        except BaseException:
            if granted.done() and fork.token == granted.result():
                self._free(fork)
            fork.waiting = deque(entry for entry in fork.waiting if entry[1] is not granted)
            raise

    def _lend(self, fork: _Fork, guest: int) -> int:
        self.tokens += 1
        fork.holder, fork.token, fork.fresh = guest, self.tokens, True
        if self.lease is not None:
            asyncio.get_running_loop().call_later(self.lease, self._expire, fork, self.tokens)
        return self.tokens

    def _expire(self, fork: _Fork, token: int) -> None:
        if fork.holder is not None and fork.token == token:
            self.expired += 1
            self._free(fork)

    def _free(self, fork: _Fork) -> None:
        fork.holder, fork.fresh = None, False
        if fork.waiting:
            guest, granted = fork.waiting.popleft()
            granted.set_result(self._lend(fork, guest))

    def _eat(self, request: dict) -> dict:
        guest, tokens = self._place(request, "guest"), request.get("tokens")
        mine = {str(guest), str((guest + 1) % len(self.forks))}
        if not isinstance(tokens, dict) or set(tokens) != mine:
            raise Refused(f"guest {guest} eats with the tokens of the forks {sorted(mine)}")
        if any(self.forks[int(k)].token != token for k, token in tokens.items()):
            if self.fence:
                self.refused += 1
                return {"eaten": False}
            self.unsafe += 1
        self.meals[guest] += 1
        for k in tokens:
            self.forks[int(k)].fresh = False
        return {"eaten": True}

    def look(self) -> dict:
        """Everything that the server knows, as plain values."""
        waits = {guest: k for k, fork in enumerate(self.forks) for guest, _ in fork.waiting}
        return {
            "seconds": time.monotonic() - self.begun,
            "meals": self.meals,
            "holder": [fork.holder for fork in self.forks],
            "fresh": [fork.fresh for fork in self.forks],
            "wants": [waits.get(guest) for guest in range(len(self.forks))],
            "expired": self.expired,
            "refused": self.refused,
            "unsafe": self.unsafe,
        }


def _parsed(line: bytes) -> dict:
    try:
        request = json.loads(line)
    except ValueError:
        raise Refused("a request is one line of JSON") from None
    if not isinstance(request, dict):
        raise Refused("a request is a JSON object")
    return request


async def main(arguments: list[str] | None = None) -> None:
    """Listen on a free port, say which, and lend forks until the process is stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("guests", type=int)
    parser.add_argument("--lease", type=float, default=None)
    parser.add_argument("--no-fence", action="store_true")
    given = parser.parse_args(arguments)
    if given.guests < 2 or (given.lease is not None and not given.lease > 0):
        parser.error("a table has at least 2 guests, and a lease lasts longer than 0 s")
    forks = ForkServer(given.guests, lease=given.lease, fence=not given.no_fence)
    server = await asyncio.start_server(forks.serve, HOST, 0, limit=LONGEST)
    # One text: of several, who waits for the first might read before the port is there.
    print(f"{READY} {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
