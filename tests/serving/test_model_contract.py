"""The model's two services keep one document, and refuse in the same words of it."""

import json
import string
from typing import Annotated

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi import Path as InPath
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.serving.rest import model as rest_model
from mlsys.serving.rest.contract import contract

GREY = st.integers(0, 16) | st.floats(0, 16)
PICTURE = st.lists(GREY, min_size=64, max_size=64)
WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=4),
    st.floats(),  # NaN and infinity too: Python writes and reads them
    st.integers(-(10**400), 10**400),
    st.lists(st.integers(-3, 20), max_size=3),
)
JSON = "application/json"
KINDS = st.sampled_from([JSON, f"{JSON}; charset=utf-8", "application/x+json", "text/plain", ""])


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """The applications of Flask and of FastAPI, with one model."""
    rng = np.random.default_rng(0)
    model = rest_model.fit(rng.uniform(0, 16, (100, 64)), np.arange(100) % 10, members=2)
    with pytest.MonkeyPatch.context() as patch, model.as_file() as path:
        patch.setenv("REST_MODEL", path)
        patch.setenv("REST_LOOKUP_MS", "0")
        yield rest_model.flask_app(), rest_model.fastapi_app()


@pytest.fixture(scope="module")
def document(services):
    return services[1].openapi()


@pytest.fixture(scope="module")
def ask(services):
    """Status, kind and body that each of the two answers."""
    flask, fastapi = services[0].test_client(), TestClient(services[1])

    def both(method, path, body=None, kind=JSON):
        headers = {"Content-Type": kind} if kind else {}
        one = flask.open(path, method=method, data=body, headers=headers)
        two = fastapi.request(method, path, content=body, headers=headers, follow_redirects=False)
        return [
            (one.status_code, one.mimetype, one.get_json()),
            (two.status_code, two.headers["content-type"], two.json()),
        ]

    return both


def agree(answers, *statuses):
    """Both answer with one of these; a refusal is a Problem, and says so."""
    (one, *_), (two, *_) = answers
    assert one == two and one in statuses, answers
    for status, kind, said in answers:
        if status == 200:
            assert kind == JSON and set(said) == {"digit", "share", "version"}
        else:
            assert kind == rest_model.PROBLEM_TYPE and said["status"] == status
            assert set(said) == set(rest_model.PROBLEM["properties"]) and said["detail"]
    return one


@pytest.mark.parametrize("which", [0, 1], ids=["flask", "fastapi"])
def test_each_service_keeps_the_document_that_fastapi_makes(services, document, which):
    found = contract(services[which], document, examples=10)
    assert found.kept, repr(found)
    assert found.asked > 30


def test_the_document_names_every_refusal_with_one_schema(document):
    answers = {
        (path, status): answer["content"]
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if status != "200"
    }
    assert [status for _, status in answers] == ["400", "422", "404", "422"]
    for content in answers.values():
        assert set(content) == {rest_model.PROBLEM_TYPE}
        assert content[rest_model.PROBLEM_TYPE]["schema"]["title"] == "Problem"


@settings(max_examples=40, deadline=None)
@given(
    data=st.fixed_dictionaries({"pixels": PICTURE})
    | st.fixed_dictionaries({}, optional={"pixels": PICTURE | WRONG, "colour": WRONG})
    | WRONG,
    kind=KINDS,
)
def test_both_take_and_refuse_the_same_bodies(ask, data, kind):
    status = agree(ask("POST", "/v1/predictions", json.dumps(data), kind), 200, 422)
    whole = isinstance(data, dict) and set(data) == {"pixels"} and "json" in kind
    assert status == 422 or whole


@settings(max_examples=30, deadline=None)
@given(raw=st.binary(max_size=12), kind=KINDS)
def test_both_say_400_to_what_is_no_json_and_422_to_what_is_another_kind(ask, raw, kind):
    status = agree(ask("POST", "/v1/predictions", raw, kind), 400, 422)
    assert status == 422 or "json" in kind


def test_a_body_nested_beyond_reading_is_a_bad_request(ask):
    agree(ask("POST", "/v1/predictions", b"[" * 100_000), 400)
    agree(ask("POST", "/v1/predictions", b'{"pixels": [' + b"9" * 5000 + b"]}"), 400)
    agree(ask("POST", "/v1/predictions", b'{"pixels": [1,'), 400)


@settings(max_examples=40, deadline=None)
@given(name=st.text(string.ascii_letters + string.digits + "+-_. ~٣", min_size=1, max_size=11))
def test_both_know_the_same_numbers_of_pictures(ask, name):
    path = "/v1/pictures/" + "".join(f"%{byte:02X}" for byte in name.encode()) + "/prediction"
    status = agree(ask("GET", path), 200, 404, 422)
    digits = name.isascii() and name.isdigit()
    # "." and ".." are steps in a path before they are names.
    assert (status != 422) == (digits and len(name) < 10) or name in (".", "..")


@pytest.mark.parametrize(
    "n, status", [(0, 200), (69_999, 200), (70_000, 404), (10**9, 422), ("x", 422)]
)
def test_a_picture_beyond_the_last_is_not_found_and_a_word_is_no_number(ask, n, status):
    agree(ask("GET", f"/v1/pictures/{n}/prediction"), status)


@pytest.mark.parametrize(
    "method, path, status",
    [("GET", "/v1/nothing", 404), ("GET", "/v1/predictions", 405), ("GET", "/v1/pictures//x", 404)],
)
def test_what_is_not_there_is_a_problem_too(ask, method, path, status):
    agree(ask(method, path), status)


def test_a_contract_finds_what_an_asynchronous_service_breaks():
    app = FastAPI()

    @app.get("/n/{n}")
    def invert(n: Annotated[int, InPath(ge=0, le=3)]) -> int:
        return 10 // n

    found = contract(app, app.openapi(), examples=10).findings
    assert found.finding.tolist() == ["the server broke"]
    assert "ZeroDivisionError" in set(found.status) and found.asked.tolist() == ["GET /n/0"]


def test_what_is_no_application_is_refused_in_a_sentence(document):
    with pytest.raises(ValueError, match="no application"):
        contract("mlsys.serving.rest.model:flask_app", document)
