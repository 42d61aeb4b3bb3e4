"""A python-telegram-bot application beside a notebook: built for the local Bot API or for the real
Telegram, and run inside the event loop that is already there.

The same handlers serve both. Which one it is, is the environment's to say, never the code's: a
token in MLSYS_TELEGRAM_TOKEN, and MLSYS_TELEGRAM_URL for a server other than Telegram's own.
`python -m mlsys.serving.bots package.module:add_handlers` runs a bot as a process of its own.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import traceback
from typing import Any, Protocol

from telegram.error import TelegramError
from telegram.ext import Application, ApplicationBuilder, ContextTypes
from telegram.request import HTTPXRequest

log = logging.getLogger(__name__)

TOKEN, URL = "MLSYS_TELEGRAM_TOKEN", "MLSYS_TELEGRAM_URL"
CONNECTIONS = 64  # at most, of one bot's calls; polling has one of its own
GRACE_S = 3.0  # how long a handler may go on after the stop
KEPT = 100  # errors remembered


class BotError(RuntimeError):
    """The bot cannot be built or run; the message says what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: the sentence alone."""
        return [f"BotError: {self}"]


class Api(Protocol):
    """Where a bot finds its server: what `services.bot_api` yields."""

    @property
    def base_url(self) -> str: ...
    @property
    def base_file_url(self) -> str: ...
    @property
    def token(self) -> str: ...


def builder(api: Api | None = None) -> ApplicationBuilder:
    """python-telegram-bot's own builder, told where the server is: `builder(api).build()`.

    Without `api`, a bot of the real Telegram: its token comes from MLSYS_TELEGRAM_TOKEN. Raises
    BotError when that is not set.
    """
    if api is not None:
        local = _to(api.base_url, api.base_file_url)
        return local.token(api.token)
    token, url = os.environ.get(TOKEN, ""), os.environ.get(URL, "").rstrip("/")
    if not token:
        raise BotError(
            f"No bot's token is set; put the one that @BotFather gave you into the variable {TOKEN}"
            " before Jupyter starts, and never into a cell."
        )
    return (_to(f"{url}/bot", f"{url}/file/bot") if url else ApplicationBuilder()).token(token)


def _to(base_url: str, base_file_url: str) -> ApplicationBuilder:
    # A proxy for the internet, set in the environment, does not know this machine's ports.
    plain = {"trust_env": False}
    return (
        ApplicationBuilder()
        .base_url(base_url)
        .base_file_url(base_file_url)
        .request(HTTPXRequest(connection_pool_size=CONNECTIONS, httpx_kwargs=plain))
        .get_updates_request(HTTPXRequest(connection_pool_size=1, httpx_kwargs=plain))
    )


class running:
    """Run an application in the loop of the notebook: `async with`, or `start` and `stop`.

    What a handler raises is kept in `errors`, oldest first, and said in one line; the bot goes on
    with the next update, as python-telegram-bot does. So are failures to reach the server.
    """

    def __init__(self, app: Application, *, poll_s: float = 10) -> None:
        self.app, self.poll_s = app, poll_s
        self.errors: list[BaseException] = []
        self.unreached: list[TelegramError] = []

    async def __aenter__(self) -> running:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def alive(self) -> bool:
        return self.app.running

    async def start(self) -> running:
        """Start to poll. Raises BotError when the server does not know the bot or is not there."""
        if self.app.running:
            raise BotError("This bot runs already; stop it first, or go on with it.")
        # Taken off first, so that a bot that is started again does not note everything twice.
        self.app.remove_error_handler(self._note)
        self.app.add_error_handler(self._note)
        try:
            await self.app.initialize()
            if self.app.post_init:
                await self.app.post_init(self.app)
            await self.app.updater.start_polling(
                timeout=self.poll_s, error_callback=self._note_unreached
            )
            await self.app.start()
        except TelegramError as error:
            await self.stop()
            raise BotError(f"The bot could not start: {_sentence(error)}") from error
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Stop to poll, confirm what was fetched, let handlers end (for 3 s), close connections."""
        app = self.app
        if app.updater.running:
            await app.updater.stop()
        if app.running:
            try:
                await asyncio.wait_for(app.stop(), GRACE_S)
            except TimeoutError:
                log.error("A handler was still at work %g s after the stop: cancelled.", GRACE_S)
                await self._cancel()
        await app.shutdown()

    async def _cancel(self) -> None:
        """End the application's own tasks, which carry its name: handlers run in them."""
        name = f"Application:{self.app.bot.id}:"
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith(name)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_S)

    async def _note(self, update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
        self._keep(self.errors, context.error)
        log.error("The bot's handler raised %s", described(context.error))

    def _note_unreached(self, error: TelegramError) -> None:
        self._keep(self.unreached, error)

    def _keep(self, kept: list[Any], error: Any) -> None:
        kept.append(error)
        del kept[:-KEPT]

    def __repr__(self) -> str:
        state = "running" if self.alive else "stopped"
        errors = ", ".join(described(error) for error in self.errors[-3:]) or "none"
        return f"<bot: {state}; handlers' errors: {errors}; failed calls: {len(self.unreached)}>"


def described(error: BaseException) -> str:
    """ "ValueError: no model (line 3 of answer)": what was raised, and where, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename]
    where = f" (line {ours[-1].lineno} of {ours[-1].name})" if ours else ""
    return f"{type(error).__name__}: {error}{where}"


def _sentence(error: TelegramError) -> str:
    said = str(error)
    if "token" in said.lower() or "unauthorized" in said.lower():
        said = f"the server does not know this token; look at {TOKEN}"
    return said if said.endswith(".") else f"{said}."


def main(named: str) -> None:
    """Run the bot whose handlers `package.module:function` adds, until Ctrl-C or SIGTERM."""
    module, _, function = named.partition(":")
    if not function:
        raise BotError(f"{named!r} names no function; write package.module:add_handlers.")
    app = builder().build()
    getattr(importlib.import_module(module), function)(app)
    print("bot ready", flush=True)
    app.run_polling()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m mlsys.serving.bots package.module:add_handlers")
    try:
        main(sys.argv[1])
    except BotError as problem:
        sys.exit(str(problem))
