"""A model behind HTTP, twice: in Flask and in FastAPI. Both read digits with the same committee.

The committee is of linear models, each fitted to a sample of its own, and votes in plain Python:
it holds the interpreter as long as it computes, as much of what runs beside a model does.
`REST_MODEL` names its file, JSON; `REST_LOOKUP_MS` says how far the store of pictures is away.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
SMOOTH = 100.0  # ridge penalty, in squared grey levels


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


# --- the services


def flask_app() -> Any:
    """WSGI: POST /v1/predictions computes; GET /v1/pictures/{n}/prediction waits for a picture."""
    from flask import Flask, Response, request

    app, model, look_up = Flask("digits"), load(Path(os.environ["REST_MODEL"])), _look_up()

    @app.post("/v1/predictions")
    def predict() -> Any:
        data = request.get_json(silent=True)
        pixels = data.get("pixels") if isinstance(data, dict) else None
        if wrong := complaint(pixels):
            return {"title": "Unprocessable Content", "status": 422, "detail": wrong}, 422
        return model.predict(pixels)

    @app.get("/v1/pictures/<int:n>/prediction")
    def predict_stored(n: int) -> Any:
        return model.predict(look_up(n))

    @app.get("/health")
    def health() -> Any:
        return {"version": model.version}

    @app.get("/crash")
    def crash() -> Any:
        password = "correct horse battery staple"  # what a traceback shows to strangers
        raise RuntimeError(f"cannot reach the store with {len(password)} letters")

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


def fastapi_app() -> Any:
    """ASGI: the same service; what is declared is validated and documented."""
    from fastapi import FastAPI, Response
    from pydantic import BaseModel, Field

    model, look_up = load(Path(os.environ["REST_MODEL"])), _look_up()
    app = FastAPI(title="Digits", version="1.0.0")

    grey = Annotated[float, Field(ge=0, le=DARKEST, strict=True)]

    class Picture(BaseModel, extra="forbid"):
        pixels: list[grey] = Field(min_length=PIXELS, max_length=PIXELS)

    # "def", not "async def": a thread computes or waits, and the event loop stays free.
    def predict(picture: Picture, response: Response) -> dict:
        response.headers["X-Worker"] = str(os.getpid())
        return model.predict(picture.pixels)

    def predict_stored(n: int, response: Response) -> dict:
        response.headers["X-Worker"] = str(os.getpid())
        return model.predict(look_up(n))

    # Annotations of a local class are text here (see the first import): given as they are.
    predict.__annotations__.update(picture=Picture, response=Response, **{"return": dict})
    predict_stored.__annotations__.update(n=int, response=Response, **{"return": dict})
    app.post("/v1/predictions")(predict)
    app.get("/v1/pictures/{n}/prediction")(predict_stored)

    @app.get("/health")
    def health() -> dict:
        return {"version": model.version}

    return app


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
