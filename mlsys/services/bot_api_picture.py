"""A conversation as a still picture: bubbles in HTML with everything escaped, for pages that have
no kernel behind them. The live panel draws the same `bubbles` in the browser.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape

from mlsys.services.bot_api_conversation import Conversation, Turn

SHOWN = 60  # bubbles: the last ones of a long chat
WIDEST, ENLARGED = 220, 112  # px of a photo; of one with so few pixels that each can be seen
# Colours of the two sides: readable at 7:1 and more, blue for one's own as in the figures.
MINE, THEIRS, PAPER, INK, DIM = "#d6ebf8", "#ffffff", "#eef1f4", "#1f2328", "#57606a"


@dataclass(frozen=True)
class Bubble:
    """What a message looks like now, after its edits; or a line between messages (`line`)."""

    who: str
    text: str
    message_id: int = 0
    from_bot: bool = False
    line: bool = False
    buttons: tuple[tuple[str, ...], ...] = ()
    reply_to: str | None = None
    size: tuple[int, int] | None = None
    photo: bytes | None = None
    edited: bool = False


def bubbles(conversation: Conversation | Iterable[Turn]) -> list[Bubble]:
    """What a phone shows of these turns: one bubble a message, one line a tap or a notice."""
    shown: list[Bubble] = []
    place: dict[int, int] = {}
    for turn in conversation:
        if turn.kind in ("text", "photo"):
            place[turn.message_id] = len(shown)
            shown.append(_bubble(turn))
        elif turn.kind == "edit" and turn.message_id in place:
            shown[place[turn.message_id]] = replace(_bubble(turn), edited=True)
        elif turn.kind == "deleted" and turn.message_id in place:
            old = shown[place[turn.message_id]]
            shown[place[turn.message_id]] = Bubble(old.who, "message deleted", line=True)
        elif turn.kind == "tap":
            shown.append(Bubble(turn.who, f"{turn.who} taps “{turn.text}”", line=True))
        elif turn.kind == "notice":
            shown.append(Bubble(turn.who, turn.text, line=True, from_bot=True))
    return shown[-SHOWN:]


def picture(conversation: Conversation, *, notes: Iterable[str] = ()) -> str:
    """The conversation as one block of HTML; `notes` stand below it, one a line."""
    rows = [_row(bubble) for bubble in bubbles(conversation)]
    if not rows:
        rows = [_line("Nothing has been said yet.")]
    below = "".join(
        f'<p style="margin:6px 4px;color:#9a3b00;font-size:13px">{escape(note)}</p>'
        for note in notes
    )
    return (
        f'<div role="group" aria-label="Conversation with the bot" style="max-width:400px;'
        f"background:{PAPER};color:{INK};border:1px solid #d0d7de;border-radius:14px;"
        "padding:10px 12px;font:14px/1.4 'Source Sans Pro','Segoe UI',Helvetica,Arial,sans-serif\">"
        f"{''.join(rows)}</div>{below}"
    )


def photo_address(photo: bytes) -> str:
    """A JPEG as an address that a page can show by itself."""
    return "data:image/jpeg;base64," + base64.b64encode(photo).decode()


def _bubble(turn: Turn) -> Bubble:
    return Bubble(
        who=turn.who,
        text=turn.text,
        message_id=turn.message_id,
        from_bot=turn.from_bot,
        buttons=turn.buttons,
        reply_to=turn.reply_to,
        size=turn.size,
        photo=turn.photo,
    )


def _row(bubble: Bubble) -> str:
    if bubble.line:
        return _line(bubble.text, notice=bubble.from_bot)
    side, colour = ("flex-start", THEIRS) if bubble.from_bot else ("flex-end", MINE)
    inside = [f'<div style="font-size:12px;font-weight:600;color:{DIM}">{escape(bubble.who)}</div>']
    if bubble.reply_to is not None:
        inside.append(
            f'<div style="border-left:3px solid #0072b2;padding:1px 6px;margin:2px 0;color:{DIM};'
            f'font-size:13px">{escape(_first_line(bubble.reply_to) or "photo")}</div>'
        )
    if bubble.size is not None:
        inside.append(_photo(bubble))
    if bubble.text:
        inside.append(
            f'<div style="white-space:pre-wrap;overflow-wrap:anywhere">{escape(bubble.text)}</div>'
        )
    if bubble.edited:
        inside.append(f'<div style="font-size:11px;color:{DIM};text-align:right">edited</div>')
    keys = "".join(
        '<div style="display:flex;gap:4px;margin-top:4px">'
        + "".join(
            '<span style="flex:1;text-align:center;background:#fff;border:1px solid #9fc3da;'
            f'border-radius:8px;padding:3px 8px;color:#005a8e">{escape(label)}</span>'
            for label in row
        )
        + "</div>"
        for row in bubble.buttons
    )
    return (
        f'<div style="display:flex;justify-content:{side};margin:5px 0"><div style="max-width:82%">'
        f'<div style="background:{colour};border-radius:12px;padding:5px 10px;'
        f'box-shadow:0 1px 1px #0002">{"".join(inside)}</div>{keys}</div></div>'
    )


def _photo(bubble: Bubble) -> str:
    width, height = bubble.size
    if bubble.photo is None:
        return f'<div style="color:{DIM}">photo, {width}×{height}, no longer kept</div>'
    longest = max(width, height)
    scale = ENLARGED / longest if longest < ENLARGED else min(1, WIDEST / longest)
    smooth = "" if scale <= 1 else "image-rendering:pixelated;"
    return (
        f'<img src="{photo_address(bubble.photo)}" alt="photo, {width} by {height} pixels" '
        f'width="{max(1, round(scale * width))}" height="{max(1, round(scale * height))}" '
        f'style="{smooth}display:block;border-radius:8px;margin:3px 0">'
    )


def _line(text: str, *, notice: bool = False) -> str:
    """A line between messages; a notice of the bot's stands out as a pill."""
    pill = f"background:{DIM};color:#fff;border-radius:10px;padding:2px 11px" if notice else ""
    return (
        f'<div style="text-align:center;color:{DIM};font-size:12px;margin:7px 0">'
        f'<span style="{pill}">{escape(text)}</span></div>'
    )


def _first_line(text: str, width: int = 60) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= width else line[: width - 1] + "…"
