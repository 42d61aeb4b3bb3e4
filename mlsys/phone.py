"""The user's phone, in the notebook: one person's side of a chat with a bot.

A `Phone` is driven from code (`say`, `send_photo`, `tap`, `await reply()`), so that a lesson runs
from top to bottom without anybody; as the last expression of a cell it shows itself as a panel to
type into. Both act on the same chat of the local Bot API (`mlsys.services.bot_api`), and what they
do is written down there as a `Conversation`. How a still conversation looks is `bot_api_picture`'s.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mlsys.services.bot_api_chats import checked_text
from mlsys.services.bot_api_conversation import BOT, Conversation, Turn
from mlsys.services.bot_api_errors import Refusal
from mlsys.services.bot_api_picture import picture
from mlsys.services.bot_api_server import BotApi

# Where the Bot API's own words are none.
IN_WORDS = {
    "IMAGE_PROCESS_FAILED": "the file is no picture that can be read",
    "PHOTO_INVALID_DIMENSIONS": "width and height may be 10,000 pixels together, and 20 to 1",
}


class PhoneError(ValueError):
    """The phone cannot do that; the message says why."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class NoButton(PhoneError, LookupError):
    """There is no button of this name to tap."""


class NoReply(PhoneError, TimeoutError):
    """The bot did nothing in time."""


class Phone:
    """One user's view of one chat.

    Parameters
    ----------
    api: the running local Bot API.
    name: the user's first name; the same name is the same user.
    group: the title of a group to talk in, in place of the private chat with the bot.
    """

    def __init__(
        self, api: BotApi, name: str = "Ada", *, group: str | None = None, language: str = "en"
    ) -> None:
        if not name.strip() or name == BOT:
            raise PhoneError(f"{name!r} is no user's name; give a first name such as 'Ada'.")
        self.api = api
        self.user = api.chats.add_user(name, language)
        self.chat_id = self.user["id"] if group is None else api.chats.add_group(group)
        self._seen = max((turn.number for turn in self.conversation), default=0)
        self._touched = False  # somebody used the panel since code last did something
        self._panel: Any = None

    @property
    def name(self) -> str:
        return self.user["first_name"]

    @property
    def conversation(self) -> Conversation:
        """All that was said in this chat so far; shows itself as a still picture."""
        return self.api.chats.conversation(self.chat_id)

    @property
    def typing(self) -> bool:
        """Whether the bot shows that it is at work (sendChatAction)."""
        return self.api.chats.chat(self.chat_id).typing_until > time.monotonic()

    @property
    def keyboard(self) -> tuple[tuple[str, ...], ...]:
        """The reply keyboard that the bot has put under the input; each key says its label."""
        return self.api.chats.chat(self.chat_id).keyboard

    # What the user does

    def say(self, text: str, *, reply_to: Turn | None = None) -> Turn:
        """Send words; with `reply_to`, as a reply to that message."""
        self._by_code()
        if not text.strip():
            raise PhoneError("An empty message cannot be sent; say something.")
        number = reply_to.message_id if reply_to is not None else None
        with _plainly():
            sent = self.api.chats.say(self.chat_id, self.user, text, reply_to=number)
        return self._turn(sent)

    def send_photo(self, photo: object, caption: str = "") -> Turn:
        """Send a picture: a path, the bytes of a file, an array (grey or RGB), a Pillow image."""
        self._by_code()
        content = _encoded(photo)
        with _plainly():
            body: dict[str, Any] = {"photo": self.api.chats.add_photo(content)}
            if caption:
                body["caption"] = checked_text(caption, caption=True)
            sent = self.api.chats.post(self.chat_id, self.user, body, reply_to=None, markup=None)
        return self._turn(sent)

    def tap(self, label: str) -> Turn:
        """Tap the newest inline button of this label, or the key of the reply keyboard."""
        self._by_code()
        chat = self.api.chats.chat(self.chat_id)
        with self.api.chats.lock:
            messages = list(reversed(chat.messages.values()))
        for message in messages:
            for row in message.get("reply_markup", {}).get("inline_keyboard", []):
                for button in row:
                    if button["text"] == label:
                        return self._tap_button(message["message_id"], button)
        if any(label in row for row in self.keyboard):
            return self.say(label)
        there = [
            button["text"]
            for message in messages
            for row in message.get("reply_markup", {}).get("inline_keyboard", [])
            for button in row
        ] + [key for row in self.keyboard for key in row]
        has = f"there are {', '.join(dict.fromkeys(there))}" if there else "there are none"
        raise NoButton(f"There is no button {label!r} to tap; {has}.")

    def tap_at(self, message_id: int, row: int, column: int) -> Turn:
        """Tap the button at this place of this message's inline keyboard, counted from 0."""
        self._by_code()
        with self.api.chats.lock:
            message = self.api.chats.chat(self.chat_id).messages.get(message_id, {})
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        if not (0 <= row < len(rows) and 0 <= column < len(rows[row])):
            raise NoButton("That button is not there any more.")
        return self._tap_button(message_id, rows[row][column])

    # What the user sees

    async def reply(self, *, timeout: float = 10.0) -> Turn:
        """The next thing that the bot does here and that was not returned before: a message, a
        photo, an edit, a notice.

        Raises NoReply after `timeout` seconds, saying how far the bot has come.
        """
        end = time.monotonic() + timeout
        with self.api.chats.watching() as change:
            while True:
                change.clear()
                for turn in self.conversation:
                    if turn.number > self._seen and turn.from_bot:
                        self._seen = turn.number
                        return turn
                left = end - time.monotonic()
                if left <= 0:
                    raise NoReply(self._why_silent(timeout))
                try:
                    await asyncio.wait_for(change.wait(), left)
                except TimeoutError:
                    continue

    async def replies(self, count: int, *, timeout: float = 10.0) -> tuple[Turn, ...]:
        """The next `count` things; the time-out is for all of them together."""
        end = time.monotonic() + timeout
        return tuple(
            [await self.reply(timeout=max(0.0, end - time.monotonic())) for _ in range(count)]
        )

    def picture(self) -> Any:
        """The conversation so far as a still picture, which stays on an executed page."""
        from IPython.display import HTML

        return HTML(picture(self.conversation), metadata={"alt": str(self.conversation)})

    def __repr__(self) -> str:
        return f"<{self.name}'s phone: {len(self.conversation)} turns>"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict] | dict:
        from mlsys.phone_panel import Panel

        if self._panel is None:
            self._panel = Panel(self)
        bundle = self._panel._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        # For a page without a kernel, and for a terminal.
        data = {
            **data,
            "text/html": picture(self.conversation),
            "text/plain": str(self.conversation) or repr(self),
        }
        return data, metadata

    # The rest

    def _by_code(self) -> None:
        """What the bot answered to the panel was read there: code does not wait for it."""
        if self._touched:
            self._touched = False
            self._seen = max((turn.number for turn in self.conversation), default=0)

    def _tap_button(self, message_id: int, button: dict[str, Any]) -> Turn:
        if "callback_data" not in button:
            raise PhoneError(f"The button {button['text']!r} opens {button.get('url', 'nothing')}.")
        with _plainly():
            self.api.chats.tap(self.chat_id, self.user, message_id, button)
        return [turn for turn in self.conversation if turn.kind == "tap"][-1]

    def _turn(self, message: dict[str, Any]) -> Turn:
        number = message["message_id"]
        return next(turn for turn in self.conversation if turn.message_id == number)

    def _why_silent(self, timeout: float) -> str:
        chats = self.api.chats
        said = [turn for turn in self.conversation if not turn.from_bot]
        to = f" to {said[-1].text or 'the photo'!r}" if said else ""
        begun = f"No reply{to} came within {timeout:g} s"
        if not self.api.alive:
            return f"{begun}: the server has stopped. Start it again."
        if chats.waiting_count:
            return (
                f"{begun}: no bot has fetched it yet ({chats.waiting_count} waiting)."
                " Is a bot running, and can its event loop run?"
            )
        return (
            f"{begun}, though the bot has fetched the message."
            " Is there a handler for it? Did that raise an error, or is it still at work?"
        )


@contextmanager
def _plainly() -> Iterator[None]:
    """The Bot API's refusal as the phone's own sentence."""
    try:
        yield
    except Refusal as no:
        said = no.description.removeprefix("Bad Request: ")
        said = f"{IN_WORDS[said]} ({said})" if said in IN_WORDS else said
        raise PhoneError(f"The chat refused that: {said}.") from no


def _encoded(photo: object) -> bytes:
    """The bytes of a picture file. Raises PhoneError for anything that is none."""
    if isinstance(photo, str | Path):
        path = Path(photo)
        if not path.is_file():
            raise PhoneError(f"There is no photo at {path}.")
        return path.read_bytes()
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if isinstance(photo, np.ndarray):
        photo = _image(photo)
    if not isinstance(photo, Image.Image):
        raise PhoneError(
            f"A {type(photo).__name__} is no photo; give a path, bytes, an array, a Pillow image."
        )
    written = io.BytesIO()
    photo.save(written, "PNG")
    return written.getvalue()


def _image(pixels: np.ndarray) -> Image.Image:
    """Grey (h, w) or RGB (h, w, 3); 0 to 255, or 0 to 1 where they are fractions."""
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if not fits or not pixels.size:
        raise PhoneError(f"An array of shape {pixels.shape} is no photo; give (h, w) or (h, w, 3).")
    if pixels.dtype.kind == "f":
        pixels = np.nan_to_num(pixels)
        pixels = pixels * (255 if pixels.max() <= 1 else 1)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
