"""What was said in one chat, as values that tests can compare and pages can show.

A `Conversation` is a tuple of `Turn`s. The chats of the local Bot API write them, the phone hands
them out, and `replay` says the user's turns of one to a bot again, so that a grader can hold what
the bot answers against what was expected. How a conversation looks on a page is left to
`bot_api_picture`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

BOT = "bot"


@dataclass(frozen=True, repr=False)
class Turn:
    """One thing that one side did.

    Two turns are equal when a reader of the chat could not tell them apart: the same side, kind,
    words, buttons, size of photo and message replied to. Numbers and times do not count.

    `kind` is "text", "photo" (`text` is its caption), "tap" (`text` is the button's label), "edit"
    (the message as it now stands), "notice" (what a bot answers to a tap, shown for a moment), or
    "deleted" (`text` is what the message had said).
    `buttons` are the labels of the inline keyboard, row by row; `reply_to` is the text of the
    message that this one replies to; `size` the photo's (width, height) in pixels, `photo` its
    bytes. `at` is in seconds since the server's start.
    """

    who: str
    text: str = ""
    kind: str = "text"
    buttons: tuple[tuple[str, ...], ...] = ()
    reply_to: str | None = None
    size: tuple[int, int] | None = None
    photo: bytes | None = field(default=None, compare=False)
    message_id: int = field(default=0, compare=False)
    number: int = field(default=0, compare=False)
    at: float = field(default=0.0, compare=False)

    @property
    def from_bot(self) -> bool:
        return self.who == BOT

    def __str__(self) -> str:
        said = {
            "text": self.text,
            "photo": f"(photo {'×'.join(map(str, self.size or ()))}) {self.text}".rstrip(),
            "tap": f"(taps {self.text})",
            "edit": f"(edits to) {self.text}",
            "notice": f"(notice) {self.text}",
            "deleted": f"(deletes) {self.text}",
        }[self.kind]
        if self.reply_to is not None:
            said = f"(to {self.reply_to!r}) {said}"
        keys = "".join(f" [{label}]" for row in self.buttons for label in row)
        return f"{self.who}: {said}{keys}"

    def __repr__(self) -> str:
        return f"<{self}>"


@dataclass(frozen=True)
class Conversation:
    """The turns of one chat, oldest first. Equal when all turns are."""

    turns: tuple[Turn, ...] = ()

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.turns)

    def __len__(self) -> int:
        return len(self.turns)

    def __getitem__(self, place: int | slice) -> Turn | Conversation:
        found = self.turns[place]
        return Conversation(found) if isinstance(place, slice) else found

    def __str__(self) -> str:
        return "\n".join(map(str, self.turns))

    def __repr__(self) -> str:
        return str(self) or "(nothing was said)"

    def _repr_html_(self) -> str:
        from mlsys.services.bot_api_picture import picture

        return picture(self)

    @property
    def heard(self) -> tuple[str, ...]:
        """The bot's words alone."""
        return tuple(turn.text for turn in self.turns if turn.from_bot)

    @property
    def said(self) -> tuple[str, ...]:
        """The users' words alone."""
        return tuple(turn.text for turn in self.turns if not turn.from_bot)


@dataclass(frozen=True)
class Expect:
    """What a bot should do in answer; every part that is given must hold.

    `text` is the whole text, `has` a part of it in any case, `like` a regular expression that is
    found in it; `buttons` all labels in reading order; `photo` whether it is a photo.
    """

    text: str | None = None
    has: str | None = None
    like: str | None = None
    buttons: tuple[str, ...] | None = None
    photo: bool | None = None
    kind: str | None = None

    def complaint(self, turn: Turn) -> str | None:
        """One sentence on the first part that does not hold; None when all do."""
        got = _short(turn.text)
        if self.kind is not None and turn.kind != self.kind:
            return f"should be of the kind {self.kind!r}, but is {turn.kind!r}."
        if self.text is not None and turn.text != self.text:
            return f"should say {_short(self.text)!r}, but says {got!r}."
        if self.has is not None and self.has.casefold() not in turn.text.casefold():
            return f"should contain {_short(self.has)!r}, but says {got!r}."
        if self.like is not None and not re.search(self.like, turn.text):
            return f"should match {self.like!r}, but says {got!r}."
        labels = tuple(label for row in turn.buttons for label in row)
        if self.buttons is not None and labels != tuple(self.buttons):
            return f"should have the buttons {list(self.buttons)}, but has {list(labels)}."
        if self.photo is not None and self.photo != (turn.size is not None):
            return "should be a photo, but is not." if self.photo else "should not be a photo."
        return None


@dataclass(frozen=True)
class Say:
    """One thing the user does in a script: words, a photo (path or bytes), or a tap on a button.

    `reply=True` makes it a reply to the bot's last message.
    """

    text: str = ""
    photo: object = None
    tap: str | None = None
    reply: bool = False


@dataclass(frozen=True)
class Replayed:
    """A conversation that was held again, and what was not as expected, one sentence each."""

    conversation: Conversation
    complaints: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.complaints

    def __repr__(self) -> str:
        return "\n".join([str(self.conversation), *self.complaints])

    def _repr_html_(self) -> str:
        from mlsys.services.bot_api_picture import picture

        return picture(self.conversation, notes=self.complaints)


class Talker(Protocol):
    """What `replay` needs of a phone."""

    @property
    def conversation(self) -> Conversation: ...
    def say(self, text: str, *, reply_to: Turn | None = None) -> Turn: ...
    def send_photo(self, photo: object, caption: str = "") -> Turn: ...
    def tap(self, label: str) -> Turn: ...
    async def reply(self, *, timeout: float = 10.0) -> Turn: ...


def script_of(conversation: Conversation) -> list[Say | Expect]:
    """The script that holds this conversation again and expects the same answers, word by word."""
    script: list[Say | Expect] = []
    for turn in conversation:
        if turn.from_bot:
            labels = tuple(label for row in turn.buttons for label in row)
            script.append(
                Expect(turn.text, buttons=labels, photo=turn.size is not None, kind=turn.kind)
            )
        elif turn.kind == "tap":
            script.append(Say(tap=turn.text))
        else:
            script.append(Say(turn.text, photo=turn.photo, reply=turn.reply_to is not None))
    return script


async def replay(
    phone: Talker, script: Conversation | list[Say | Expect | str], *, timeout: float = 10.0
) -> Replayed:
    """Say each line of a script to a bot and hold its answers against what is expected.

    A plain string is a `Say`. Each `Expect` waits up to `timeout` s for the bot's next turn; the
    first one that does not come ends the replay, since the lines after it would be answered out of
    step. Answers beyond the expected ones stay unread, and are named in a complaint when they are
    there by the end.
    """
    lines = script_of(script) if isinstance(script, Conversation) else list(script)
    complaints: list[str] = []
    start = len(phone.conversation)
    answers = 0
    last: Turn | None = None
    for line in lines:
        if isinstance(line, Expect):
            answers += 1
            try:
                last = await phone.reply(timeout=timeout)
            except TimeoutError as missing:
                complaints.append(f"Answer {answers} did not come. {missing}")
                break
            if wrong := line.complaint(last):
                complaints.append(f"Answer {answers} {wrong}")
            continue
        step = line if isinstance(line, Say) else Say(line)
        try:
            if step.tap is not None:
                phone.tap(step.tap)
            elif step.photo is not None:
                phone.send_photo(step.photo, step.text)
            else:
                phone.say(step.text, reply_to=last if step.reply else None)
        except LookupError as absent:
            complaints.append(f"After answer {answers}: {absent}")
            break
    held = phone.conversation[start:]
    extra = sum(turn.from_bot for turn in held) - answers
    if extra > 0:
        complaints.append(f"The bot did {extra} more than the {answers} that were expected.")
    return Replayed(held, tuple(complaints))


def _short(text: str, width: int = 120) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
