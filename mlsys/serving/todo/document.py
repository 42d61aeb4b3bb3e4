"""The to-do service's promise in a machine's words: its OpenAPI document, and a page made of one.

The limits stand here once; `mlsys.serving.todo.service` validates with the same constants.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

TITLE_LENGTH = 200
ID_PATTERN = "^[a-z0-9][a-z0-9-]{0,35}$"
KEY_PATTERN = "^[A-Za-z0-9_-]{1,64}$"
LARGEST_PAGE = 100
LARGEST_BODY = 10_000  # bytes
ERRORS = {
    400: "Bad request",
    401: "Who are you?",
    404: "There is none",
    409: "The key was used for another request",
    413: "Too large",
    415: "Not JSON",
    422: "Not allowed",
    429: "Too many; Retry-After says when",
    503: "Not now",
}
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
# PostgreSQL's text holds every character but U+0000, and no half of a surrogate pair.
TITLE = {"type": "string", "minLength": 1, "maxLength": TITLE_LENGTH, "pattern": "^[^\\x00]+$"}

_ID = {"name": "id", "in": "path", "required": True,
       "schema": {"type": "string", "pattern": ID_PATTERN}}  # fmt: skip
_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def document() -> dict[str, Any]:
    """The OpenAPI 3.0 document of the whole service."""
    todo = {"$ref": "#/components/schemas/Todo"}
    draft = {"$ref": "#/components/schemas/Draft"}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "To-do",
            "version": "2.0.0",
            "description": "What is to be done. Times out? Ask again: see Idempotency-Key.",
        },
        "security": [{"token": []}],
        "paths": {
            "/v1/todos": {
                "get": _operation(
                    "A page of your to-dos, oldest first",
                    {"200": _answer("A page", {"$ref": "#/components/schemas/Page"})},
                    400,
                    parameters=[
                        _query("limit", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}),
                        _query("after", {"type": "string", "pattern": "^[0-9]{1,18}$"}),
                    ],
                ),
                "post": _operation(
                    "Make a to-do; with a key, once however often it is sent",
                    {"201": _answer("Made", todo)},
                    400, 409, 413, 415, 422,
                    body=draft,
                    parameters=[
                        {"name": "Idempotency-Key", "in": "header", "required": False,
                         "schema": {"type": "string", "pattern": KEY_PATTERN}},
                    ],
                ),
            },
            "/v1/todos/{id}": {
                "parameters": [_ID],
                "get": _operation("One to-do", {"200": _answer("The to-do", todo)}, 404),
                "put": _operation(
                    "Make the to-do of this name so",
                    {"200": _answer("Replaced", todo), "201": _answer("Made", todo)},
                    400, 404, 413, 415, 422,
                    body=draft,
                ),
                "delete": _operation(
                    "Take it away", {"204": {"description": "Gone"}}, 404
                ),
            },
            "/v2/todos/{id}": {
                "parameters": [_ID],
                "get": _operation(
                    "One to-do, with a state in the place of a yes or no",
                    {"200": _answer("The to-do", {"$ref": "#/components/schemas/TodoV2"})},
                    404,
                ),
            },
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Draft": _object(["title"], title=TITLE, done={"type": "boolean"}),
                "Todo": _object(
                    ["id", "title", "done"],
                    id={"type": "string"},
                    title={"type": "string"},
                    done={"type": "boolean"},
                ),
                "TodoV2": _object(
                    ["id", "title", "state"],
                    id={"type": "string"},
                    title={"type": "string"},
                    state={"type": "string", "enum": ["open", "done"]},
                ),
                "Page": _object(
                    ["items", "next"],
                    items={"type": "array", "items": todo},
                    next={"type": "string", "nullable": True},
                ),
                "Problem": _PROBLEM,
            },
        },
    }  # fmt: skip


def small(*methods: str, path: str = "/v1/todos") -> dict[str, Any]:
    """The part of the document that makes, reads, replaces and deletes one to-do, with no token.

    `methods` are of post, get, put, delete; all four when none is given. `path` may be drifted.
    """
    whole = document()
    one = whole["paths"]["/v1/todos/{id}"]
    chosen = methods or ("post", "get", "put", "delete")
    single = {method: one[method] for method in ("get", "put", "delete") if method in chosen}
    post = {key: part for key, part in whole["paths"]["/v1/todos"]["post"].items()
            if key != "parameters"}  # fmt: skip
    post["summary"] = "Make a to-do"
    paths: dict[str, Any] = {path: {"post": post}} if "post" in chosen else {}
    if single:
        paths[f"{path}/{{id}}"] = {"parameters": [_ID], **single}
    for item in paths.values():
        for method in METHODS:
            for status in ("401", "429", "503"):
                item.get(method, {}).get("responses", {}).pop(status, None)
    schemas = {name: whole["components"]["schemas"][name] for name in ("Draft", "Todo", "Problem")}
    info = {**whole["info"], "version": "0.1.0", "description": "One to-do at a time."}
    return {
        "openapi": "3.0.3",
        "info": info,
        "paths": paths,
        "components": {"schemas": schemas},
    }


def operations(document: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Every operation: method in capitals, path, and what the document says of it."""
    return [
        (method.upper(), path, item[method])
        for path, item in document.get("paths", {}).items()
        for method in METHODS
        if method in item
    ]


def page(document: Mapping[str, Any]) -> str:
    """The document as a page of HTML without scripts: readable with no network."""
    rows = "".join(_row(document, *each) for each in operations(document))
    info = document.get("info", {})
    return (
        f"<h3>{html.escape(str(info.get('title', '')))} {html.escape(str(info.get('version', '')))}"
        f"</h3><p>{html.escape(str(info.get('description', '')))}</p>{rows}"
    )


def _row(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    answers = "".join(
        f"<li><b>{html.escape(str(status))}</b> {html.escape(_description(document, answer))}</li>"
        for status, answer in operation.get("responses", {}).items()
    )
    content = operation.get("requestBody", {}).get("content", {})
    schema = next(iter(content.values()), {}).get("schema") if content else None
    body = ""
    if schema:
        written = html.escape(json.dumps(_resolved(document, schema), indent=1))
        body = f"<p>It takes</p><pre>{written}</pre>"
    summary = html.escape(str(operation.get("summary", "")))
    return (
        f"<details><summary><code><b>{method}</b> {html.escape(path)}</code> {summary}</summary>"
        f"{body}<p>It answers</p><ul>{answers}</ul></details>"
    )


def _resolved(document: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = part
    if "$ref" in part:
        found = document
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
    return found


def _description(document: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    return str(_resolved(document, answer).get("description", ""))


def _operation(
    summary: str,
    answers: dict[str, Any],
    *errors: int,
    body: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status in sorted({*errors, 401, 429, 503}):
        answers[str(status)] = {"description": ERRORS[status], "content": problem}
    made: dict[str, Any] = {"summary": summary, "responses": answers}
    if parameters:
        made["parameters"] = parameters
    if body:
        content = {"application/json": {"schema": body}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }
