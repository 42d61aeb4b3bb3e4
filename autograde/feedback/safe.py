"""Makes what students wrote and printed fit for a page: HTML and terminal codes become plain text,
nothing is loaded from anywhere, everything has a bound. Each function returns HTML that is safe.
"""

import base64
import binascii
import html
import re
from collections.abc import Mapping
from typing import Any

import mistune
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from pygments.lexers.special import TextLexer

MOST_TEXT = 20_000  # characters of one output, one text, one cell's code
MOST_LINES = 200
MOST_PICTURE = 2_000_000  # characters of one picture in base64

# ECMA-48: control sequences (CSI), operating system commands (OSC) and other strings, the rest.
_TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*+(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]?"
)
# Marks that turn the direction of text make code read as what it is not (Boucher, Anderson 2021).
_TURNS = dict.fromkeys(
    [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd"
)
_CONTROLS = {i: None for i in [*range(32), *range(127, 160)] if chr(i) not in "\n\t"}
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/svg+xml")


def plain(text: Any, *, most: int = MOST_TEXT, lines: int = MOST_LINES) -> str:
    """Text without terminal codes, control characters and turns, bounded; not yet HTML."""
    text = text if isinstance(text, str) else str(text)
    cut = len(text) > 4 * most
    text = _TERMINAL.sub("", text[: 4 * most]).replace("\r\n", "\n")
    text = "\n".join(row.rstrip("\r").rpartition("\r")[2] for row in text.split("\n"))
    text = text.translate(_CONTROLS).translate(_TURNS)
    rows = text.split("\n")
    if len(rows) > lines:
        text, cut = "\n".join(rows[:lines]), True
    if len(text) > most:
        text, cut = text[:most], True
    return text.encode("utf-8", "replace").decode("utf-8") + ("\n… cut here" if cut else "")


def escaped(text: Any, *, most: int = MOST_TEXT) -> str:
    """The same as HTML."""
    return html.escape(plain(text, most=most))


def preformatted(text: Any, kind: str = "text") -> str:
    """A block of output."""
    return f'<pre class="{html.escape(kind)}">{escaped(text)}</pre>'


def code(text: str, *, python: bool = True) -> str:
    """A cell's code, coloured if it is of usual length."""
    shown = plain(text, lines=2_000, most=4 * MOST_TEXT)
    # A highlighter's patterns may take long on text that is made for it.
    usual = python and len(shown) <= MOST_TEXT and max(map(len, shown.split("\n"))) < 1_000
    lexer = PythonLexer(stripnl=False) if usual else TextLexer(stripnl=False)
    return f'<pre class="code">{highlight(shown, lexer, _formatter).rstrip()}</pre>'


_formatter = HtmlFormatter(nowrap=True)


def code_styles() -> str:
    """The colours of code, for light pages and for dark ones."""
    light = HtmlFormatter(style="default").get_style_defs("pre.code")
    dark = HtmlFormatter(style="github-dark").get_style_defs("pre.code")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


class _Renderer(mistune.HTMLRenderer):
    """Markdown without HTML, scripts, or anything that a browser would fetch."""

    def __init__(self, pictures: Mapping[str, str]) -> None:
        super().__init__(escape=True)
        self.pictures = pictures

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if url.startswith("attachment:"):
            # Once only: a text of a thousand lines could show two megabytes in each.
            source = self.pictures.pop(url.removeprefix("attachment:"), "")
            if source:
                return f'<img src="{source}" alt="{html.escape(text)}">'
        return f'<span class="left-out">[picture: {html.escape(text or url)}]</span>'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if not re.match(r"^(?:https?://|mailto:)", url, re.IGNORECASE):
            return text
        return f'<a href="{html.escape(url)}" rel="noopener noreferrer nofollow">{text}</a>'

    def heading(self, text: str, level: int, **attributes: Any) -> str:
        level = min(6, level + 2)  # the page's own are the first and the second
        return f"<h{level}>{text}</h{level}>\n"


def markdown(text: str, attachments: Mapping[str, Any] | None = None) -> str:
    """Prose as HTML; formulas stay as they were typed. Long or damaged text is shown as it is."""
    shown = plain(text, lines=1_000)
    if len(text) > MOST_TEXT or _is_tangled(shown):
        return preformatted(text, "prose")
    pictures = {
        name: found
        for name, bundle in (attachments or {}).items()
        if isinstance(bundle, Mapping) and (found := _source(bundle))
    }
    try:
        render = mistune.create_markdown(
            renderer=_Renderer(pictures), plugins=["table", "strikethrough"]
        )
        return str(render(shown))
    except (RecursionError, ValueError, IndexError, TypeError, AttributeError):
        return preformatted(text, "prose")


def _is_tangled(text: str) -> bool:
    """Whether it has so many marks on one line that reading them as markdown could take long."""
    return any(sum(map(line.count, "*_[(<`~|!>")) > 200 for line in text.split("\n"))


def picture(data: Mapping[str, Any], alt: str = "a picture that this cell drew") -> str:
    """The first picture in a cell's output that is one, or ""."""
    source = _source(data)
    return f'<img src="{source}" alt="{html.escape(alt)}">' if source else ""


def _source(data: Mapping[str, Any]) -> str:
    for kind in _PICTURES:
        content = data.get(kind)
        if isinstance(content, list):
            content = "".join(part for part in content if isinstance(part, str))
        if not isinstance(content, str) or not content or len(content) > MOST_PICTURE:
            continue
        if kind == "image/svg+xml" and content.lstrip().startswith("<"):
            # In an <img> a drawing runs no script and loads nothing.
            content = base64.b64encode(content.encode("utf-8", "replace")).decode("ascii")
        try:
            raw = base64.b64decode("".join(content.split()), validate=True)
        except (binascii.Error, ValueError):
            continue
        return f"data:{kind};base64,{base64.b64encode(raw).decode('ascii')}"
    return ""
