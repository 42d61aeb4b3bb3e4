"""How the Bot API says no: {"ok": false, "error_code": ..., "description": ...}.

The descriptions are Telegram's own words, since clients tell cases apart by them.
"""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """The method was not carried out; `code` follows HTTP, `parameters` are the API's own."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters

    def as_json(self) -> dict[str, Any]:
        body = {"ok": False, "error_code": self.code, "description": self.description}
        return {**body, "parameters": self.parameters} if self.parameters else body


def bad_request(description: str) -> Refusal:
    return Refusal(400, f"Bad Request: {description}")


def too_many(retry_after: int) -> Refusal:
    return Refusal(
        429, f"Too Many Requests: retry after {retry_after}", retry_after=int(retry_after)
    )
