"""What the local Bot API remembers: users, chats, messages, and the updates a bot has yet to fetch.

Messages are kept in the API's own JSON form. Everything here is safe to call from any thread: the
HTTP server lives in one, the notebook's phones in another. Who waits for something to happen asks
to be woken (`watching`). Everything is bounded: the oldest turns and updates are dropped first.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

from mlsys.services.bot_api_conversation import BOT, Conversation, Turn
from mlsys.services.bot_api_errors import bad_request, too_many
from mlsys.services.bot_api_photos import Files, photo_sizes
from mlsys.services.bot_api_text import checked_utf8, command_entities

TURNS_KEPT = 2_000  # of each chat
UPDATES_KEPT = 2_000  # not yet fetched; Telegram itself drops them after a day
LONGEST_TEXT, LONGEST_CAPTION = 4096, 1024  # characters: sendMessage's and sendPhoto's limits

Json = dict[str, Any]


@dataclass
class Chat:
    """One chat: its messages in the API's form, and its turns in the phone's."""

    facts: Json
    messages: OrderedDict[int, Json] = field(default_factory=OrderedDict)
    turns: deque[Turn] = field(default_factory=lambda: deque(maxlen=TURNS_KEPT))
    last_id: int = 0
    keyboard: tuple[tuple[str, ...], ...] = ()  # the reply keyboard under the input
    typing_until: float = 0.0
    sent_at: deque[float] = field(default_factory=lambda: deque(maxlen=60))


class Chats:
    """All that one bot's world holds."""

    def __init__(self, *, username: str, first_name: str, per_second: float | None = None) -> None:
        self.me = {
            "id": 700_000_001,
            "is_bot": True,
            "first_name": first_name,
            "username": username,
            "can_join_groups": True,
            "can_read_all_group_messages": True,
            "supports_inline_queries": False,
        }
        self.per_second = per_second
        self.lock = RLock()
        self.files = Files()
        self.commands: list[Json] = []
        self.webhook: Json = {"url": "", "secret": None, "error": None}
        self.fetched_at: float | None = None  # when a bot last asked for updates
        self._started = time.monotonic()
        self._chats: dict[int, Chat] = {}
        self._users: dict[int, Json] = {}
        self._updates: deque[Json] = deque(maxlen=UPDATES_KEPT)
        self._taps: OrderedDict[str, tuple[int, bool]] = OrderedDict()
        self._update_ids = itertools.count(1)
        self._turn_numbers = itertools.count(1)
        self._user_ids = itertools.count(1001)
        self._group_ids = itertools.count(-2001, -1)
        self._watchers: set[Callable[[], None]] = set()

    # Waiting

    def call_on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every change, from whatever thread makes it, to the chats' end."""
        with self.lock:
            self._watchers.add(wake)

    @contextmanager
    def watching(self) -> Iterator[asyncio.Event]:
        """An event of the running loop that is set by every change."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the waiter's loop has been closed meanwhile
                loop.call_soon_threadsafe(event.set)

        self.call_on_change(wake)
        try:
            yield event
        finally:
            with self.lock:
                self._watchers.discard(wake)

    def changed(self) -> None:
        with self.lock:
            watchers = list(self._watchers)
        for wake in watchers:
            wake()

    # Updates

    def push(self, update: Json) -> int:
        """Queue one update for the bot, as it is; returns its number."""
        with self.lock:
            number = next(self._update_ids)
            self._updates.append({"update_id": number, **deepcopy(update)})
        self.changed()
        return number

    def confirm(self, offset: int) -> None:
        """Forget the updates before `offset`; a negative one keeps that many of the last."""
        with self.lock:
            if offset < 0:
                while len(self._updates) > -offset:
                    self._updates.popleft()
            while self._updates and self._updates[0]["update_id"] < offset:
                self._updates.popleft()

    def waiting(self, limit: int = 100) -> list[Json]:
        """The oldest updates that are not confirmed."""
        with self.lock:
            return deepcopy(list(itertools.islice(self._updates, limit)))

    @property
    def waiting_count(self) -> int:
        return len(self._updates)

    # Users and chats

    def add_user(self, name: str, language: str) -> Json:
        """A user with this first name: the one that is there, or a new one with a private chat."""
        with self.lock:
            for user in self._users.values():
                if user["first_name"] == name:
                    return user
            number = next(self._user_ids)
            user = {
                "id": number,
                "is_bot": False,
                "first_name": name,
                "username": "".join(c for c in name.lower() if c.isalnum()) or f"user{number}",
                "language_code": language,
            }
            facts = {k: user[k] for k in ("id", "first_name", "username")}
            self._users[number] = user
            self._chats[number] = Chat({**facts, "type": "private"})
            return user

    def add_group(self, title: str) -> int:
        """A group's chat id: of the one that is there, or of a new one with the bot in it."""
        with self.lock:
            for number, chat in self._chats.items():
                if chat.facts.get("title") == title:
                    return number
            number = next(self._group_ids)
            self._chats[number] = Chat({"id": number, "title": title, "type": "group"})
            return number

    def chat(self, number: int) -> Chat:
        if number not in self._chats:
            raise bad_request("chat not found")
        return self._chats[number]

    @property
    def names(self) -> tuple[str, ...]:
        """The chats' names, in the order in which they came."""
        return tuple(c.facts.get("title") or c.facts["first_name"] for c in self._chats.values())

    def message(self, chat: Chat, number: int, missing: str) -> Json:
        if number not in chat.messages:
            raise bad_request(missing)
        return chat.messages[number]

    def conversation(self, chat_id: int) -> Conversation:
        with self.lock:
            return Conversation(tuple(self.chat(chat_id).turns))

    def add_photo(self, content: bytes) -> list[Json]:
        """Keep a photo; the API's `photo` array. Decodes outside the lock."""
        sizes = photo_sizes(content)
        with self.lock:
            return self.files.add(sizes)

    # What happens in a chat

    def post(
        self, chat_id: int, sender: Json, body: Json, *, reply_to: int | None, markup: Json | None
    ) -> Json:
        """Put a message into a chat; an update for the bot when a user sent it.

        `body` holds the API's fields of the content (text and entities, or photo and caption).
        Raises Refusal (400, 429) before anything is changed.
        """
        by_bot = sender["is_bot"]
        with self.lock:
            chat = self.chat(chat_id)
            replied = None
            if reply_to is not None:
                replied = self.message(chat, reply_to, "message to be replied not found")
            if by_bot:
                self._throttle(chat)
            chat.last_id += 1
            message: Json = {
                "message_id": chat.last_id,
                "from": {k: v for k, v in sender.items() if not k.startswith(("can_", "supports"))},
                "chat": dict(chat.facts),
                "date": int(time.time()),
                **body,
            }
            if replied is not None:
                shallow = {k: v for k, v in replied.items() if k != "reply_to_message"}
                message["reply_to_message"] = shallow
            self._put_markup(chat, message, markup)
            chat.messages[chat.last_id] = message
            while len(chat.messages) > TURNS_KEPT:
                chat.messages.popitem(last=False)
            if by_bot:
                chat.typing_until = 0.0
            self._record(chat, message, sender, "photo" if "photo" in body else "text")
        if by_bot:
            self.changed()
        else:
            self.push({"message": message})
        return deepcopy(message)

    def say(self, chat_id: int, user: Json, text: str, *, reply_to: int | None = None) -> Json:
        """A user's words, with the commands in them marked as Telegram's apps mark them."""
        body: Json = {"text": checked_text(text)}
        if entities := command_entities(text):
            body["entities"] = entities
        return self.post(chat_id, user, body, reply_to=reply_to, markup=None)

    def tap(self, chat_id: int, user: Json, message_id: int, button: Json) -> str:
        """A user's tap on an inline button: a callback query for the bot; returns its id."""
        with self.lock:
            chat = self.chat(chat_id)
            message = self.message(chat, message_id, "message not found")
            query_id = f"{user['id']}{len(self._taps):04d}{next(self._turn_numbers):06d}"
            self._taps[query_id] = (chat_id, False)
            while len(self._taps) > TURNS_KEPT:
                self._taps.popitem(last=False)
            self._add_turn(chat, user["first_name"], button["text"], "tap", message_id)
        query = {
            "id": query_id,
            "from": user,
            "message": message,
            "chat_instance": str(chat_id),
            "data": button["callback_data"],
        }
        self.push({"callback_query": query})
        return query_id

    def answer_tap(self, query_id: str, text: str) -> None:
        """The bot's answer to a tap; shown to the user when it has words."""
        with self.lock:
            if query_id not in self._taps or self._taps[query_id][1]:
                raise bad_request(
                    "query is too old and response timeout expired or query ID is invalid"
                )
            chat_id = self._taps[query_id][0]
            self._taps[query_id] = (chat_id, True)
            if text:
                self._add_turn(self.chat(chat_id), BOT, text, "notice", 0)
        self.changed()

    def edit(self, chat_id: int, message_id: int, body: Json, markup: Json | None) -> Json:
        """Change a message of the bot's own; without `markup` its inline keyboard goes."""
        with self.lock:
            chat = self.chat(chat_id)
            message = self.message(chat, message_id, "message to edit not found")
            if not message["from"]["is_bot"]:
                raise bad_request("message can't be edited")
            fresh = {k: v for k, v in message.items() if k not in ("reply_markup", "edit_date")}
            for old, new in (("text", "entities"), ("caption", "caption_entities")):
                if old in body:
                    fresh.pop(new, None)
            fresh.update(body)
            self._put_markup(chat, fresh, markup)
            if fresh == {k: v for k, v in message.items() if k != "edit_date"}:
                raise bad_request(
                    "message is not modified: specified new message content and reply markup are"
                    " exactly the same as a current content and reply markup of the message"
                )
            fresh["edit_date"] = int(time.time())
            chat.messages[message_id] = fresh
            self._record(chat, fresh, self.me, "edit")
        self.changed()
        return deepcopy(fresh)

    def delete(self, chat_id: int, message_id: int) -> None:
        with self.lock:
            chat = self.chat(chat_id)
            gone = self.message(chat, message_id, "message to delete not found")
            del chat.messages[message_id]
            text = gone.get("text", gone.get("caption", ""))
            self._add_turn(chat, BOT, text, "deleted", message_id)
        self.changed()

    def show_action(self, chat_id: int) -> None:
        """ "typing..." for 5 s or until the bot's next message, as sendChatAction says."""
        with self.lock:
            self.chat(chat_id).typing_until = time.monotonic() + 5
        self.changed()

    def _throttle(self, chat: Chat) -> None:
        if self.per_second is None:
            return
        now = time.monotonic()
        allowed = max(1, int(self.per_second))
        window = allowed / self.per_second
        recent = [at for at in chat.sent_at if now - at < window]
        if len(recent) >= allowed:
            raise too_many(max(1, round(window - (now - recent[-allowed]) + 0.5)))
        chat.sent_at.append(now)

    def _put_markup(self, chat: Chat, message: Json, markup: Json | None) -> None:
        if markup is None:
            return
        if "inline_keyboard" in markup:
            if markup["inline_keyboard"]:
                message["reply_markup"] = markup
        elif "keyboard" in markup:
            chat.keyboard = tuple(
                tuple(key["text"] if isinstance(key, dict) else str(key) for key in row)
                for row in markup["keyboard"]
            )
        elif markup.get("remove_keyboard"):
            chat.keyboard = ()

    def _record(self, chat: Chat, message: Json, sender: Json, kind: str) -> None:
        who = BOT if sender["is_bot"] else sender["first_name"]
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        replied = message.get("reply_to_message")
        largest = message["photo"][-1] if "photo" in message else None
        self._add_turn(
            chat,
            who,
            message.get("text", message.get("caption", "")),
            kind,
            message["message_id"],
            buttons=tuple(tuple(button["text"] for button in row) for row in rows),
            reply_to=None if replied is None else replied.get("text", replied.get("caption", "")),
            size=(largest["width"], largest["height"]) if largest else None,
            photo=self.files.content(largest["file_id"]) if largest else None,
        )

    def _add_turn(
        self, chat: Chat, who: str, text: str, kind: str, message_id: int, **more: Any
    ) -> None:
        number, at = next(self._turn_numbers), time.monotonic() - self._started
        chat.turns.append(
            Turn(who, text, kind, message_id=message_id, number=number, at=at, **more)
        )


def checked_text(text: str, *, caption: bool = False) -> str:
    """A message's text or a photo's caption within Telegram's limits; Refusal (400) otherwise."""
    checked_utf8(text)
    if caption:
        if len(text) > LONGEST_CAPTION:
            raise bad_request("message caption is too long")
        return text
    if not text.strip():
        raise bad_request("message text is empty")
    if len(text) > LONGEST_TEXT:
        raise bad_request("message is too long")
    return text
