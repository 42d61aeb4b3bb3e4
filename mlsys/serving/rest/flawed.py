"""A service for parcels that looks fine and breaks some of its promises: the checklist's patient.

Which of them, is for whoever probes it to find out; the exercise's tests know by probing as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, request
from werkzeug.test import TestResponse

TOKEN = "parcels-for-the-lesson"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
PROMISES = (
    "every method asks for the token",
    "GET of an unknown parcel is 404",
    "GET twice changes nothing",
    "PUT twice leaves what PUT once leaves",
    "POST twice with one key makes one parcel",
    "broken JSON is a 4xx",
    "unknown fields are refused",
    "429 comes with Retry-After",
)
LARGEST_PAGE = 50
ALLOWED = 100  # requests to /v1/limited before it refuses


def fresh() -> Callable[..., TestResponse]:
    """A client of a fresh service: ask(method, path, json=None, data=None, headers=HEADERS)."""
    client = parcels().test_client()

    def ask(
        method: str,
        path: str,
        json: object = None,
        data: str | None = None,
        headers: Mapping[str, str] = HEADERS,
    ) -> TestResponse:
        kind = None if data is None else "application/json"
        return client.open(
            path, method=method, json=json, data=data, headers=headers, content_type=kind
        )

    return ask


def parcels() -> Flask:
    """A fresh service in memory: /v1/parcels, /v1/parcels/{name}, /v1/limited, /health."""
    app = Flask("parcels")
    kept: dict[str, dict[str, Any]] = {}
    by_key: dict[str, dict[str, Any]] = {}
    numbers, asked = itertools.count(1), itertools.count(1)

    def problem(status: int, detail: str) -> tuple[dict, int]:
        return {"title": "Refused", "status": status, "detail": detail}, status

    def body() -> dict[str, Any] | None:
        data = request.get_json(silent=True)
        return data if isinstance(data, dict) else None

    @app.before_request
    def know_the_client() -> Any:
        if request.endpoint == "health" or request.method == "DELETE":
            return None
        if request.headers.get("Authorization") != HEADERS["Authorization"]:
            return problem(401, "Send your token.")
        return None

    @app.get("/health")
    def health() -> Any:
        return {"status": "ok"}

    @app.get("/v1/parcels")
    def list_parcels() -> Any:
        limit = request.args.get("limit", LARGEST_PAGE, int)
        return {"items": list(kept.values())[: max(1, min(limit, LARGEST_PAGE))]}

    @app.post("/v1/parcels")
    def send() -> Any:
        data = body()
        if data is None:
            return problem(400, "The body is not a JSON object.")
        if not isinstance(data.get("to"), str):
            return problem(422, "A parcel needs a text 'to'.")
        key = request.headers.get("Idempotency-Key")
        if key in by_key:
            return by_key[key], 201
        name = f"p{next(numbers)}"
        kept[name] = {"name": name, "to": data["to"], "scans": 0}
        if key:
            by_key[key] = kept[name]
        return kept[name], 201

    @app.get("/v1/parcels/<name>")
    def get(name: str) -> Any:
        if name not in kept:
            return {"error": "no such parcel"}  # with status 200
        return kept[name]

    @app.put("/v1/parcels/<name>")
    def put(name: str) -> Any:
        data = body()
        if data is None or not isinstance(data.get("to"), str):
            return problem(422, "A parcel needs a text 'to'.")
        scans = kept[name]["scans"] + 1 if name in kept else 0
        new = name not in kept
        kept[name] = {"name": name, "to": data["to"], "scans": scans}
        return kept[name], 201 if new else 200

    @app.delete("/v1/parcels/<name>")
    def delete(name: str) -> Any:
        if kept.pop(name, None) is None:
            return problem(404, "There is no such parcel.")
        return "", 204

    @app.get("/v1/limited")
    def limited() -> Any:
        if next(asked) > ALLOWED:
            return problem(429, "Too many requests.")
        return {"ok": True}

    return app
