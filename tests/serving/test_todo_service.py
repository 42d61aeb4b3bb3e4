import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from mlsys import services
from mlsys.serving.rest import client as rest_client
from mlsys.serving.rest.contract import contract
from mlsys.serving.todo import document as todo_document
from mlsys.serving.todo import running as todo_running
from mlsys.serving.todo.half import half
from mlsys.serving.todo.service import Client, create_app
from mlsys.serving.todo.store import KeyReused, MemoryStore, PostgresStore, Todo

OWNERS = count()
GENEROUS = {"rate": 1e6, "burst": 10**6}


@pytest.fixture(scope="module")
def database():
    with services.postgres() as db:
        yield db


@pytest.fixture(params=["memory", "PostgreSQL"])
def store(request):
    if request.param == "memory":
        yield MemoryStore()
        return
    store = PostgresStore(request.getfixturevalue("database").url)
    yield store
    store.close()


@pytest.fixture
def owner():
    return f"owner-{next(OWNERS)}"


@pytest.fixture
def app(store, owner):
    return create_app(store, [Client.of(owner, "token", **GENEROUS)], quiet=True)


@pytest.fixture
def client(app):
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer token"
    return client


# --- the store


def test_a_key_makes_one_todo_however_many_ask_at_once(store, owner):
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: store.add(owner, "buy tea", False, key="k").id, range(12)))
    assert len(set(made)) == 1
    assert len(store.page(owner, limit=100).items) == 1


def test_a_key_used_for_another_request_is_refused(store, owner):
    store.add(owner, "buy tea", False, key="k")
    with pytest.raises(KeyReused, match="take a new one"):
        store.add(owner, "buy milk", False, key="k")


def test_the_same_key_of_two_owners_is_two_keys(store, owner):
    first, second = store.add(owner, "a", False, key="k"), store.add("other", "a", False, key="k")
    assert first.id != second.id


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(number=st.integers(0, 12), limit=st.integers(1, 5))
def test_pages_show_everything_once_and_in_order(store, number, limit):
    owner = f"reader-{next(OWNERS)}"
    titles = [f"t{n}" for n in range(number)]
    for title in titles:
        store.put(owner, Todo(title, title))
    shown, after = [], 0
    while after is not None:
        page = store.page(owner, limit=limit, after=after)
        assert len(page.items) <= limit
        shown += [todo.title for todo in page.items]
        after = page.next
    assert shown == titles


def test_a_bucket_gives_its_burst_and_no_more_to_all_threads_together(store, owner):
    with ThreadPoolExecutor(6) as pool:
        waits = list(pool.map(lambda _: store.take(owner, rate=1e-6, burst=7), range(30)))
    assert waits.count(0.0) == 7
    assert all(wait > 0 for wait in waits if wait)


# --- the service


def test_put_twice_is_put_once_and_post_twice_is_two(client):
    wish = {"title": "buy tea"}
    assert [client.put("/v1/todos/tea", json=wish).status_code for _ in "ab"] == [201, 200]
    assert [client.post("/v1/todos", json=wish).status_code for _ in "ab"] == [201, 201]
    assert len(client.get("/v1/todos").json["items"]) == 3


def test_what_was_made_is_where_the_answer_says(client):
    made = client.post("/v1/todos", json={"title": "buy tea", "done": True})
    found = client.get(made.headers["Location"])
    assert found.json == made.json == {"id": made.json["id"], "title": "buy tea", "done": True}
    assert client.get(f"/v2/todos/{made.json['id']}").json["state"] == "done"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ('{"subject: "hi"}', "application/json", 400),
        ("[" * 9_000, "application/json", 400),
        ("\xff", "application/json", 422),
        ('{"title": "x"}', "text/plain", 415),
        ('["title"]', "application/json", 422),
        ("{}", "application/json", 422),
        ('{"title": ""}', "application/json", 422),
        ('{"title": 7}', "application/json", 422),
        ('{"title": "a\\u0000b"}', "application/json", 422),
        ('{"title": "\\ud800"}', "application/json", 422),
        ('{"title": "x", "done": 1}', "application/json", 422),
        ('{"title": "x", "colour": "red"}', "application/json", 422),
        ('{"title": "' + "x" * 20_000 + '"}', "application/json", 413),
    ],
)
def test_a_body_that_is_no_todo_is_refused_in_a_sentence_and_changes_nothing(
    client, body, kind, status
):
    said = client.put("/v1/todos/tea", data=body, content_type=kind)
    if body == "\xff":
        said = client.put("/v1/todos/tea", data=b"\xff", content_type=kind)
        status = 400
    assert said.status_code == status
    assert said.mimetype == "application/problem+json"
    assert said.json["detail"].endswith(".")
    assert client.get("/v1/todos/tea").status_code == 404


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=ten", "after=-1", "limt=5"])
def test_a_page_that_is_none_is_refused(client, query):
    assert client.get(f"/v1/todos?{query}").status_code == 400


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic token", "token"])
def test_nobody_gets_in_without_a_token(app, header):
    answer = app.test_client().delete("/v1/todos/tea", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_owners_do_not_see_each_other(store, owner):
    clients = [Client.of(owner, "one", **GENEROUS), Client.of(f"{owner}-b", "two", **GENEROUS)]
    client = create_app(store, clients, quiet=True).test_client()
    one, two = ({"Authorization": f"Bearer {token}"} for token in ("one", "two"))
    client.put("/v1/todos/tea", json={"title": "mine"}, headers=one)
    assert client.get("/v1/todos/tea", headers=two).status_code == 404
    assert client.delete("/v1/todos/tea", headers=two).status_code == 404
    assert client.get("/v1/todos/tea", headers=one).json["title"] == "mine"


def test_who_asks_too_often_is_told_when_to_come_back(store, owner):
    app = create_app(store, [Client.of(owner, "token", rate=0.1, burst=2)], quiet=True)
    head = {"Authorization": "Bearer token"}
    answers = [app.test_client().get("/v1/todos", headers=head) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10


def test_a_database_that_has_gone_is_503_and_no_reason_to_restart(database, owner):
    with ExitStack() as cable:
        link = cable.enter_context(services.proxy(database.port))
        url = database.url.replace(f":{database.port}/", f":{link.port}/")
        app = create_app(url, [Client.of(owner, "token", **GENEROUS)], quiet=True)
        client, head = app.test_client(), {"Authorization": "Bearer token"}
        assert client.get("/v1/todos", headers=head).status_code == 200
        link.close_connections()
        assert client.get("/v1/todos", headers=head).status_code == 503
        assert client.get("/v1/todos", headers=head).status_code == 200  # connects again
    for door, status in {"/v1/todos": 503, "/health": 503, "/live": 200}.items():
        answer = client.get(door, headers=head)
        assert answer.status_code == status, door
        assert ("Retry-After" in answer.headers) == (status == 503)


@pytest.mark.skipif(os.name == "nt", reason="gunicorn needs a Unix")
def test_two_workers_share_rows_and_counts_through_a_link_to_the_database(database):
    with (
        services.proxy(database.port) as link,
        todo_running.todo_service(services.worker, database.url, via=link) as server,
        rest_client.session(server.url) as ada,
    ):
        for title in ("tea", "bread", "tea"):
            ada.post("/v1/todos", json={"title": title}).raise_for_status()
        assert link.connections and rest_client.posts_counted(server.url, 8) == [3] * 8
        assert todo_running.rows_titled(database, "tea") == 2
        assert todo_running.page_by_offset(database, offset=1, limit=2) == ["bread", "tea"]


class Broken(MemoryStore):
    def get(self, owner, id):
        raise RuntimeError("a secret of ours")


def test_a_fault_of_ours_is_logged_and_not_told(capsys):
    client = create_app(Broken(), [Client.of("ada", "token")]).test_client()
    headers = {"Authorization": "Bearer token", "X-Request-Id": "ask-1"}
    answer = client.get("/v1/todos/tea", headers=headers)
    assert answer.status_code == 500
    assert "secret" not in answer.text and "ask-1" in answer.text
    (line,) = capsys.readouterr().out.splitlines()
    entry = json.loads(line)
    assert entry["error"] == "RuntimeError: a secret of ours"
    assert (entry["request"], entry["status"]) == ("ask-1", 500)
    assert "token" not in line


def test_metrics_count_routes_and_not_paths(client):
    for n in range(5):
        client.get(f"/v1/todos/t{n}")
    client.open("/nowhere", method="BREW")
    families = text_string_to_metric_families(client.get("/metrics").text)
    counts = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "todo_requests_total"
    }
    assert counts["GET", "/v1/todos/<id>", "404"] == 5
    assert counts["OTHER", "none", "404"] == 1


# --- its document


def test_the_service_keeps_its_document_with_either_store(app):
    head = {"Authorization": "Bearer token"}
    result = contract(app, todo_document.document(), headers=head, examples=10)
    assert result.kept, result


def test_the_page_of_the_document_shows_every_operation_and_escapes(client):
    whole = todo_document.document()
    text = client.get("/docs").text
    assert all(path in text for _, path, _ in todo_document.operations(whole))
    whole["info"]["title"] = "<script>"
    assert "<script>" not in todo_document.page(whole)


def test_a_part_of_the_document_holds_what_was_asked_for():
    part = todo_document.small("post", "get", path="/v1/todo")
    asked = [(method, path) for method, path, _ in todo_document.operations(part)]
    assert asked == [("POST", "/v1/todo"), ("GET", "/v1/todo/{id}")]


def test_half_a_service_keeps_half_of_the_promise():
    assert contract(half({}), todo_document.small("post", "get"), examples=5).kept
    assert not contract(half({}), todo_document.small("put"), examples=5).kept


@pytest.mark.parametrize(
    ("url", "through"),
    [
        ("postgresql://me:pw@host:5/db?a=1", "postgresql://me:pw@127.0.0.1:7/db?a=1"),
        ("postgresql://host:5/db", "postgresql://127.0.0.1:7/db"),
    ],
)
def test_an_address_through_a_link_keeps_all_but_host_and_port(url, through):
    class Cable:
        host, port = "127.0.0.1", 7

    assert todo_running.through(url, Cable()) == through
