"""The phone as a panel in the notebook: `phone_panel.js` draws it in the browser, this side keeps
what it shows in step with the chat and carries out what the student does there.

The chat changes in the server's thread; the panel is brought up to date in the notebook's loop,
once for many changes that come together.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from mlsys.services.bot_api_conversation import BOT, Turn
from mlsys.services.bot_api_photos import LARGEST_PHOTO
from mlsys.services.bot_api_picture import Bubble, bubbles, photo_address

if TYPE_CHECKING:
    from mlsys.phone import Phone

HERE = Path(__file__).parent
LONGEST_TYPED = 4096  # characters: a message's limit


class Panel(anywidget.AnyWidget):
    """A chat to type into; made by a `Phone` when that is displayed."""

    _esm = (HERE / "phone_panel.js").read_text(encoding="utf-8")
    _css = (HERE / "phone_panel.css").read_text(encoding="utf-8")

    bot = traitlets.Unicode().tag(sync=True)
    user = traitlets.Unicode().tag(sync=True)
    place = traitlets.Unicode().tag(sync=True)  # a group's title; empty in a private chat
    status = traitlets.Unicode().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)
    bubbles = traitlets.List().tag(sync=True)
    photos = traitlets.Dict().tag(sync=True)  # address of each photo by its message's number
    keyboard = traitlets.List().tag(sync=True)
    commands = traitlets.List().tag(sync=True)

    def __init__(self, phone: Phone) -> None:
        chats = phone.api.chats
        facts = chats.chat(phone.chat_id).facts
        super().__init__(bot=chats.me["first_name"], user=phone.name, place=facts.get("title", ""))
        self._phone = phone
        self._loop = _loop()
        self._due = threading.Event()
        self._typing_ends: asyncio.TimerHandle | None = None
        self.on_msg(self._done)
        chats.call_on_change(self._soon)
        self._refresh()

    def _soon(self) -> None:
        """From any thread: bring the panel up to date in the notebook's loop."""
        if self._due.is_set():
            return
        self._due.set()
        if self._loop is None:
            self._refresh()
            return
        with suppress(RuntimeError):  # the loop is closed: the kernel ends
            self._loop.call_soon_threadsafe(self._refresh)

    def _refresh(self) -> None:
        self._due.clear()
        phone = self._phone
        chats = phone.api.chats
        shown = bubbles(phone.conversation)
        with self.hold_sync():
            self.bubbles = [_plain(bubble, phone.name) for bubble in shown]
            photos = {
                str(bubble.message_id): photo_address(bubble.photo)
                for bubble in shown
                if bubble.photo is not None
            }
            if photos.keys() != self.photos.keys():
                self.photos = photos
            self.keyboard = [list(row) for row in phone.keyboard]
            self.commands = [dict(command) for command in chats.commands]
            self.status = self._status()
        if phone.typing and self._loop is not None and self._typing_ends is None:
            self._typing_ends = self._loop.call_later(5.2, self._typing_over)

    def _typing_over(self) -> None:
        self._typing_ends = None
        self._refresh()

    def _status(self) -> str:
        if not self._phone.api.alive:
            return "server stopped"
        if self._phone.typing:
            return "typing…"
        return "bot" if self._phone.api.chats.fetched_at is not None else "not started"

    def _done(self, _: object, said: Any, buffers: list[Any]) -> None:
        """What the student did in the browser; whatever is wrong with it is said in the panel."""
        self.problem = ""
        try:
            self._act(dict(said), buffers)
        except (ValueError, TypeError, LookupError) as wrong:
            self.problem = str(wrong)
        finally:
            self._phone._touched = True
            self._soon()

    def _act(self, said: dict[str, Any], buffers: list[Any]) -> None:
        phone, kind = self._phone, said.get("kind")
        if not phone.api.alive:
            raise LookupError("The server has stopped. Run the cells that start the bot again.")
        if kind == "say":
            number = said.get("reply_to")
            replied = None if number is None else Turn(BOT, message_id=int(number))
            phone.say(str(said.get("text", ""))[:LONGEST_TYPED], reply_to=replied)
        elif kind == "tap":
            phone.tap_at(int(said["message_id"]), int(said["row"]), int(said["column"]))
        elif kind == "photo":
            content = bytes(buffers[0]) if buffers else b""
            if len(content) > LARGEST_PHOTO:
                raise ValueError("That photo is larger than 10 MB; choose a smaller one.")
            phone.send_photo(content, str(said.get("caption", "")))
        else:
            raise ValueError(f"The panel does not know the act {kind!r}.")


def _plain(bubble: Bubble, user: str) -> dict[str, Any]:
    """What the browser needs of a bubble; photos travel apart, since they never change."""
    return {
        "id": bubble.message_id,
        "who": bubble.who,
        "mine": bubble.who == user,
        "bot": bubble.from_bot,
        "line": bubble.line,
        "text": bubble.text,
        "buttons": [list(row) for row in bubble.buttons],
        "reply": bubble.reply_to,
        "size": list(bubble.size) if bubble.size else None,
        "edited": bubble.edited,
    }


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
