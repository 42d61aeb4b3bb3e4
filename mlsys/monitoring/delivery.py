"""Getting a notice to somebody: a log file, a webhook, a chat, a Prometheus page, any function.

A channel is a function that takes a `Notice` and raises `MonitoringError` when it could not deliver
it. `Delivery` calls each, goes on when one fails, and counts; it never raises, since an alert that
brings the service down helps nobody.

A bot's token and a chat's webhook are secrets in an address: no error and no line of a log, httpx's
own included, shows more of it than scheme, host and port.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from prometheus_client import Counter as PrometheusCounter

from mlsys.monitoring.alerts import SEVERITIES, Notice
from mlsys.monitoring.errors import MonitoringError

Channel = Callable[[Notice], object]

TELEGRAM_TEXT = 4_096  # characters in one message of the Bot API
LONGEST_PATIENCE = 30.0  # seconds
DASHBOARD = Path(__file__).parent / "grafana_dashboard.json"


def to_log(path: Path | str) -> Channel:
    """Append each notice to a file as one line of JSON."""
    path = Path(path)

    def deliver(notice: Notice) -> None:
        line = json.dumps(notice.to_dict(), ensure_ascii=False)
        try:
            with path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise MonitoringError(f"{path} cannot be written: {error.strerror}.") from None

    return deliver


def to_webhook(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 5.0,
    attempts: int = 3,
    pause: float = 0.2,
) -> Channel:
    """POST each notice as JSON; anything but a 2xx, or no answer in `timeout` seconds, is retried.

    The pause doubles between attempts, and an answer of 4xx is final but for 429. An
    `Idempotency-Key` lets the other side drop a notice that it got twice.
    """
    if not url.startswith(("http://", "https://")):
        raise MonitoringError("This webhook's address does not begin with http:// or https://.")
    address = _address(url)

    def deliver(notice: Notice) -> None:
        key = f"{notice.event}/{notice.at.isoformat()}/{sorted(notice.group.items())}"
        sent = {**(headers or {}), "Idempotency-Key": key}
        problem = _post(address, notice.to_dict(), sent, timeout, attempts, pause)
        if problem:
            where = _origin(address)
            raise MonitoringError(f"The webhook at {where} did not take the notice ({problem}).")

    return deliver


def to_telegram(
    token: str,
    chat: int | str,
    *,
    base_url: str = "https://api.telegram.org",
    timeout: float = 5.0,
    attempts: int = 3,
    pause: float = 0.2,
) -> Channel:
    """Send each notice as a message of the bot with this token to a chat (its id or @name).

    Tried again as a webhook is; where the Bot API asks for patience (429, `retry_after`), it gets
    it, up to `LONGEST_PATIENCE` seconds. `base_url` may be that of `mlsys.services.bot_api`.
    """
    address = _address(f"{base_url.rstrip('/')}/bot{token}/sendMessage")

    def deliver(notice: Notice) -> None:
        lines = f"{notice.event}, {notice.severity}: {notice.sentence}", notice.advice
        text = "\n".join(filter(None, lines))
        text = text if len(text) <= TELEGRAM_TEXT else text[: TELEGRAM_TEXT - 1] + "…"
        problem = _post(address, {"chat_id": chat, "text": text}, {}, timeout, attempts, pause)
        if problem:
            raise MonitoringError(f"Telegram did not take the notice for {chat} ({problem}).")

    return deliver


def _address(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise MonitoringError(f"This is no address to post to: {error}.") from None


def _origin(address: httpx.URL) -> str:
    """Scheme, host and port."""
    return str(address.copy_with(userinfo=b"", raw_path=b"/", fragment=None)).rstrip("/")


def _post(
    address: httpx.URL,
    body: object,
    headers: Mapping[str, str],
    timeout: float,
    attempts: int,
    pause: float,
) -> str:
    """Why nobody took it, or nothing; tried again unless the answer is final.

    httpx logs the address that it is given: it gets the origin, and the rest as what to ask there.
    """
    login = (address.username, address.password) if address.userinfo else None
    problem, wait = "", 0.0
    for attempt in range(attempts):
        time.sleep(wait)
        wait = pause * 2**attempt
        try:
            with httpx.Client(auth=login, headers=headers, timeout=timeout) as client:
                target = {"target": address.raw_path}
                answer = client.post(_origin(address), json=body, extensions=target)
        except httpx.HTTPError as error:
            problem = f"{type(error).__name__}: {error}"
            continue
        if answer.is_success:
            return ""
        problem = f"status {answer.status_code}"
        if answer.status_code == 429:
            wait = max(wait, _patience(answer))
        elif answer.is_client_error:
            break
    return problem


def _patience(answer: httpx.Response) -> float:
    """Seconds that a 429 asks for, in its header or as the Bot API says it."""
    try:
        asked = answer.json()["parameters"]["retry_after"]
    except (ValueError, KeyError, TypeError):
        asked = answer.headers.get("Retry-After", 0)
    try:
        return min(max(0.0, float(asked)), LONGEST_PATIENCE)
    except (ValueError, TypeError):
        return 0.0


class PrometheusPage(AbstractContextManager):
    """A page that Prometheus scrapes: http://host:port/metrics, with a registry of its own.

    It shows `mlsys_monitor_value{metric, …}` (the newest numbers), `mlsys_monitor_incident{group,
    severity}` (1 while one is open) and `mlsys_monitor_notices_total{event, severity}`. The page is
    a channel too. `grafana_dashboard.json` beside this module draws it.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.registry = CollectorRegistry()
        self._value = Gauge(
            "mlsys_monitor_value", "Newest value", ("metric", "model", "column"),
            registry=self.registry,
        )  # fmt: skip
        self._incident = Gauge(
            "mlsys_monitor_incident", "1 while an incident is open", ("group", "severity"),
            registry=self.registry,
        )  # fmt: skip
        self._notices = PrometheusCounter(
            "mlsys_monitor_notices", "Notices sent", ("event", "severity"), registry=self.registry
        )
        try:
            self._server, self._thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise MonitoringError(f"Port {port} on {host} is taken: {error.strerror}.") from None
        self.url = f"http://{host}:{self._server.server_port}/metrics"

    def show(self, metric: str, value: float, *, model: str = "", column: str = "") -> None:
        """Set the newest value of a metric."""
        self._value.labels(metric, model, column).set(value)

    def __call__(self, notice: Notice) -> None:
        group = ",".join(f"{name}={value}" for name, value in sorted(notice.group.items()))
        self._notices.labels(notice.event, notice.severity).inc()
        for severity in SEVERITIES:
            is_open = notice.event != "resolved" and severity == notice.severity
            self._incident.labels(group, severity).set(1 if is_open else 0)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __exit__(self, *_) -> None:
        self.close()


class Delivery:
    """Sends notices to channels by name, from a severity upwards; counts what arrived.

    `send` gives the errors of this notice by channel (empty when all took it).
    """

    def __init__(
        self, channels: Mapping[str, Channel], *, least: Mapping[str, str] | None = None
    ) -> None:
        self.channels = dict(channels)
        self.least = dict(least or {})
        for name, severity in self.least.items():
            if name not in self.channels or severity not in SEVERITIES:
                raise MonitoringError(
                    f"{name!r} from {severity!r} upwards: the channels are "
                    f"{', '.join(self.channels)}, the severities {', '.join(SEVERITIES)}."
                )
        self.delivered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def send(self, notice: Notice) -> dict[str, str]:
        errors = {}
        for name, channel in self.channels.items():
            least = self.least.get(name, SEVERITIES[0])
            if SEVERITIES.index(notice.severity) < SEVERITIES.index(least):
                continue
            try:
                channel(notice)
            except Exception as error:
                # Whatever a bot's function raises, the next channel still gets its turn.
                errors[name] = str(error) or type(error).__name__
            with self._lock:
                (self.failed if name in errors else self.delivered)[name] += 1
        return errors
