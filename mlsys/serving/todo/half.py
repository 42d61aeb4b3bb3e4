"""A to-do service in memory with two of its four endpoints: the exercise adds the others."""

from __future__ import annotations

from typing import Any

from flask import Flask

from mlsys.serving.todo.service import Problem, draft, refuse

__all__ = ["Problem", "draft", "half"]


def half(kept: dict[str, dict[str, Any]]) -> Flask:
    """POST /v1/todos and GET /v1/todos/<id> over `kept` (id to to-do), refusing as they should."""
    app = Flask("half")
    app.register_error_handler(Exception, refuse)

    @app.post("/v1/todos")
    def make_todo() -> Any:
        wanted = draft()  # refuses what is no to-do
        id = f"t{len(kept) + 1}"
        while id in kept:
            id += "x"
        kept[id] = {"id": id, **wanted}
        return kept[id], 201

    @app.get("/v1/todos/<id>")
    def get_todo(id: str) -> Any:
        if id not in kept:
            raise Problem(404, "There is no such to-do.")
        return kept[id]

    return app
