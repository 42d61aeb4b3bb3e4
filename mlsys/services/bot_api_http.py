"""The local Bot API over HTTP: one ASGI application for all methods and for file downloads.

It reads a call in each of the four forms that the API takes (query, form, multipart, JSON), checks
the token and the size, and writes the API's one form of answer. What methods do is in
`bot_api_methods`.
"""

from __future__ import annotations

import asyncio
import hmac
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from mlsys.services.bot_api_chats import Chats
from mlsys.services.bot_api_errors import Refusal, bad_request
from mlsys.services.bot_api_methods import Arguments, Poll, call

LARGEST_BODY = 12 * 2**20  # bytes: a photo of the greatest size, and its form
LARGEST_READ = 64 * 2**20
MOST_PARTS = 100

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class _Gone(Exception):
    """The client has hung up: nobody is left to answer."""


def application(chats: Chats, poll: Poll, token: str) -> Callable[..., Awaitable[None]]:
    """The ASGI application for one bot."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            head, name = _route(unquote(scope["path"]), token)
            if head == "file":
                await _send_file(chats, name, send)
                return
            given = _arguments(scope, await _body(scope, receive))
            result = await _unless_gone(call(chats, poll, name, given), receive)
            await _send_json(send, 200, {"ok": True, "result": result})
        except Refusal as no:
            await _send_json(send, no.code, no.as_json())
        except _Gone:
            return
        except Exception as error:  # a slip of ours: told to the client in the API's own form
            said = Refusal(500, f"Internal Server Error: {type(error).__name__}: {error}")
            await _send_json(send, 500, said.as_json())

    return app


def _route(path: str, token: str) -> tuple[str, str]:
    """("bot", method) or ("file", path) of a request path; Refusal (401, 404) otherwise."""
    head, found, rest = path.lstrip("/").partition("bot")
    if not found or head not in ("", "file/"):
        raise Refusal(404, "Not Found")
    said, _, name = rest.partition("/")
    if ":" not in said or not name:
        raise Refusal(404, "Not Found")
    if not hmac.compare_digest(said.encode(), token.encode()):
        raise Refusal(401, "Unauthorized")
    return head.rstrip("/") or "bot", name


async def _body(scope: dict[str, Any], receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        size += len(message.get("body", b""))
        if size <= LARGEST_BODY:
            parts.append(message.get("body", b""))
        # More than that is read and dropped, since most clients read an answer only after they
        # have sent all; and what is far too much is cut off.
        if size > LARGEST_READ or (size > LARGEST_BODY and not message.get("more_body")):
            raise Refusal(413, "Request Entity Too Large")
        if not message.get("more_body"):
            return b"".join(parts)


def _arguments(scope: dict[str, Any], body: bytes) -> Arguments:
    """Query and body together; the body's values win."""
    values: dict[str, Any] = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
    headers = {name.lower(): value for name, value in scope["headers"]}
    kind, options = parse_options_header(headers.get(b"content-type", b"").decode("latin-1"))
    if not body:
        return Arguments(values)
    if kind == "application/json":
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            raise bad_request("can't parse JSON object") from None
        if not isinstance(said, dict):
            raise bad_request("object expected as JSON")
        return Arguments({**values, **said})
    parser = FormDataParser(
        max_form_memory_size=LARGEST_BODY, max_form_parts=MOST_PARTS, silent=False
    )
    try:
        _, form, files = parser.parse(io.BytesIO(body), kind, len(body), options)
    except (ValueError, HTTPException) as error:
        raise bad_request("can't parse the form") from error
    read = {name: file.stream.read() for name, file in files.items()}
    return Arguments({**values, **form.to_dict()}, read)


async def _unless_gone(answer: Awaitable[Any], receive: Receive) -> Any:
    """The answer; _Gone when the client hangs up before, so that no poll waits for nobody."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    work, watch = asyncio.ensure_future(answer), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise _Gone
        return work.result()
    finally:
        for task in (work, watch):
            task.cancel()
        await asyncio.gather(work, watch, return_exceptions=True)


async def _send_json(send: Send, status: int, answer: dict[str, Any]) -> None:
    body = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 413:  # the rest of the body is not read
        headers.append((b"connection", b"close"))
    if retry_after := answer.get("parameters", {}).get("retry_after"):
        headers.append((b"retry-after", b"%d" % retry_after))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_file(chats: Chats, path: str, send: Send) -> None:
    with chats.lock:
        file = chats.files.at(path)
    if file is None:
        raise Refusal(404, "Not Found")
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", b"%d" % len(file.content)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": file.content})
