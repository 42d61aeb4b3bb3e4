"""The methods of the local Bot API: what each takes, checks and answers.

Written after https://core.telegram.org/bots/api. A method is a coroutine from `Chats` and
`Arguments` to the `result`; it raises `Refusal` to say no. Reading HTTP is left to `bot_api_http`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mlsys.services.bot_api_chats import Chats, checked_text
from mlsys.services.bot_api_errors import Refusal, bad_request
from mlsys.services.bot_api_text import checked_utf8, parsed

LONGEST_POLL = 50  # s: Telegram's limit for getUpdates
LARGEST_KEYBOARD = 100  # buttons: Telegram's limit

Json = dict[str, Any]


@dataclass(frozen=True)
class Arguments:
    """The parameters of one call, from the query, a form or JSON; and its uploaded files."""

    values: Json
    files: dict[str, bytes] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        value = self.values.get(name)
        return default if value is None else checked_utf8(str(value))

    def integer(self, name: str, default: int | None = None) -> int | None:
        value = self.values.get(name)
        if value is None or value == "":
            return default
        try:
            return int(str(value))
        except ValueError:
            raise bad_request(f"parameter {name!r} must be a number") from None

    def flag(self, name: str) -> bool:
        return str(self.values.get(name, "")).lower() in ("true", "1", "yes")

    def json(self, name: str, kind: type, default: Any = None) -> Any:
        """An object or list, as JSON text or as it is."""
        value = self.values.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise bad_request(f"can't parse {name} JSON object") from None
        if not isinstance(value, kind):
            raise bad_request(f"object expected as {name}")
        checked_utf8(json.dumps(value, ensure_ascii=False))
        return value

    def chat(self) -> int:
        if self.text("chat_id") == "":
            raise bad_request("chat_id is empty")
        try:
            return int(self.text("chat_id"))
        except ValueError:  # "@channel": there are none here
            raise bad_request("chat not found") from None

    def reply_to(self, chats: Chats) -> int | None:
        """The message to reply to, in the new form or the old; None when it may be missing."""
        given = self.json("reply_parameters", dict)
        if given is None:
            number = self.integer("reply_to_message_id")
            lenient = self.flag("allow_sending_without_reply")
        else:
            inner = Arguments(given)
            number = inner.integer("message_id")
            lenient = inner.flag("allow_sending_without_reply")
        if lenient and number not in chats.chat(self.chat()).messages:
            return None
        return number

    def markup(self) -> Json | None:
        markup = self.json("reply_markup", dict)
        if markup:
            for name in ("inline_keyboard", "keyboard"):
                if name in markup:
                    _check_keyboard(markup[name], inline=name == "inline_keyboard")
        return markup


@dataclass
class Poll:
    """Who asks for updates now: a second one ends the first, as Telegram does it."""

    turn: int = 0
    closing: bool = False


async def get_updates(chats: Chats, given: Arguments, poll: Poll) -> list[Json]:
    """Wait up to `timeout` s for updates from `offset` on; those before it are confirmed."""
    if chats.webhook["url"]:
        raise Refusal(
            409,
            "Conflict: can't use getUpdates method while webhook is active;"
            " use deleteWebhook to delete the webhook first",
        )
    offset = given.integer("offset", 0)
    limit = min(100, max(1, given.integer("limit", 100)))
    end = time.monotonic() + min(LONGEST_POLL, max(0, given.integer("timeout", 0)))
    kinds = given.json("allowed_updates", list, [])
    poll.turn += 1
    turn = poll.turn
    chats.changed()  # wakes the poll that this one takes over from
    with chats.watching() as change:
        while True:
            if turn != poll.turn:
                raise Refusal(
                    409,
                    "Conflict: terminated by other getUpdates request;"
                    " make sure that only one bot instance is running",
                )
            chats.fetched_at = time.monotonic()
            if offset:
                chats.confirm(offset)
            found = chats.waiting(limit)
            if kinds:
                found = [u for u in found if any(kind in u for kind in kinds)]
            left = end - time.monotonic()
            if found or left <= 0 or poll.closing:
                return found
            change.clear()
            try:
                await asyncio.wait_for(change.wait(), left)
            except TimeoutError:
                continue


async def get_me(chats: Chats, given: Arguments) -> Json:
    return chats.me


async def send_message(chats: Chats, given: Arguments) -> Json:
    text, entities = parsed(given.text("text"), given.text("parse_mode"))
    body: Json = {"text": checked_text(text)}
    if entities := given.json("entities", list, entities):
        body["entities"] = entities
    return chats.post(
        given.chat(), chats.me, body, reply_to=given.reply_to(chats), markup=given.markup()
    )


async def send_photo(chats: Chats, given: Arguments) -> Json:
    """By upload (multipart, also as attach://name) or by the file_id of a photo seen before."""
    caption, entities = parsed(given.text("caption"), given.text("parse_mode"))
    body: Json = {}
    if checked_text(caption, caption=True):
        body["caption"] = caption
        if entities:
            body["caption_entities"] = entities
    number, reply_to, markup = given.chat(), given.reply_to(chats), given.markup()
    chats.chat(number)
    said = given.text("photo")
    name = said.removeprefix("attach://") if said.startswith("attach://") else "photo"
    if name in given.files:
        content = given.files[name]
        # Decoding takes a while, and the loop has other bots' calls to answer.
        photo = await asyncio.to_thread(chats.add_photo, content)
    elif said.startswith(("http://", "https://")):
        raise bad_request("failed to get HTTP URL content: this local server fetches nothing")
    elif said:
        with chats.lock:
            photo = chats.files.same_photo(said)
    else:
        raise bad_request("there is no photo in the request")
    body["photo"] = photo
    return chats.post(number, chats.me, body, reply_to=reply_to, markup=markup)


async def edit_message_text(chats: Chats, given: Arguments) -> Json:
    text, entities = parsed(given.text("text"), given.text("parse_mode"))
    body: Json = {"text": checked_text(text)}
    if entities:
        body["entities"] = entities
    return chats.edit(given.chat(), _message_id(given), body, given.markup())


async def edit_message_caption(chats: Chats, given: Arguments) -> Json:
    caption, entities = parsed(given.text("caption"), given.text("parse_mode"))
    body: Json = {"caption": checked_text(caption, caption=True)}
    if entities:
        body["caption_entities"] = entities
    return chats.edit(given.chat(), _message_id(given), body, given.markup())


async def edit_message_reply_markup(chats: Chats, given: Arguments) -> Json:
    return chats.edit(given.chat(), _message_id(given), {}, given.markup())


async def delete_message(chats: Chats, given: Arguments) -> bool:
    chats.delete(given.chat(), _message_id(given))
    return True


async def answer_callback_query(chats: Chats, given: Arguments) -> bool:
    text = given.text("text")
    if len(text) > 200:
        raise bad_request("MESSAGE_TOO_LONG")
    chats.answer_tap(given.text("callback_query_id"), text)
    return True


async def send_chat_action(chats: Chats, given: Arguments) -> bool:
    known = ("typing", "upload_photo", "record_video", "upload_video", "record_voice")
    known += ("upload_voice", "upload_document", "choose_sticker", "find_location")
    if given.text("action") not in known:
        raise bad_request("wrong parameter action in request")
    chats.show_action(given.chat())
    return True


async def get_file(chats: Chats, given: Arguments) -> Json:
    with chats.lock:
        return chats.files.get(given.text("file_id")).as_file()


async def get_chat(chats: Chats, given: Arguments) -> Json:
    return chats.chat(given.chat()).facts


async def set_my_commands(chats: Chats, given: Arguments) -> bool:
    commands = given.json("commands", list, [])
    for one in commands:
        name = one.get("command", "") if isinstance(one, dict) else ""
        if not (name and len(name) <= 32 and name.replace("_", "").isalnum() and name.islower()):
            raise bad_request("BOT_COMMAND_INVALID")
        if not one.get("description"):
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    chats.commands = commands[:100]
    chats.changed()
    return True


async def get_my_commands(chats: Chats, given: Arguments) -> list[Json]:
    return chats.commands


async def set_webhook(chats: Chats, given: Arguments) -> bool:
    """Have each update posted to a URL of this machine, in place of getUpdates."""
    url = given.text("url")
    if url and (urlsplit(url).hostname or "") not in ("127.0.0.1", "localhost", "::1"):
        raise bad_request("bad webhook: this local server posts to 127.0.0.1 only")
    if given.flag("drop_pending_updates"):
        _drop_pending(chats)
    chats.webhook = {"url": url, "secret": given.text("secret_token") or None, "error": None}
    chats.changed()
    return True


async def delete_webhook(chats: Chats, given: Arguments) -> bool:
    return await set_webhook(
        chats, Arguments({"drop_pending_updates": given.text("drop_pending_updates")})
    )


async def get_webhook_info(chats: Chats, given: Arguments) -> Json:
    info = {
        "url": chats.webhook["url"],
        "has_custom_certificate": False,
        "pending_update_count": chats.waiting_count,
    }
    if chats.webhook["error"]:
        info["last_error_message"] = chats.webhook["error"]
    return info


async def log_out_or_close(chats: Chats, given: Arguments) -> bool:
    return True


Method = Callable[[Chats, Arguments], Awaitable[Any]]

METHODS: dict[str, Method] = {
    "getMe": get_me,
    "sendMessage": send_message,
    "sendPhoto": send_photo,
    "editMessageText": edit_message_text,
    "editMessageCaption": edit_message_caption,
    "editMessageReplyMarkup": edit_message_reply_markup,
    "deleteMessage": delete_message,
    "answerCallbackQuery": answer_callback_query,
    "sendChatAction": send_chat_action,
    "getFile": get_file,
    "getChat": get_chat,
    "setMyCommands": set_my_commands,
    "getMyCommands": get_my_commands,
    "setWebhook": set_webhook,
    "deleteWebhook": delete_webhook,
    "getWebhookInfo": get_webhook_info,
    "logOut": log_out_or_close,
    "close": log_out_or_close,
}
# The API takes method names in any case.
_BY_NAME = {name.lower(): method for name, method in METHODS.items()}


async def call(chats: Chats, poll: Poll, name: str, given: Arguments) -> Any:
    """Carry out the method of this name; Refusal when there is none or it says no."""
    if name.lower() == "getupdates":
        return await get_updates(chats, given, poll)
    if name.lower() not in _BY_NAME:
        known = ", ".join(["getUpdates", *METHODS])
        raise bad_request(f"this local server has no method {name[:64]!r}; it has {known}")
    return await _BY_NAME[name.lower()](chats, given)


def _message_id(given: Arguments) -> int:
    number = given.integer("message_id")
    if number is None:
        raise bad_request("message identifier is not specified")
    return number


def _drop_pending(chats: Chats) -> None:
    waiting = chats.waiting(limit=10**9)
    if waiting:
        chats.confirm(waiting[-1]["update_id"] + 1)


def _check_keyboard(rows: Any, *, inline: bool) -> None:
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request("field of the reply markup must be an array of arrays of buttons")
    buttons = [button for row in rows for button in row]
    if len(buttons) > LARGEST_KEYBOARD:
        raise bad_request("reply markup is too long")
    for button in buttons:
        if not inline and isinstance(button, str) and button:
            continue
        if not isinstance(button, dict) or not isinstance(button.get("text"), str):
            raise bad_request("can't parse keyboard button: text of the button is missing")
        if not button["text"]:
            raise bad_request("text buttons are unallowed in the inline keyboard")
        if inline and "url" not in button:
            data = button.get("callback_data")
            if not isinstance(data, str) or not 1 <= len(data.encode()) <= 64:
                raise bad_request("BUTTON_DATA_INVALID")
