"""Marks in a message's text, which the Bot API calls entities: commands, and the HTML parse mode.

Offsets and lengths count UTF-16 code units, as the API has it
(https://core.telegram.org/bots/api#messageentity).
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

from mlsys.services.bot_api_errors import bad_request

COMMAND = re.compile(r"(?<![\w/])/[A-Za-z0-9_]{1,32}(?:@\w{3,32})?(?!\w)")
TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "del": "strikethrough",
    "code": "code",
    "pre": "pre",
    "a": "text_link",
    "blockquote": "blockquote",
}


def units(text: str) -> int:
    """The length in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def checked_utf8(text: str) -> str:
    """The text; Refusal (400) when it has half of a surrogate pair, which UTF-8 cannot say."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise bad_request("strings must be encoded in UTF-8") from None
    return text


def command_entities(text: str) -> list[dict[str, Any]]:
    """One `bot_command` for every /command in the text."""
    return [
        {
            "type": "bot_command",
            "offset": units(text[: found.start()]),
            "length": units(found.group()),
        }
        for found in COMMAND.finditer(text)
    ]


def parsed(text: str, mode: str) -> tuple[str, list[dict[str, Any]]]:
    """The plain text and its entities under a `parse_mode`: "" or "HTML".

    Raises Refusal (400) for tags that Telegram does not know, tags left open, and other modes.
    """
    if not mode:
        return text, command_entities(text)
    if mode.lower() != "html":
        raise bad_request(
            f"can't parse entities: this local server reads the parse mode HTML, not {mode}"
        )
    reader = _Html()
    reader.feed(text)
    reader.close()
    if reader.open:
        tag = reader.open[-1][0]
        raise bad_request(
            f"can't parse entities: can't find end tag corresponding to start tag {tag}"
        )
    plain = "".join(reader.parts)
    entities = [*command_entities(plain), *reader.entities]
    return plain, sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))


class _Html(HTMLParser):
    """Collects the text, and an entity for each pair of tags."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self.at = 0
        self.open: list[tuple[str, int, str | None]] = []
        self.entities: list[dict[str, Any]] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
        self.at += units(data)

    def handle_entityref(self, name: str) -> None:
        self.handle_data(html.unescape(f"&{name};"))

    def handle_charref(self, name: str) -> None:
        self.handle_data(html.unescape(f"&#{name};"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            raise bad_request(f'can\'t parse entities: unsupported start tag "{tag}"')
        self.open.append((tag, self.at, dict(attrs).get("href")))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            raise bad_request(f'can\'t parse entities: unexpected end tag "{tag}"')
        _, start, link = self.open.pop()
        entity: dict[str, Any] = {"type": TAGS[tag], "offset": start, "length": self.at - start}
        if tag == "a":
            if not link:
                return
            entity["url"] = link
        if entity["length"]:
            self.entities.append(entity)
