"""A local server that speaks the Telegram Bot API, for the length of a `with`.

It stands where api.telegram.org stands for a bot: the same methods over HTTP, on a free loopback
port, with users and chats that live on this machine. It runs in a thread of this process, so that
a phone in the notebook and a bot anywhere on the machine meet in it, and dies with the process.
Messages and unfetched updates outlive an `outage`.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import uvicorn

from mlsys.services.bot_api_chats import Chats
from mlsys.services.bot_api_http import application
from mlsys.services.bot_api_methods import Poll
from mlsys.services.bot_api_webhook import deliver
from mlsys.services.errors import ServiceError
from mlsys.services.process import HOST, Process
from mlsys.services.server import Server


class _Listener:
    """One life of the HTTP server: a socket, a thread with an event loop, and their end."""

    def __init__(self, chats: Chats, token: str, port: int) -> None:
        self.poll = Poll()
        self.chats = chats
        self.socket = _listening(port)
        config = uvicorn.Config(
            application(chats, self.poll, token),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self._run, name="bot-api", daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return self.socket.getsockname()[1]

    def _run(self) -> None:
        async def both() -> None:
            posting = asyncio.create_task(deliver(self.chats))
            try:
                await self.server.serve(sockets=[self.socket])
            finally:
                posting.cancel()
                await asyncio.gather(posting, return_exceptions=True)

        with self.socket:
            asyncio.run(both())

    def stop(self) -> None:
        self.poll.closing = True
        self.server.should_exit = True
        self.chats.changed()  # polls answer at once
        self.thread.join(30)
        if self.thread.is_alive():
            raise ServiceError("The Bot API's server did not stop within 30 s.")
        self.chats.changed()  # panels show that nobody is there


@dataclass(frozen=True, repr=False, kw_only=True)
class BotApi(Server):
    """The running server, as a bot sees it (`base_url`, `token`) and as a lesson does (`chats`)."""

    token: str
    chats: Chats
    _life: list[_Listener] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """What comes before the token: python-telegram-bot's `base_url`."""
        return f"{self.url}/bot"

    @property
    def base_file_url(self) -> str:
        return f"{self.url}/file/bot"

    @property
    def env(self) -> dict[str, str]:
        """The environment in which a bot's own process finds this server and its token."""
        return {"MLSYS_TELEGRAM_URL": self.url, "MLSYS_TELEGRAM_TOKEN": self.token}

    @property
    def alive(self) -> bool:
        return bool(self._life) and self._life[0].thread.is_alive()

    @property
    def waiting(self) -> int:
        """Updates that no bot has confirmed yet."""
        return self.chats.waiting_count

    def push(self, update: dict[str, Any]) -> int:
        """Queue an update as it is, for instance of a kind that no library knows yet."""
        return self.chats.push(update)

    def via(self, link: Any) -> BotApi:
        """The same server as it is seen through a `proxy(api.port)`."""
        return replace(self, port=link.port, url=f"http://{self.host}:{link.port}")

    @contextmanager
    def outage(self) -> Iterator[None]:
        """The server is gone for the length of the `with`, then back on the same port.

        Users can go on writing: what they say waits for the bot, as on Telegram.
        """
        port = self._life[0].port
        self._life.pop().stop()
        try:
            yield
        finally:
            self._life.append(_listener(self.chats, self.token, port))

    def _own(self, what: str) -> Process:
        raise ServiceError(
            f"The Bot API lives in a thread of this process, so there is no process to {what};"
            " make it unreachable with `outage()`, or slow with a `proxy` and `via`."
        )

    def facts(self) -> dict[str, str]:
        return {
            "address": self.url,
            "bot": f"@{self.chats.me['username']}",
            "process": "a thread of this one" if self.alive else "stopped",
            "version": self.version,
            "chats": ", ".join(self.chats.names) or "none yet",
            "updates waiting": str(self.waiting),
            "ready after": f"{1000 * self.started_in:.0f} ms",
        }


@contextmanager
def bot_api(
    *, username: str = "course_bot", name: str = "Course bot", per_second: float | None = None
) -> Iterator[BotApi]:
    """Serve the Bot API for one bot on a free port until the end of the `with`.

    `per_second` limits the messages that the bot may send to one chat, as Telegram does: more are
    answered with 429 and `retry_after`. The token is made anew each time.
    """
    if per_second is not None and not per_second > 0:
        raise ServiceError(f"A limit of {per_second} messages/s lets none pass; give more than 0.")
    chats = Chats(username=username, first_name=name, per_second=per_second)
    token = f"{chats.me['id']}:{secrets.token_urlsafe(26)}"
    begun = time.perf_counter()
    life = _listener(chats, token, 0)
    api = BotApi(
        name="Telegram Bot API",
        url=f"http://{HOST}:{life.port}",
        host=HOST,
        port=life.port,
        version=f"local, on uvicorn {importlib.metadata.version('uvicorn')}",
        found="this package",
        started_in=time.perf_counter() - begun,
        token=token,
        chats=chats,
        _life=[life],
    )
    try:
        yield api
    finally:
        for last in api._life:
            last.stop()


def _listening(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where the protocol is named, and an answer of two
    # packets (head, body) waits 40 ms for the client's delayed ACK otherwise.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # to come back on the same port; on Windows it would share it
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(512)
    except OSError:
        listening.close()
        raise
    return listening


def _listener(chats: Chats, token: str, port: int) -> _Listener:
    try:
        life = _Listener(chats, token, port)
    except OSError as error:
        raise ServiceError(f"The Bot API could not listen at port {port}: {error}.") from error
    end = time.monotonic() + 30
    while not life.server.started:
        if not life.thread.is_alive() or time.monotonic() > end:
            raise ServiceError("The Bot API's server did not start.")
        time.sleep(0.002)
    return life
