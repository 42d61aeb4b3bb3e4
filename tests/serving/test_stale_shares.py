"""How stale the three workflows of lesson 03 are, asked of real processes and a real server."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from mlsys import services
from mlsys.serving.workflows import compare as ways

HAM = ["see you at home", "call me when you can", "are you coming tonight"]
SPAM = ["claim your prize now", "urgent cash award", "you won a mobile"]


@pytest.fixture(scope="module")
def model() -> LogisticRegression:
    return LogisticRegression(C=100).fit(ways.hash_all(HAM + SPAM), [False] * 3 + [True] * 3)


@pytest.fixture(scope="module")
def three(model: LogisticRegression, tmp_path_factory) -> Iterator[tuple]:
    """The table's file, and whom to ask: reader, phone, service."""
    folder: Path = tmp_path_factory.mktemp("three")
    graph = to_onnx(model, ways.hash_all(["a row"]), options={"zipmap": False})
    graph.model_version = 1
    (folder / "spam.onnx").write_bytes(graph.SerializeToString())
    table = folder / "scores.db"
    ways.fill_table(table, HAM + SPAM)
    ways.score_overnight(table, lambda texts: spam(model, texts), version=1)
    app = "mlsys.serving.workflows.spam_service:app"
    env = {"SPAM_MODEL": str(folder / "spam.onnx")}
    with (
        ways.lookup(table) as reader,
        ways.device(folder / "spam.onnx") as phone,
        services.web_app(app, env=env) as service,
    ):
        yield table, (reader, phone, service.url)


def spam(model: LogisticRegression, texts: list[str]) -> np.ndarray:
    return model.predict_proba(ways.hash_all(texts))[:, 1]


def test_only_the_table_is_stale_and_only_where_the_verdict_has_changed(model, three) -> None:
    table, asked = three
    now = HAM + SPAM
    senders = list(range(6))

    def shares() -> dict[str, float]:
        fresh = spam(model, now) > 0.5
        return ways.stale_shares(*asked, senders=senders, texts=now, fresh=fresh)

    assert shares() == {"look-up": 0, "device": 0, "service": 0}
    now[0], now[1] = SPAM[0], HAM[2]  # sender 0 turns to spam, sender 1 stays harmless
    ways.receive(table, {0: now[0], 1: now[1]})
    assert shares() == {"look-up": pytest.approx(1 / 6), "device": 0, "service": 0}
    ways.score_overnight(table, lambda texts: spam(model, texts), version=2)
    assert shares()["look-up"] == 0


def test_the_shares_are_of_the_answers_not_of_the_truth(model, three) -> None:
    _, asked = three
    other = spam(model, HAM) <= 0.5  # a model that says the opposite of the one that answers
    told = ways.stale_shares(*asked, senders=[0, 1, 2], texts=HAM, fresh=other)
    assert told["device"] == told["service"] == 1
