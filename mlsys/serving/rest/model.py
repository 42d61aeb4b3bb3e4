"""A model behind HTTP, twice: in Flask and in FastAPI. Both read digits with the same committee.

The committee is of linear models, each fitted to a sample of its own, and votes in plain Python:
it holds the interpreter as long as it computes, as much of what runs beside a model does.
`REST_MODEL` names its file, JSON; `REST_LOOKUP_MS` says how far the store of pictures is away.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from operator import mul
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:  # a service that only predicts need not wait for it
    import pandas as pd

PIXELS = 64
DARKEST = 16
MEMBERS = 30
PICTURES = 70_000  # as many as MNIST has
NUMBER = "[0-9]{1,9}"
SMOOTH = 100.0  # ridge penalty, in squared grey levels

PROBLEM_TYPE = "application/problem+json"
PROBLEM = {
    "title": "Problem",
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Committee:
    """Each member holds ten rows of 64 weights and a bias; `version` names the fit."""

    version: str
    members: tuple[tuple[tuple[float, ...], ...], ...]

    def predict(self, pixels: Sequence[float]) -> dict[str, Any]:
        """The digit with the most votes, and its share of them."""
        one = (*pixels, 1.0)
        votes = Counter(_vote(member, one) for member in self.members)
        digit, count = votes.most_common(1)[0]
        return {"digit": digit, "share": count / len(self.members), "version": self.version}

    def right(self, pixels: np.ndarray, digits: np.ndarray) -> float:
        """Share of these pictures (n, 64) whose digit is read as it is."""
        read = [self.predict(one)["digit"] for one in pixels.tolist()]
        return float(np.mean(np.array(read) == digits))

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        Path(path).write_text(json.dumps({"version": self.version, "members": self.members}))

    @contextmanager
    def as_file(self) -> Iterator[str]:
        """The path of a file with this committee, for the length of the `with`."""
        with TemporaryDirectory(prefix="committee-") as folder:
            path = Path(folder) / "committee.json"
            self.save(path)
            yield str(path)


def fit(
    pixels: np.ndarray, digits: np.ndarray, *, members: int = MEMBERS, seed: int = 0
) -> Committee:
    """A Committee for pictures (n, 64) of grey levels 0 to 16 and their digits (n,)."""
    rng, fitted = np.random.default_rng(seed), []
    for _ in range(members):
        rows = rng.integers(len(pixels), size=len(pixels))
        x = np.column_stack([pixels[rows], np.ones(len(rows))])
        y = np.eye(10)[digits[rows]]
        with threadpool_limits(1):  # tables this small only make more threads wait for each other
            weights = np.linalg.solve(x.T @ x + SMOOTH * np.eye(PIXELS + 1), x.T @ y)
        fitted.append(tuple(map(tuple, np.round(weights.T, 6).tolist())))
    return Committee(f"committee-{seed}", tuple(fitted))


def shrink(pictures: np.ndarray) -> np.ndarray:
    """Pictures (n, 784) of 28 by 28 grey levels to 255 as (n, 64), 8 by 8 and 0 to 16."""
    middle = np.asarray(pictures, float).reshape(-1, 28, 28)[:, 2:26, 2:26]  # the rim is empty
    small = middle.reshape(-1, 8, 3, 8, 3).mean(axis=(2, 4)) * DARKEST / 255
    return np.round(small).reshape(-1, PIXELS)


def small_digits(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, 64) and digits (n,) of the table of `mlsys.data.load("digits")`."""
    return shrink(table.drop(columns="label").to_numpy()), table["label"].to_numpy()


def load(path: Path) -> Committee:
    """What `save` wrote. Raises ValueError when the file is not one of those."""
    try:
        data = json.loads(path.read_text())
        members = tuple(tuple(tuple(map(float, row)) for row in m) for m in data["members"])
        version = str(data["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} holds no committee ({type(error).__name__}).") from None
    if not members or any(len(m) != 10 or {len(r) for r in m} != {PIXELS + 1} for m in members):
        raise ValueError(f"{path.name} holds no committee: ten rows of {PIXELS + 1} weights each.")
    return Committee(version, members)


def _vote(member: Sequence[Sequence[float]], one: Sequence[float]) -> int:
    scores = [sum(map(mul, row, one)) for row in member]
    return scores.index(max(scores))


# --- the services: both keep the document that FastAPI makes of its declarations


def flask_app() -> Any:
    """WSGI: POST /v1/predictions computes; GET /v1/pictures/{n}/prediction waits for a picture."""
    from flask import Flask, Response, request
    from werkzeug.exceptions import HTTPException

    app, model, look_up = Flask("digits"), load(Path(os.environ["REST_MODEL"])), _look_up()
    app.url_map.merge_slashes = False  # a path with two is another path, not a redirection

    @app.post("/v1/predictions")
    def predict() -> Any:
        raw = request.get_data()
        try:
            data = json.loads(raw) if raw and request.is_json else None
        except (ValueError, RecursionError):
            return _problem(400, "The body is not JSON in UTF-8.")
        if wrong := refusal(data):
            return _problem(422, wrong)
        return model.predict(data["pixels"])

    @app.get("/v1/pictures/<n>/prediction")
    def predict_stored(n: str) -> Any:
        if not re.fullmatch(NUMBER, n):
            return _problem(422, "The number of a picture has 1 to 9 digits.")
        if int(n) >= PICTURES:
            return _problem(404, f"There are {PICTURES:,} pictures, from 0.")
        return model.predict(look_up(int(n)))

    @app.get("/health")
    def health() -> Any:
        return {"version": model.version}

    @app.get("/crash")
    def crash() -> Any:
        password = "correct horse battery staple"  # what a traceback shows to strangers
        raise RuntimeError(f"cannot reach the store with {len(password)} letters")

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Any:
        said, status, headers = _problem(error.code or 500, error.name)
        allowed = [(name, value) for name, value in error.get_headers() if name == "Allow"]
        return said, status, [*headers.items(), *allowed]

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


def fastapi_app() -> Any:
    """ASGI: the same service; what is declared is validated and documented."""
    from fastapi import FastAPI, Response
    from fastapi import Path as InPath
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from pydantic import BaseModel, Field
    from starlette.exceptions import HTTPException

    model, look_up = load(Path(os.environ["REST_MODEL"])), _look_up()
    app = FastAPI(title="Digits", version="1.0.0")

    grey = Annotated[float, Field(ge=0, le=DARKEST, strict=True)]
    number = Annotated[str, InPath(pattern=f"^{NUMBER}$")]

    class Picture(BaseModel, extra="forbid"):
        pixels: list[grey] = Field(min_length=PIXELS, max_length=PIXELS)

    class Prediction(BaseModel):
        digit: int = Field(ge=0, le=9)
        share: float = Field(gt=0, le=1)
        version: str

    # "def", not "async def": a thread computes or waits, and the event loop stays free.
    def predict(picture: Picture, response: Response) -> Prediction:
        response.headers["X-Worker"] = str(os.getpid())
        return model.predict(picture.pixels)

    def predict_stored(n: number, response: Response) -> Prediction:
        response.headers["X-Worker"] = str(os.getpid())
        if int(n) >= PICTURES:
            raise HTTPException(404, f"There are {PICTURES:,} pictures, from 0.")
        return model.predict(look_up(int(n)))

    # Annotations of a local class are text here (see the first import): given as they are.
    given = {"response": Response, "return": Prediction}
    predict.__annotations__.update(picture=Picture, **given)
    predict_stored.__annotations__.update(n=number, **given)
    app.post("/v1/predictions", responses=_declared(400, 422))(predict)
    app.get("/v1/pictures/{n}/prediction", responses=_declared(404, 422))(predict_stored)

    @app.get("/health")
    def health() -> dict:
        return {"version": model.version}

    @app.exception_handler(HTTPException)
    async def refuse(_: Any, error: HTTPException) -> Any:
        said, status, headers = _problem(error.status_code, str(error.detail))
        return JSONResponse(said, status, {**(error.headers or {}), **headers})

    @app.exception_handler(RequestValidationError)
    async def explain(_: Any, error: RequestValidationError) -> Any:
        first = error.errors()[0]
        status = 400 if first["type"] == "json_invalid" else 422
        detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        said, status, headers = _problem(status, ascii(detail)[1:-1][:200])
        return JSONResponse(said, status, headers)

    return app


def _problem(status: int, detail: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Every refusal of both services (RFC 9457): body, status and headers."""
    said = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return said, status, {"Content-Type": PROBLEM_TYPE}


def _declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {PROBLEM_TYPE: {"schema": PROBLEM}}
    return {n: {"description": HTTPStatus(n).phrase, "content": content} for n in statuses}


def refusal(data: object) -> str | None:
    """What is wrong with the body of a prediction, as a sentence; None when nothing is."""
    if not isinstance(data, dict):
        return "Send JSON, and say so: an object with pixels."
    if set(data) - {"pixels"}:
        return "There is pixels, and nothing else."
    return complaint(data.get("pixels"))


def complaint(pixels: object) -> str | None:
    """What is wrong with these pixels, as a sentence; None when nothing is."""
    if not isinstance(pixels, list) or len(pixels) != PIXELS:
        return f"pixels must be a list of {PIXELS} numbers."
    for place, grey in enumerate(pixels):
        if isinstance(grey, bool) or not isinstance(grey, int | float) or not 0 <= grey <= DARKEST:
            return f"Pixel {place} is {str(grey)[:20]!r}; a grey level is 0 to {DARKEST}."
    return None


def _look_up():
    seconds = float(os.environ.get("REST_LOOKUP_MS", "20")) / 1000

    def look_up(n: int) -> list[int]:
        """Picture n from a store that answers after a while: the waiting is made, the rest real."""
        time.sleep(seconds)
        return [(7 * n + 3 * place) % (DARKEST + 1) for place in range(PIXELS)]

    return look_up
