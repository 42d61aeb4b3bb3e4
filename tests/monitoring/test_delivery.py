"""Notices over real loopback HTTP, to a log, to Prometheus and to a function."""

import base64
import json
import logging
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlsys import services
from mlsys.monitoring import delivery
from mlsys.monitoring.alerts import Alert, Notice
from mlsys.monitoring.errors import MonitoringError
from mlsys.phone import Phone

AT = datetime(2026, 3, 1, tzinfo=UTC)
ALERT = Alert("drift", "ticket", {"column": "größe <b>"}, AT, 0.5, "size: drift above 0.1")
NOTICE = Notice("opened", AT, {"model": "spam"}, "ticket", "size drifted.", (ALERT,), "Look.")


@contextmanager
def receiver(*statuses):
    """A server that answers with these statuses in turn and keeps what it was sent."""
    got, left = [], list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            key, login = self.headers["Idempotency-Key"], self.headers["Authorization"]
            got.append((json.loads(body), key, self.path, login))
            self.send_response(left.pop(0) if left else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook", got
        finally:
            server.shutdown()
            thread.join()


def test_a_webhook_gets_the_notice_as_json():
    with receiver() as (url, got):
        delivery.to_webhook(url, timeout=60)(NOTICE)
    assert got[0][0] == json.loads(json.dumps(NOTICE.to_dict()))
    assert got[0][0]["alerts"][0]["labels"] == {"column": "größe <b>"}


def test_a_webhook_that_stumbles_is_tried_again_with_the_same_key():
    with receiver(500, 503) as (url, got):
        delivery.to_webhook(url, pause=0.001, timeout=60)(NOTICE)
    assert len(got) == 3 and len({key for _, key, *_ in got}) == 1


def test_a_webhook_that_refuses_is_not_pestered():
    with receiver(404, 404) as (url, got):
        with pytest.raises(MonitoringError, match="404"):
            delivery.to_webhook(url, pause=0.001, timeout=60)(NOTICE)
        assert len(got) == 1


@pytest.fixture
def deaf():
    """The address of a port that is held and where nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}/hook"


@pytest.fixture(scope="module")
def bot():
    """A local Bot API that lets one message a second pass, and the phone of somebody on duty."""
    with services.bot_api(per_second=1) as api:
        phone = Phone(api)
        phone.say("/start")
        yield api, phone


def test_a_notice_reaches_a_phone_and_the_next_one_waits_for_its_turn(bot):
    api, phone = bot
    tell = delivery.to_telegram(api.token, phone.chat_id, base_url=api.url, timeout=60)
    tell(NOTICE)
    tell(replace(NOTICE, event="resolved", sentence="x" * 5_000, advice=""))
    first, second = [turn.text for turn in phone.conversation][-2:]
    assert first == "opened, ticket: size drifted.\nLook."
    assert len(second) == 4_096 and second.endswith("x…")


def test_no_error_and_no_log_shows_a_bots_token(deaf, caplog):
    with receiver(200, 401) as (url, got), caplog.at_level(logging.DEBUG):
        patience = {"attempts": 2, "pause": 0.001, "timeout": 60}
        tell = delivery.to_telegram("1:secret", 7, base_url=url, **patience)
        tell(NOTICE)
        with pytest.raises(MonitoringError, match="status 401") as refused:
            tell(NOTICE)
        with pytest.raises(MonitoringError, match="ConnectError") as unheard:
            delivery.to_telegram("1:secret", 7, base_url=deaf, **patience)(NOTICE)
    assert [path for _, _, path, _ in got] == ["/hook/bot1:secret/sendMessage"] * 2
    for logged in ('"HTTP/1.0 200 OK"', '"HTTP/1.0 401 Unauthorized"', "connect_tcp.failed"):
        assert logged in caplog.text
    assert "secret" not in caplog.text + str(refused.value) + str(unheard.value)


def test_a_webhook_shows_no_more_of_its_address_than_the_host_and_still_logs_in(caplog):
    with receiver(200, 404) as (url, got):
        secret = url.replace("http://", "http://me:pass@") + "/T0/secret?key=secret"
        tell = delivery.to_webhook(secret, timeout=60)
        with caplog.at_level(logging.DEBUG):
            tell(NOTICE)
            with pytest.raises(MonitoringError, match=r"at http://127.0.0.1:\d+ did not") as told:
                tell(NOTICE)
    login = "Basic " + base64.b64encode(b"me:pass").decode()
    assert [one[2:] for one in got] == [("/hook/T0/secret?key=secret", login)] * 2
    assert "secret" not in caplog.text + str(told.value)


@pytest.mark.parametrize("asked", ["", "soon", "-5", "nan"])
def test_a_429_without_a_sensible_wait_is_tried_again(asked):
    answer = httpx.Response(429, headers={"Retry-After": asked})
    assert 0 <= delivery._patience(answer) <= delivery.LONGEST_PATIENCE
    with receiver(429) as (url, got):
        delivery.to_webhook(url, pause=0.001, timeout=60)(NOTICE)
    assert len(got) == 2


def test_a_channel_that_fails_does_not_keep_the_others_from_speaking(tmp_path, deaf):
    heard = []

    def bot_that_crashes(notice):
        raise RuntimeError("token expired")

    channels = {
        "webhook": delivery.to_webhook(deaf, attempts=2, pause=0.001),
        "bot": bot_that_crashes,
        "log": delivery.to_log(tmp_path / "alerts.jsonl"),
        "function": heard.append,
    }
    sender = delivery.Delivery(channels)
    errors = sender.send(NOTICE)
    assert set(errors) == {"webhook", "bot"} and "token expired" in errors["bot"]
    assert heard == [NOTICE]
    assert json.loads((tmp_path / "alerts.jsonl").read_text("utf-8"))["sentence"] == "size drifted."
    assert sender.failed == {"webhook": 1, "bot": 1}
    assert sender.delivered == {"log": 1, "function": 1}


def test_a_channel_hears_only_what_is_severe_enough():
    heard = []
    sender = delivery.Delivery({"pager": heard.append}, least={"pager": "page"})
    assert sender.send(NOTICE) == {} and heard == []
    with pytest.raises(MonitoringError, match="loud"):
        delivery.Delivery({"pager": heard.append}, least={"pager": "loud"})


def scrape(url):
    families = text_string_to_metric_families(httpx.get(url, timeout=60).text)
    samples = [sample for family in families for sample in family.samples]
    return {(one.name, *sorted(one.labels.values())): one.value for one in samples}


def test_prometheus_scrapes_values_incidents_and_counts():
    with delivery.PrometheusPage() as page:
        page.show("drift", 0.25, model="spam", column='a "quoted" \\ name')
        page(NOTICE)
        found = scrape(page.url)
        assert found[("mlsys_monitor_value", 'a "quoted" \\ name', "drift", "spam")] == 0.25
        assert found[("mlsys_monitor_incident", "model=spam", "ticket")] == 1
        assert found[("mlsys_monitor_notices_total", "opened", "ticket")] == 1
        page(Notice("resolved", AT, {"model": "spam"}, "ticket", "Over.", (ALERT,)))
        assert scrape(page.url)[("mlsys_monitor_incident", "model=spam", "ticket")] == 0
    with pytest.raises(httpx.HTTPError):
        httpx.get(page.url)


def test_the_grafana_dashboard_asks_only_for_what_the_page_shows():
    board = json.loads(delivery.DASHBOARD.read_text("utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    with delivery.PrometheusPage() as page:
        page.show("accuracy", 0.9, model="spam")
        page(NOTICE)
        shown = {name for name, *_ in scrape(page.url)}
    for expression in asked:
        if "mlsys_service_" in expression:
            continue  # of the service's own page: tested with it
        assert any(name in expression for name in shown), expression
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_a_webhook_needs_a_web_address():
    with pytest.raises(MonitoringError, match="does not begin with http"):
        delivery.to_webhook("ftp://x")
    with pytest.raises(MonitoringError, match="Invalid port"):
        delivery.to_webhook("http://x:y/hook")
