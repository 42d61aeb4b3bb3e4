"""The log of `mlsys.serving.queues.log` as a broker on a port, and its client.

`python -m mlsys.serving.queues.log_server FOLDER` serves on a free loopback port and prints it.
A request and its answer are one line of JSON each (framing by an end marker: lesson 09). What is
no request is answered by a sentence, and the connection stays.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlsys.serving.queues.log import Log, LogError

HOST = "127.0.0.1"
MODULE = "mlsys.serving.queues.log_server"
LONGEST_LINE = 1 << 21  # bytes


def answer(log: Log, line: bytes) -> Any:
    """What the request in this line returns. LogError says what is wrong with it."""
    try:
        request = json.loads(line)
        do, told = request.pop("do"), request
    except (ValueError, AttributeError, KeyError, TypeError):
        raise LogError("A request is a line of JSON such as {'do': 'ends'}.") from None
    try:
        match do:
            case "append":
                return log.append(told["key"], [value.encode() for value in told["values"]])
            case "read":
                found = log.read(told["partition"], told["offset"], told.get("count", 100))
                return [value.decode(errors="replace") for value in found]
            case "commit":
                return log.commit(told["group"], told["partition"], told["offset"])
            case "committed":
                return log.committed(told["group"])
            case "ends":
                return log.ends()
    except (KeyError, TypeError, AttributeError) as error:
        raise LogError(
            f"The request to {do} is not complete or not of the kind: {error}."
        ) from None
    raise LogError(f"The log cannot {do!r}; it can append, read, commit, committed and ends.")


async def serve(log: Log) -> None:
    """Serve for ever; one request at a time, so that no two appends mix."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    told = {"ok": answer(log, line)}
                except LogError as error:
                    told = {"error": str(error)}
                writer.write(json.dumps(told).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # gone, or a line over the limit
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, HOST, 0, limit=LONGEST_LINE)
    print(f"ready at {server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


class LogClient:
    """A conversation with a log broker: `with LogClient(port) as log`."""

    def __init__(self, port: int, *, timeout: float = 10.0) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=timeout)
        self._file = self._socket.makefile("rb")

    def ask(self, do: str, **told: Any) -> Any:
        """A request's answer. LogError with the broker's sentence, ConnectionError when it died."""
        self._socket.sendall(json.dumps({"do": do, **told}).encode() + b"\n")
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("The log's broker has gone; start it again on the same folder.")
        told = json.loads(line)
        if "error" in told:
            raise LogError(told["error"])
        return told["ok"]

    def append(self, key: str, *values: str) -> tuple[int, int]:
        """Add records under a key: the partition, and the first one's offset."""
        partition, offset = self.ask("append", key=key, values=values)
        return partition, offset

    def read(self, partition: int, offset: int, count: int = 100) -> list[str]:
        return self.ask("read", partition=partition, offset=offset, count=count)

    def commit(self, group: str, partition: int, offset: int) -> None:
        self.ask("commit", group=group, partition=partition, offset=offset)

    def committed(self, group: str) -> list[int]:
        return self.ask("committed", group=group)

    def ends(self) -> list[int]:
        return self.ask("ends")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> LogClient:
        return self

    def __exit__(self, *told: object) -> None:
        self.close()


class Broker(LogClient):
    """A conversation with a broker that we have started, and that we can kill."""

    def __init__(self, group: Any) -> None:
        super().__init__(port_in(group.log(0)))
        self._group = group

    def kill(self) -> None:
        """`kill -9`; what it had acknowledged is in its folder."""
        self._group.kill(0)
        self._group.wait(0)


@contextmanager
def log_broker(start: Callable[..., Any], folder: Path) -> Iterator[Broker]:
    """A broker on this folder until the end of the `with`; `start` is `services.worker`."""
    with start(MODULE, str(folder), ready="ready") as group, Broker(group) as broker:
        yield broker


def tear(folder: Path, partition: int = 0) -> None:
    """Leave half a record at the end of a partition, as a crash in the midst of a write does."""
    with (folder / f"partition-{partition}.log").open("ab") as file:
        file.write(b"\0\0\0\x09half")


def port_in(log: str) -> int:
    """The port that a broker has printed."""
    return int(log.split("ready at ")[1].split()[0])


def main(argv: Sequence[str]) -> None:
    if len(argv) != 1:
        raise SystemExit("Write: FOLDER, where the log lies.")
    with Log(argv[0]) as log:
        asyncio.run(serve(log))


if __name__ == "__main__":
    main(sys.argv[1:])
